//! Who gets how much of the audit, and what becomes of events when a configuration goes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{Answer, Request};
use caracal_tests::hosts::ENVOY;
use caracal_tests::mint::Key;
use serde_json::{Value, json};

use super::edge::{Edge, START, accepted};

const SENT: &str = "caracal_audit_sent_total";
const DROPPED: &str = "caracal_audit_dropped_total";

/// Anybody can send requests without a mandate. They must not fill the stream, nor keep out
/// what those with a mandate do.
#[test]
fn a_flood_without_mandates_is_recorded_in_part_and_keeps_nothing_out() {
    let mut edge = Edge::start(ENVOY, json!({}));
    let token = edge.mandate(json!({}));
    for _ in 0..20_000 {
        edge.proxy.request(0, Request::get("/x"));
    }
    edge.answered(Request::get("/x").bearer(&token));
    let events = edge.events();
    let (denied, allowed): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| event["decision"] == "deny");
    assert_eq!(allowed.len(), 1);
    assert!((900..1_100).contains(&denied.len()), "{}", denied.len());
    edge.proxy.advance(Duration::from_secs(1));
    let all = edge.proxy.metric_value(SENT) + edge.proxy.metric_value(DROPPED);
    assert_eq!(all, 20_001, "the others are counted");
    // Later there is room again: 100 a second.
    edge.proxy.advance(Duration::from_secs(1));
    for _ in 0..500 {
        edge.proxy.request(0, Request::get("/x"));
    }
    let again = edge.events().len();
    assert!((100..400).contains(&again), "{again}");
    edge.proxy.assert_clean();
}

/// While the companion is away, they have a quarter of the queue.
#[test]
fn a_flood_without_mandates_leaves_room_in_a_queue_that_waits() {
    let settings = json!({"required_scopes": ["x:y"]});
    let mut edge = Edge::with(ENVOY, settings, |_| Answer::Refused);
    let poor = edge.mandate(json!({}));
    // Two minutes of a flood, then refusals of a mandate.
    for _ in 0..120 {
        for _ in 0..150 {
            edge.proxy.request(0, Request::get("/x"));
        }
        edge.proxy.advance(Duration::from_secs(1));
    }
    for _ in 0..3_000 {
        edge.proxy.request(0, Request::get("/x").bearer(&poor));
    }
    edge.proxy.advance(Duration::from_secs(1));
    let seen: Rc<RefCell<Vec<Value>>> = Rc::default();
    let noted = Rc::clone(&seen);
    edge.proxy.on_callout(move |callout| {
        let batch: Value = serde_json::from_slice(&callout.body).unwrap();
        let events = batch["events"].as_array().unwrap().clone();
        noted.borrow_mut().extend(events);
        accepted(&callout.body)
    });
    edge.proxy.advance(Duration::from_secs(120));
    let seen = seen.borrow();
    let poor = seen
        .iter()
        .filter(|event| event["metadata"]["reason"] == "insufficient_scope");
    assert_eq!(poor.count(), 3_000);
    assert!(seen.len() > 4_000, "{}", seen.len());
}

/// A token that nobody has verified does not choose the zone of its event.
#[test]
fn a_forged_token_does_not_choose_its_zone() {
    let zones = json!({"zone_id": null, "zones": {"zone-1": {}, "zone-2": {}}});
    let mut edge = Edge::start(ENVOY, zones);
    let forged = Key::new("k1", 7).mandate(START, json!({"zone_id": "zone-2"}));
    edge.send(Request::get("/x").bearer(&forged));
    let event = edge.event();
    assert_eq!(event["zone_id"], "zone-1");
    assert_eq!(event["metadata"]["reason"], "invalid_token");
}

/// One tick makes a part of the events.
#[test]
fn ten_thousand_streams_that_end_at_once_hold_up_no_tick() {
    let mut edge = Edge::start(ENVOY, json!({}));
    let token = edge.mandate(json!({}));
    let request = Request::get("/x").bearer(&token);
    let streams: Vec<_> = (0..9_000).map(|_| edge.send(request.clone())).collect();
    for stream in streams {
        edge.proxy.respond(stream, 200, [("content-length", "0")]);
    }
    edge.proxy.forget();
    edge.proxy.advance(Duration::from_secs(3));
    let ticks = edge.proxy.callbacks().iter();
    let ticks = ticks.filter(|one| one.callback == "proxy_on_tick");
    let dearest = ticks.map(|tick| tick.fuel).max().unwrap();
    assert!(dearest < 20_000_000, "{dearest}");
    let all = edge.proxy.metric_value(SENT) + edge.proxy.metric_value(DROPPED);
    assert_eq!(all, 9_000);
}
