//! The companion's page, in a real browser and byte by byte: what it says of a real edge, what
//! hostile values and other sites can do with it, and who may see it.

mod browser;
mod form;
mod guards;
mod hostile;
mod standing;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use caracal_tests::processes::Companion;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

/// A page of a companion without Redis.
fn alone(arguments: &[&str]) -> Companion {
    Companion::new(&["--in-memory"]).with(arguments).started()
}

fn url(companion: &Companion, path: &str) -> String {
    format!("http://{}{path}", companion.address)
}

/// A refusal as an edge posts it.
fn refused(number: u32, changes: Value) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now_us = u64::try_from(since.as_micros()).unwrap();
    let mut event = json!({
        "id": format!("01980000-0000-7000-8000-{number:012x}"), "occurred_at_us": now_us,
        "zone_id": "zone-1", "event_type": "edge_resource_request",
        "request_id": format!("request-{number}"), "decision": "deny",
        "evaluation_status": "denied", "diagnostic": "expired",
        "metadata": {
            "application_id": "app-1", "resource": "resource://billing-api", "method": "GET",
            "gateway_status": 401, "reason": "invalid_token",
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

/// Posts events as an edge does.
#[track_caller]
fn post(companion: &Companion, events: &[Value]) {
    let answer = companion.post("/v1/audit", &json!({ "events": events }), None);
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"accepted": events.len(), "rejected": 0}))
    );
}
