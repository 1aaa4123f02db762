//! The companion's HTTP API: probes, metrics, and `/v1` for filters.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::Companion;
use crate::answers::failed;
use crate::audit::{self, Audit};
use crate::edges::{Kind, Peer};
use crate::exchange::wire::Asked;
use crate::exchange::{Exchange, NoResult};
use crate::memory::Memory;
use crate::redis::health::Limited;
use crate::revocation_request::RevocationBody;
use crate::standing::readiness;
use crate::state::page::NoPage;
use crate::token::{self, Token};

/// Most requests that wait for new revocations at once.
const MAX_WAITS: usize = 1_024;
/// Largest body of a request, in bytes.
const MAX_BODY: usize = 512 * 1024;
/// Most anchors in one question or one revocation.
const MAX_ANCHORS: usize = 100;

mod pages;

use pages::{feed, snapshot};

#[derive(Clone)]
struct Api {
    companion: Companion,
    token: Option<Token>,
    memory: Option<Arc<Memory>>,
    gateway: Option<Arc<Exchange>>,
    waits: Arc<Semaphore>,
    unauthorized: Arc<Limited>,
}

/// What not every companion has.
#[derive(Default)]
pub struct Parts {
    /// If there is no Redis.
    pub memory: Option<Arc<Memory>>,
    /// In Gateway mode.
    pub gateway: Option<Arc<Exchange>>,
    /// If it takes audit events.
    pub audit: Option<Arc<Audit>>,
}

/// The routes. Without a token everybody may use `/v1`; the caller allows this on loopback
/// only.
pub fn routes(companion: Companion, token: Option<Token>, parts: Parts) -> Router {
    let api = Api {
        companion,
        token,
        memory: parts.memory,
        gateway: parts.gateway,
        waits: Arc::new(Semaphore::new(MAX_WAITS)),
        unauthorized: Arc::new(Limited::new()),
    };
    let v1 = Router::new()
        .route("/v1/feed", get(feed))
        .route("/v1/snapshot", get(snapshot))
        .route("/v1/check", post(check))
        .route("/v1/revocations", post(revoke))
        .route("/v1/exchange", post(exchange))
        .merge(audit::http::routes(parts.audit))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(api.clone(), authenticated));
    Router::new()
        .merge(v1)
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(api)
}

async fn authenticated(Shared(api): Shared<Api>, request: Request, next: Next) -> Response {
    let token = api.token.as_ref();
    if token.is_none_or(|token| token.is(token::bearer(request.headers()))) {
        let address = request.extensions().get::<Peer>().map(|peer| peer.0);
        let kind = Kind::of(request.method(), request.uri().path());
        // Until the answer, or until nobody waits for it any more.
        let _visit = match (address, kind) {
            (Some(address), Some(kind)) => {
                let agent = request.headers().get(header::USER_AGENT);
                let agent = agent.and_then(|agent| agent.to_str().ok());
                let edges = &api.companion.edges;
                Some(edges.visit(address, kind, agent.unwrap_or_default()))
            }
            _ => None,
        };
        return next.run(request).await;
    }
    api.companion.metrics.unauthorized();
    if let Some(count) = api.unauthorized.tell() {
        tracing::warn!(count, "requests of /v1 without the companion's token");
    }
    let mut response = failed(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "send the companion's token: Authorization: Bearer",
    );
    let challenge = header::HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn no_page(why: NoPage) -> Response {
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

fn bad(why: &str) -> Response {
    failed(StatusCode::BAD_REQUEST, "invalid_request", why)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    #[serde(default)]
    anchors: Vec<String>,
    #[serde(default)]
    zone: String,
}

async fn check(Shared(api): Shared<Api>, body: Result<Json<CheckBody>, JsonRejection>) -> Response {
    let Ok(Json(body)) = body else {
        return bad("expected {\"anchors\": [...], \"zone\": \"...\"}");
    };
    if body.anchors.len() > MAX_ANCHORS {
        return bad("too many anchors: at most 100");
    }
    let only = api.companion.state.only_zone();
    if !body.zone.is_empty() && only.is_some_and(|only| only != body.zone) {
        // An epoch that is not kept must not look like one that was never raised.
        return failed(
            StatusCode::CONFLICT,
            "other_zone",
            "this companion keeps the delegation epochs of another zone only: --zone",
        );
    }
    match api.companion.state.check(&body.anchors, &body.zone) {
        Ok((revoked, epoch, age)) => {
            Json(json!({"revoked": revoked, "epoch": epoch, "confirmed_age_ms": age}))
                .into_response()
        }
        Err(why) => no_page(why),
    }
}

async fn revoke(
    Shared(api): Shared<Api>,
    body: Result<Json<RevocationBody>, JsonRejection>,
) -> Response {
    let Some(memory) = &api.memory else {
        return failed(
            StatusCode::CONFLICT,
            "shared",
            "revocations come from Redis here: use caracal-edge revoke --redis-url",
        );
    };
    let Ok(Json(body)) = body else {
        return bad("expected {\"anchors\": [...]} or {\"zone\": \"...\", \"epoch\": 1}");
    };
    if let Some(problem) = body.problem() {
        return bad(problem);
    }
    match memory.add(&api.companion.state, &body).await {
        Ok(()) => Json(json!({"revoked": body.anchors, "zone": body.zone, "epoch": body.epoch}))
            .into_response(),
        Err(error) => {
            tracing::error!(error = %error, "the state file cannot be written");
            failed(
                StatusCode::INTERNAL_SERVER_ERROR,
                "not_durable",
                "it is in force here, but the state file could not be written",
            )
        }
    }
}

async fn exchange(Shared(api): Shared<Api>, body: Result<Json<Asked>, JsonRejection>) -> Response {
    let Some(gateway) = &api.gateway else {
        let why = "this companion does not exchange: start it with --gateway";
        return failed(StatusCode::NOT_FOUND, "not_found", why);
    };
    // What was sent is not repeated: it holds a token.
    let Ok(Json(asked)) = body else {
        return bad(
            "expected {\"mandate\", \"resource\", \"method\", \"path\", \"request_id\"}, and max_age_ms at most",
        );
    };
    let mut response = match gateway.answer(&asked).await {
        Ok(answer) => Json(answer).into_response(),
        Err(NoResult::Wrong(why)) => bad(why),
        Err(NoResult::NotReady(why)) => no_page(NoPage::NotReady(why)),
        Err(NoResult::Busy) => no_page(NoPage::NotReady("--max-exchanges are under way")),
    };
    let no_store = header::HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

async fn ready(Shared(api): Shared<Api>) -> Response {
    let state = &api.companion.state;
    let (why, age) = readiness(state);
    let status = match why {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body: Value = json!({
        "ready": why.is_none(), "reason": why, "confirmed_age_ms": age,
        "anchors": state.len(), "shared": api.memory.is_none(), "problems": state.problems(),
    });
    (status, Json(body)).into_response()
}

async fn metrics(Shared(api): Shared<Api>) -> Response {
    let text = api.companion.metrics.render(&api.companion.state);
    let kind = "text/plain; version=0.0.4";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
