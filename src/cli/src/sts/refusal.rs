//! How the STS says no.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// See the module.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
    more: Option<Box<More>>,
}

/// What few of them have.
#[derive(Debug)]
struct More {
    members: Map<String, Value>,
    header: (HeaderName, HeaderValue),
}

impl Refusal {
    pub(super) fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            error,
            description: description.into(),
            more: None,
        }
    }

    /// A request that is not well formed.
    pub(super) fn malformed(description: impl Into<String>) -> Self {
        Refusal::new(400, "invalid_token", description)
    }

    /// Policy says no, for a reason if there is one.
    pub(super) fn denied(reason: &str) -> Self {
        let description = match reason {
            "" => "policy denied".to_owned(),
            reason => format!("policy denied ({reason})"),
        };
        Refusal::new(403, "access_denied", description)
    }

    /// Somebody has to approve it first.
    pub(super) fn step_up(approval_id: &str, expires_at: &str) -> Self {
        let mut refusal = Refusal::new(401, "interaction_required", "approval required");
        let members = json!({
            "approval_id": approval_id, "approval_type": "human_approval", "state": "pending",
            "tier": "standard", "binding": "resource", "approval_expires_at": expires_at,
        });
        let challenge = HeaderValue::from_static(r#"Bearer error="interaction_required""#);
        refusal.more = Some(Box::new(More {
            members: members.as_object().cloned().unwrap_or_default(),
            header: (header::WWW_AUTHENTICATE, challenge),
        }));
        refusal
    }

    /// Too many requests; come back after so many seconds.
    pub(super) fn too_many(seconds: u64) -> Self {
        let mut refusal = Refusal::new(429, "rate_limited", "too many requests");
        refusal.more = Some(Box::new(More {
            members: Map::new(),
            header: (header::RETRY_AFTER, seconds.into()),
        }));
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let more = self.more.map(|more| *more);
        let (mut body, header) =
            more.map_or_else(Default::default, |more| (more.members, Some(more.header)));
        body.insert("error".to_owned(), json!(self.error));
        body.insert("error_description".to_owned(), json!(self.description));
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
