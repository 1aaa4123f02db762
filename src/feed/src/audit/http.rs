//! The API's part for audit events.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::count::Refused;
use super::recent::Wanted;
use super::{Audit, NotTaken};
use crate::answers::failed;

/// Most events of an answer.
const MAX_EVENTS: usize = 1_000;

/// `POST /v1/audit` and `GET /v1/audit/recent`. The caller limits the body and asks for the
/// token.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(audit: Option<Arc<Audit>>) -> Router<S> {
    Router::new()
        .route("/v1/audit", post(take))
        .route("/v1/audit/recent", get(recent))
        .with_state(audit)
}

fn off() -> Response {
    let why = "this companion keeps no audit events: start it with --audit-dir";
    failed(StatusCode::NOT_FOUND, "not_found", why)
}

fn later(error: &str, why: &str, seconds: &'static str) -> Response {
    let mut response = failed(StatusCode::SERVICE_UNAVAILABLE, error, why);
    let seconds = HeaderValue::from_static(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

async fn take(
    State(audit): State<Option<Arc<Audit>>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(audit) = audit else { return off() };
    if !is_json(&headers) {
        return failed(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send content-type: application/json",
        );
    }
    let body = match body {
        Ok(body) => body,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return failed(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "a batch has at most 512 KiB",
            );
        }
        Err(_) => {
            return failed(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the body did not arrive",
            );
        }
    };
    match audit.take(&body).await {
        Ok((accepted, rejected)) => {
            Json(json!({"accepted": accepted, "rejected": rejected})).into_response()
        }
        Err(NotTaken::Wrong(why)) => failed(StatusCode::BAD_REQUEST, "invalid_request", why),
        Err(NotTaken::Refused(Refused::Full)) => {
            later("audit_full", "the queue of audit events is full", "5")
        }
        Err(NotTaken::Refused(Refused::Disk)) => later(
            "audit_not_durable",
            "the events could not be written to disk",
            "5",
        ),
        Err(NotTaken::Refused(Refused::Busy)) => {
            later("audit_busy", "too many batches are being written", "1")
        }
    }
}

/// A browser sends this type to another site only after it has asked, and it gets no answer
/// that permits it. So a page that somebody looks at cannot post events.
fn is_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (given.next(), given.next()) else {
        return false;
    };
    let kind = only.to_str().unwrap_or_default().split(';').next();
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[derive(Deserialize)]
struct RecentQuery {
    request_id: Option<String>,
    after: Option<u64>,
    max: Option<usize>,
}

#[derive(Serialize)]
struct Page<'a> {
    events: Vec<&'a RawValue>,
    next: u64,
}

async fn recent(
    State(audit): State<Option<Arc<Audit>>>,
    query: Result<Query<RecentQuery>, QueryRejection>,
) -> Response {
    let Some(audit) = audit else { return off() };
    let Ok(Query(query)) = query else {
        return failed(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "expected request_id, after and max",
        );
    };
    let (found, next) = audit.recent.find(&Wanted {
        request_id: query.request_id.as_deref(),
        after: query.after,
        max: query.max.unwrap_or(MAX_EVENTS).clamp(1, MAX_EVENTS),
    });
    let events = found
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok());
    Json(Page {
        events: events.collect(),
        next,
    })
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        let is = |kinds: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json ;x",
        ] {
            assert!(is(&[good]), "{good}");
        }
        for bad in [
            &[][..],
            &[""],
            &["text/plain"],
            &["text/plain; application/json"],
            &["application/json-seq"],
            &["application/x-www-form-urlencoded"],
            &["application/json, text/plain"],
            &["application/json", "text/plain"],
        ] {
            assert!(!is(bad), "{bad:?}");
        }
    }
}
