//! What may happen while a request waits for its exchange.

use std::time::Duration;

use caracal_tests::host::{Answer, Outcome, Request};
use caracal_tests::hosts::{ENVOY, On};
use serde_json::{Value, json};

use crate::edge::*;

#[test]
fn waits_are_bounded_in_number_and_time() {
    let silent = |_: &Value| Answer::Never;
    let settings = json!({"limits": {"max_paused": 2}});
    let mut edge = Edge::ready(ENVOY, settings, silent);
    let of = |jti: &str| {
        let token = mandate(BILLING, json!({ "jti": jti }));
        Request::get("/x")
            .header("x-caracal-resource", BILLING)
            .bearer(token)
    };
    let waiting = ["a", "b"].map(|jti| edge.proxy.request(0, of(jti)));
    assert_eq!(edge.refused(of("c")), (503, "sts_unavailable".to_owned()));
    // A client that leaves frees its place.
    edge.proxy.cancel(waiting[0]);
    let third = edge.proxy.request(0, of("d"));
    // One mandate is exchanged for one request at a time.
    let settings = json!({"limits": {"max_paused": 3}});
    let mut other = Edge::ready(ENVOY, settings, silent);
    other.proxy.request(0, of("a"));
    assert_eq!(other.refused(of("a")), (401, "invalid_token".to_owned()));
    assert_eq!(other.asked().len(), 1);
    assert!(matches!(edge.proxy.outcome(third), Outcome::Paused));
    edge.proxy.advance(Duration::from_secs(8));
    for stream in [waiting[1], third] {
        let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
            panic!("{:?}", edge.proxy.outcome(stream));
        };
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (504, Some("sts_unavailable"))
        );
    }
    assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
    edge.proxy.assert_clean();
}

#[test]
fn a_mandate_that_ends_while_it_is_exchanged_admits_nobody() {
    for on in BOTH {
        ends_while_it_is_exchanged(on);
    }
}

fn ends_while_it_is_exchanged(on: On) {
    let slow = |_: &Value| granted(&bearer_token()).after(Duration::from_secs(4));
    let settings = json!({"gateway": {"upstream": "companion", "token": "companion-token", "min_remaining_s": 0}});
    let mut edge = Edge::ready(on, settings, slow);
    let token = mandate(BILLING, json!({"exp": START + 2}));
    let request = Request::get("/x")
        .header("x-caracal-resource", BILLING)
        .bearer(token);
    let stream = edge.proxy.request(0, request);
    edge.proxy.advance(Duration::from_secs(5));
    let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    assert_eq!(reply.json()["error"], "credential_expired_not_renewable");
    edge.proxy.assert_clean();
}

#[test]
fn requests_that_came_before_the_keys_are_exchanged_too() {
    let companion = move |_: &Value| granted(&bearer_token());
    let mut edge = Edge::start(ENVOY, builder(ENVOY, json!({})), companion);
    let stream = edge.proxy.request(0, get("/x"));
    assert!(matches!(edge.proxy.outcome(stream), Outcome::Paused));
    assert_eq!(edge.asked(), [] as [Value; 0]);
    edge.proxy.advance(FIRST_TICK + LATE * 2);
    assert_eq!(edge.asked().len(), 1);
    let upstream = &edge.proxy.upstream(stream).unwrap().headers;
    assert_eq!(
        upstream.text("authorization"),
        Some("Bearer provider-secret")
    );
    edge.proxy.assert_clean();
}

/// An exchanged request ends with its mandate, and one whose exchange is not done does not
/// count among those under way.
#[test]
fn an_exchanged_request_under_way_ends_with_its_mandate() {
    let mut edge = Edge::granting(ENVOY, bearer_token());
    let request = Request::get("/x").header("x-caracal-resource", BILLING);
    let token = mandate(BILLING, json!({"exp": START + 60}));
    let stream = edge.send(request.bearer(token));
    edge.proxy
        .respond_open(stream, 200, [("content-type", "text/event-stream")]);
    edge.proxy.respond_body(stream, "data: 1\n\n", false);
    edge.proxy.advance(Duration::from_secs(50));
    assert!(matches!(
        edge.proxy.outcome(stream),
        Outcome::Answered(_) | Outcome::Forwarded(_)
    ));
    edge.proxy.advance(Duration::from_secs(10));
    match edge.proxy.outcome(stream) {
        Outcome::Cut { details, .. } => assert_eq!(details, "caracal_invalid_token"),
        other => panic!("{other:?}"),
    }
    edge.proxy.assert_clean();
}
