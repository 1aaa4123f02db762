//! Kong: what goes wrong there, and whether the host notices it.

pub(super) use std::time::Duration;

use super::*;
pub(super) use crate::host::{Answer, Builder, Outcome, Request};

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn kong(text: &str) -> Builder {
    Proxy::kong(module(text)).on_callout(|_| Answer::with(200, "keys").after(MS))
}

pub(super) fn started(text: &str) -> Proxy {
    kong(text).start().unwrap()
}

/// A module that makes a callout for a request and lets it wait.
pub(super) fn waiting(answered: &str) -> String {
    on_request("(drop (call $fetch (i32.const 0)))", 1) + &on_answer(answered)
}

#[test]
fn a_callback_that_says_nothing_forwards() {
    let mut proxy = started(&waiting(""));
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_paused());
    proxy.advance(MS);
    assert!(proxy.outcome(stream).is_forwarded());
    let expected = [Wrong::CalloutFromRequest, Wrong::ForwardedUndecided];
    assert_eq!(wrongs(&proxy), expected);
}

#[test]
fn a_callback_that_replies_denies_and_is_told_under_its_own_context() {
    let mut proxy = started(&waiting(
        "(call $note (local.get $id)) (call $reply (i32.const 401))",
    ));
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(said(&proxy, WORKER), ["2"], "the root is 1");
    assert_eq!(wrongs(&proxy), [Wrong::CalloutFromRequest]);
}

#[test]
fn a_callback_that_traps_forwards() {
    let mut proxy = started(&waiting("unreachable"));
    let request = Request::post("/", "body");
    let stream = proxy.request(0, request);
    proxy.advance(MS);
    let forwarded = proxy.outcome(stream).forwarded();
    assert_eq!(forwarded.body, b"body");
    let expected = [
        Wrong::CalloutFromRequest,
        Wrong::Trapped,
        Wrong::TrapForwards,
    ];
    assert_eq!(wrongs(&proxy), expected);
}

#[test]
fn calling_out_and_continuing_kills_the_worker_with_all_it_serves() {
    let text = on_request(
        "(if (call $request_path) (then (return (i32.const 1))))
         (if (i32.eq (i32.load (i32.const 68)) (i32.const 1)) (then (return (i32.const 0))))
         (drop (call $fetch (i32.const 0)))",
        0,
    );
    let mut proxy = started(&text);
    let other = proxy.request(0, Request::get("/"));
    let stream = proxy.request(0, Request::get("/long"));
    for stream in [other, stream] {
        assert!(matches!(proxy.outcome(stream), Outcome::Cut { .. }));
    }
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(proxy.details(stream), "worker_died");
    let expected = [Wrong::CalloutFromRequest, Wrong::ContinueAfterCallout];
    assert_eq!(wrongs(&proxy), expected);
    let next = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(next).is_forwarded(), "another process serves");
}

#[test]
fn what_waits_without_a_callout_waits_for_ever() {
    let text = on_request("", 1)
        + r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $period (i32.const 10)) (i32.eqz))
          (func (export "proxy_on_tick") (param i32)
            (call $note (call $switch (i32.const 2)))
            (drop (call $continue (i32.const 0))))"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(10 * MS);
    assert!(
        proxy.outcome(stream).is_paused(),
        "the root can't resume it"
    );
    assert_eq!(said(&proxy, WORKER), ["0"]);
    assert_eq!(wrongs(&proxy), [Wrong::PauseForever, Wrong::NoStream]);
}

#[test]
fn a_trap_is_a_500_and_on_the_way_back_an_open_door() {
    let text = on_request(
        "(drop (call $request_path))
         (if (i32.eq (i32.load (i32.const 68)) (i32.const 1)) (then (return (i32.const 0))))
         (unreachable)",
        0,
    ) + &on_response("(unreachable)")
        + r#"(func (export "proxy_on_vm_start") (param i32 i32) (result i32)
            (call $note (i32.const 1)) (i32.const 1))
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (call $note (i32.const 2)) (i32.const 1))"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/traps"));
    assert_eq!(proxy.outcome(stream).status(), Some(500));
    assert!(proxy.upstream(stream).is_none());
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, [("a", "b")]);
    assert_eq!(proxy.outcome(stream).status(), Some(200));
    let expected = [Wrong::Trapped, Wrong::Trapped, Wrong::TrapForwards];
    assert_eq!(wrongs(&proxy), expected);
    assert_eq!(
        said(&proxy, WORKER),
        ["1", "2", "2"],
        "no second on_vm_start"
    );
}

#[test]
fn a_refused_configuration_and_a_callout_from_it_end_the_proxy() {
    let refuses = |what: &str| {
        let text =
            format!(r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) {what})"#);
        kong(&text).start().err().unwrap().message
    };
    assert!(refuses("(i32.const 0)").contains("on_configure was false"));
    assert!(refuses("(call $fetch (i32.const 0))").contains("CalloutFromConfigure"));
    let text = r#"(module (memory (export "memory") 1)
      (import "env" "proxy_get_log_level" (func (param i32) (result i32))))"#;
    let text = text.replace("(memory (export \"memory\") 1)", "");
    let level = Proxy::kong(Module::from_bytes(text).unwrap()).start();
    assert!(
        level
            .err()
            .unwrap()
            .message
            .contains("no function env.proxy_get_log_level")
    );
}

/// Sets its tick while it is being configured.
pub(super) fn ticking(tick: &str) -> String {
    format!(
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
            (drop (call $period (i32.const 10))) (i32.const 1))
          (func (export "proxy_on_tick") (param i32) {tick})"#
    )
}

#[test]
fn a_tick_is_set_once() {
    let mut proxy = started(&ticking("(drop (call $period (i32.const 20)))"));
    proxy.advance(10 * MS);
    assert_eq!(wrongs(&proxy), [Wrong::TickSetAgain, Wrong::Trapped]);
    let mut proxy = started(&ticking("(call $note (call $fetch (i32.const 0)))"));
    proxy.advance(35 * MS);
    assert_eq!(
        said(&proxy, WORKER),
        ["0", "0", "0"],
        "callouts from ticks are fine"
    );
    proxy.assert_clean();
}

#[test]
fn a_tick_that_traps_multiplies_until_the_worker_drowns() {
    let mut proxy = started(&ticking("(call $note (i32.const 1)) (unreachable)"));
    let mut ran = Vec::new();
    for _ in 0..4 {
        proxy.forget();
        proxy.advance(10 * MS);
        ran.push(said(&proxy, WORKER).len());
    }
    assert_eq!(ran, [1, 1, 2, 4]);
    assert!(wrongs(&proxy).contains(&Wrong::TimersMultiply));
}
