//! Audit events at `caracal-edge feed` with a real Redis: each one that was accepted arrives
//! in the product's stream as it was made, whatever happens to Redis, disk and companion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use caracal_tests::processes::{Companion, Redis, folder, until};
use caracal_tests::servers::{Client, Response, request};
use serde_json::{Value, json};

mod api;
mod bad;
mod consumer;
mod crashes;
mod delivery;
mod full;
mod replays;
mod starts;

use consumer::{Stored, stored};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TOKEN: &str = "audit-token";
const STREAM: &str = "caracal.audit.events";
const SOON: Duration = Duration::from_secs(30);

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros().try_into().unwrap()
}

/// The id of the event with this number.
fn id(number: usize) -> String {
    format!("01980000-0000-7000-8000-{number:012x}")
}

fn event(number: usize, changes: Value) -> Value {
    let mut event = json!({
        "id": id(number), "occurred_at_us": now_us(), "zone_id": "zone-1",
        "event_type": "edge_resource_request", "request_id": format!("request-{number}"),
        "decision": "allow", "evaluation_status": "executed",
        "metadata": {"application_id": "app-1", "method": "GET", "gateway_status": 200},
    });
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.map(|number| event(number, json!({}))).collect()
}

/// A companion that takes audit events.
fn audited(redis_url: &str, folder: &Path) -> Companion {
    Companion::of(redis_url)
        .with(&["--audit-dir", folder.to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", KEY)
        .token(TOKEN)
}

fn send(companion: &Companion, events: &[Value]) -> Response {
    companion.post("/v1/audit", &json!({ "events": events }), None)
}

#[track_caller]
fn accepted(companion: &Companion, events: &[Value]) {
    let answer = send(companion, events);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json(),
        json!({"accepted": events.len(), "rejected": 0})
    );
}

/// Everything in the stream, each judged as the product's consumer would.
fn arrived(redis: &Redis) -> Vec<Stored> {
    consumer::raw(redis)
        .iter()
        .map(|fields| stored(fields, KEY))
        .collect()
}

fn ids(of: &[Stored]) -> Vec<String> {
    of.iter().map(|stored| stored.id().to_owned()).collect()
}

#[track_caller]
fn until_arrived(redis: &Redis, count: usize) -> Vec<Stored> {
    let length = || redis.ask::<usize>(&["XLEN", STREAM]);
    until("they arrive", SOON, || length() >= count);
    arrived(redis)
}

/// The files of the queue, with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    found
}
