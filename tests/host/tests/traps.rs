//! The consequences of a trap.

use std::time::Duration;

use super::*;
use crate::host::{Answer, FailurePolicy, Outcome, Request, status};

/// Traps on `DELETE`, pauses on `PUT`, and lets others through. Ticks, and logs it. Each
/// VM counts its requests.
const FRAGILE: &str = r#"
  (data (i32.const 1024) ":method")
  (global $seen (mut i32) (i32.const 0))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $period (i32.const 10)))
    (i32.const 1))
  (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
    (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
    (call $note (global.get $seen))
    (drop (call $header (i32.const 0) (i32.const 1024) (i32.const 7) (i32.const 64)
      (i32.const 68)))
    (if (i32.eq (i32.load8_u (i32.load (i32.const 64))) (i32.const 68)) (then (unreachable)))
    (i32.eq (i32.load16_u (i32.load (i32.const 64))) (i32.const 0x5550)))
  (func (export "proxy_on_tick") (param i32) (call $note (i32.const 1000)))"#;

const TICK: Duration = Duration::from_millis(10);

fn fragile(policy: FailurePolicy) -> Proxy {
    let builder = Proxy::envoy(module(FRAGILE)).workers(2);
    builder.failure_policy(policy).start().unwrap()
}

#[test]
fn the_request_gets_503_and_others_that_wait_hang() {
    let mut proxy = fragile(FailurePolicy::Closed);
    let waits = proxy.request(0, Request::new("PUT", "/"));
    let passed = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(waits).is_paused());
    let traps = proxy.request(0, Request::new("DELETE", "/"));
    match proxy.outcome(traps) {
        Outcome::Trapped(reply) => assert_eq!(reply.status, 503),
        other => panic!("{other:?}"),
    }
    assert!(proxy.failed(WORKER).unwrap().contains("unreachable"));
    assert_eq!(proxy.outcome(waits), Outcome::Hung);
    assert!(
        proxy.outcome(passed).is_forwarded(),
        "its stream stays open"
    );
    proxy.respond(passed, 200, [] as [(&str, &str); 0]);
    assert_eq!(proxy.outcome(passed).status(), Some(503));
}

#[test]
fn closed_stays_closed_and_other_workers_live() {
    let mut proxy = fragile(FailurePolicy::Closed);
    proxy.request(0, Request::new("DELETE", "/"));
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER), ["1"], "no ticks any more");
    let later = proxy.request(0, Request::get("/"));
    assert!(matches!(proxy.outcome(later), Outcome::Trapped(_)));
    let other = proxy.request(1, Request::get("/"));
    assert!(proxy.outcome(other).is_forwarded());
    proxy.restart_worker(0).unwrap();
    let after = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(after).is_forwarded());
    proxy.assert_clean();
}

#[test]
fn reload_makes_a_vm_on_the_next_request_and_not_before() {
    let mut proxy = fragile(FailurePolicy::Reload);
    let waits = proxy.request(0, Request::new("PUT", "/"));
    proxy.request(0, Request::new("DELETE", "/"));
    proxy.advance(5 * TICK);
    assert_eq!(said(&proxy, WORKER), ["1", "2"], "no ticks before");
    let next = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(next).is_forwarded());
    assert_eq!(said(&proxy, WORKER), ["1", "2", "1"], "a fresh memory");
    assert_eq!(proxy.outcome(waits), Outcome::Hung, "the old VM's");
    proxy.advance(TICK);
    assert_eq!(said(&proxy, WORKER).last(), Some(&"1000"));
}

#[test]
fn the_end_of_an_old_stream_is_not_told_to_the_new_vm() {
    let text = format!(
        "{FRAGILE} (func (export \"proxy_on_log\") (param $id i32) (call $note (i32.const 500)))"
    );
    let builder = Proxy::envoy(module(&text)).failure_policy(FailurePolicy::Reload);
    let mut proxy = builder.start().unwrap();
    let old = proxy.request(0, Request::new("PUT", "/"));
    proxy.request(0, Request::new("DELETE", "/"));
    let new = proxy.request(0, Request::new("PUT", "/"));
    proxy.cancel(old);
    assert_eq!(
        said(&proxy, WORKER),
        ["1", "2", "1"],
        "the same number, another context"
    );
    proxy.cancel(new);
    assert_eq!(said(&proxy, WORKER).last(), Some(&"500"));
}

#[test]
fn the_main_threads_vm_is_dead_for_good() {
    let mut proxy = fragile(FailurePolicy::Reload);
    proxy.on_host_call(|call| (call.vm == Vm::Main).then_some(status::TRAP));
    proxy.advance(TICK);
    proxy.no_faults();
    assert!(proxy.failed(Vm::Main).is_some());
    proxy.request(0, Request::get("/"));
    proxy.advance(5 * TICK);
    assert_eq!(said(&proxy, Vm::Main), [""; 0]);
}

#[test]
fn a_callback_that_traps_after_replying_for_itself_gets_503() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 401))
        (unreachable))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert!(matches!(proxy.outcome(stream), Outcome::Trapped(_)));
    assert!(proxy.upstream(stream).is_none());
}

#[test]
fn an_answer_for_a_dead_vm_is_dropped() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $fetch (i32.const 0)))
        (i32.const 1))
      (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) (unreachable))"#;
    let builder = Proxy::envoy(module(text));
    let mut proxy = builder
        .on_callout(|_| Answer::with(200, ""))
        .start()
        .unwrap();
    let first = proxy.request(0, Request::get("/"));
    let second = proxy.request(0, Request::get("/"));
    proxy.advance(Duration::ZERO);
    assert_eq!(proxy.outcome(first), Outcome::Hung);
    assert_eq!(proxy.outcome(second), Outcome::Hung);
    assert_eq!(
        proxy
            .logs()
            .iter()
            .filter(|l| l.text.contains("trapped"))
            .count(),
        1
    );
}

#[test]
fn a_loop_without_end_is_a_trap() {
    let text = r#"
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (loop $on (br $on))
        (i32.const 0))"#;
    let builder = Proxy::envoy(module(text)).fuel_limit(100_000);
    let mut proxy = builder.start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).status(), Some(503));
    assert!(proxy.failed(WORKER).unwrap().contains("fuel"));
}
