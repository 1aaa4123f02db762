//! Requests: pausing, effective contexts, replies, bodies, ends.

use std::time::Duration;

use super::live_streams::cutting;
use super::*;
use crate::host::{Outcome, Request, Wrong};

pub(super) const TICK: Duration = Duration::from_millis(10);

/// Pauses every request, remembers the last one, and ticks. The test says what a tick
/// does.
fn pausing(tick: &str) -> Proxy {
    let text = format!(
        r#"
      (global $held (mut i32) (i32.const 0))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $period (i32.const 10)))
        (i32.const 1))
      (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
        (global.set $held (local.get $id))
        (i32.const 1))
      (func (export "proxy_on_tick") (param $root i32)
        (if (global.get $held) (then {tick})))"#
    );
    Proxy::envoy(module(&text)).start().unwrap()
}

fn wrongs(proxy: &Proxy) -> Vec<Wrong> {
    proxy.violations().iter().map(|v| v.wrong).collect()
}

#[test]
fn a_root_resumes_and_denies_under_the_effective_context() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (drop (call $continue (i32.const 0)))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/a").header("x", b"\xff"));
    assert_eq!(proxy.outcome(stream), Outcome::Paused);
    proxy.advance(TICK);
    let upstream = proxy.outcome(stream).forwarded();
    assert_eq!(upstream.headers.get("x"), Some(&b"\xff"[..]));
    assert!(upstream.complete);
    proxy.assert_clean();

    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (call $reply (i32.const 403))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/a"));
    proxy.advance(TICK);
    let reply = proxy.outcome(stream).replied();
    assert_eq!((reply.status, reply.text()), (403, "denied"));
    assert_eq!(reply.details, "denied");
    assert_eq!(reply.headers.text("content-length"), Some("6"));
    assert!(proxy.upstream(stream).is_none());
    assert!(proxy.is_finished(stream));
    proxy.assert_clean();
}

#[test]
fn a_context_that_is_gone_leaves_the_effective_one_as_it_was() {
    let mut proxy = pausing(
        "(call $note (call $switch (i32.const 99)))
         (call $reply (i32.const 403))",
    );
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["2"]);
    assert!(proxy.outcome(stream).is_paused(), "the root was acted on");
    assert_eq!(wrongs(&proxy), [Wrong::NoStream]);
}

#[test]
fn the_effective_context_ends_with_the_callback() {
    let mut proxy = pausing(
        "(drop (call $request_path))
         (drop (call $switch (global.get $held)))
         (call $note (call $request_path))",
    );
    proxy.request(0, Request::get("/"));
    proxy.advance(2 * TICK);
    assert_eq!(said(&proxy, WORKER), ["0", "0"], "switched: readable");
    let before_switching = [Wrong::MapOutOfPhase; 2];
    assert_eq!(wrongs(&proxy), before_switching, "in each of the two ticks");
}

#[test]
fn a_local_reply_is_made_after_the_callback_and_passes_the_filter() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 401))
        (call $note (i32.const 1))
        (i32.const 1))
      (func (export "proxy_on_response_headers") (param i32 i32) (param $end i32) (result i32)
        (call $note (i32.const 2))
        (drop (call $header (i32.const 2) (i32.const 110) (i32.const 7) (i32.const 64)
          (i32.const 68)))
        (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))
        (i32.const 0))
      (func (export "proxy_on_response_body") (param i32) (param $size i32) (param i32)
        (result i32)
        (call $note (local.get $size))
        (i32.const 0))
      (func (export "proxy_on_log") (param i32) (call $note (i32.const 3)))
      (func (export "proxy_on_done") (param i32) (result i32)
        (call $note (i32.const 4))
        (i32.const 1))
      (func (export "proxy_on_delete") (param i32) (call $note (i32.const 5)))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let stream = proxy.request(0, Request::post("/", "hello"));
    assert_eq!(said(&proxy, WORKER), ["1", "2", "401", "6", "3", "4", "5"]);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    proxy.assert_clean();
}

#[test]
fn resuming_what_was_denied_sends_it_on_and_is_a_violation() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (call $reply (i32.const 401))
         (drop (call $continue (i32.const 0)))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(TICK);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert!(proxy.upstream(stream).is_some(), "the upstream has it too");
    assert_eq!(wrongs(&proxy), [Wrong::ResumedAfterReply]);
}

#[test]
fn denying_what_was_resumed_comes_too_late() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (drop (call $continue (i32.const 0)))
         (call $reply (i32.const 401))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(TICK);
    assert!(proxy.upstream(stream).is_some());
    assert_eq!(wrongs(&proxy), [Wrong::ReplyAfterResume]);
}

#[test]
fn a_second_reply_hangs_the_client() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (call $reply (i32.const 401))
         (call $reply (i32.const 403))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(TICK);
    assert_eq!(proxy.outcome(stream), Outcome::Hung);
    assert_eq!(wrongs(&proxy), [Wrong::SecondReply]);
}

#[test]
fn continue_after_a_reply_is_a_violation_that_forwards_nothing() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 401))
        (drop (call $replace (i32.const 0) (i32.const 120) (i32.const 5) (i32.const 100)
          (i32.const 6)))
        (i32.const 0))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert!(proxy.upstream(stream).is_none());
    let both = [Wrong::ChangedAfterReply, Wrong::ContinueAfterReply];
    assert_eq!(wrongs(&proxy), both);
}

#[test]
fn a_body_callback_can_reply_and_must_not_continue() {
    for (action, wrong) in [(1, vec![]), (0, vec![Wrong::ContinueAfterReply])] {
        let text = format!(
            r#"
      (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 413))
        (i32.const {action}))"#
        );
        let mut proxy = Proxy::envoy(module(&text)).start().unwrap();
        let stream = proxy.request(0, Request::post("/", "long"));
        assert_eq!(proxy.outcome(stream).replied().status, 413);
        assert_eq!(proxy.upstream(stream).unwrap().body, b"");
        assert_eq!(wrongs(&proxy), wrong);
    }
}

