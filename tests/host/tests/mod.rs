//! The host's own tests, with small modules in text form. This file has what these
//! modules share. The tests are in the files beside it, by subject.

mod apisix;
mod apisix_callouts;
mod kong;
mod kong_requests;
mod kong_shared;
mod live_streams;
mod network;
mod observe;
mod start;
mod streams;
mod time;
mod traps;
mod wasi;

use crate::host::{Headers, Level, Module, Proxy, Vm, Wrong};

/// A module that contains this text. Memory below 1024 is for the common part, 1024 to
/// 65535 for the test, and the rest for the allocator. `$note` logs a number, and `$say`
/// a text. Results of host calls are at 64 (pointer or value), 68 (size) and 72 (cas,
/// token).
fn module(text: &str) -> Module {
    let headers = Headers::from([
        (":method", "GET"),
        (":path", "/keys"),
        (":authority", "sts.test"),
    ]);
    // What Kong's module calls without checking, unless the test has its own.
    let demanded = [
        (
            "response_headers",
            "(param i32 i32 i32) (result i32) (i32.const 0)",
        ),
        (
            "response_body",
            "(param i32 i32 i32) (result i32) (i32.const 0)",
        ),
        ("log", "(param i32)"),
        ("done", "(param i32) (result i32) (i32.const 1)"),
    ];
    let demanded = demanded.map(|(name, rest)| {
        let name = format!("\"proxy_on_{name}\"");
        match text.contains(&name) {
            true => String::new(),
            false => format!("(func (export {name}) {rest})"),
        }
    });
    let demanded = demanded.concat();
    let ground = format!(
        r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $switch (param i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_get_header_map_value"
    (func $header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
  (import "env" "proxy_http_call"
    (func $http (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_property" (func $property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function"
    (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 100) "denied")
  (data (i32.const 110) ":status")
  (data (i32.const 120) ":path")
  (data (i32.const 130) "sts")
  (data (i32.const 140) "sts.test:443")
  {headers}
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (local.get $at))
  (func $say (param $at i32) (param $size i32)
    (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))
  (func $note (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 40))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $more (local.get $n)))
    (call $say (local.get $at) (i32.sub (i32.const 40) (local.get $at))))
  (func $reply (param $status i32)
    (drop (call $send (local.get $status) (i32.const 100) (i32.const 6) (i32.const 100)
      (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $request_path (result i32)
    (call $header (i32.const 0) (i32.const 120) (i32.const 5) (i32.const 64) (i32.const 68)))
  (func $fetch (param $timeout i32) (result i32)
    (call $http (i32.const 130) (i32.const 3) (i32.const 200) (i32.const {size}) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (local.get $timeout) (i32.const 72)))
  (func $fetch_port (result i32)
    (call $http (i32.const 140) (i32.const 12) (i32.const 200) (i32.const {size}) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 72)))
  {demanded}
  {text})"#,
        headers = data(200, &headers.to_abi()),
        size = headers.to_abi().len(),
    );
    Module::from_bytes(ground).expect("a module in good form")
}

/// Bytes in a module's memory.
fn data(at: usize, bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
    format!("(data (i32.const {at}) \"{text}\")")
}

/// What a VM logged, line by line.
fn said(proxy: &Proxy, vm: Vm) -> Vec<&str> {
    let lines = proxy.logs().iter().filter(|l| l.vm == vm);
    let lines = lines.filter(|l| l.level == Level::Info);
    lines.map(|l| l.text.as_str()).collect()
}

/// The violations of the filter, in order.
fn wrongs(proxy: &Proxy) -> Vec<Wrong> {
    proxy.violations().iter().map(|v| v.wrong).collect()
}

/// A module's request-headers callback, with its code and its return value.
fn on_request(what: &str, action: u32) -> String {
    format!(
        r#"(func (export "proxy_on_request_headers") (param $id i32) (param $n i32)
            (param $end i32) (result i32) {what} (i32.const {action}))"#
    )
}

/// A module's callback for the response to a callout.
fn on_answer(what: &str) -> String {
    format!(
        r#"(func (export "proxy_on_http_call_response") (param $id i32) (param $token i32)
            (param $headers i32) (param $body i32) (param $trailers i32) {what})"#
    )
}

/// A module's response-headers callback, which continues.
fn on_response(what: &str) -> String {
    format!(
        r#"(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
            {what} (i32.const 0))"#
    )
}

const WORKER: Vm = Vm::Worker(0);
