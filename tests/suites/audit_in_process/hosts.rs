//! The other hosts, Gateway mode and several zones.

use caracal_tests::host::Request;
use caracal_tests::hosts::{APISIX, ENVOY, KONG};
use serde_json::{Value, json};

use super::edge::Edge;

#[test]
fn kong_tells_the_same() {
    let mut edge = Edge::start(KONG, json!({}));
    let token = edge.mandate(json!({}));
    edge.answered(Request::get("/x").bearer(&token));
    let event = edge.event();
    assert_eq!(event["decision"], "allow");
    assert_eq!(event["evaluation_status"], "executed");
    let metadata = &event["metadata"];
    let found = [
        "gateway_status",
        "upstream_status",
        "latency_ms",
        "method",
        "error_kind",
    ];
    let found = found.map(|name| metadata[name].clone());
    let expected = [json!(200), json!(200), json!(12), json!("GET"), Value::Null];
    assert_eq!(found, expected);

    edge.send(Request::get("/x"));
    let event = edge.event();
    assert_eq!(event["metadata"]["reason"], "missing_token");
    assert_eq!(event["metadata"]["gateway_status"], 401);
    assert_eq!(event["metadata"]["upstream_status"], Value::Null);

    let stream = edge.send(Request::get("/x").bearer(&token));
    edge.proxy.cancel(stream);
    let event = edge.event();
    assert_eq!(event["evaluation_status"], "upstream_error");
    assert_eq!(event["metadata"]["gateway_status"], 499);
    edge.proxy.assert_clean();
}

#[test]
fn apisix_says_why_it_has_none() {
    let started = APISIX
        .builder(&APISIX.configuration(json!({"audit": {"upstream": "feed"}})))
        .start();
    let mut proxy = started.unwrap();
    // APISIX reads a configuration at the first request.
    proxy.request(0, Request::get("/x"));
    let logs: Vec<_> = proxy.logs().iter().map(|line| line.text.clone()).collect();
    let why = "audit: apisix tells a filter neither what became of a request";
    assert!(logs.iter().any(|line| line.contains(why)), "{logs:?}");
}

/// An event is of the zone that judged, and never of one that nobody has verified.
#[test]
fn an_event_is_of_a_configured_zone() {
    let zones = json!({"zone_id": null, "zones": {"zone-1": {}, "zone-2": {}}});
    let mut edge = Edge::start(ENVOY, zones);
    for (claims, zone, reason) in [
        (json!({"zone_id": "zone-2"}), "zone-2", Value::Null),
        (
            json!({"zone_id": "zone-9"}),
            "zone-1",
            json!("invalid_zone"),
        ),
    ] {
        let token = edge.mandate(claims);
        let stream = edge.send(Request::get("/x").bearer(&token));
        if reason.is_null() {
            edge.proxy.respond(stream, 200, [("content-length", "0")]);
        }
        let event = edge.event();
        assert_eq!(event["zone_id"], zone);
        assert_eq!(event["metadata"]["reason"], reason);
    }
}
