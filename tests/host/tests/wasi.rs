//! The sources of WASI: clocks, environment, random bytes, output.

use std::time::Duration;

use super::*;
use crate::host::Request;

/// Logs one value from each source for every request.
const CURIOUS: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "to the log\0a")
  (data (i32.const 32) "\00\00\00\00\0b\00\00\00")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $write (i32.const 2) (i32.const 32) (i32.const 1) (i32.const 48)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 72)))
    (drop (call $set (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 16) (i32.const 0)))
    (drop (call $sizes (i32.const 80) (i32.const 84)))
    (drop (call $environ (i32.const 96) (i32.const 128)))
    (drop (call $log (i32.const 1) (i32.load (i32.const 96)) (i32.load (i32.const 84))))
    (if (i32.ne (i32.const 52) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
      (then (unreachable)))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $random (i32.const 256) (i32.const 16)))
    (call $exit (i32.const 1))
    (i32.const 0)))"#;

fn curious() -> Proxy {
    let module = Module::from_bytes(CURIOUS).unwrap();
    let builder = Proxy::envoy(module).env("A", "1").env("LONG", "x=y");
    builder.start().unwrap()
}

#[test]
fn every_source_is_the_tests_own() {
    let mut proxy = curious();
    proxy.request(0, Request::get("/"));
    let lines: Vec<(Level, &str)> = proxy
        .logs()
        .iter()
        .map(|l| (l.level, l.text.as_str()))
        .collect();
    let expected = [
        (Level::Error, "to the log"),
        (Level::Debug, "A=1\0LONG=x=y\0"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(proxy.random_bytes_drawn(), 0);
    proxy.assert_clean();
}

#[test]
fn a_jump_of_the_wall_clock_leaves_the_monotonic_one() {
    let mut proxy = curious();
    // What the module read from the wall clock and from the monotonic clock.
    let mut read = |jump: i64, advance: u64| {
        proxy.jump_wall(jump);
        proxy.advance(Duration::from_nanos(advance));
        proxy.request(0, Request::get("/"));
        let times = &proxy.shared_data()[&b"t"[..]].0;
        let word = |at: usize| u64::from_le_bytes(times[at..at + 8].try_into().unwrap());
        (word(0), word(8))
    };
    let (wall, monotonic) = read(0, 0);
    assert_eq!(wall, 1_800_000_000_000_000_000);
    assert_eq!(read(10, 0), (wall + 10_000_000_000, monotonic));
    assert_eq!(read(-10, 7), (wall + 7, monotonic + 7));
}

#[test]
fn random_bytes_are_counted_and_leaving_is_a_trap() {
    let mut proxy = curious();
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, Headers::new());
    assert_eq!(proxy.random_bytes_drawn(), 16);
    assert_eq!(proxy.outcome(stream).status(), Some(503));
    assert!(proxy.failed(WORKER).unwrap().contains("exits with 1"));
}
