//! APISIX: what goes wrong there, and whether the host notices it.

pub(super) use std::time::Duration;

use super::*;
pub(super) use crate::host::{Answer, Builder, Outcome, Request};

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) fn apisix(text: &str) -> Builder {
    Proxy::apisix(module(text)).on_callout(|_| Answer::with(200, "keys").after(MS))
}

pub(super) fn started(text: &str) -> Proxy {
    apisix(text).start().unwrap()
}

pub(super) fn waiting(answered: &str) -> String {
    on_request("(drop (call $fetch_port))", 1) + &on_answer(answered)
}

#[test]
fn a_configuration_starts_with_its_first_request_and_is_tried_with_each() {
    let text = r#"
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (unreachable))
      (func (export "proxy_on_log") (param i32) (unreachable))
      (func (export "proxy_on_configure") (param $root i32) (param $size i32) (result i32)
        (call $note (local.get $size))
        (i32.ne (local.get $size) (i32.const 3)))"#;
    let builder = apisix(text).configuration("bad").configuration("good");
    let mut proxy = builder.start().unwrap();
    assert_eq!(said(&proxy, WORKER), [""; 0]);
    for _ in 0..2 {
        let stream = proxy.request(0, Request::get("/"));
        assert_eq!(proxy.outcome(stream).status(), Some(503));
        assert!(proxy.upstream(stream).is_none());
    }
    for _ in 0..2 {
        let stream = proxy.request(0, Request::get("/").listener(1));
        assert!(proxy.outcome(stream).is_forwarded());
        proxy.respond(stream, 200, [("a", "b")]);
    }
    assert_eq!(
        said(&proxy, WORKER),
        ["3", "3", "3", "3", "4"],
        "twice for each"
    );
    proxy.reconfigure(0, "better");
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_forwarded());
    assert_eq!(said(&proxy, WORKER), ["3", "3", "3", "3", "4", "6"]);
    proxy.assert_clean();
}

#[test]
fn a_new_configuration_is_a_new_root_among_old_statics() {
    let text = r#"
      (global $statics (mut i32) (i32.const 0))
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (global.set $statics (i32.add (global.get $statics) (i32.const 1)))
        (call $note (global.get $statics))
        (i32.const 1))"#;
    let mut proxy = started(text);
    proxy.request(0, Request::get("/"));
    proxy.reconfigure(0, "another");
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["1", "2"]);
    proxy.reload().unwrap();
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["1", "2", "1"]);
}

#[test]
fn a_pause_without_a_callout_kills_the_worker() {
    let mut proxy = started(&on_request("", 1));
    let stream = proxy.request(0, Request::get("/"));
    assert!(matches!(
        proxy.outcome(stream),
        Outcome::Cut { reply: None, .. }
    ));
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(wrongs(&proxy), [Wrong::PauseKills]);
    let mut proxy = started(&on_request("(call $reply (i32.const 401))", 1));
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    proxy.assert_clean();
}

#[test]
fn a_callback_that_says_nothing_forwards_and_one_that_traps_is_a_503() {
    let mut proxy = started(&waiting(""));
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_paused());
    proxy.advance(MS);
    assert!(proxy.outcome(stream).is_forwarded());
    assert_eq!(wrongs(&proxy), [Wrong::ForwardedUndecided]);

    let mut proxy = started(&waiting("(unreachable)"));
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert_eq!(proxy.outcome(stream).status(), Some(503));
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(wrongs(&proxy), [Wrong::Trapped]);
}

/// Without `proxy_on_done` each request causes a line at error level.
#[test]
fn a_module_that_does_not_say_when_it_is_done_fills_the_log() {
    let mut proxy = started("(; \"proxy_on_done\" ;)");
    for _ in 0..3 {
        let stream = proxy.request(0, Request::get("/"));
        proxy.respond(stream, 200, [("a", "b")]);
    }
    let lines = proxy.logs().iter().filter(|l| l.level == Level::Error);
    let lines: Vec<&str> = lines.map(|l| l.text.as_str()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("failed to mark context"), "{lines:?}");
    assert_eq!(wrongs(&proxy), []);
}

