//! Callouts: which callback gets what, and when.

use std::time::Duration;

use super::*;
use crate::host::{Answer, Request};

const MS: Duration = Duration::from_millis(1);

/// Fetches while it is being configured, and logs what its callback gets: how many
/// headers and bytes, and the status of reading `:status`.
const EAGER: &str = r#"
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (call $note (call $fetch (i32.const 100)))
    (i32.const 1))
  (func (export "proxy_on_http_call_response") (param $root i32) (param $token i32)
    (param $headers i32) (param $body i32) (param $trailers i32)
    (call $note (local.get $headers))
    (call $note (local.get $body))
    (call $note (call $header (i32.const 6) (i32.const 110) (i32.const 7) (i32.const 64)
      (i32.const 68)))
    (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68))))"#;

#[test]
fn the_canary_is_accepted_and_never_answered() {
    let builder = Proxy::envoy(module(EAGER));
    let mut proxy = builder
        .on_callout(|_| Answer::with(200, "keys").after(5 * MS))
        .start()
        .unwrap();
    let from: Vec<Vm> = proxy.callouts().iter().map(|c| c.from).collect();
    assert_eq!(from, [Vm::Canary, Vm::Main, WORKER]);
    assert_eq!(proxy.callouts()[0].path, "/keys");
    proxy.advance(4 * MS);
    assert_eq!(said(&proxy, WORKER), ["0"], "not before its time");
    proxy.advance(MS);
    // The status, and that the upstream answered.
    assert_eq!(said(&proxy, WORKER), ["0", "2", "4", "0", "200"]);
    assert_eq!(said(&proxy, Vm::Main), ["0", "2", "4", "0", "200"]);
    assert_eq!(said(&proxy, Vm::Canary), ["0"]);
    assert!(proxy.open_callouts().is_empty());
}

#[test]
fn what_fails_looks_as_in_envoy() {
    let told = |answer: Answer| {
        let builder = Proxy::envoy(module(EAGER));
        let mut proxy = builder.on_callout(move |_| answer.clone()).start().unwrap();
        proxy.advance(200 * MS);
        let lines = said(&proxy, WORKER).into_iter().map(str::to_owned);
        lines.skip(1).collect::<Vec<_>>()
    };
    assert_eq!(told(Answer::Refused)[2..], ["0", "503"]);
    assert_eq!(told(Answer::TimesOut)[2..], ["0", "504"]);
    let too_big = told(Answer::TooBig);
    assert_eq!(too_big[..3], ["0", "0", "2"], "nothing, and no map");
    assert_eq!(told(Answer::Never), [""; 0]);
}

#[test]
fn a_dispatch_that_fails_has_no_callback() {
    let start = |builder: crate::host::Builder| {
        let mut proxy = builder.start().unwrap();
        proxy.advance(200 * MS);
        said(&proxy, WORKER).join(" ")
    };
    let builder = || Proxy::envoy(module(EAGER));
    assert_eq!(start(builder().clusters(["feed"])), "2", "no such cluster");
    let fails = builder().on_callout(|_| Answer::DispatchFails(10));
    assert_eq!(start(fails), "10");
}

#[test]
fn an_answer_by_hand_reaches_whoever_is_still_there() {
    let builder = Proxy::envoy(module(EAGER));
    let mut proxy = builder.on_callout(|_| Answer::Never).start().unwrap();
    let open: Vec<usize> = proxy.open_callouts().iter().map(|c| c.id).collect();
    assert_eq!(open, [1, 2]);
    assert!(!proxy.answer(0, Answer::with(200, "")), "the canary's");
    proxy.advance(500 * MS);
    assert!(proxy.answer(2, Answer::TimesOut));
    proxy.advance(Duration::ZERO);
    assert_eq!(said(&proxy, WORKER).last(), Some(&"504"));
    assert!(!proxy.answer(2, Answer::Refused), "answered already");
}

#[test]
fn a_vm_made_anew_is_not_told_of_the_old_ones_callouts() {
    let builder = Proxy::envoy(module(EAGER));
    let mut proxy = builder
        .on_callout(|_| Answer::with(200, "").after(5 * MS))
        .start()
        .unwrap();
    proxy.advance(MS);
    proxy.restart_worker(0).unwrap();
    proxy.advance(4 * MS);
    assert_eq!(said(&proxy, WORKER), ["0", "0"], "the old one's is dropped");
    proxy.advance(MS);
    assert_eq!(said(&proxy, WORKER).len(), 6, "the new one's arrives");
}

#[test]
fn the_root_is_told_of_what_a_stream_fetched() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $fetch (i32.const 0)))
        (i32.const 1))
      (func (export "proxy_on_http_call_response") (param $id i32) (param i32 i32 i32 i32)
        (call $note (local.get $id)))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.callouts()[0].stream, Some(stream));
    proxy.advance(Duration::ZERO);
    assert_eq!(said(&proxy, WORKER), ["1"]);
}

#[test]
fn at_one_moment_answers_come_before_ticks_and_only_then_can_be_read() {
    let text = r#"
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $fetch (i32.const 0)))
        (drop (call $period (i32.const 10)))
        (i32.const 1))
      (func $status (result i32)
        (call $header (i32.const 6) (i32.const 110) (i32.const 7) (i32.const 64)
          (i32.const 68)))
      (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
        (call $note (i32.const 1000))
        (call $note (call $status)))
      (func (export "proxy_on_tick") (param i32) (call $note (call $status)))"#;
    let builder = Proxy::envoy(module(text));
    let mut proxy = builder
        .on_callout(|_| Answer::with(200, "").after(10 * MS))
        .start()
        .unwrap();
    proxy.advance(10 * MS);
    assert_eq!(said(&proxy, WORKER), ["1000", "0", "2"]);
}

#[test]
fn queues_tell_the_vm_that_registered() {
    let text = r#"
      (import "env" "proxy_enqueue_shared_queue" (func $push (param i32 i32 i32) (result i32)))"#;
    // Imports come before everything else in a module, so this needs its own module.
    let text = format!(
        r#"(module {text}
      (import "env" "proxy_register_shared_queue" (func $queue (param i32 i32 i32) (result i32)))
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "work")
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (drop (call $queue (i32.const 0) (i32.const 4) (i32.const 16)))
        (i32.const 1))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $push (i32.load (i32.const 16)) (i32.const 0) (i32.const 4)))
      (func (export "proxy_on_queue_ready") (param i32 i32)
        (drop (call $log (i32.const 2) (i32.const 0) (i32.const 4)))))"#
    );
    let module = Module::from_bytes(text).unwrap();
    let mut proxy = Proxy::envoy(module).workers(2).start().unwrap();
    proxy.request(0, Request::get("/"));
    proxy.advance(Duration::ZERO);
    assert_eq!(said(&proxy, Vm::Worker(1)), ["work"], "it registered last");
    assert_eq!(said(&proxy, WORKER), [""; 0]);
}
