//! What a filter asks, and what it is answered.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const MAX_MANDATE: usize = 16 * 1024;
const MAX_RESOURCE: usize = 1024;
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 32 * 1024;
const MAX_REQUEST_ID: usize = 128;

/// The body of `POST /v1/exchange`. The filter has verified the mandate's signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(super) mandate: String,
    pub(super) resource: String,
    pub(super) method: String,
    /// Decoded, without the query.
    pub(super) path: String,
    pub(super) request_id: String,
    /// A state that was confirmed longer ago is too old for this filter.
    #[serde(default)]
    pub(super) max_age_ms: Option<u64>,
}

impl Asked {
    /// What is wrong with it, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        let plain = |text: &str| !text.chars().any(char::is_control);
        let sized = |text: &str, most: usize| (1..=most).contains(&text.len());
        if !sized(&self.mandate, MAX_MANDATE) || !visible(&self.mandate) {
            return Some("mandate: expected a token of at most 16 KiB");
        }
        if !sized(&self.resource, MAX_RESOURCE)
            || !plain(&self.resource)
            || self.resource.trim() != self.resource
        {
            return Some("resource: expected 1 to 1024 bytes without control characters");
        }
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !sized(&self.method, MAX_METHOD) || !self.method.bytes().all(token) {
            return Some("method: expected a method of at most 32 bytes");
        }
        if !sized(&self.path, MAX_PATH) || !plain(&self.path) || !self.path.starts_with('/') {
            return Some("path: expected a decoded path of at most 32 KiB");
        }
        if !sized(&self.request_id, MAX_REQUEST_ID) || !visible(&self.request_id) {
            return Some("request_id: expected 1 to 128 visible ASCII characters");
        }
        None
    }
}

/// Why an exchange was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    Replay,
    Revoked,
    Stale,
    Redis,
    CircuitOpen,
    StsTimeout,
    StsUnreachable,
    StsRefused,
    StsAnswer,
    NoUpstream,
    Malformed,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Replay => "replay",
            Cause::Revoked => "revoked",
            Cause::Stale => "stale",
            Cause::Redis => "redis",
            Cause::CircuitOpen => "circuit_open",
            Cause::StsTimeout => "sts_timeout",
            Cause::StsUnreachable => "sts_unreachable",
            Cause::StsRefused => "sts_refused",
            Cause::StsAnswer => "sts_answer",
            Cause::NoUpstream => "no_upstream",
            Cause::Malformed => "malformed",
        }
    }
}

/// A refusal, as the filter gives it to its client.
#[derive(Serialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) error: String,
    pub(super) error_description: String,
    pub(super) cause: Cause,
    /// The mandate is used up, or may be.
    pub(super) burnt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) www_authenticate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) approval: Option<Map<String, Value>>,
}

impl Refused {
    /// One of the companion's own, before the mandate is used up.
    pub(super) fn new(status: u16, error: &str, description: &str, cause: Cause) -> Self {
        Refused {
            status,
            error: error.to_owned(),
            error_description: description.to_owned(),
            cause,
            burnt: false,
            retry_after_s: None,
            www_authenticate: None,
            approval: None,
        }
    }

    /// Something that the edge needs is missing.
    pub(super) fn unavailable(status: u16, description: &str, cause: Cause) -> Self {
        Refused::new(status, "sts_unavailable", description, cause)
    }

    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same, of a mandate that is used up: a client has to know that it needs
    /// another one.
    pub(super) fn burnt(mut self) -> Self {
        self.burnt = true;
        self.error_description
            .push_str("; this mandate is used up, ask for a new one");
        self
    }
}

/// The way to the upstream.
#[derive(Serialize)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) struct Granted {
    pub(super) url: String,
    pub(super) auth_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query_param_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_scheme: Option<String>,
    pub(super) allowed_token_hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Granted(Granted),
    Refused(Refused),
}

/// What is answered once there is a result.
#[derive(Serialize)]
pub(crate) struct Answer {
    pub(super) revoked: Vec<String>,
    pub(super) epoch: Option<u64>,
    pub(super) confirmed_age_ms: u64,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(changes: Value) -> Option<Asked> {
        let mut body = json!({
            "mandate": "a.b.c", "resource": "resource://x", "method": "GET", "path": "/",
            "request_id": "r-1",
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        serde_json::from_value(body).ok()
    }

    #[test]
    fn every_member_has_a_bound() {
        assert_eq!(asked(json!({"max_age_ms": 30})).unwrap().problem(), None);
        let longest = json!({
            "mandate": "a".repeat(16 * 1024), "resource": "r".repeat(1024),
            "method": "M".repeat(32), "path": format!("/{}", "p".repeat(32 * 1024 - 1)),
            "request_id": "i".repeat(128),
        });
        assert_eq!(asked(longest.clone()).unwrap().problem(), None);
        for (name, value) in longest.as_object().unwrap() {
            let over = format!("{}x", value.as_str().unwrap());
            for bad in [over.as_str(), "", "a\nb", "/a\u{0}"] {
                let problem = asked(json!({ name.as_str(): bad })).unwrap().problem();
                assert!(
                    problem.unwrap().starts_with(name.as_str()),
                    "{name} {bad:.9}"
                );
            }
        }
        for bad in [
            json!({"path": "x"}),
            json!({"resource": " resource://x"}),
            json!({"method": "GET /"}),
            json!({"request_id": "é"}),
        ] {
            assert!(asked(bad.clone()).unwrap().problem().is_some(), "{bad}");
        }
        assert!(asked(json!({"unknown": 1})).is_none());
        assert!(asked(json!({"max_age_ms": -1})).is_none());
    }

    #[test]
    fn an_answer_has_one_outcome() {
        let refused = Refused::new(401, "invalid_token", "no", Cause::Replay).burnt();
        let answer = Answer {
            revoked: Vec::new(),
            epoch: None,
            confirmed_age_ms: 3,
            outcome: Outcome::Refused(refused),
        };
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            json!({
                "revoked": [], "epoch": null, "confirmed_age_ms": 3,
                "refused": {
                    "status": 401, "error": "invalid_token", "cause": "replay", "burnt": true,
                    "error_description": "no; this mandate is used up, ask for a new one",
                },
            })
        );
    }
}
