//! Kong's shared data, which is not a reliable store.

use super::*;
use crate::host::{Builder, Request};

/// Writes `denied` under the request's path. The request's method chooses the cas (0 for
/// `GET`, the one that was read for others). Logs the status, then reads the value again
/// and logs the status and the value.
const WRITER: &str = r#"
  (func $key (param $at i32) (param $size i32)
    (call $note (call $set (local.get $at) (local.get $size) (i32.const 100) (i32.const 6)
      (i32.load (i32.const 72))))
    (call $read (local.get $at) (local.get $size)))
  (func $read (param $at i32) (param $size i32)
    (call $note (call $get (local.get $at) (local.get $size) (i32.const 64) (i32.const 68)
      (i32.const 72)))
    (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $request_path))
    (i32.store (i32.const 72) (i32.const 0))
    (call $key (i32.load (i32.const 64)) (i32.load (i32.const 68)))
    (i32.const 0))"#;

fn kong() -> Builder {
    Proxy::kong(module(WRITER))
}

#[test]
fn two_names_of_one_crc32_are_one_entry() {
    // A well-known collision.
    assert_eq!(crc32fast::hash(b"plumless"), crc32fast::hash(b"buckeroo"));
    let mut proxy = kong().shared("buckeroo", "mine").start().unwrap();
    proxy.request(0, Request::get("plumless"));
    assert_eq!(
        said(&proxy, WORKER),
        ["8", "0", "mine"],
        "not its cas, and not its value"
    );
    assert_eq!(wrongs(&proxy), [Wrong::SharedCollision; 2]);
}

#[test]
fn a_key_that_is_there_is_written_with_its_cas_only() {
    let mut proxy = kong().shared("/key", "old").start().unwrap();
    proxy.request(0, Request::get("/key"));
    assert_eq!(said(&proxy, WORKER), ["8", "0", "old"]);
    proxy.assert_clean();
}

#[test]
fn a_full_store_throws_out_the_oldest() {
    let mut proxy = kong()
        .shared_room(1)
        .shared("revoked", "sid")
        .start()
        .unwrap();
    proxy.request(0, Request::get("/key"));
    assert_eq!(said(&proxy, WORKER), ["0", "0", "denied"]);
    assert!(!proxy.shared_data().contains_key(&b"revoked"[..]));
    assert_eq!(wrongs(&proxy), [Wrong::SharedEvicted]);
}

#[test]
fn without_eviction_or_without_a_zone_it_traps() {
    let full = kong().shared_room(1).shared("revoked", "sid");
    for builder in [full.shared_without_eviction(), kong().shared_room(0)] {
        let mut proxy = builder.start().unwrap();
        let stream = proxy.request(0, Request::get("/key"));
        assert_eq!(proxy.outcome(stream).status(), Some(500));
        assert_eq!(wrongs(&proxy), [Wrong::CallTraps, Wrong::Trapped]);
    }
}

#[test]
fn a_read_may_be_of_two_values() {
    let mut proxy = kong().shared("/key", "aaaaaa").start().unwrap();
    proxy.write_during_next_read("bbbbbb");
    proxy.request(0, Request::get("/key"));
    assert_eq!(said(&proxy, WORKER), ["8", "0", "aaabbb"]);
    assert_eq!(wrongs(&proxy), [Wrong::SharedTorn]);
}

#[test]
fn a_reload_wipes_it_and_a_bad_configuration_is_an_outage() {
    let text = r#"
      (func (export "proxy_on_configure") (param i32) (param $size i32) (result i32)
        (i32.ne (local.get $size) (i32.const 3)))"#;
    let builder = Proxy::kong(module(text)).configuration("good").workers(2);
    let mut proxy = builder.shared("key", "value").start().unwrap();
    proxy.reload().unwrap();
    assert!(proxy.shared_data().is_empty());
    proxy.reconfigure(0, "bad");
    let stream = proxy.request(1, Request::get("/"));
    assert!(
        proxy.outcome(stream).is_forwarded(),
        "not before the reload"
    );
    assert!(proxy.reload().is_err());
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).status(), Some(500));
}
