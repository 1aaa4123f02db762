//! Starting, the VMs, and what they share.

use super::*;
use crate::host::Request;

/// In `on_configure`: the first VM inserts, and each one logs the result.
const RACE: &str = r#"
  (data (i32.const 1024) "leader")
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (call $note (call $set (i32.const 1024) (i32.const 6) (i32.const 1024) (i32.const 6)
      (i32.const -1)))
    (i32.const 1))"#;

#[test]
fn the_canary_the_main_thread_and_each_worker_are_configured() {
    let proxy = Proxy::envoy(module(RACE)).workers(2).start().unwrap();
    assert_eq!(said(&proxy, Vm::Canary), ["0"], "the canary comes first");
    for vm in [Vm::Main, Vm::Worker(0), Vm::Worker(1)] {
        assert_eq!(said(&proxy, vm), ["8"], "{vm:?} finds the canary's value");
    }
    assert_eq!(proxy.shared_data()[&b"leader"[..]].0, b"leader");
    proxy.assert_clean();
}

#[test]
fn shared_data_can_be_there_before_and_survives_a_worker() {
    let mut proxy = Proxy::envoy(module(RACE))
        .shared("leader", "old")
        .start()
        .unwrap();
    assert_eq!(said(&proxy, Vm::Canary), ["8"]);
    assert_eq!(proxy.shared_data()[&b"leader"[..]].0, b"old");
    proxy.forget_shared("leader");
    proxy.restart_worker(0).unwrap();
    assert_eq!(said(&proxy, WORKER), ["8", "0"], "made anew and inserted");
}

#[test]
fn distinct_configurations_are_roots_of_one_vm_and_identical_ones_share() {
    let text = r#"
      (global $configured (mut i32) (i32.const 0))
      (func (export "proxy_on_context_create") (param $id i32) (param $root i32)
        (if (local.get $root) (then (call $note (local.get $root)))))
      (func (export "proxy_on_configure") (param i32) (param $size i32) (result i32)
        (drop (call $buffer (i32.const 7) (i32.const 0) (local.get $size) (i32.const 64)
          (i32.const 68)))
        (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))
        (global.set $configured (i32.add (global.get $configured) (i32.const 1)))
        (call $note (global.get $configured))
        (i32.const 1))
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $note (call $buffer (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 64)
          (i32.const 68)))
        (i32.const 0))"#;
    let builder = Proxy::envoy(module(text)).configuration("a");
    let mut proxy = builder
        .configuration("b")
        .configuration("a")
        .start()
        .unwrap();
    assert_eq!(said(&proxy, Vm::Canary), ["a", "1", "b", "1"]);
    assert_eq!(
        said(&proxy, WORKER),
        ["a", "1", "b", "2"],
        "statics are shared"
    );
    proxy.forget();
    for listener in 0..3 {
        proxy.request(0, Request::get("/").listener(listener));
    }
    // The root each time, and a configuration that cannot be found any more.
    assert_eq!(said(&proxy, WORKER), ["1", "1", "2", "1", "1", "1"]);
}

#[test]
fn a_configuration_that_is_refused_is_an_error_with_the_log() {
    let text = r#"
      (data (i32.const 1024) "issuer: expected a URL")
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $say (i32.const 1024) (i32.const 22))
        (i32.const 0))"#;
    let error = Proxy::envoy(module(text)).start().err().unwrap();
    assert!(error.message.contains("on_configure was false"), "{error}");
    assert_eq!(error.logs[0].text, "issuer: expected a URL");
    assert_eq!(error.logs[0].vm, Vm::Canary);
}

#[test]
fn a_trap_while_configuring_is_an_error_with_the_log() {
    let text = r#"
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (call $note (i32.const 7))
        (unreachable))"#;
    let error = Proxy::envoy(module(text)).start().err().unwrap();
    assert!(error.message.contains("unreachable"), "{error}");
    assert_eq!(error.logs[0].text, "7");
}

#[test]
fn what_the_host_does_not_have_does_not_load() {
    let start = |import: &str| {
        let text = format!(r#"(module (import "env" {import}) (memory (export "memory") 1))"#);
        let module = Module::from_bytes(text).unwrap();
        Proxy::envoy(module).start().err().map(|e| e.message)
    };
    let unknown = start(r#""proxy_no_such" (func (param i32) (result i32))"#).unwrap();
    assert!(
        unknown.contains("no function env.proxy_no_such"),
        "{unknown}"
    );
    let other = start(r#""proxy_log" (func (param i32) (result i32))"#).unwrap();
    assert!(other.contains("the shape i, not iii"), "{other}");
    let known = start(r#""proxy_log" (func (param i32 i32 i32) (result i32))"#);
    assert_eq!(known, None);
}

#[test]
fn a_file_is_compiled_once_until_it_changes() {
    let path = std::env::temp_dir().join(format!("caracal-host-{}.wat", std::process::id()));
    std::fs::write(&path, "(module (memory (export \"memory\") 1))").unwrap();
    let first = Module::from_file(&path).unwrap();
    let second = Module::from_file(&path).unwrap();
    let same = |a: &Module, b: &Module| a.inner.text().as_ptr() == b.inner.text().as_ptr();
    assert!(same(&first, &second));
    std::fs::write(&path, "(module (memory (export \"memory\") 2))").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(later).unwrap();
    let third = Module::from_file(&path).unwrap();
    let proxy = Proxy::envoy(third).start().unwrap();
    assert_eq!(proxy.memory_size(WORKER), 2 * 65536);
    std::fs::remove_file(&path).unwrap();
}