#[test]
fn an_undeclared_variable_cannot_be_set_and_a_declared_one_is_a_gate() {
    let set = "(call $note (call $property (i32.const 1024) (i32.const 4) (i32.const 100)
        (i32.const 6)))";
    let text = on_request(set, 0) + r#"(data (i32.const 1024) "gate")"#;
    let mut proxy = started(&text);
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["1"]);
    assert!(proxy.logged(Level::Error, "no variable gate"));
    let mut proxy = apisix(&text).gate().start().unwrap();
    let open = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(open).is_forwarded());
    assert_eq!(said(&proxy, WORKER), ["0"]);
    let mut proxy = apisix("").gate().start().unwrap();
    let shut = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(shut).status(), Some(503));
    assert!(proxy.upstream(shut).is_none());
}

/// They win over the client's host and target, whatever the header map says.
#[test]
fn two_variables_of_its_own_are_the_host_and_the_target_for_the_upstream() {
    let set = |at: u32, size: u32, value: u32| {
        format!(
            "(call $note (call $property (i32.const {at}) (i32.const {size})
               (i32.const {value}) (i32.const 4)))"
        )
    };
    let text = on_request(&(set(1024, 13, 1060) + &set(1040, 12, 1070)), 0)
        + r#"(data (i32.const 1024) "upstream_host") (data (i32.const 1040) "upstream_uri")
           (data (i32.const 1060) "b.de") (data (i32.const 1070) "/x?y")"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/?old"));
    let headers = proxy.outcome(stream).forwarded().headers;
    assert_eq!(said(&proxy, WORKER), ["0", "0"]);
    assert_eq!(headers.text("host"), Some("b.de"));
    assert_eq!(headers.text(":path"), Some("/x?y"));
    proxy.assert_clean();
}

#[test]
fn a_map_shows_a_hundred_headers_of_the_client_and_an_empty_value_removes_one() {
    let text = on_request(
        "(drop (call $pairs (i32.const 0) (i32.const 64) (i32.const 68)))
         (call $note (i32.load (i32.load (i32.const 64))))
         (drop (call $replace (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 0)
           (i32.const 0)))",
        0,
    ) + r#"(data (i32.const 1024) "x-0")"#;
    let mut proxy = started(&text);
    let many = |count: usize| {
        let headers = (0..count).map(|n| format!("x-{n}"));
        headers.fold(Request::get("/"), |request, name| request.header(name, "v"))
    };
    // Host is one of the client's.
    let stream = proxy.request(0, many(99));
    assert_eq!(said(&proxy, WORKER), ["104"]);
    proxy.assert_clean();
    let forwarded = proxy.outcome(stream).forwarded();
    assert!(!forwarded.headers.has("x-0") && forwarded.headers.has("x-1"));
    proxy.request(0, many(120));
    assert_eq!(said(&proxy, WORKER), ["104", "104"]);
    assert_eq!(wrongs(&proxy), [Wrong::MapCut]);
}

/// Removed, overwritten with nothing, or hidden: each ends in a body without an end.
#[test]
fn a_body_that_loses_its_length_is_noticed() {
    let data = r#"(data (i32.const 1024) "content-length")"#;
    let removed = "(drop (call $remove (i32.const 0) (i32.const 1024) (i32.const 14)))";
    let emptied = "(drop (call $replace (i32.const 0) (i32.const 1024) (i32.const 14)
        (i32.const 1024) (i32.const 0)))";
    let request = || Request::post("/", "x=1").header("content-length", "3");
    for (text, expected) in [
        (removed, &[Wrong::FramingRemoved][..]),
        (emptied, &[Wrong::FramingRemoved]),
        ("", &[]),
    ] {
        let text = on_request(text, 0) + data;
        let mut proxy = started(&text);
        proxy.request(0, request());
        assert_eq!(wrongs(&proxy), expected, "{text}");
        // One that has none cannot lose it.
        let mut proxy = started(&text);
        proxy.request(0, Request::get("/"));
        assert_eq!(wrongs(&proxy), [], "{text}");
    }
    let text = on_request(removed, 0) + data;
    let mut proxy = Proxy::kong(module(&text)).start().unwrap();
    proxy.request(0, request());
    assert_eq!(wrongs(&proxy)[0], Wrong::FramingRemoved);
    let mut proxy = Proxy::envoy(module(&text)).start().unwrap();
    proxy.request(0, request());
    assert_eq!(wrongs(&proxy), [], "Envoy frames the body anew");
}

