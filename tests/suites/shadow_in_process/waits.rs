//! Requests that wait: for keys, for revocations, for a message of MCP. In shadow they wait
//! as long as they would, and then go on.

use std::time::Duration;

use caracal_tests::host::{Answer, Request};
use caracal_tests::hosts::{ALL, ENVOY};
use serde_json::{Value, json};

use crate::edge::{Edge, SOON, forging, mandate};

fn good() -> Request {
    forging(Request::get("/x")).bearer(mandate(json!({})))
}

/// Nobody answers until the time for it is over.
#[test]
fn what_is_missing_stops_nothing_for_good() {
    for on in ALL {
        let mut edge = Edge::cold(on, json!({}), |_| Some(Answer::TimesOut));
        let stream = edge.send(good());
        let reason = match on {
            ENVOY => "waiting",
            _ => "key_set",
        };
        edge.went_on(stream, "sts_unavailable", reason);
        if on == ENVOY {
            // Its deadline, and no more.
            let waited = edge.proxy.now();
            assert!(waited >= Duration::from_secs(5), "{waited:?}");
            assert!(waited < Duration::from_secs(6), "{waited:?}");
            assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
        }
        edge.proxy.assert_clean();
    }
}

#[test]
fn a_silent_companion_stops_nothing_for_good() {
    for on in ALL {
        let mut edge = Edge::cold(on, json!({}), move |callout| {
            (!on.is_sts(callout)).then_some(Answer::Refused)
        });
        edge.proxy.advance(Duration::from_secs(2));
        let stream = edge.send(good());
        edge.went_on(stream, "sts_unavailable", "revocations");
        edge.refused_none();
        edge.proxy.assert_clean();
    }
}

/// A request that waits is decided as it would be when what it needs has come.
#[test]
fn a_wait_ends_with_the_principal() {
    let mut edge = Edge::cold(ENVOY, json!({"forward": {"authorization": false}}), |_| {
        None
    });
    let (first, second) = (good(), forging(Request::get("/x")).bearer("a.b.c"));
    let stranger = forging(Request::get("/x")).bearer(mandate(json!({"aud": "other"})));
    let streams = [first, second, stranger].map(|request| edge.proxy.request(0, request));
    assert!(edge.proxy.outcome(streams[0]).is_paused());
    assert!(edge.proxy.upstream(streams[1]).is_some(), "it needs no key");
    edge.proxy.advance(SOON);
    assert_eq!(edge.got(streams[0], "x-caracal-sub"), ["user-1"]);
    assert!(edge.got(streams[0], "authorization").is_empty());
    edge.went_on(streams[1], "invalid_token", "malformed");
    edge.went_on(streams[2], "invalid_token", "audience");
    assert_eq!(edge.got(streams[2], "authorization").len(), 1);
    edge.proxy.assert_clean();
}

#[test]
fn with_no_place_to_wait_it_goes_on_at_once() {
    let limits = json!({"limits": {"max_paused": 0}});
    let mut edge = Edge::cold(ENVOY, limits, |_| Some(Answer::Never));
    let stream = edge.proxy.request(0, good());
    edge.went_on(stream, "sts_unavailable", "waiting");
    edge.proxy.assert_clean();
}

fn mcp() -> Value {
    json!({
        "routes": {"/mcp": {"mcp": {"tools": {"search": {}}, "body": true}}},
        "limits": {"max_body_bytes": 1024, "body_timeout_ms": 1000},
    })
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
}

fn post() -> Request {
    let request = Request::new("POST", "/mcp").bearer(mandate(json!({})));
    forging(request.header("content-type", "application/json"))
}

/// The whole message reaches the server, whatever it is.
#[test]
fn a_message_is_read_and_goes_on() {
    let mut edge = Edge::start(ENVOY, mcp());
    for (body, code, reason) in [
        (call("drop"), "tool_denied", "tool_denied"),
        ("no message".to_owned(), "invalid_request", "message"),
        (call(&"x".repeat(2_000)), "body_too_large", "body_too_large"),
    ] {
        let stream = edge.send(post().body(&body));
        edge.went_on(stream, code, reason);
        let upstream = edge.proxy.upstream(stream).unwrap();
        assert_eq!(upstream.body, body.as_bytes(), "{code}");
        assert!(upstream.complete, "{code}");
    }
    let good = edge.send(post().body(call("search")));
    assert_eq!(edge.got(good, "x-caracal-sub"), ["user-1"]);

    // A slow one.
    let body = call("search");
    let (first, rest) = body.split_at(20);
    let stream = edge.proxy.request(0, post().open());
    edge.proxy.send_body(stream, first, false);
    assert!(edge.proxy.outcome(stream).is_paused());
    assert!(edge.proxy.upstream(stream).is_none());
    edge.proxy.advance(Duration::from_millis(1_100));
    edge.went_on(stream, "body_timeout", "body_timeout");
    edge.proxy.send_body(stream, rest, true);
    let upstream = edge.proxy.upstream(stream).unwrap();
    assert_eq!(upstream.body, body.as_bytes());
    assert!(upstream.complete);

    // One that ends with trailers.
    let trailers = [("x-caracal-sub", "forged"), ("x-own", "1")];
    let stream = edge.send(post().body(call("search")).trailers(trailers));
    edge.went_on(stream, "invalid_request", "message");
    let upstream = edge.proxy.upstream(stream).unwrap();
    let trailers = upstream.trailers.as_ref().unwrap();
    assert!(trailers.all("x-caracal-sub").is_empty());
    assert_eq!(trailers.text("x-own"), Some("1"));
    edge.refused_none();
    edge.proxy.assert_clean();
}

/// Streams in shadow are not watched: nothing is cut.
#[test]
fn no_stream_is_cut() {
    let routes = json!({"/hard": {"enforcement": "enforce"}});
    let mut edge = Edge::start(
        ENVOY,
        json!({"routes": routes, "limits": {"max_streams": 1}}),
    );
    let token = mandate(json!({"exp": crate::START + 10}));
    let open = |edge: &mut Edge, path: &str| {
        let stream = edge.send(Request::get(path).bearer(&token));
        edge.proxy
            .respond_open(stream, 200, [("content-type", "text/event-stream")]);
        edge.proxy.respond_body(stream, "data: 1\n\n", false);
        stream
    };
    let hard = open(&mut edge, "/hard");
    // They take none of its places.
    let soft = [open(&mut edge, "/x"), open(&mut edge, "/x")];
    edge.proxy.advance(Duration::from_secs(12));
    assert!(
        edge.proxy.is_finished(hard),
        "{:?}",
        edge.proxy.outcome(hard)
    );
    for stream in soft {
        edge.proxy.respond_body(stream, "data: 2\n\n", true);
        assert_eq!(edge.proxy.outcome(stream).status(), Some(200));
    }
    edge.proxy.assert_clean();
}
