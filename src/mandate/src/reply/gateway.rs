//! What a client of Gateway mode is answered. The names are those of Caracal's Gateway, so
//! that its clients see no difference; they tell less than our codes, which logs and
//! metrics keep.

use super::challenge;
use super::code::ErrorCode;
use super::http::{Reply, ReplyFormat};
use super::refusal::Refusal;

impl ErrorCode {
    /// The status and the `error` of Gateway mode.
    #[cold]
    #[inline(never)]
    pub fn of_gateway(self) -> (u16, &'static str) {
        match self {
            ErrorCode::InvalidRequest => (400, "invalid_token"),
            ErrorCode::MissingToken
            | ErrorCode::InvalidToken
            | ErrorCode::SessionRevoked
            | ErrorCode::DelegationStale
            | ErrorCode::TokenReplay => (401, "invalid_token"),
            ErrorCode::InvalidZone => (401, "zone_invalid"),
            ErrorCode::InsufficientScope => (403, "scope_insufficient"),
            ErrorCode::CredentialExpiring => (401, "credential_expired_not_renewable"),
            ErrorCode::ExchangeFailed => (502, "sts_unavailable"),
            ErrorCode::UpstreamMismatch => (502, "internal_error"),
            ErrorCode::UpstreamRequest => (400, "internal_error"),
            ErrorCode::SessionRequired
            | ErrorCode::DelegationRequired
            | ErrorCode::ChainMismatch
            | ErrorCode::HopCountExceeded
            | ErrorCode::StsUnavailable
            | ErrorCode::AccessDenied
            | ErrorCode::ExchangeRefused
            | ErrorCode::OriginDenied
            | ErrorCode::ToolDenied
            | ErrorCode::BodyTooLarge
            | ErrorCode::BodyTimeout => (self.http_status(), self.as_str()),
        }
    }
}

/// The gRPC status of an HTTP status (as gRPC's own mapping, but for 4xx with a meaning
/// of their own here).
fn grpc_status(http: u16) -> u8 {
    match http {
        400 => 3,
        401 => 16,
        403 => 7,
        409 => 10,
        429 => 8,
        500.. => 14,
        _ => 2,
    }
}

impl Reply {
    /// The reply of Gateway mode (product, Gateway, section 2): with the request's id.
    pub fn of_gateway(refusal: &Refusal, format: ReplyFormat, request_id: &str) -> Self {
        let relayed = refusal.relayed();
        let (mut status, mut error) = refusal.code().of_gateway();
        if let Some(relayed) = relayed {
            (status, error) = (relayed.status, &relayed.error);
        }
        let mut headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("x-request-id", request_id.to_owned()),
        ];
        match relayed.and_then(|relayed| relayed.www_authenticate.clone()) {
            Some(of_sts) => headers.push(("www-authenticate", of_sts)),
            None if status == 401 => {
                let code = refusal.code().challenge().unwrap_or(Some("invalid_token"));
                let said = challenge::plain(code, refusal.scope());
                headers.push(("www-authenticate", said));
            }
            None => {}
        }
        let retry_after_s = match relayed {
            Some(relayed) => relayed.retry_after_s,
            None => (status == 503 && !refusal.is_used_up()).then_some(1),
        };
        if let Some(seconds) = retry_after_s {
            headers.push(("retry-after", seconds.to_string()));
        }
        let body = match format {
            ReplyFormat::Http => {
                headers.push(("content-type", "application/json".to_owned()));
                let approval = relayed.map_or(&[][..], |relayed| &relayed.approval);
                body(refusal, error, request_id, approval)
            }
            ReplyFormat::Grpc => [error, ": ", refusal.description()].concat(),
        };
        Reply {
            status,
            grpc_status: grpc_status(status),
            headers,
            body: body.into_bytes(),
        }
    }
}

fn body(
    refusal: &Refusal,
    error: &str,
    request_id: &str,
    approval: &[(&'static str, String)],
) -> String {
    // Texts alone: there is nothing in them that could not be written.
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let members = [
        ("error", quoted(error)),
        ("error_description", quoted(refusal.description())),
        ("requestId", quoted(request_id)),
        ("error_hint", quoted(refusal.hint())),
    ];
    let all = members.iter().chain(approval);
    let all: Vec<String> = all
        .map(|(name, value)| ["\"", name, "\":", value].concat())
        .collect();
    ["{", &all.join(","), "}"].concat()
}
