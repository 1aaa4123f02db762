//! Audit events: what the filter tells the companion about each decision, and what happens
//! when the companion does not listen.

mod edge;
mod hosts;
mod queue;
mod share;

use std::time::Duration;

use caracal_tests::host::{Answer, Level, Request};
use caracal_tests::hosts::ENVOY;
use caracal_tests::mint::AUDIENCE;
use serde_json::{Value, json};

use edge::{Edge, GATHERED, START};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The same without what differs each time.
fn steady(event: &Value) -> Value {
    let mut event = event.clone();
    let id = event["id"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    let at = event["occurred_at_us"].as_u64().unwrap();
    assert_eq!(at / 10_000_000_000, START / 10_000);
    event.as_object_mut().unwrap().remove("id");
    event.as_object_mut().unwrap().remove("occurred_at_us");
    event
}

#[test]
fn an_admitted_request_is_an_event_once_it_is_answered() {
    let mut edge = Edge::start(ENVOY, json!({}));
    let token = edge.mandate(json!({
        "agent_session_id": "agent-1", "delegation_edge_id": "edge-1",
        "delegation_path": ["edge-1"],
    }));
    let request = Request::post("/payouts", "x")
        .bearer(&token)
        .header("x-request-id", "id-1")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let stream = edge.send(request);
    assert_eq!(
        edge.events(),
        Vec::<Value>::new(),
        "not before it is answered"
    );
    edge.proxy.respond(stream, 201, [("content-length", "0")]);
    let event = edge.event();
    let fingerprint = event["metadata"]["subject_fingerprint"].as_str().unwrap();
    assert_eq!(fingerprint.len(), 16);
    assert_eq!(
        steady(&event),
        json!({
            "zone_id": "zone-1", "event_type": "edge_resource_request", "request_id": "id-1",
            "decision": "allow", "evaluation_status": "executed",
            "metadata": {
                "application_id": "app-1", "resource": AUDIENCE,
                "subject_fingerprint": fingerprint, "subject_kind": "user",
                "method": "POST", "trace_id": TRACE, "agent_session_id": "agent-1",
                "delegation_edge_id": "edge-1", "gateway_status": 201, "latency_ms": 300,
                "response_bytes": 0, "upstream_status": 201, "result_class": "success",
            },
        })
    );
    assert_eq!(edge.proxy.metric_value("caracal_audit_sent_total"), 1);
    assert_eq!(edge.proxy.metric_value("caracal_audit_dropped_total"), 0);
    edge.proxy.assert_clean();
}

#[test]
fn each_refusal_is_an_event_with_its_code() {
    let mut edge = Edge::start(
        ENVOY,
        json!({"required_scopes": ["a:b"], "exclude": ["/open"]}),
    );
    let foreign = edge.mandate(json!({"zone_id": "zone-2", "client_id": "app-9"}));
    let poor = edge.mandate(json!({"scope": "c:d"}));
    let unsigned = format!("{}AAAA", &poor[..poor.len() - 4]);
    for (request, status, reason, application) in [
        (Request::get("/x"), 401, "missing_token", Value::Null),
        (
            Request::get("/a/%2e%2e//"),
            400,
            "invalid_request",
            Value::Null,
        ),
        (
            Request::get("/x").bearer(&unsigned),
            401,
            "invalid_token",
            Value::Null,
        ),
        // Verified, and another zone's: what it says of itself is known to be true.
        (
            Request::get("/x").bearer(&foreign),
            401,
            "invalid_zone",
            json!("app-9"),
        ),
        (
            Request::get("/x").bearer(&poor),
            403,
            "insufficient_scope",
            json!("app-1"),
        ),
    ] {
        edge.send(request);
        let event = edge.event();
        assert_eq!(event["decision"], "deny", "{reason}");
        assert_eq!(event["evaluation_status"], "denied", "{reason}");
        assert_eq!(event["zone_id"], "zone-1", "{reason}");
        let metadata = &event["metadata"];
        assert_eq!(metadata["reason"], reason);
        let diagnostic = match reason {
            "invalid_request" => "ambiguous",
            "invalid_token" => "signature",
            code => code,
        };
        assert_eq!(event["diagnostic"], diagnostic);
        assert_eq!(metadata["gateway_status"], status, "{reason}");
        assert_eq!(metadata["application_id"], application, "{reason}");
        assert_eq!(metadata["upstream_status"], Value::Null, "{reason}");
        assert_eq!(metadata["error_kind"], Value::Null, "{reason}");
        // Readers find the event by an id of its own if the client gave none.
        assert_eq!(event["request_id"], event["id"], "{reason}");
        for part in poor.split('.') {
            assert!(!event.to_string().contains(part), "{reason}");
        }
    }
    // An excluded path is no decision.
    edge.answered(Request::get("/open"));
    assert_eq!(edge.events(), Vec::<Value>::new());
    edge.proxy.assert_clean();
}

#[test]
fn what_became_of_a_request_is_said() {
    let mut edge = Edge::start(ENVOY, json!({}));
    let token = edge.mandate(json!({}));
    // The client leaves before the upstream answers, and after its answer has begun.
    let stream = edge.send(Request::get("/x").bearer(&token));
    edge.proxy.cancel(stream);
    let event = edge.event();
    assert_eq!(event["evaluation_status"], "upstream_error");
    assert_eq!(event["metadata"]["error_kind"], "transport_error");
    assert_eq!(event["metadata"]["gateway_status"], 0);

    let stream = edge.send(Request::get("/x").bearer(&token));
    edge.proxy
        .respond_open(stream, 200, [("content-type", "text/plain")]);
    edge.proxy.respond_body(stream, "part", false);
    edge.proxy.cancel(stream);
    let event = edge.event();
    assert_eq!(event["evaluation_status"], "upstream_error");
    assert_eq!(event["metadata"]["error_kind"], "response_copy_failed");
    assert_eq!(event["metadata"]["upstream_status"], 200);
    assert_eq!(event["metadata"]["response_bytes"], 4);

    // An upstream's own error is its answer.
    let stream = edge.send(Request::get("/x").bearer(&token));
    edge.proxy
        .respond(stream, 503, [("content-type", "text/plain")]);
    let event = edge.event();
    assert_eq!(event["evaluation_status"], "executed");
    assert_eq!(event["metadata"]["result_class"], "server_error");
    edge.proxy.assert_clean();
}

/// A request that is ended with its authority was executed, as the product's Gateway says.
/// Only a revocation is said to interrupt it.
#[test]
fn a_request_that_ends_with_its_mandate_was_executed() {
    let mut edge = Edge::start(ENVOY, json!({}));
    let token = edge.mandate(json!({"exp": START + 10}));
    let stream = edge.send(Request::get("/x").bearer(&token));
    edge.proxy
        .respond_open(stream, 200, [("content-type", "text/event-stream")]);
    edge.proxy.respond_body(stream, "part", false);
    edge.proxy.advance(Duration::from_secs(11));
    let event = edge.event();
    assert_eq!(event["decision"], "allow");
    assert_eq!(event["evaluation_status"], "executed");
    assert_eq!(event["metadata"]["revocation_interrupted"], Value::Null);
    assert_eq!(event["metadata"]["error_kind"], Value::Null);
}

#[test]
fn refusals_alone_are_sent_if_that_is_wanted() {
    let audit = json!({"upstream": "feed", "token": "companion-token", "decisions": "denied"});
    let mut edge = Edge::start(ENVOY, json!({"audit": audit}));
    let token = edge.mandate(json!({}));
    edge.answered(Request::get("/x").bearer(&token));
    assert_eq!(edge.events(), Vec::<Value>::new());
    edge.send(Request::get("/x"));
    assert_eq!(edge.event()["metadata"]["reason"], "missing_token");
}

/// What an edge lacks is no refusal of what was sent.
#[test]
fn a_request_that_cannot_be_decided_is_unavailable() {
    let mut edge = Edge::start(
        ENVOY,
        json!({"revocation": {"upstream": "feed", "token": "companion-token"}, "limits": {"max_paused": 0}}),
    );
    let token = edge.mandate(json!({}));
    edge.send(Request::get("/x").bearer(&token));
    edge.proxy.advance(GATHERED);
    let event = edge.event();
    assert_eq!(event["decision"], "deny");
    assert_eq!(event["evaluation_status"], "unavailable");
    assert_eq!(event["metadata"]["reason"], "sts_unavailable");
}

/// A request without a decision has no event.
#[test]
fn a_client_that_leaves_while_its_request_waits_is_no_decision() {
    let mut edge = Edge::start(ENVOY, json!({}));
    edge.proxy
        .on_callout(|callout| match callout.path.as_str() {
            "/v1/audit" => panic!("no event is due"),
            _ => Answer::Never,
        });
    let key = caracal_tests::mint::Key::new("k2", 2);
    let stream = edge.send(Request::get("/x").bearer(key.mandate(START, json!({}))));
    assert!(edge.proxy.outcome(stream).is_paused());
    edge.proxy.cancel(stream);
    edge.proxy.advance(Duration::from_secs(1));
    edge.proxy.assert_clean();
}

/// What clients choose is cut, and breaks nothing.
#[test]
fn what_a_client_chooses_cannot_break_an_event() {
    let mut edge = Edge::start(ENVOY, json!({}));
    for id in ["", "a b", "\u{e9}", "x\"y", &"x".repeat(200)] {
        edge.send(Request::new("G\"T", "/x").header("x-request-id", id));
        let event = edge.event();
        assert_eq!(event["request_id"], event["id"], "{id}");
        assert_eq!(event["metadata"]["method"], "G\"T");
    }
    edge.send(Request::new(vec![b'M'; 5_000], "/x").header("traceparent", "00-x-y-z"));
    let event = edge.event();
    assert_eq!(event["metadata"]["method"].as_str().unwrap().len(), 64);
    assert_eq!(event["metadata"]["trace_id"], Value::Null);
    edge.send(Request::new([b'M', 0xff, 0xed], "/x"));
    assert_eq!(edge.event()["metadata"]["method"], "M\u{fffd}\u{fffd}");
    assert!(
        !edge.proxy.logged(Level::Error, ""),
        "{:?}",
        edge.proxy.logs()
    );
}
