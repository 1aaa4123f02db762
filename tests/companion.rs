//! The companion's own API over its own state, without a socket, for the
//! in-process host: what the filter gets there is what it gets from the program.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use caracal_feed::metrics::Metrics;
use caracal_feed::state::State;
use caracal_feed::token::Token;
use caracal_feed::{Companion, api};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::host::{Answer, Callout};

/// How long a revocation lasts in these tests.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// A companion in this process. Its state never waits for Redis.
pub struct InProcess {
    state: Arc<State>,
    routes: Router,
    runtime: Runtime,
    /// It is of a version that does not know positions.
    pub is_old: bool,
    _stop: watch::Sender<bool>,
}

impl Default for InProcess {
    fn default() -> Self {
        InProcess::new(None)
    }
}

impl InProcess {
    pub fn new(token: Option<&str>) -> Self {
        InProcess::with(State::new(8_000_000, None), token)
    }

    /// One that keeps the epochs of one zone only.
    pub fn of_zone(zone: &str) -> Self {
        InProcess::with(State::new(8_000_000, Some(zone.to_owned())), None)
    }

    fn with(state: Arc<State>, token: Option<&str>) -> Self {
        state.stand_alone();
        let (stop, stopping) = watch::channel(false);
        let companion = Companion {
            state: Arc::clone(&state),
            metrics: Metrics::new().unwrap(),
            edges: Arc::default(),
            stopping,
        };
        InProcess {
            state,
            routes: api::routes(companion, token.map(Token::of), api::Parts::default()),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            is_old: false,
            _stop: stop,
        }
    }

    pub fn revoke(&self, anchor: &str) {
        self.state.revoke(anchor, LONG);
    }

    pub fn revoke_for(&self, anchor: &str, seconds: u64) {
        self.state.revoke(anchor, Duration::from_secs(seconds));
    }

    pub fn raise(&self, zone: &str, epoch: u64) {
        self.state.raise(zone, epoch, LONG);
    }

    /// Status and body, as the program would answer at once.
    pub fn get(&self, path: &str, authorization: Option<&str>) -> (u16, Vec<u8>) {
        self.call(Method::GET, path, authorization, &[])
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        self.runtime.block_on(async {
            let answer = self.routes.clone().oneshot(request).await.unwrap();
            let status = answer.status().as_u16();
            let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            (status, body.to_vec())
        })
    }

    /// The answer to a callout. The wait is the test clock's, not a real one: a
    /// page without news comes after it.
    pub fn answer(&self, callout: &Callout) -> Answer {
        let (path, wait) = match callout.path.split_once("&wait_ms=") {
            None => (callout.path.clone(), 0),
            Some((before, rest)) => {
                let (wait, after) = rest.split_once('&').unwrap();
                (format!("{before}&{after}"), wait.parse().unwrap())
            }
        };
        let path = match path.rsplit_once("&position=") {
            Some((before, _)) if self.is_old => before.to_owned(),
            _ => path,
        };
        let authorization = callout.headers.get("authorization");
        let authorization = authorization.map(|v| String::from_utf8(v.to_vec()).unwrap());
        let method = callout.method.parse().unwrap();
        let (status, body) = self.call(method, &path, authorization.as_deref(), &callout.body);
        let page: Value = serde_json::from_slice(&body).unwrap_or_default();
        let news = page["entries"].as_array().is_none_or(|e| !e.is_empty());
        let wait = if news || status != 200 { 1 } else { wait };
        Answer::with(status.into(), body).after(Duration::from_millis(wait))
    }
}
