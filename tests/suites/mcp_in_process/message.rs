//! What the message decides in Envoy.

use super::*;

fn message(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn post(scope: &str) -> Request {
    let request = Request::new("POST", "/mcp").bearer(token(scope));
    request.header("content-type", "application/json")
}

fn reading(changes: Value) -> Edge {
    let mut all = mcp(true);
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    Edge::start(ENVOY, all)
}

#[test]
fn the_message_says_which_tool_is_called() {
    let mut edge = reading(json!({}));
    let of = |tool: &str| message("tools/call", &format!(r#"{{"name":"{tool}"}}"#));
    for _ in 0..2 {
        for (body, scope, answer) in [
            (of("search"), "mcp:use", ok()),
            (
                of("delete_all"),
                "mcp:use",
                refused(403, "insufficient_scope"),
            ),
            (of("delete_all"), "mcp:use mcp:delete", ok()),
            (
                of("delete\\u005fall"),
                "mcp:use",
                refused(403, "insufficient_scope"),
            ),
            (of("drop"), "mcp:use", refused(403, "tool_denied")),
            (of("search"), "other", refused(403, "insufficient_scope")),
            (message("tools/list", "{}"), "mcp:use", ok()),
            (
                message("resources/read", r#"{"uri":"a:b"}"#),
                "mcp:use",
                refused(403, "insufficient_scope"),
            ),
            (
                message("resources/read", r#"{"uri":"a:b"}"#),
                "mcp:use mcp:read",
                ok(),
            ),
            (
                message("tools/call", "{}"),
                "mcp:use",
                refused(400, "invalid_request"),
            ),
            (
                format!("[{}]", of("search")),
                "mcp:use",
                refused(400, "invalid_request"),
            ),
        ] {
            let stream = edge.begin(post(scope).body(&body));
            assert_eq!(outcome(&edge.proxy, stream), answer, "{body} {scope}");
            if answer == ok() {
                let upstream = edge.proxy.upstream(stream).unwrap();
                assert_eq!(upstream.body, body.as_bytes());
                assert!(upstream.complete);
                assert_eq!(upstream.headers.text("x-caracal-sub"), Some("user-1"));
            } else {
                assert!(edge.proxy.upstream(stream).is_none());
            }
        }
    }
    let invalid = refused(400, "invalid_request");
    for headers in [
        &[("mcp-method", "tools/list")][..],
        &[("mcp-name", "delete_all")],
        &[("content-encoding", "gzip")],
        &[("mcp_name", "search")],
        &[("content-type", "application/json")],
    ] {
        let stream = edge.begin(with(post("mcp:use").body(of("search")), headers));
        assert_eq!(outcome(&edge.proxy, stream), invalid, "{headers:?}");
    }
    edge.proxy.assert_clean();
}

#[test]
fn nothing_goes_on_before_the_message_is_complete() {
    let mut edge = reading(json!({}));
    let body = message("tools/call", r#"{"name":"search","arguments":{}}"#);
    for (sent, answer) in [
        (body.as_str(), ok()),
        (&body[1..], refused(400, "invalid_request")),
    ] {
        let stream = edge.begin(post("mcp:use").open());
        for byte in sent.as_bytes() {
            assert!(edge.is_held(stream));
            edge.proxy.send_body(stream, [*byte], false);
            edge.proxy.advance(Duration::from_millis(11));
        }
        assert!(edge.is_held(stream));
        edge.proxy.send_body(stream, "", true);
        assert_eq!(outcome(&edge.proxy, stream), answer);
        if answer == ok() {
            assert_eq!(edge.proxy.upstream(stream).unwrap().body, sent.as_bytes());
        }
    }
    // It says first one thing and then another.
    let stream = edge.begin(post("mcp:use").open());
    edge.proxy.send_body(stream, &body, false);
    assert!(edge.is_held(stream));
    edge.proxy.send_body(stream, &body, true);
    assert_eq!(
        outcome(&edge.proxy, stream),
        refused(400, "invalid_request")
    );
    let stream = edge.begin(post("mcp:use"));
    assert_eq!(
        outcome(&edge.proxy, stream),
        refused(400, "invalid_request"),
        "no body"
    );
    let trailers = post("mcp:use")
        .body(&body)
        .trailers([("mcp-name", "delete_all")]);
    let stream = edge.begin(trailers);
    assert_eq!(
        outcome(&edge.proxy, stream),
        refused(400, "invalid_request"),
        "trailers"
    );
    assert!(edge.proxy.upstream(stream).is_none());
    edge.proxy.assert_clean();
}

#[test]
fn a_mandate_that_is_good_for_nothing_makes_the_proxy_hold_nothing() {
    let mut edge = reading(json!({}));
    let good = message("tools/list", "{}");
    let stream = edge.begin(post("mcp:use").body(&good));
    assert_eq!(outcome(&edge.proxy, stream), ok());
    let stream = edge.begin(post("other").open());
    assert_eq!(
        outcome(&edge.proxy, stream),
        refused(403, "insufficient_scope")
    );
    let none = Request::new("POST", "/mcp").header("content-type", "application/json");
    let stream = edge.begin(none.open());
    assert_eq!(outcome(&edge.proxy, stream), refused(401, "missing_token"));
    edge.proxy.assert_clean();
}

/// Anybody can write a token that names a key which is in no key set.
#[test]
fn a_token_of_an_unknown_key_makes_the_proxy_hold_nothing() {
    let mut edge = reading(json!({"limits": {"max_paused": 2}}));
    let forged = Key::new("k9", 9).mandate(START, json!({"scope": "mcp:use"}));
    for _ in 0..4 {
        let request = Request::new("POST", "/mcp").bearer(&forged);
        let request = request.header("content-type", "application/json");
        let stream = edge.begin(request.open());
        assert!(!edge.is_held(stream));
        let (status, _) = outcome(&edge.proxy, stream);
        assert!(matches!(status, 401 | 503), "{status}");
        assert!(edge.proxy.upstream(stream).is_none());
    }
    // There is room for the others.
    let good = edge.begin(post("mcp:use").open());
    assert!(edge.is_held(good));
    edge.proxy
        .send_body(good, message("tools/list", "{}"), true);
    assert_eq!(outcome(&edge.proxy, good), ok());
    edge.proxy.assert_clean();
}

/// A new key is fetched for the next message.
#[test]
fn a_new_key_is_fetched_for_the_next_message() {
    let mut proxy = ENVOY
        .builder(&ENVOY.configuration(mcp(true)))
        .wall(Duration::from_secs(START))
        .shows_body()
        .on_callout({
            let mut asked = 0;
            move |_| {
                asked += 1;
                let old = Key::new("k1", 1);
                match asked {
                    1 => Answer::json(&key_set(&[&old])),
                    _ => Answer::json(&key_set(&[&old, &Key::new("k2", 2)])),
                }
            }
        })
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(60));
    let list = message("tools/list", "{}");
    let new = Key::new("k2", 2).mandate(START, json!({"scope": "mcp:use"}));
    let request = || {
        let request = Request::new("POST", "/mcp").bearer(&new);
        request
            .header("content-type", "application/json")
            .body(&list)
    };
    let first = proxy.request(0, request());
    assert_eq!(outcome(&proxy, first), refused(503, "sts_unavailable"));
    proxy.advance(Duration::from_secs(1));
    let next = proxy.request(0, request());
    assert_eq!(outcome(&proxy, next), ok());
    proxy.assert_clean();
}

#[test]
fn a_message_has_a_size_and_a_time() {
    let mut edge = reading(
        json!({"limits": {"max_body_bytes": 1024, "body_timeout_ms": 300, "max_paused": 2}}),
    );
    let body = message(
        "tools/call",
        &format!(r#"{{"name":"search","x":"{}"}}"#, "x".repeat(900)),
    );
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));
    let stream = edge.begin(post("mcp:use").body(padded(1_024)));
    assert_eq!(outcome(&edge.proxy, stream), ok());
    let long = refused(413, "body_too_large");
    let stream = edge.begin(post("mcp:use").body(padded(1_025)));
    assert_eq!(outcome(&edge.proxy, stream), long);
    let stream = edge.begin(post("mcp:use").header("content-length", "1025").open());
    assert_eq!(outcome(&edge.proxy, stream), long, "before a byte of it");
    let stream = edge.begin(post("mcp:use").open());
    edge.proxy.send_body(stream, padded(1_024), false);
    assert!(edge.is_held(stream));
    edge.proxy.send_body(stream, " ", false);
    assert_eq!(outcome(&edge.proxy, stream), long, "although more may come");
    // Two wait, the next does not.
    let held: Vec<Stream> = (0..2).map(|_| edge.begin(post("mcp:use").open())).collect();
    let third = edge.begin(post("mcp:use").open());
    assert_eq!(outcome(&edge.proxy, third), refused(503, "sts_unavailable"));
    // One that leaves makes room.
    edge.proxy.cancel(held[0]);
    let last = edge.begin(post("mcp:use").open());
    assert!(edge.is_held(last));
    edge.proxy.send_body(last, "{", false);
    edge.proxy.advance(Duration::from_millis(280));
    assert!(edge.is_held(held[1]) && edge.is_held(last));
    edge.proxy.advance(Duration::from_millis(100));
    for stream in [held[1], last] {
        assert_eq!(outcome(&edge.proxy, stream), refused(408, "body_timeout"));
        assert!(edge.proxy.upstream(stream).is_none());
    }
    // What comes after it changes nothing.
    edge.proxy.send_body(last, padded(100 + body.len()), true);
    assert!(edge.proxy.upstream(last).is_none());
    edge.proxy.assert_clean();
}

#[test]
fn a_proxy_that_shows_no_body_lets_nothing_through() {
    let mut all = mcp(true);
    all["limits"] = json!({"body_timeout_ms": 200});
    let keys = key_set(&[&Key::new("k1", 1)]);
    let mut proxy = ENVOY
        .builder(&ENVOY.configuration(all))
        .wall(Duration::from_secs(START))
        .on_callout(move |_| Answer::json(&keys))
        .start()
        .unwrap();
    proxy.advance(Duration::from_millis(100));
    let request = || post("mcp:use mcp:delete").body(message("tools/list", "{}"));
    let streams = [proxy.request(0, request()), proxy.request(0, request())];
    proxy.advance(Duration::from_millis(150));
    assert!(
        streams
            .iter()
            .all(|stream| proxy.outcome(*stream).is_paused())
    );
    proxy.advance(Duration::from_millis(150));
    for stream in streams {
        assert_eq!(outcome(&proxy, stream), refused(408, "body_timeout"));
        assert!(proxy.upstream(stream).is_none());
    }
    let told = proxy
        .logs()
        .iter()
        .filter(|line| line.text.contains("allow_on_headers_stop_iteration"));
    assert_eq!(told.count(), 1);
    proxy.assert_clean();
}

#[test]
fn a_message_waits_for_keys_as_other_requests_do() {
    let keys = key_set(&[&Key::new("k1", 1)]);
    let late = Answer::json(&keys).after(Duration::from_millis(500));
    let mut proxy = ENVOY
        .builder(&ENVOY.configuration(mcp(true)))
        .wall(Duration::from_secs(START))
        .shows_body()
        .on_callout(move |_| late.clone())
        .start()
        .unwrap();
    let list = message("tools/list", "{}");
    let of = |tool: &str| message("tools/call", &format!(r#"{{"name":"{tool}"}}"#));
    let all = [
        (proxy.request(0, post("mcp:use").body(&list)), ok()),
        (
            proxy.request(0, post("mcp:use").body(of("drop"))),
            refused(403, "tool_denied"),
        ),
        (
            proxy.request(0, post("mcp:use").body(of("delete_all"))),
            refused(403, "insufficient_scope"),
        ),
        (
            proxy.request(0, post("other").body(of("search"))),
            refused(403, "insufficient_scope"),
        ),
    ];
    let half = proxy.request(0, post("mcp:use").open());
    proxy.send_body(half, &list[..10], false);
    proxy.advance(Duration::from_millis(100));
    for (stream, _) in &all {
        assert!(proxy.outcome(*stream).is_paused() && proxy.upstream(*stream).is_none());
    }
    proxy.advance(Duration::from_secs(1));
    for (stream, answer) in &all {
        assert_eq!(outcome(&proxy, *stream), *answer);
    }
    assert_eq!(proxy.upstream(all[0].0).unwrap().body, list.as_bytes());
    // The keys alone do not let one go on.
    assert!(proxy.outcome(half).is_paused() && proxy.upstream(half).is_none());
    proxy.send_body(half, &list[10..], true);
    assert_eq!(outcome(&proxy, half), ok());
    proxy.assert_clean();
}

#[test]
fn refusals_are_counted_and_logged() {
    let mut edge = reading(json!({"limits": {"max_body_bytes": 1024, "body_timeout_ms": 200}}));
    let drop = message("tools/call", r#"{"name":"drop"}"#);
    let stream = edge.begin(post("mcp:use").body(drop));
    assert_eq!(
        edge.proxy.filter_state_text(stream, "caracal_error"),
        Some("tool_denied")
    );
    assert_eq!(
        edge.proxy.filter_state_text(stream, "caracal_client_id"),
        Some("app-1")
    );
    edge.begin(post("mcp:use").header("origin", "null").open());
    edge.begin(post("mcp:use").header("content-length", "4096").open());
    edge.begin(post("mcp:use").open());
    edge.proxy.advance(Duration::from_millis(400));
    for code in [
        "tool_denied",
        "origin_denied",
        "body_too_large",
        "body_timeout",
    ] {
        let name = format!("caracal_decisions_total.outcome=refused.code={code}");
        assert_eq!(edge.proxy.metric_value(&name), 1, "{code}");
    }
}
