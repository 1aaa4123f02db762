//! What tests can see and disturb: filter state, metrics, costs, faults.

use super::*;
use crate::host::{Metric, Request, Wrong};

/// Sets a property of one segment and one of two, then replies.
const STATEFUL: &str = r#"
  (data (i32.const 1024) "caracal_decision")
  (data (i32.const 1040) "two\00segments")
  (data (i32.const 1060) "response\00code")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $property (i32.const 1024) (i32.const 16) (i32.const 100) (i32.const 6)))
    (drop (call $property (i32.const 1040) (i32.const 12) (i32.const 100) (i32.const 6)))
    (call $reply (i32.const 401))
    (i32.const 1))
  (func (export "proxy_on_log") (param i32)
    (call $note (call $get_property (i32.const 1060) (i32.const 13) (i32.const 64)
      (i32.const 68)))
    (call $note (i32.load (i32.load (i32.const 64)))))"#;

#[test]
fn filter_state_of_one_segment_outlives_a_local_reply() {
    let mut proxy = Proxy::envoy(module(STATEFUL)).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    let state = proxy.filter_state_text(stream, "caracal_decision");
    assert_eq!(state, Some("denied"));
    assert_eq!(proxy.filter_state(stream, "two"), None);
    let wrong: Vec<Wrong> = proxy.violations().iter().map(|v| v.wrong).collect();
    assert_eq!(wrong, [Wrong::UnreadableProperty]);
    assert_eq!(
        said(&proxy, WORKER),
        ["0", "401"],
        "response.code in the log"
    );
}

#[test]
fn a_fault_replaces_the_call() {
    let mut proxy = Proxy::envoy(module(STATEFUL)).start().unwrap();
    proxy.on_host_call(|call| {
        let second = call.name == "proxy_set_property" && call.nth == 1;
        assert_eq!(call.vm, WORKER);
        (second && call.callback == "proxy_on_request_headers").then_some(10)
    });
    let first = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.filter_state(first, "caracal_decision"), None);
    let second = proxy.request(0, Request::get("/"));
    assert!(proxy.filter_state(second, "caracal_decision").is_some());
    proxy.no_faults();
}

#[test]
fn a_fault_that_is_no_status_traps() {
    let mut proxy = Proxy::envoy(module(STATEFUL)).start().unwrap();
    proxy.on_host_call(|call| (call.name == "proxy_set_property").then_some(u32::MAX));
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).status(), Some(503));
}

#[test]
fn costs_are_counted_for_each_stream_and_callback() {
    let mut proxy = Proxy::envoy(module(STATEFUL)).start().unwrap();
    proxy.forget();
    let first = proxy.request(0, Request::get("/"));
    let second = proxy.request(0, Request::get("/"));
    let cost = proxy.cost(first);
    let (fuel, calls) = (cost.fuel, &cost.host_calls);
    assert_eq!(calls["proxy_set_property"], 2);
    assert_eq!(calls["proxy_send_local_response"], 1);
    assert_eq!(calls["proxy_get_property"], 1);
    assert!(fuel > 30, "{fuel}");
    let same = proxy.cost(second);
    assert_eq!(
        (same.fuel, &same.host_calls),
        (fuel, calls),
        "the same work"
    );
    let mut names = proxy.callbacks().iter().map(|c| c.callback);
    assert!(names.any(|n| n == "proxy_on_log"));
    assert_eq!(proxy.memory_size(WORKER), 2 * 65536);
}

#[test]
fn metrics_and_bad_pointers() {
    let text = r#"(module
      (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_increment_metric" (func $add (param i32 i64) (result i32)))
      (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "ups")
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (drop (call $define (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 16)))
        (drop (call $define (i32.const 2) (i32.const 0) (i32.const 3) (i32.const 20)))
        (drop (call $add (i32.load (i32.const 16)) (i64.const 2)))
        (drop (call $record (i32.load (i32.const 20)) (i64.const 5000000000)))
        (i32.eq (i32.const 6)
          (call $define (i32.const 0) (i32.const -1) (i32.const 3) (i32.const 16)))))"#;
    let proxy = Proxy::envoy(Module::from_bytes(text).unwrap());
    let proxy = proxy.start().expect("a bad pointer is status 6");
    assert_eq!(proxy.metric("up"), Some(&Metric::Counter(6)), "three VMs");
    let values = vec![5_000_000_000; 3];
    assert_eq!(proxy.metric("ups"), Some(&Metric::Histogram(values)));
    assert_eq!(proxy.metric_value("never"), 0);
}

#[test]
fn shared_data_can_be_written_and_damaged_from_outside() {
    let text = r#"
      (data (i32.const 1024) "head")
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 72) (i32.const 0))
        (call $note (call $get (i32.const 1024) (i32.const 4) (i32.const 64) (i32.const 68)
          (i32.const 72)))
        (call $note (i32.load (i32.const 72)))
        (if (i32.load (i32.const 64))
          (then (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))))
        (i32.const 0))"#;
    let mut proxy = Proxy::envoy(module(text)).start().unwrap();
    let mut seen = || {
        proxy.forget();
        proxy.request(0, Request::get("/"));
        said(&proxy, WORKER).join(" ")
    };
    assert_eq!(seen(), "1 0", "never written: no cas");
    proxy.set_shared("head", "abc");
    let mut seen = || {
        proxy.forget();
        proxy.request(0, Request::get("/"));
        said(&proxy, WORKER).join(" ")
    };
    assert_eq!(seen(), "0 1 abc");
    proxy.corrupt_shared("head", |v| v.truncate(1));
    proxy.forget();
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["0", "1", "a"], "the same cas");
    proxy.set_shared("head", "");
    proxy.forget();
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["0", "2"], "removed: a cas, no value");
}
