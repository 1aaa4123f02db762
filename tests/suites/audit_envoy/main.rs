//! Audit events from a real Envoy with two workers to the product's stream in a real Redis.

mod outages;
mod reconfigured;
mod trail;

#[path = "../live_streams_envoy/upstream.rs"]
#[allow(dead_code, unreachable_pub, reason = "another suite's file")]
mod upstream;

#[path = "../audit_companion/consumer.rs"]
#[allow(dead_code, unreachable_pub, reason = "another suite's file")]
mod consumer;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::Envoy;
use caracal_tests::processes::{Companion, Redis, folder, until};
use caracal_tests::servers::Client;
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TOKEN: &str = "feed-token";
const STREAM: &str = "caracal.audit.events";
const SOON: Duration = Duration::from_secs(30);
/// Longer than any outage here lasts, on a busy machine too.
const STALE_S: u32 = 600;

/// The events of each request.
type Recorded = BTreeMap<String, Vec<Value>>;

/// How often each request is in the stream, each event judged as the product's consumer does.
fn recorded(redis: &Redis) -> Recorded {
    let mut found = Recorded::new();
    for fields in consumer::raw(redis) {
        let event = consumer::stored(&fields, KEY).event;
        let id = event["request_id"].as_str().unwrap().to_owned();
        found.entry(id).or_default().push(event);
    }
    found
}

struct Scene {
    around: Around,
    redis: Redis,
    companion: Companion,
    envoy: Envoy,
    /// Requests so far.
    sent: Cell<u64>,
}

impl Scene {
    fn new() -> Self {
        Scene::with(json!({}))
    }

    /// With more in the configuration.
    fn with(changes: Value) -> Self {
        let redis = Redis::default();
        let around = Around::default();
        let companion = Companion::of(&redis.url())
            .with(&["--audit-dir", folder("audit").to_str().unwrap()])
            .environment("AUDIT_HMAC_KEY", KEY)
            .token(TOKEN)
            .started();
        let mut audit = json!({
            "revocation": {"upstream": "feed", "max_staleness_s": STALE_S, "poll_interval_ms": 200, "token": TOKEN},
            "audit": {"upstream": "feed", "token": TOKEN},
        });
        for (name, value) in changes.as_object().unwrap() {
            audit[name] = value.clone();
        }
        let envoy = around.setup(companion.address, audit).start();
        let scene = Scene {
            around,
            redis,
            companion,
            envoy: envoy.unwrap_or_else(|log| panic!("{log}")),
            sent: Cell::new(0),
        };
        until("the edge is warm", SOON, || {
            (0..8).all(|_| scene.send("warm", true) == 200)
        });
        scene
    }

    /// Sends a request with this id, with a good mandate or none.
    fn send(&self, id: &str, good: bool) -> u16 {
        self.sent.set(self.sent.get() + 1);
        let mandate = good.then(|| self.around.mandate(json!({})));
        let mut client = Client::connect(self.envoy.listener(0));
        let headers = [("x-request-id", id)];
        client.get("/x", mandate.as_deref(), &headers).status
    }

    fn recorded(&self) -> Recorded {
        recorded(&self.redis)
    }

    #[track_caller]
    fn until_recorded(&self, id: &str) -> Value {
        until(&format!("{id} is recorded"), SOON, || {
            self.recorded().contains_key(id)
        });
        let recorded = self.recorded();
        let [event] = recorded[id].as_slice() else {
            panic!("{id} is there twice");
        };
        event.clone()
    }
}

#[test]
fn decisions_are_recorded_with_what_became_of_them() {
    let scene = Scene::new();
    assert_eq!(scene.send("admitted", true), 200);
    let event = scene.until_recorded("admitted");
    assert_eq!(event["event_type"], "edge_resource_request");
    assert_eq!(event["decision"], "allow");
    assert_eq!(event["evaluation_status"], "executed");
    let metadata = &event["metadata_json"];
    assert_eq!(metadata["gateway_status"], 200);
    assert_eq!(metadata["upstream_status"], 200);
    assert!(metadata["response_bytes"].as_u64() > Some(0), "{metadata}");

    assert_eq!(scene.send("refused", false), 401);
    let event = scene.until_recorded("refused");
    assert_eq!(event["decision"], "deny");
    assert_eq!(event["evaluation_status"], "denied");
    assert_eq!(event["metadata_json"]["reason"], "missing_token");
    assert_eq!(event["diagnostics_json"][0]["reason"], "missing_token");
    assert_eq!(event["metadata_json"]["gateway_status"], 401);
    assert_eq!(event["metadata_json"]["upstream_status"], Value::Null);
}
