//! Streams that are open, and how they are closed.

use super::streams::TICK;
use super::*;
use crate::host::{Outcome, Request};

/// Remembers streams that were let through, and closes them at a tick.
pub(super) fn cutting(how: &str) -> Proxy {
    let text = format!(
        r#"
      (global $held (mut i32) (i32.const 0))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $period (i32.const 10)))
        (i32.const 1))
      (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (global.set $held (local.get $id))
        (i32.const 0))
      (func (export "proxy_on_tick") (param $root i32)
        (if (global.get $held) (then
          (drop (call $switch (global.get $held)))
          {how}
          (global.set $held (i32.const 0)))))
      (func (export "proxy_on_log") (param i32) (call $note (i32.const 9)))"#
    );
    Proxy::envoy(module(&text)).start().unwrap()
}

#[test]
fn a_live_stream_is_cut_by_a_late_reply_or_by_closing() {
    let cases = [
        ("(call $reply (i32.const 401))", "denied"),
        ("(drop (call $close (i32.const 0)))", ""),
        ("(drop (call $close (i32.const 1)))", ""),
    ];
    for (how, leaves) in cases {
        let mut proxy = cutting(how);
        let stream = proxy.request(0, Request::get("/events"));
        proxy.respond_open(stream, 200, [("content-type", "text/event-stream")]);
        proxy.respond_body(stream, "data: 1\n\n", false);
        assert_eq!(proxy.outcome(stream).status(), Some(200));
        proxy.advance(TICK);
        match proxy.outcome(stream) {
            Outcome::Cut { reply, details } => {
                assert_eq!(details, leaves, "{how}");
                assert_eq!(reply.unwrap().body, b"data: 1\n\n");
            }
            other => panic!("{how}: {other:?}"),
        }
        proxy.respond_body(stream, "data: 2\n\n", false);
        assert_eq!(said(&proxy, WORKER), ["9"], "{how}: logged once");
        proxy.assert_clean();
    }
}

#[test]
fn a_late_reply_before_the_answer_began_reaches_the_client() {
    let mut proxy = cutting("(call $reply (i32.const 401))");
    let stream = proxy.request(0, Request::get("/slow"));
    proxy.advance(TICK);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert!(proxy.upstream(stream).is_some());
    proxy.assert_clean();
}

#[test]
fn the_other_types_of_closing_do_nothing() {
    let mut proxy = cutting("(call $note (call $close (i32.const 2)))");
    let stream = proxy.request(0, Request::get("/events"));
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["0"], "the status is Ok");
    assert!(proxy.outcome(stream).is_forwarded());
    assert_eq!(wrongs(&proxy), [Wrong::CloseIgnored]);
}
