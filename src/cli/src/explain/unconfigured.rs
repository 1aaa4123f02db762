//! What can be said of a request without a configuration: its parts, the times of its token,
//! and what a companion knows to be revoked. No signature is checked and no rule is known.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_feed::state::State;
use caracal_mandate::token::bearer::bearer_token;
use serde_json::{Map, Value};

use super::dependencies::{ANCHORS, Revocations};
use super::report::without_query;
use super::request::Request;
use super::shown_values::plain;
use crate::terminal::{shown, shown_bytes};
use crate::timestamps;

/// Most members of the token's header, and of its payload, that are shown.
const MOST_MEMBERS: usize = 40;
/// Most values of one header that are shown.
const MOST_VALUES: usize = 4;
/// Members that are times.
const TIMES: [&str; 4] = ["exp", "iat", "nbf", "auth_time"];

/// Largest `clock_skew_s` of a configuration, in seconds.
const MOST_SKEW_S: u64 = 300;

/// What can be said.
#[derive(Default)]
pub(crate) struct Reading {
    /// Why an edge refuses it whatever its configuration is.
    pub(crate) wrong: Vec<String>,
    /// Why an edge may refuse it: its configuration decides, or it is not known here.
    pub(crate) doubtful: Vec<String>,
    /// Its parts by name, harmless to show.
    pub(crate) facts: Vec<(String, String)>,
}

/// Reads a request and its token.
pub(super) fn read(request: &Request, at: u64, state: &State) -> Reading {
    let mut facts = Vec::new();
    let mut fact = |name: &str, text: String| facts.push((name.to_owned(), cut(text)));
    fact("method", plain(&request.method));
    fact("path", plain(without_query(&request.target)));
    for name in ["host", "x-caracal-resource", "content-type"] {
        for value in request.all(name).into_iter().take(MOST_VALUES) {
            fact(name, shown_bytes(value));
        }
    }
    let authorization = request.all("authorization");
    let token = match bearer_token(&authorization) {
        Ok(token) => token,
        Err(refusal) => {
            return Reading {
                wrong: vec![refusal.description().to_owned()],
                facts,
                ..Reading::default()
            };
        }
    };
    let mut parts = token.split(|b| *b == b'.');
    let mut decoded = || object(parts.next().unwrap_or_default());
    let (header, payload) = (decoded(), decoded());
    let mut wrong = Vec::new();
    let mut doubtful = Vec::new();
    let count = token.split(|b| *b == b'.').count();
    if count != 3 {
        wrong.push(format!(
            "The token has {count} parts with points between; a mandate has three."
        ));
    }
    for (what, object) in [("header", &header), ("payload", &payload)] {
        match object {
            Some(members) => facts.extend(members_of(what, members, at)),
            None => wrong.push(format!(
                "The token's {what} is no JSON object in base64url."
            )),
        }
    }
    if let Some(payload) = payload {
        wrong.extend(expiry(&payload, at));
        for (time, text) in starts(&payload, at) {
            let is_sure = time > at.saturating_add(MOST_SKEW_S);
            let list = if is_sure { &mut wrong } else { &mut doubtful };
            list.push(text);
        }
        let payload = Value::Object(payload);
        match Revocations::of_state(state, Some(&payload), None) {
            Revocations::Unavailable { why, .. } => {
                doubtful.push(format!("Whether it is revoked is not known here: {why}."));
            }
            known => wrong.extend(revoked(&payload, &known)),
        }
    }
    Reading {
        wrong,
        doubtful,
        facts,
    }
}

fn object(part: &[u8]) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn members_of(what: &str, members: &Map<String, Value>, at: u64) -> Vec<(String, String)> {
    let named = |name: &str| match name.bytes().all(|b| b.is_ascii_graphic()) && name.len() < 64 {
        true => format!("{what}: {name}"),
        false => format!("{what}: {}", shown(name)),
    };
    let words = |name: &str, value: &Value| match (TIMES.contains(&name), value.as_u64()) {
        (true, Some(time)) => timestamps::beside(time, at),
        _ => match value {
            Value::String(text) => shown(text),
            other => plain(other.to_string().as_bytes()),
        },
    };
    let mut all: Vec<(String, String)> = members
        .iter()
        .take(MOST_MEMBERS)
        .map(|(name, value)| (named(name), cut(words(name, value))))
        .collect();
    if members.len() > MOST_MEMBERS {
        let more = members.len().saturating_sub(MOST_MEMBERS);
        all.push((what.to_owned(), format!("{more} more members")));
    }
    all
}

/// Longest text of one member, in characters.
const MOST_CHARACTERS: usize = 300;

fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{} (cut)", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn time_of(payload: &Map<String, Value>, name: &str) -> Option<u64> {
    payload.get(name).and_then(Value::as_u64)
}

/// What is wrong with `exp`, for which an edge allows nothing.
fn expiry(payload: &Map<String, Value>, at: u64) -> Option<String> {
    match time_of(payload, "exp") {
        Some(exp) if exp <= at => Some(format!(
            "The token has expired: exp is {}. The caller gets a new mandate from the STS.",
            timestamps::beside(exp, at)
        )),
        Some(_) => None,
        None => Some("The token has no time of expiry (exp).".to_owned()),
    }
}