#[test]
fn what_it_does_not_offer_is_status_12_and_metrics_are_idle() {
    let text = on_request(
        "(call $note (call $time (i32.const 64)))
         (call $note (call $period (i32.const 10)))
         (call $note (call $get (i32.const 100) (i32.const 6) (i32.const 64) (i32.const 68)
           (i32.const 72)))
         (call $note (call $set (i32.const 100) (i32.const 6) (i32.const 100) (i32.const 6)
           (i32.const 0)))
         (call $note (call $foreign (i32.const 100) (i32.const 6) (i32.const 0) (i32.const 0)
           (i32.const 64) (i32.const 68)))
         (call $note (call $property (i32.const 100) (i32.const 6) (i32.const 100)
           (i32.const 6)))
         (call $note (call $increment (i32.const 999) (i64.const 1)))",
        0,
    );
    let mut proxy = started(&text);
    proxy.request(0, Request::get("/"));
    let expected = ["12", "12", "12", "12", "12", "1", "0"];
    assert_eq!(said(&proxy, WORKER), expected);
    for name in [
        "get_log_level",
        "get_metric",
        "get_buffer_status",
        "get_header_map_size",
    ] {
        let text = format!(r#"(module (import "env" "proxy_{name}" (func)))"#);
        let error = Proxy::apisix(Module::from_bytes(text).unwrap())
            .start()
            .err();
        assert!(
            error.unwrap().message.contains("no function env.proxy_"),
            "{name}"
        );
    }
}

#[test]
fn a_trap_closes_every_route_until_a_reload_and_lets_an_answer_through() {
    let text = on_response("(unreachable)");
    let builder = apisix(&text).configuration("a").configuration("b");
    let mut proxy = builder.start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, [("a", "b")]);
    assert_eq!(proxy.outcome(stream).status(), Some(200));
    assert_eq!(wrongs(&proxy), [Wrong::Trapped, Wrong::TrapForwards]);
    for listener in [0, 1] {
        let stream = proxy.request(0, Request::get("/").listener(listener));
        assert_eq!(proxy.outcome(stream).status(), Some(503));
    }
    proxy.reload().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_forwarded());
}

#[test]
fn what_is_told_of_the_headers_is_not_true() {
    let text = on_request(
        "(call $note (local.get $n)) (call $note (local.get $end))",
        0,
    );
    let mut proxy = started(&text);
    proxy.request(0, Request::post("/", "body"));
    assert_eq!(said(&proxy, WORKER), ["0", "1"]);
}

#[test]
fn bodies_are_shown_on_demand_once_and_whole() {
    let body = r#"(func (export "proxy_on_request_body") (param i32) (param $size i32)
        (param $end i32) (result i32)
        (call $note (local.get $size)) (call $note (local.get $end)) (i32.const 0))
      (data (i32.const 1024) "wasm_process_req_body")"#;
    let ask = "(drop (call $property (i32.const 1024) (i32.const 21) (i32.const 100)
        (i32.const 1)))";
    for (asks, expected) in [("", &[][..]), (ask, &["7", "1"])] {
        let mut proxy = started(&(on_request(asks, 0) + body));
        let stream = proxy.request(0, Request::post("/", "one").open());
        proxy.send_body(stream, "more", true);
        assert_eq!(said(&proxy, WORKER), expected);
        let forwarded = proxy.outcome(stream).forwarded();
        assert_eq!(
            (forwarded.body, forwarded.complete),
            (b"onemore".to_vec(), true)
        );
    }
}

