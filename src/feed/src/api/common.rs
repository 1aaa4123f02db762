//! What the handlers have in common.

use std::sync::Arc;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::Companion;
use crate::answers::failed;
use crate::exchange::Exchange;
use crate::memory::Memory;
use crate::redis::health::Limited;
use crate::state::page::NoPage;
use crate::token::Token;

#[derive(Clone)]
pub(super) struct Api {
    pub(super) companion: Companion,
    pub(super) token: Option<Token>,
    pub(super) memory: Option<Arc<Memory>>,
    pub(super) gateway: Option<Arc<Exchange>>,
    pub(super) waits: Arc<Semaphore>,
    pub(super) unauthorized: Arc<Limited>,
}

pub(super) fn no_page(why: NoPage) -> Response {
    match why {
        NoPage::NotReady(why) => {
            let mut response = failed(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why);
            let soon = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
            response
        }
        NoPage::Behind => no_page(NoPage::NotReady(
            "the reader is ahead of this companion, which has not heard from Redis since",
        )),
        NoPage::Gone(generation) => (
            StatusCode::GONE,
            Json(json!({"error": "gone", "generation": generation})),
        )
            .into_response(),
    }
}

pub(super) fn bad(why: &str) -> Response {
    failed(StatusCode::BAD_REQUEST, "invalid_request", why)
}
