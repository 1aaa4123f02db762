use serde_json::{Value, json};

use super::*;

fn parsed(event: &Event<'_>) -> Value {
    serde_json::from_str(&event.to_json()).unwrap()
}

#[test]
fn an_event_has_what_the_contract_names() {
    let event = Event {
        id: event_id(1_764_300_000_000, &[b"1"]),
        occurred_at_us: 1_764_300_000_000_001,
        zone_id: "zone-1",
        request_id: "id-1",
        is_allowed: true,
        status: Some(Status::Executed),
        answered: Some(Answered {
            status: 201,
            latency_ms: 12,
            bytes: 3,
            upstream_status: Some(201),
        }),
        application_id: Some("app-1"),
        resource: Some("resource://billing"),
        subject_fingerprint: Some("0123456789abcdef"),
        subject_kind: Some("application"),
        method: Some(b"POST"),
        ..Event::default()
    };
    let id = event.id.clone();
    assert_eq!(
        parsed(&event),
        json!({
            "id": id, "occurred_at_us": 1_764_300_000_000_001_u64, "zone_id": "zone-1",
            "event_type": "edge_resource_request", "request_id": "id-1", "decision": "allow",
            "evaluation_status": "executed",
            "metadata": {
                "application_id": "app-1", "resource": "resource://billing",
                "subject_fingerprint": "0123456789abcdef", "subject_kind": "application",
                "method": "POST", "gateway_status": 201, "latency_ms": 12,
                "response_bytes": 3, "upstream_status": 201, "result_class": "success",
            },
        })
    );
}

/// What a client chooses cannot break the event, whatever its bytes are.
#[test]
fn texts_are_cut_and_cleaned() {
    let long = "é".repeat(1_000);
    let event = Event {
        zone_id: "z\0\n\"",
        method: Some(b"G\xffET\x00"),
        resource: Some(&long),
        reason: Some("missing_token"),
        ..Event::default()
    };
    let found = parsed(&event);
    assert_eq!(found["zone_id"], "z\"");
    assert_eq!(found["metadata"]["method"], "G\u{fffd}ET");
    assert_eq!(found["metadata"]["resource"], "é".repeat(512));
    assert_eq!(found["decision"], "deny");
    assert_eq!(parsed(&Event::default())["metadata"], json!({}));
}

#[test]
fn ids_are_of_the_seventh_version_and_differ() {
    let id = event_id(0x0192_3456_789a, &[b"a", b"b"]);
    assert_eq!(id.len(), 36);
    assert!(id.starts_with("01923456-789a-7"), "{id}");
    assert_eq!(id.as_bytes().get(19), Some(&b'8'), "{id}");
    assert_ne!(id, event_id(0x0192_3456_789a, &[b"ab", b""]));
    assert_eq!(event_id(u64::MAX, &[]).len(), 36);
}

#[test]
fn a_trace_id_is_taken_from_a_valid_traceparent() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(trace_id(parent.as_bytes()), Some(trace));
    for bad in [
        "",
        "00",
        "00-4BF9-1-2",
        &format!("00-{trace}-1"),
        &format!("00-{trace}-1-2-3"),
    ] {
        assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
    }
}