/// Times before which it is not valid and which are ahead, each with what is said of it.
fn starts(payload: &Map<String, Value>, at: u64) -> impl Iterator<Item = (u64, String)> {
    let ahead = ["iat", "nbf"].into_iter().filter_map(move |name| {
        let time = time_of(payload, name)?;
        (time > at).then_some((name, time))
    });
    ahead.map(move |(name, time)| {
        let text = format!(
            "By this machine's clock the token is not valid yet: {name} is {}. An edge allows clock_skew_s: 60 s unless it is configured, and at most {MOST_SKEW_S} s. Compare the clocks of the STS and of this machine.",
            timestamps::beside(time, at)
        );
        (time, text)
    })
}

fn revoked(payload: &Value, revocations: &Revocations) -> Vec<String> {
    let of_claim = |name: &&str| payload.get(*name).and_then(Value::as_str);
    let hit = ANCHORS
        .iter()
        .filter_map(|name| Some((name, of_claim(name)?)));
    let hit = hit.filter(|(_, id)| revocations.revoked().iter().any(|one| one == id));
    let mut wrong: Vec<String> = hit
        .map(|(name, id)| {
            format!(
                "It is revoked: {name} {}. The caller starts a new session.",
                shown(id)
            )
        })
        .collect();
    let epoch = payload
        .get("delegation_graph_epoch")
        .and_then(Value::as_u64);
    if let (Revocations::Answered(answer), Some(epoch)) = (revocations, epoch)
        && epoch < answer.epoch
    {
        wrong.push(format!(
            "Its delegation epoch {epoch} is older than the zone's, {}. The caller gets a new mandate.",
            answer.epoch
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use caracal_mandate::config::Configuration;

    use super::*;

    fn reading_of(payload: &Value, state: &State) -> Reading {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = serde_json::json!({"alg": "ES256"});
        let token = format!("{}.{}.c2lnbmF0dXJl", part(&header), part(payload));
        let head = format!("GET /x HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
        read(&Request::recorded(head.as_bytes()).unwrap(), 1_000, state)
    }

    fn alone() -> std::sync::Arc<State> {
        let state = State::new(10, None);
        state.stand_alone();
        state
    }

    #[test]
    fn a_token_without_a_configuration_is_shown_within_bounds() {
        let mut members = Map::new();
        for n in 0..MOST_MEMBERS.saturating_mul(2) {
            let value = vec!["<\u{202e}".repeat(50); 10];
            members.insert(format!("m{n}\u{1b}{}", "x".repeat(500)), value.into());
        }
        let Reading { wrong, facts, .. } = reading_of(&Value::Object(members), &alone());
        assert_eq!(wrong, ["The token has no time of expiry (exp)."]);
        assert_eq!(facts.len(), MOST_MEMBERS.saturating_add(4));
        for (name, text) in &facts {
            let (name, text) = (name.chars().count(), text.chars().count());
            assert!(name < 300 && text < 320, "{name}, {text}");
        }
        let shown = format!("{facts:?}");
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));
    }

    /// Sure and doubtful words, beside what an edge with any `clock_skew_s` does.
    #[test]
    fn what_is_wrong_without_a_configuration_is_said() {
        for (payload, wrong, doubtful) in [
            (serde_json::json!({"exp": 1_001}), "", ""),
            (serde_json::json!({"exp": 1_000}), "has expired", ""),
            (
                serde_json::json!({"exp": 2_000, "nbf": 1_001}),
                "",
                "nbf is",
            ),
            (
                serde_json::json!({"exp": 2_000, "iat": 1_300}),
                "",
                "iat is",
            ),
            (
                serde_json::json!({"exp": 2_000, "iat": 1_301}),
                "iat is",
                "",
            ),
        ] {
            let reading = reading_of(&payload, &alone());
            for (list, said) in [(reading.wrong, wrong), (reading.doubtful, doubtful)] {
                assert_eq!(list.len(), usize::from(!said.is_empty()), "{list:?}");
                assert!(list.iter().all(|one| one.contains(said)), "{list:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_here_is_no_refusal() {
        let reading = reading_of(&serde_json::json!({"exp": 2_000}), &State::new(10, None));
        assert!(reading.wrong.is_empty(), "{:?}", reading.wrong);
        let [said] = &reading.doubtful[..] else {
            panic!("{:?}", reading.doubtful);
        };
        assert!(said.contains("is not known here"), "{said}");
    }

    /// The largest leeway is the schema's.
    #[test]
    fn the_largest_leeway_is_that_of_configurations() {
        let parsed = |skew: u64| {
            let settings = serde_json::json!({"clock_skew_s": skew}).to_string();
            let errors = Configuration::from_json(settings.as_bytes(), &|_| None);
            format!("{:?}", errors.unwrap_err())
        };
        assert!(!parsed(MOST_SKEW_S).contains("clock_skew_s"));
        assert!(parsed(MOST_SKEW_S.saturating_add(1)).contains("clock_skew_s"));
    }
}
