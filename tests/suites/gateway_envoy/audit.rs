//! The audit events of Gateway mode, as the product's stream has them.

use std::time::Duration;

use caracal_tests::mint::{AUDIENCE, ZONE, now};
use caracal_tests::processes::until;
use serde_json::{Value, json};

use super::consumer;
use super::scene::{KEY, SOON, Scene, resource};

impl Scene {
    /// The events of a request, once there are so many.
    #[track_caller]
    fn events(&self, request_id: &str, count: usize) -> Vec<Value> {
        let found = || {
            let redis = self.redis.lock().unwrap();
            let all = consumer::raw(&redis);
            let stored = all.iter().map(|fields| consumer::stored(fields, KEY));
            let events = stored.map(|stored| stored.event);
            let ours = events.filter(|event| event["request_id"] == request_id);
            ours.collect::<Vec<_>>()
        };
        until(&format!("the events of {request_id}"), SOON, || {
            found().len() >= count
        });
        // None comes later.
        std::thread::sleep(Duration::from_millis(500));
        let found = found();
        assert_eq!(found.len(), count, "{found:?}");
        found
    }
}

/// The guide's "records action-result audit", with the members of the product's Gateway.
#[test]
fn an_action_and_its_replay_are_recorded() {
    let scene = Scene::start(json!({ AUDIENCE: resource(json!({})) }));
    let mandate = scene.sts.mandate(AUDIENCE);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let more = [("x-request-id", "first"), ("traceparent", parent.as_str())];
    assert_eq!(scene.send("/x", &mandate, &more).status, 200);
    let [event] = scene.events("first", 1).try_into().unwrap();
    let found = |name: &str| event[name].clone();
    assert_eq!(found("event_type"), "gateway_resource_request");
    assert_eq!(found("decision"), "allow");
    assert_eq!(found("evaluation_status"), "executed");
    assert_eq!(found("zone_id"), ZONE);
    let metadata = &event["metadata_json"];
    for (name, value) in [
        ("resource", json!(AUDIENCE)),
        ("method", json!("GET")),
        ("gateway_status", json!(200)),
        ("upstream_status", json!(200)),
        ("result_class", json!("success")),
        ("response_bytes", json!("reached".len())),
        ("trace_id", json!(trace)),
        ("upstream_host", json!("billing.test")),
    ] {
        assert_eq!(metadata[name], value, "{name}");
    }
    assert!(metadata["application_id"].is_string());
    assert!(metadata["latency_ms"].is_u64());
    scene.reached();

    let again = scene.send("/x", &mandate, &[("x-request-id", "again")]);
    assert_eq!(again.status, 401);
    let mut kinds: Vec<Value> = scene.events("again", 2);
    kinds.sort_by_key(|event| event["event_type"].to_string());
    assert_eq!(kinds[0]["event_type"], "gateway_resource_request");
    assert_eq!(kinds[0]["decision"], "deny");
    assert_eq!(kinds[0]["metadata_json"]["reason"], "token_replay");
    assert_eq!(kinds[0]["metadata_json"]["gateway_status"], 401);
    assert_eq!(kinds[1]["event_type"], "replay_detected");
    assert_eq!(kinds[1]["evaluation_status"], "anomaly");
    scene.tells_no_secret(&[&mandate]);
    let all = consumer::raw(&scene.redis.lock().unwrap());
    for fields in all {
        let data = String::from_utf8(fields["data"].clone()).unwrap();
        assert!(mandate.split('.').all(|part| !data.contains(part)));
    }
}

/// Each refusal has its precise cause, which the answer does not tell.
#[test]
fn refusals_are_recorded_with_their_cause() {
    let scene = Scene::configured(
        json!({ AUDIENCE: resource(json!({"upstream_url": "https://elsewhere.test"})) }),
        "https://billing.test",
    );
    let odd = |changes: Value| scene.sts.odd(&changes);
    let cases = [
        ("missing", String::new(), "deny", "denied", "missing_token"),
        (
            "short",
            odd(json!({"exp": now() + 34})),
            "deny",
            "denied",
            "credential_expiring",
        ),
        (
            "use",
            odd(json!({"use": "resource"})),
            "deny",
            "denied",
            "invalid_token",
        ),
        (
            "zone",
            odd(json!({"zone_id": "other"})),
            "deny",
            "denied",
            "invalid_zone",
        ),
        (
            "target",
            odd(json!({"target": []})),
            "deny",
            "denied",
            "access_denied",
        ),
        // The product counts what the STS has allowed as allowed.
        (
            "upstream",
            scene.sts.mandate(AUDIENCE),
            "allow",
            "upstream_rejected",
            "upstream_mismatch",
        ),
    ];
    for (id, mandate, decision, status, reason) in cases {
        let answer = scene.send("/x", &mandate, &[("x-request-id", id)]);
        let [event] = scene.events(id, 1).try_into().unwrap();
        assert_eq!(event["decision"], decision, "{id}");
        assert_eq!(event["evaluation_status"], status, "{id}");
        assert_eq!(event["zone_id"], ZONE, "{id}");
        assert_eq!(event["metadata_json"]["reason"], reason, "{id}");
        assert_eq!(
            event["metadata_json"]["gateway_status"], answer.status,
            "{id}"
        );
        assert_eq!(
            event["metadata_json"]["upstream_status"],
            Value::Null,
            "{id}"
        );
    }
    assert!(scene.reached().is_empty());
}
