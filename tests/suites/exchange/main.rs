//! Gateway mode's native side: the companion exchanges one-shot mandates at the
//! development STS and notes them in a real Redis. Each case is judged by the answer, by
//! what Redis has, and by what the STS saw.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::mint::{AUDIENCE, ZONE, now};
use caracal_tests::processes::{Companion, GATEWAY_KEY, Redis, Sts, until};
use caracal_tests::servers::Response;
use serde_json::{Value, json};

mod credentials;
mod failures;
mod places;
mod refusals;
mod replays;
mod starts;
mod strict_sts;
mod wire;

const SOON: Duration = Duration::from_secs(15);
const SECRET: &str = "provider-secret-value";

/// A resource with the usual scope and upstream.
fn resource(changes: Value) -> Value {
    let mut resource = json!({
        "scopes": ["billing:read"], "upstream_url": "https://upstream.test/base",
    });
    for (name, value) in changes.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

/// The usual resource, decided so.
fn decided(decision: Value) -> Value {
    json!({ AUDIENCE: resource(json!({ "decision": decision })) })
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let payload = BASE64.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}

fn question(mandate: &str, changes: Value) -> Value {
    let mut body = json!({
        "mandate": mandate, "resource": AUDIENCE, "method": "GET", "path": "/invoices",
        "request_id": "request-1",
    });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Redis, STS and companion.
struct Scene {
    redis: Redis,
    sts: Sts,
    companion: Companion,
}

impl Scene {
    fn new(resources: Value) -> Self {
        Scene::with(resources, &[])
    }

    fn with(resources: Value, options: &[&str]) -> Self {
        let redis = Redis::start(&[]);
        let sts = Sts::start(&[ZONE], &resources);
        let companion = Companion::of(&redis.url())
            .gateway(&sts.url())
            .with(options)
            .started();
        // Its connection for marks is another one than those that make it ready.
        let scene = Scene {
            redis,
            sts,
            companion,
        };
        until("it notes used mandates", SOON, || {
            scene.ask(&scene.sts.odd(&json!({"target": []}))).json()["refused"]["cause"] != "redis"
        });
        scene
    }

    fn send(&self, mandate: &str, changes: Value) -> Response {
        let body = question(mandate, changes);
        self.companion.post("/v1/exchange", &body, None)
    }

    fn ask(&self, mandate: &str) -> Response {
        self.send(mandate, json!({}))
    }

    fn granted(&self, mandate: &str) -> Value {
        let answer = self.ask(mandate);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let granted = answer.json()["granted"].clone();
        assert!(granted.is_object(), "{}", answer.json());
        granted
    }

    fn refused(&self, mandate: &str) -> Value {
        refusal(&self.ask(mandate))
    }

    /// The request that used a mandate, as Redis has it.
    fn used_by(&self, mandate: &str) -> Option<String> {
        self.redis
            .ask(&["GET", &format!("seen:jti:{}", jti(mandate))])
    }
}

fn refusal(answer: &Response) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let refused = answer.json()["refused"].clone();
    assert!(refused.is_object(), "{}", answer.json());
    let says = refused["error_description"].as_str().unwrap();
    let burnt = refused["burnt"] == true;
    assert_eq!(says.contains("ask for a new one"), burnt, "{says}");
    refused
}

/// Status, error, cause, and whether the mandate is used up.
#[track_caller]
fn is(refused: &Value, status: u16, error: &str, cause: &str, burnt: bool) {
    let seen = json!([
        refused["status"],
        refused["error"],
        refused["cause"],
        refused["burnt"]
    ]);
    assert_eq!(seen, json!([status, error, cause, burnt]), "{refused}");
}

/// The mandate was used before.
fn is_replay(refused: &Value) {
    is(refused, 401, "invalid_token", "replay", true);
}
