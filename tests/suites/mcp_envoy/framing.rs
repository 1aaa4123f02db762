//! Every way in which a body can come, or not come.

use super::*;

#[test]
fn nothing_goes_on_before_the_message_is_whole() {
    let scene = Scene::new(true, true);
    for (end, goes_on) in [("}", true), ("}}", false)] {
        let connection = scene.begin("mcp:use");
        let text = call("search");
        for part in [&text[..1], &text[1..20], &text[20..text.len() - 1]] {
            chunk(&connection, part);
            scene.settle();
            assert_eq!(scene.reached().0, 0);
        }
        chunk(&connection, end);
        (&connection).write_all(b"0\r\n\r\n").unwrap();
        let answer = answer(connection);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), goes_on, "{answer}");
        let (heads, seen) = scene.reached();
        assert_eq!(heads, usize::from(goes_on));
        if goes_on {
            assert_eq!(seen[0].body, text.as_bytes());
        }
    }
    // The client waits until it may send the body.
    let text = call("search");
    let expect = [
        ("content-type", "application/json"),
        ("expect", "100-continue"),
        ("content-length", &text.len().to_string()),
    ];
    let head = scene.head("POST", "/mcp", "mcp:use", &expect);
    let mut client = scene.client();
    let go_on = client.exchange(format!("{head}\r\n").as_bytes()).unwrap();
    assert_eq!(go_on.status, 100);
    is(said(&client.exchange(text.as_bytes()).unwrap()), REACHED);
    assert_eq!(scene.reached().1[0].body, text.as_bytes());
}

#[test]
fn a_message_that_does_not_end_ends_the_request() {
    let scene = Scene::new(true, true);
    // Nothing of it, a part of it, and one that a client goes on with.
    let silent = scene.begin("mcp:use");
    let begun = scene.begin("mcp:use");
    chunk(&begun, "{");
    for connection in [silent, begun] {
        let answer = answer(connection);
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"),
            "{answer}"
        );
    }
    let long = scene.begin("mcp:use");
    for _ in 0..5 {
        chunk(&long, &" ".repeat(1_000));
    }
    let answer = answer(long);
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
        "{answer}"
    );
    // Who leaves leaves nothing behind.
    drop(scene.begin("mcp:use"));
    scene.settle();
    assert_eq!(scene.reached().0, 0);
    for (code, times) in [("body_timeout", 2), ("body_too_large", 1)] {
        let name = format!("caracal_decisions_total.outcome=refused.code={code}");
        until(code, SOON, || scene.envoy.metric(&name) == times);
    }
}

#[test]
fn http2() {
    let scene = Scene::new(true, true);
    let bearer = |scope: &str| format!("Bearer {}", scene.token(scope));
    let (good, other) = (bearer("mcp:use"), bearer("other"));
    let begin = |method: &'static str, token: &str, ends| {
        let headers = [
            (":method", method),
            (":scheme", "http"),
            (":path", "/mcp"),
            (":authority", "edge"),
            ("authorization", token),
            ("content-type", "application/json"),
        ];
        Http2::request(scene.envoy.listener(0), &headers, ends)
    };
    let text = call("search");
    let (first, last) = text.split_at(30);
    let mut whole = begin("POST", &good, false);
    whole.data(first.as_bytes(), false);
    scene.settle();
    assert_eq!(scene.reached().0, 0);
    whole.data(last.as_bytes(), true);
    assert_eq!(whole.answer().as_deref(), Some("reached"));
    assert_eq!(scene.reached().1[0].body, text.as_bytes());
    // The end comes alone.
    let mut whole = begin("POST", &good, false);
    whole.data(text.as_bytes(), false);
    scene.settle();
    assert_eq!(scene.reached().0, 0);
    whole.data(b"", true);
    assert_eq!(whole.answer().as_deref(), Some("reached"));
    assert_eq!(scene.reached().1[0].body, text.as_bytes());
    for (body, error) in [
        (call("drop"), "tool_denied"),
        (format!("{text}{text}"), "invalid_request"),
    ] {
        let mut bad = begin("POST", &good, false);
        bad.data(body.as_bytes(), true);
        assert!(bad.answer().unwrap().contains(error));
    }
    let mut trailers = begin("POST", &good, false);
    trailers.data(text.as_bytes(), false);
    trailers.headers(&[("mcp-name", "delete_all")], true);
    assert!(trailers.answer().unwrap().contains("invalid_request"));
    let mut only_trailers = begin("POST", &good, false);
    only_trailers.headers(&[("x", "y")], true);
    assert!(only_trailers.answer().unwrap().contains("invalid_request"));
    assert!(
        begin("POST", &good, true)
            .answer()
            .unwrap()
            .contains("invalid_request")
    );
    assert!(
        begin("POST", &other, false)
            .answer()
            .unwrap()
            .contains("insufficient_scope")
    );
    // A GET that goes on is none.
    let mut get = begin("GET", &good, false);
    get.data(text.as_bytes(), true);
    assert!(get.answer().unwrap().contains("invalid_request"));
    assert_eq!(scene.reached().0, 0);
    assert_eq!(
        begin("GET", &good, true).answer().as_deref(),
        Some("reached")
    );
    assert_eq!(
        begin("DELETE", &good, true).answer().as_deref(),
        Some("reached")
    );
}
