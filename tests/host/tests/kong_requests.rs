//! What Kong's module does to requests and responses.

use super::kong::*;
use super::*;

#[test]
fn a_header_that_was_removed_is_hidden_and_sent() {
    let text = on_request(
        "(drop (call $remove (i32.const 0) (i32.const 1024) (i32.const 6)))
         (call $note (call $header (i32.const 0) (i32.const 1024) (i32.const 6)
           (i32.const 64) (i32.const 68)))",
        0,
    ) + r#"(data (i32.const 1024) "x-user")"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.assert_clean();
    assert!(proxy.outcome(stream).is_forwarded());
    let stream = proxy.request(0, Request::get("/").header("x-user", "forged"));
    assert_eq!(said(&proxy, WORKER), ["1", "1"], "the filter finds none");
    let forwarded = proxy.outcome(stream).forwarded();
    assert_eq!(forwarded.headers.text("x-user"), Some("forged"));
    assert_eq!(wrongs(&proxy), [Wrong::RemovedStillSent]);
}

#[test]
fn overwriting_changes_the_first_of_several() {
    let text = on_request(
        "(drop (call $replace (i32.const 0) (i32.const 1024) (i32.const 6) (i32.const 100)
           (i32.const 6)))",
        0,
    ) + r#"(data (i32.const 1024) "x-user")"#;
    let mut proxy = started(&text);
    proxy.request(0, Request::get("/").header("x-user", "a"));
    proxy.assert_clean();
    let request = Request::get("/")
        .header("x-user", "a")
        .header("x-user", "b");
    let stream = proxy.request(0, request);
    let forwarded = proxy.outcome(stream).forwarded();
    assert_eq!(forwarded.headers.all("x-user"), [b"denied", &b"b"[..]]);
    assert_eq!(wrongs(&proxy), [Wrong::DuplicateStillSent]);
}

#[test]
fn the_authority_is_the_servers_and_a_second_authorization_never_arrives() {
    let text = on_request(
        "(drop (call $header (i32.const 0) (i32.const 1024) (i32.const 10) (i32.const 64)
           (i32.const 68)))
         (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))
         (drop (call $header (i32.const 0) (i32.const 1035) (i32.const 4) (i32.const 64)
           (i32.const 68)))
         (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))",
        0,
    ) + r#"(data (i32.const 1024) ":authority") (data (i32.const 1035) "host")"#;
    let mut proxy = started(&text);
    proxy.request(0, Request::get("/").authority("shop.test"));
    assert_eq!(said(&proxy, WORKER), ["kong", "shop.test"]);
    proxy.forget();
    let stream = proxy.request(0, Request::get("/").bearer("a").bearer("b"));
    assert_eq!(proxy.outcome(stream).status(), Some(400));
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(said(&proxy, WORKER), [""; 0], "nginx answers");
}

#[test]
fn a_map_of_98_headers_cannot_be_read() {
    let text = on_request(
        "(call $note (call $pairs (i32.const 0) (i32.const 64) (i32.const 68)))",
        0,
    );
    let mut proxy = started(&text);
    // Host is one of the client's.
    for count in [96, 97, 120] {
        let names = (0..count).map(|n| format!("x-{n}"));
        let request = names.fold(Request::get("/"), |request, name| request.header(name, ""));
        proxy.request(0, request);
    }
    assert_eq!(said(&proxy, WORKER), ["0", "3", "3"]);
    proxy.assert_clean();
}

/// The module calls them without checking whether they exist.
#[test]
fn a_worker_dies_of_a_callback_that_is_not_exported() {
    for name in [
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_log",
        "proxy_on_done",
    ] {
        let mut proxy = started(&format!("(; \"{name}\" ;)"));
        let other = proxy.request(0, Request::get("/"));
        let stream = proxy.request(0, Request::get("/"));
        proxy.respond_open(stream, 200, [("a", "b")]);
        proxy.respond_body(stream, "chunk", true);
        assert_eq!(wrongs(&proxy), [Wrong::ExportMissing], "{name}");
        assert!(matches!(proxy.outcome(other), Outcome::Cut { .. }));
    }
    let mut proxy = started("");
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond(stream, 200, [("a", "b")]);
    proxy.assert_clean();
}

#[test]
fn a_replys_details_are_its_reason_phrase() {
    let mut proxy = started(&on_request("(call $reply (i32.const 401))", 1));
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).replied().reason, "denied");
}

#[test]
fn an_undeclared_variable_cannot_be_set() {
    let set = "(call $note (call $property (i32.const 1024) (i32.const 8) (i32.const 100)
        (i32.const 6)))";
    let text = on_request(set, 0) + r#"(data (i32.const 1024) "ngx\00gate")"#;
    for (builder, status) in [(kong(&text), "1"), (kong(&text).variables(["gate"]), "0")] {
        let mut proxy = builder.start().unwrap();
        proxy.request(0, Request::get("/"));
        assert_eq!(said(&proxy, WORKER), [status]);
    }
}

/// They are sent before a refusal is. Only the gate keeps them from their targets.
#[test]
fn a_subrequest_is_sent_beside_a_refused_request_unless_it_goes_by_the_gate() {
    let refuses = on_request("(call $reply (i32.const 401))", 1);
    let builder = kong(&refuses).gate().subrequest(false).subrequest(true);
    let mut proxy = builder.start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert_eq!(proxy.subrequests(stream), 1);
    let opens = on_request(
        "(drop (call $property (i32.const 1024) (i32.const 8) (i32.const 100) (i32.const 6)))",
        0,
    ) + r#"(data (i32.const 1024) "ngx\00gate")"#;
    let builder = kong(&opens).gate().subrequest(false).subrequest(true);
    let mut proxy = builder.start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert_eq!(proxy.subrequests(stream), 2);
}