#[test]
fn a_stream_that_does_not_wait_cannot_be_resumed() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (drop (call $continue (i32.const 0)))",
    );
    proxy.request(0, Request::get("/"));
    proxy.advance(2 * TICK);
    assert_eq!(wrongs(&proxy), [Wrong::ResumedRunning]);
}

#[test]
fn request_headers_are_out_of_reach_once_the_request_went_on_until_the_log() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $note (call $request_path))
        (i32.const 0))
      (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
        (call $note (call $request_path))
        (i32.const 0))
      (func (export "proxy_on_log") (param i32)
        (call $note (call $request_path))
        (call $note (call $replace (i32.const 0) (i32.const 120) (i32.const 5) (i32.const 100)
          (i32.const 6))))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, [("x", "1")]);
    assert_eq!(said(&proxy, WORKER), ["0", "2", "0", "2"]);
    assert_eq!(wrongs(&proxy), [Wrong::MapOutOfPhase; 2]);
    match proxy.outcome(stream) {
        Outcome::Answered(reply) => assert_eq!(reply.headers, Headers::from([("x", "1")])),
        other => panic!("{other:?}"),
    }
}

#[test]
fn resuming_takes_the_request_out_of_reach_at_once() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (drop (call $continue (i32.const 0)))
         (call $note (call $request_path))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["2"]);
    assert_eq!(wrongs(&proxy), [Wrong::MapOutOfPhase]);
    assert!(proxy.outcome(stream).is_forwarded());
}

#[test]
fn a_header_that_breaks_the_message_is_a_violation() {
    let text = r#"
      (data (i32.const 1024) "a\0d\0ab: c")
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $replace (i32.const 0) (i32.const 100) (i32.const 6) (i32.const 1024)
          (i32.const 7)))
        (i32.const 0))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    proxy.request(0, Request::get("/"));
    assert_eq!(wrongs(&proxy), [Wrong::BrokenHeader]);
}

/// Holds bodies until they end, and logs how much it sees.
const BUFFERING: &str = r#"
  (func (export "proxy_on_request_body") (param i32) (param $size i32) (param $end i32)
    (result i32)
    (call $note (local.get $size))
    (i32.eqz (local.get $end)))
  (func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
    (call $note (i32.const 77))
    (i32.const 0))"#;

#[test]
fn a_held_body_is_seen_whole_and_goes_on_whole() {
    let mut proxy = Proxy::envoy(module(BUFFERING)).start().unwrap();
    let stream = proxy.request(0, Request::post("/", "ab").open());
    assert!(proxy.outcome(stream).is_paused());
    proxy.send_body(stream, "cde", false);
    assert_eq!(proxy.upstream(stream).unwrap().body, b"");
    proxy.send_body(stream, "f", true);
    assert_eq!(said(&proxy, WORKER), ["2", "5", "6"]);
    let upstream = proxy.outcome(stream).forwarded();
    assert_eq!(
        (upstream.body, upstream.complete),
        (b"abcdef".to_vec(), true)
    );
}

#[test]
fn trailers_come_after_the_body_and_end_the_request() {
    let mut proxy = Proxy::envoy(module(BUFFERING)).start().unwrap();
    let request = Request::post("/", "ab").trailers([("t", "1")]);
    let stream = proxy.request(0, request);
    assert_eq!(said(&proxy, WORKER), ["2", "77"]);
    let upstream = proxy.outcome(stream).forwarded();
    assert_eq!(upstream.body, b"ab");
    assert_eq!(upstream.trailers, Some(Headers::from([("t", "1")])));
    assert!(upstream.complete);
}

#[test]
fn a_body_waits_behind_held_headers() {
    let mut proxy = pausing(
        "(drop (call $switch (global.get $held)))
         (drop (call $continue (i32.const 0)))
         (global.set $held (i32.const 0))",
    );
    let stream = proxy.request(0, Request::post("/", "ab").open());
    proxy.send_body(stream, "cd", true);
    assert!(proxy.upstream(stream).is_none());
    proxy.advance(TICK);
    assert_eq!(proxy.outcome(stream).forwarded().body, b"abcd");
}

#[test]
fn a_client_that_leaves_takes_the_context_along() {
    let mut proxy = pausing("(call $note (call $switch (global.get $held)))");
    let stream = proxy.request(0, Request::get("/"));
    proxy.cancel(stream);
    assert_eq!(proxy.outcome(stream), Outcome::Cancelled);
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["2"], "the context is gone");
}

#[test]
fn a_request_that_envoy_answers_is_only_logged() {
    let mut proxy = cutting("(call $note (i32.const 1))");
    let stream = proxy.request_unseen(0, Request::new("OPTIONS", "*"));
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["9"]);
    assert_eq!(proxy.outcome(stream).status(), Some(400));
}

#[test]
fn grpc_gets_trailers_only_and_grpc_web_does_not() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 401))
        (i32.const 1))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let call = |kind: &str| Request::post("/svc/M", "").header("content-type", kind);
    let stream = proxy.request(0, call("application/grpc"));
    let reply = proxy.outcome(stream).replied();
    assert_eq!((reply.status, reply.grpc_status), (200, Some(16)));
    assert_eq!(reply.headers.text("grpc-status"), Some("16"));
    assert_eq!(reply.headers.text("grpc-message"), Some("denied"));
    assert!(reply.body.is_empty());
    let stream = proxy.request(0, call("application/grpc-web"));
    let reply = proxy.outcome(stream).replied();
    assert_eq!((reply.status, reply.grpc_status), (401, None));
}
