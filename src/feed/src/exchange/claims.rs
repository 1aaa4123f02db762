//! What is read of a mandate. The filter has verified its signature, and the STS
//! verifies it again: what is read here only chooses what to look up, and a claim that
//! is not as expected refuses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_mandate::json::{Members, Number, Value, member, parse_object};

/// No STS makes a mandate valid for longer than its revocation is kept.
const MAX_LIFE_S: u64 = 24 * 60 * 60;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) jti: String,
    pub(super) exp: u64,
    pub(super) zone: String,
    pub(super) client: String,
    /// What a revocation can name.
    pub(super) anchors: Vec<String>,
    pub(super) epoch: Option<u64>,
}

/// Why a mandate cannot be exchanged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    Malformed,
    NoId,
    Expired,
    TooLong,
}

impl Claims {
    /// Reads the payload strictly: a name that stands twice could be read in two ways.
    ///
    /// # Errors
    /// Why it cannot be exchanged.
    pub(super) fn read(mandate: &str, now: u64) -> Result<Self, Unusable> {
        let mut parts = mandate.split('.');
        let payload = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(payload), Some(_), None) => payload,
            _ => return Err(Unusable::Malformed),
        };
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| Unusable::Malformed)?;
        let payload = parse_object(&payload).map_err(|_| Unusable::Malformed)?;
        let of = |name: &str| text(&payload, name);
        let id = |name: &str| {
            let id = of(name)?.filter(|id| is_id(id));
            id.ok_or(Unusable::Malformed)
        };
        let mut anchors = Vec::new();
        for (name, required) in [
            ("sid", true),
            ("root_sid", true),
            ("agent_session_id", false),
            ("delegation_edge_id", false),
        ] {
            match of(name)? {
                Some(anchor) if !anchors.contains(&anchor) => anchors.push(anchor),
                None if required => return Err(Unusable::Malformed),
                _ => {}
            }
        }
        let claims = Claims {
            exp: number(&payload, "exp")?.ok_or(Unusable::Malformed)?,
            zone: id("zone_id")?,
            client: id("client_id")?,
            anchors,
            epoch: number(&payload, "delegation_graph_epoch")?,
            // Last, so that a mandate that has everything but that is told apart.
            jti: of("jti")?.ok_or(Unusable::NoId)?,
        };
        match claims.exp.checked_sub(now) {
            None | Some(0) => Err(Unusable::Expired),
            Some(life) if life > MAX_LIFE_S => Err(Unusable::TooLong),
            Some(_) => Ok(claims),
        }
    }
}

/// The form that the Gateway demands of zones and applications.
fn is_id(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    (1..=128).contains(&text.len()) && text.bytes().all(known)
}

/// A string; absent, null and empty are none.
fn text(payload: &Members<'_>, name: &str) -> Result<Option<String>, Unusable> {
    match member(payload, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(Unusable::Malformed),
    }
}

/// A whole number of at most 2^63-1.
fn number(payload: &Members<'_>, name: &str) -> Result<Option<u64>, Unusable> {
    match member(payload, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(Number::Integer(number))) => Ok(Some(*number)),
        Some(_) => Err(Unusable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    fn read(changes: serde_json::Value) -> Result<Claims, Unusable> {
        let mut payload = json!({
            "jti": "j-1", "exp": NOW + 60, "zone_id": "z", "client_id": "app-1",
            "sid": "s", "root_sid": "s", "agent_session_id": "a", "delegation_edge_id": null,
        });
        for (name, value) in changes.as_object().unwrap() {
            payload[name] = value.clone();
        }
        Claims::read(&token(&payload.to_string()), NOW)
    }

    #[test]
    fn what_is_looked_up_is_read() {
        let claims = read(json!({"delegation_graph_epoch": 7})).unwrap();
        assert_eq!(claims.anchors, ["s", "a"]);
        assert_eq!((claims.epoch, claims.exp), (Some(7), NOW + 60));
        assert_eq!(
            (claims.zone.as_str(), claims.client.as_str()),
            ("z", "app-1")
        );
    }

    #[test]
    fn anything_odd_refuses() {
        for odd in [
            json!({"exp": null}),
            json!({"exp": "1"}),
            json!({"exp": 1.5}),
            json!({"exp": -1}),
            json!({"zone_id": "a b"}),
            json!({"zone_id": "z".repeat(129)}),
            json!({"client_id": ""}),
            json!({"sid": null}),
            json!({"agent_session_id": 1}),
            json!({"delegation_graph_epoch": "7"}),
        ] {
            assert_eq!(read(odd.clone()), Err(Unusable::Malformed), "{odd}");
        }
        for jti in [json!({"jti": ""}), json!({"jti": null})] {
            assert_eq!(read(jti), Err(Unusable::NoId));
        }
        for text in ["", "a.b", "a.b.c.d", "e30.!.x", "e30.e30.x.y"] {
            assert_eq!(Claims::read(text, NOW), Err(Unusable::Malformed), "{text}");
        }
        let twice = token(r#"{"jti":"a","jti":"b","exp":9,"zone_id":"z","client_id":"c"}"#);
        assert_eq!(Claims::read(&twice, NOW), Err(Unusable::Malformed));
    }

    #[test]
    fn its_life_is_over_or_too_long() {
        assert_eq!(read(json!({"exp": NOW})), Err(Unusable::Expired));
        assert_eq!(read(json!({"exp": NOW - 1})), Err(Unusable::Expired));
        assert!(read(json!({"exp": NOW + MAX_LIFE_S})).is_ok());
        assert_eq!(
            read(json!({"exp": NOW + MAX_LIFE_S + 1})),
            Err(Unusable::TooLong)
        );
    }
}