#[test]
fn a_reply_from_the_response_hook_is_ignored_also_where_no_request_came() {
    let text = on_response("(call $note (i32.const 7)) (call $reply (i32.const 401))");
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, [("a", "b")]);
    assert_eq!(proxy.outcome(stream).status(), Some(200));
    let unseen = proxy.request_unseen(0, Request::get("/"));
    assert_eq!(proxy.outcome(unseen).status(), Some(400));
    assert_eq!(said(&proxy, WORKER), ["7", "7"]);
    assert_eq!(wrongs(&proxy), [Wrong::ReplyIgnored; 2]);
}

#[test]
fn asking_for_the_host_of_a_request_without_one_kills_the_worker() {
    let map = "(drop (call $pairs (i32.const 0) (i32.const 64) (i32.const 68)))";
    let authority = "(drop (call $header (i32.const 0) (i32.const 1024) (i32.const 10)
        (i32.const 64) (i32.const 68)))";
    for read in [map, authority] {
        let text = on_request(read, 0) + r#"(data (i32.const 1024) ":authority")"#;
        let mut proxy = started(&text);
        let with = proxy.request(0, Request::get("/"));
        proxy.respond(with, 200, [("a", "b")]);
        proxy.assert_clean();
        let stream = proxy.request(0, Request::get("/").without(":authority"));
        assert!(matches!(proxy.outcome(stream), Outcome::Cut { .. }));
        assert_eq!(wrongs(&proxy), [Wrong::MapKills, Wrong::Trapped]);
        let after = proxy.request(0, Request::get("/"));
        assert!(proxy.outcome(after).is_forwarded());
    }
}

#[test]
fn thirty_response_headers_are_too_many_for_the_map() {
    let text =
        on_response("(call $note (call $pairs (i32.const 2) (i32.const 64) (i32.const 68)))");
    let mut proxy = started(&text);
    for (count, wrong) in [(20, 0), (30, 1)] {
        let mut headers = Headers::new();
        (0..count).for_each(|n| headers.add(format!("x-{n}"), ""));
        let stream = proxy.request(0, Request::get("/"));
        proxy.respond(stream, 200, headers);
        assert_eq!(wrongs(&proxy).len(), wrong);
    }
    assert_eq!(said(&proxy, WORKER), ["0", "10"]);
    assert_eq!(wrongs(&proxy), [Wrong::MapPanics]);
}

#[test]
fn the_authority_is_the_method_and_a_query_stays() {
    let set = |at: u32, size: u32| {
        format!(
            "(drop (call $replace (i32.const 0) (i32.const {at}) (i32.const {size})
               (i32.const 1040) (i32.const 4)))"
        )
    };
    let text = on_request(&(set(1024, 10) + &set(120, 5)), 0)
        + r#"(data (i32.const 1024) ":authority") (data (i32.const 1040) "/a?b")"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/?old"));
    let headers = proxy.outcome(stream).forwarded().headers;
    assert_eq!(headers.text(":method"), Some("/a?b"));
    assert_eq!(headers.text(":path"), Some("/a%3Fb?old"));
    assert_eq!(wrongs(&proxy), [Wrong::MethodOverwritten, Wrong::QueryKept]);
}

#[test]
fn a_reply_without_a_body_is_nginxs_page_and_properties_are_its_variables() {
    let text = on_request(
        "(call $note (call $get_property (i32.const 1024) (i32.const 11) (i32.const 64)
           (i32.const 68)))
         (call $note (call $get_property (i32.const 1040) (i32.const 12) (i32.const 64)
           (i32.const 68)))
         (drop (call $send (i32.const 401) (i32.const 0) (i32.const 0) (i32.const 0)
           (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))",
        1,
    ) + r#"(data (i32.const 1024) "remote_addr") (data (i32.const 1040) "request\00path")"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/").property("remote_addr", "10.0.0.1"));
    assert!(proxy.outcome(stream).replied().text().starts_with("<html>"));
    assert_eq!(said(&proxy, WORKER), ["0", "1"]);
    proxy.assert_clean();
}
