//! A companion that does not take what it is sent: no request waits for it, and what is
//! lost is counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::audit::queue::MAX_EVENTS;
use caracal_tests::host::{Answer, Level, Request};
use caracal_tests::hosts::{ENVOY, KONG};
use serde_json::{Value, json};

use super::edge::{Edge, GATHERED, accepted};

const SENT: &str = "caracal_audit_sent_total";
const DROPPED: &str = "caracal_audit_dropped_total";

/// Each failure is tried again, with the same bytes, and in order.
#[test]
fn a_batch_that_failed_is_sent_again_as_it_was() {
    for on in [ENVOY, KONG] {
        let answers = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&answers);
        let mut edge = Edge::with(on, json!({}), move |batch| {
            count.set(count.get() + 1);
            match count.get() {
                1 => Answer::with(503, "not now"),
                2 => Answer::with(404, "no audit here"),
                3 => Answer::with(200, "<html>"),
                4 => Answer::with(401, "no"),
                5 => Answer::Refused,
                6 => Answer::TimesOut,
                _ => accepted(batch),
            }
        });
        for _ in 0..3 {
            edge.send(Request::get("/x"));
        }
        edge.proxy.advance(GATHERED);
        edge.send(Request::get("/later"));
        edge.proxy.advance(Duration::from_secs(200));
        let batches = std::mem::take(&mut *edge.batches.borrow_mut());
        assert_eq!(batches.len(), 8, "{on:?}");
        for again in &batches[1..7] {
            assert_eq!(again, &batches[0]);
        }
        // What came meanwhile comes behind.
        let last: Value = serde_json::from_slice(&batches[7]).unwrap();
        assert_eq!(last["events"].as_array().unwrap().len(), 1);
        assert_eq!(edge.proxy.metric_value(SENT), 4, "{on:?}");
        assert_eq!(edge.proxy.metric_value(DROPPED), 0, "{on:?}");
        let logs = edge.proxy.logs().iter();
        let told = logs.filter(|line| line.text.contains("audit events for"));
        assert!(told.count() >= 4, "{on:?}: {:?}", edge.proxy.logs());
        for words in ["caracal-edge feed --audit-dir", "its answer cannot be read"] {
            assert!(edge.proxy.logged(Level::Error, words), "{words}");
        }
        edge.proxy.assert_clean();
    }
}

/// A full queue drops what is new. Requests are decided as ever.
#[test]
fn a_companion_that_is_away_costs_events_and_no_request() {
    let settings = json!({"required_scopes": ["x:y"]});
    let mut edge = Edge::with(ENVOY, settings, |_| Answer::Refused);
    let token = edge.mandate(json!({}));
    let request = Request::get("/x").bearer(&token);
    for n in 0..MAX_EVENTS + 50 {
        let stream = edge.proxy.request(0, request.clone());
        assert_eq!(edge.proxy.outcome(stream).status(), Some(403));
        if n % 100 == 0 {
            edge.proxy.advance(Duration::from_millis(10));
        }
    }
    edge.proxy.advance(Duration::from_secs(1));
    assert!(edge.proxy.metric_value(DROPPED) >= 50);
    assert!(edge.proxy.logged(Level::Error, "they are lost"));
    // When it is back, what was kept arrives, each once.
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let noted = Rc::clone(&seen);
    edge.proxy.on_callout(move |callout| {
        let batch: Value = serde_json::from_slice(&callout.body).unwrap();
        let events = batch["events"].as_array().unwrap().iter();
        let ids = events.map(|event| event["id"].as_str().unwrap().to_owned());
        noted.borrow_mut().extend(ids);
        accepted(&callout.body)
    });
    edge.proxy.advance(Duration::from_secs(120));
    let seen = seen.borrow();
    assert_eq!(seen.len() as u64, edge.proxy.metric_value(SENT));
    let total = edge.proxy.metric_value(SENT) + edge.proxy.metric_value(DROPPED);
    assert_eq!(total, MAX_EVENTS as u64 + 50);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    edge.proxy.assert_clean();
}

/// What the companion will never take is not sent for ever.
#[test]
fn a_batch_that_is_refused_for_good_is_given_up() {
    let mut edge = Edge::with(ENVOY, json!({}), |_| Answer::with(400, "bad"));
    edge.send(Request::get("/x"));
    edge.proxy.advance(Duration::from_secs(60));
    assert_eq!(edge.batches.borrow().len(), 1);
    assert_eq!(edge.proxy.metric_value(DROPPED), 1);

    let some = |_: &[u8]| Answer::json(&json!({"accepted": 1, "rejected": 2}));
    let mut edge = Edge::with(ENVOY, json!({}), some);
    for _ in 0..3 {
        edge.send(Request::get("/x"));
    }
    edge.proxy.advance(Duration::from_secs(60));
    assert_eq!(edge.batches.borrow().len(), 1);
    assert_eq!(edge.proxy.metric_value(DROPPED), 2);
    assert_eq!(edge.proxy.metric_value(SENT), 1);
}

/// Ids differ, also of the same request at the same instant.
#[test]
fn ids_differ() {
    let mut edge = Edge::start(ENVOY, json!({}));
    for _ in 0..100 {
        edge.send(Request::get("/x").header("x-request-id", "same"));
    }
    let events = edge.events();
    let ids: BTreeSet<String> = events.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 100);
}

/// The companion's bound: a batch is never larger than it takes.
#[test]
fn batches_have_bounds() {
    let mut edge = Edge::start(ENVOY, json!({}));
    for _ in 0..1_000 {
        let request = Request::new(vec![b'M'; 1_024], "/x");
        edge.proxy
            .request(0, request.header("x-request-id", "x".repeat(128)));
    }
    edge.proxy.advance(Duration::from_secs(10));
    let batches = edge.batches.borrow();
    assert!(batches.len() > 4, "{}", batches.len());
    for batch in batches.iter() {
        assert!(batch.len() < 300 * 1024, "{}", batch.len());
        let batch: Value = serde_json::from_slice(batch).unwrap();
        assert!(batch["events"].as_array().unwrap().len() <= 200);
    }
    drop(batches);
    assert_eq!(edge.proxy.metric_value(SENT), 1_000);
}

/// More streams than are kept: an event is written without its answer, and none is lost.
#[test]
fn an_event_over_the_bound_is_written_without_its_answer() {
    const MOST: usize = 50_000;
    let mut edge = Edge::start(ENVOY, json!({"limits": {"max_streams": MOST + 1}}));
    let token = edge.mandate(json!({}));
    let request = Request::get("/x").bearer(&token);
    for _ in 0..MOST {
        let stream = edge.proxy.request(0, request.clone());
        assert!(edge.proxy.outcome(stream).is_forwarded());
    }
    edge.proxy.forget();
    assert_eq!(edge.events(), Vec::<Value>::new());
    let last = edge.proxy.request(0, request);
    let events = edge.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["decision"], "allow");
    assert_eq!(events[0]["metadata"]["gateway_status"], Value::Null);
    edge.proxy.respond(last, 200, [("content-length", "0")]);
    assert_eq!(edge.events(), Vec::<Value>::new(), "not once more");
    edge.proxy.assert_clean();
}