#[test]
fn calls_that_fail_elsewhere_trap() {
    for call in [
        "(drop (call $foreign (i32.const 100) (i32.const 6) (i32.const 0) (i32.const 0)
           (i32.const 64) (i32.const 68)))",
        "(drop (call $increment (i32.const 999) (i64.const 1)))",
    ] {
        let mut proxy = started(&on_request(call, 0));
        let stream = proxy.request(0, Request::get("/"));
        assert_eq!(proxy.outcome(stream).status(), Some(500));
        assert_eq!(wrongs(&proxy), [Wrong::CallTraps, Wrong::Trapped]);
    }
}

#[test]
fn an_answer_says_how_the_dispatch_went() {
    let said = |answer: Answer| {
        let text = ticking("(drop (call $fetch (i32.const 0)))")
            + &on_answer(
                "(call $note (call $header (i32.const 6) (i32.const 110) (i32.const 7)
                   (i32.const 64) (i32.const 68)))
                 (drop (call $header (i32.const 6) (i32.const 1024) (i32.const 16)
                   (i32.const 64) (i32.const 68)))
                 (call $say (i32.load (i32.const 64)) (i32.load (i32.const 68)))",
            )
            + r#"(data (i32.const 1024) ":dispatch_status")"#;
        let mut proxy = kong(&text)
            .on_callout(move |_| answer.clone())
            .start()
            .unwrap();
        proxy.advance(10 * MS);
        said(&proxy, WORKER).join(" ")
    };
    assert_eq!(said(Answer::with(200, "")), "0 ok");
    assert_eq!(said(Answer::Refused), "1 failed", "and there is no :status");
}

#[test]
fn what_has_begun_is_not_cut() {
    let text = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $reply (i32.const 401)) (drop (call $close (i32.const 0))) (i32.const 0))"#;
    let mut proxy = started(text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.respond_open(stream, 200, [("a", "b")]);
    proxy.respond_body(stream, "chunk", false);
    assert!(!proxy.is_finished(stream));
    assert_eq!(proxy.outcome(stream).status(), Some(200));
    assert_eq!(wrongs(&proxy), [Wrong::CloseIgnored, Wrong::ReplyIgnored]);
}

#[test]
fn small_things() {
    let text = on_request(
        "(drop (call $property (i32.const 1024) (i32.const 8) (i32.const 100) (i32.const 6)))
         (call $say (i32.const 8192) (i32.const 3000))
         (call $reply (i32.const 401))",
        1,
    ) + r#"(data (i32.const 1024) "ngx\00gate")"#;
    let mut proxy = kong(&text).variables(["gate"]).start().unwrap();
    let request = Request::get("/").header("content-type", "application/grpc");
    let stream = proxy.request(0, request);
    let reply = proxy.outcome(stream).replied();
    assert_eq!((reply.status, reply.grpc_status), (401, None), "plain HTTP");
    assert_eq!(
        proxy.filter_state(stream, "ngx\0gate"),
        Some(&b"denied"[..])
    );
    assert_eq!(said(&proxy, WORKER)[0].len(), 2048);
    proxy.assert_clean();
}

#[test]
fn a_reply_is_bypassed_where_the_location_answers_and_a_gate_holds() {
    let text = on_request("(call $reply (i32.const 401))", 1);
    let mut proxy = kong(&text).replies_bypassed().start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_forwarded());
    assert_eq!(wrongs(&proxy), [Wrong::ReplyBypassed]);

    let mut proxy = kong(&text).replies_bypassed().gate().start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.upstream(stream).is_none());
    assert_eq!(proxy.outcome(stream).status(), Some(502));

    let mut proxy = kong(&waiting("")).gate().start().unwrap();
    let stream = proxy.request(0, Request::post("/", "body"));
    proxy.advance(MS);
    assert!(proxy.upstream(stream).is_none(), "nor what nobody decided");

    let opens = on_request(
        "(drop (call $property (i32.const 1024) (i32.const 8) (i32.const 100) (i32.const 6)))",
        0,
    ) + r#"(data (i32.const 1024) "ngx\00gate")"#;
    let mut proxy = kong(&opens).gate().start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_forwarded());
    proxy.assert_clean();
}

#[test]
fn a_body_cut_short_tells_its_size_and_forwards_a_request() {
    let told = "(call $note (local.get $body))
        (call $note (call $buffer (i32.const 4) (i32.const 0) (local.get $body) (i32.const 64)
          (i32.const 68)))";
    let short = || Answer::CutShort {
        status: 200,
        promised: 500,
    };
    let text = ticking("(drop (call $fetch (i32.const 0)))") + &on_answer(told);
    let mut proxy = kong(&text).on_callout(move |_| short()).start().unwrap();
    proxy.advance(10 * MS);
    assert_eq!(said(&proxy, WORKER), ["500", "1"]);
    proxy.assert_clean();
    let text = waiting("(call $reply (i32.const 401))");
    let mut proxy = kong(&text).on_callout(move |_| short()).start().unwrap();
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert!(proxy.upstream(stream).is_some());
    assert!(wrongs(&proxy).contains(&Wrong::ForwardedUndecided));
}
