use serde_json::{Value, json};

use super::*;

fn parsed(event: &Event<'_>) -> Value {
    let mut text = Vec::new();
    event.write(&mut text);
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn an_event_has_what_the_contract_names() {
    let event = Event {
        id: "019ac5d2-0c00-7000-8000-000000000001",
        occurred_at_us: 1_764_300_000_000_001,
        zone: &zone_members("zone-1", false),
        request_id: "id-1",
        is_allowed: true,
        status: Some(Status::Executed),
        answered: Some(Answered {
            status: 201,
            latency_ms: 12,
            bytes: 3,
            upstream_status: Some(201),
        }),
        mandate: "\"application_id\":\"app-1\",",
        resource: &resource_member("resource://billing"),
        subject_fingerprint: Some("0123456789abcdef"),
        method: Some("POST"),
        ..Event::default()
    };
    assert_eq!(
        parsed(&event),
        json!({
            "id": "019ac5d2-0c00-7000-8000-000000000001", "occurred_at_us": 1_764_300_000_000_001_u64, "zone_id": "zone-1",
            "event_type": "edge_resource_request", "request_id": "id-1", "decision": "allow",
            "evaluation_status": "executed",
            "metadata": {
                "application_id": "app-1", "resource": "resource://billing",
                "subject_fingerprint": "0123456789abcdef",
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
        zone: &zone_members("z\0\n\"", true),
        method: Some(&method_text(b"G\xffET\x00")),
        resource: &resource_member(&long),
        reason: Some("missing_token"),
        ..Event::default()
    };
    let found = parsed(&event);
    assert_eq!(found["zone_id"], "z\"");
    assert_eq!(found["event_type"], "gateway_resource_request");
    assert_eq!(found["metadata"]["method"], "G\u{fffd}ET");
    assert_eq!(found["metadata"]["resource"], "é".repeat(512));
    assert_eq!(found["decision"], "deny");
    assert_eq!(parsed(&Event::default())["metadata"], json!({}));
}

#[test]
fn a_method_is_text_and_has_a_bound() {
    assert_eq!(method_text(b"PATCH"), "PATCH");
    assert_eq!(method_text(b"get"), "get");
    assert_eq!(method_text(b""), "");
    assert_eq!(method_text(&[b'M'; 100]), "M".repeat(64));
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
