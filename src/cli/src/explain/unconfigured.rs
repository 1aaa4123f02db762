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

/// What is wrong with a request whatever the configuration is, and its parts by name.
pub(super) fn read(
    request: &Request,
    at: u64,
    state: &State,
) -> (Vec<String>, Vec<(String, String)>) {
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
        Err(refusal) => return (vec![refusal.description().to_owned()], facts),
    };
    let mut parts = token.split(|b| *b == b'.');
    let mut decoded = || object(parts.next().unwrap_or_default());
    let (header, payload) = (decoded(), decoded());
    let mut wrong = Vec::new();
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
        wrong.extend(times(&payload, at));
        let payload = Value::Object(payload);
        let revocations = Revocations::of_state(state, Some(&payload), None);
        wrong.extend(revoked(&payload, &revocations));
    }
    (wrong, facts)
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

fn times(payload: &Map<String, Value>, at: u64) -> Vec<String> {
    let time = |name: &str| payload.get(name).and_then(Value::as_u64);
    let mut wrong = Vec::new();
    match time("exp") {
        Some(exp) if exp <= at => wrong.push(format!(
            "The token has expired: exp is {}. The caller gets a new mandate from the STS.",
            timestamps::beside(exp, at)
        )),
        Some(_) => {}
        None => wrong.push("The token has no time of expiry (exp).".to_owned()),
    }
    for name in ["iat", "nbf"] {
        if let Some(time) = time(name).filter(|time| *time > at) {
            wrong.push(format!(
                "The token is not valid yet: {name} is {}. Compare the clocks of the STS and of this machine.",
                timestamps::beside(time, at)
            ));
        }
    }
    wrong
}

fn revoked(payload: &Value, revocations: &Revocations) -> Vec<String> {
    if let Revocations::Unavailable { why, .. } = revocations {
        return vec![format!("Whether it is revoked is not known: {why}.")];
    }
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
    use super::*;

    fn facts_of(payload: &Value) -> (Vec<String>, Vec<(String, String)>) {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = serde_json::json!({"alg": "ES256"});
        let token = format!("{}.{}.c2lnbmF0dXJl", part(&header), part(payload));
        let head = format!("GET /x HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
        let state = State::new(10, None);
        state.stand_alone();
        read(&Request::recorded(head.as_bytes()).unwrap(), 1_000, &state)
    }

    #[test]
    fn a_token_without_a_configuration_is_shown_within_bounds() {
        let mut members = Map::new();
        for n in 0..MOST_MEMBERS.saturating_mul(2) {
            let value = vec!["<\u{202e}".repeat(50); 10];
            members.insert(format!("m{n}\u{1b}{}", "x".repeat(500)), value.into());
        }
        let (wrong, facts) = facts_of(&Value::Object(members));
        assert_eq!(wrong, ["The token has no time of expiry (exp)."]);
        assert_eq!(facts.len(), MOST_MEMBERS.saturating_add(4));
        for (name, text) in &facts {
            let (name, text) = (name.chars().count(), text.chars().count());
            assert!(name < 300 && text < 320, "{name}, {text}");
        }
        let shown = format!("{facts:?}");
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'));
    }

    #[test]
    fn what_is_wrong_without_a_configuration_is_said() {
        for (payload, said) in [
            (serde_json::json!({"exp": 1_000}), "has expired"),
            (serde_json::json!({"exp": 2_000, "nbf": 1_001}), "nbf is"),
        ] {
            let (wrong, _) = facts_of(&payload);
            assert!(wrong.len() == 1 && wrong[0].contains(said), "{wrong:?}");
        }
        assert!(facts_of(&serde_json::json!({"exp": 2_000})).0.is_empty());
    }
}
