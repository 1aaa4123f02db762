//! Callouts on the module of APISIX.

use super::apisix::*;
use super::*;

/// The callback names the root context, tokens count from 0, and its calls act on the
/// request.
#[test]
fn a_callback_names_the_root_and_acts_on_the_request() {
    let told = "(call $note (local.get $id)) (call $note (local.get $token))
        (call $reply (i32.const 401))";
    let mut proxy = started(&waiting(told));
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert_eq!(said(&proxy, WORKER), ["1", "0"], "the request is 2");
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    proxy.assert_clean();
}

#[test]
fn a_call_inside_a_callback_is_awaited_and_a_second_one_there_is_refused() {
    let text = r#"(global $told (mut i32) (i32.const 0))"#.to_owned()
        + &waiting(
            "(global.set $told (i32.add (global.get $told) (i32.const 1)))
             (if (i32.eq (global.get $told) (i32.const 3))
               (then (call $reply (i32.const 401)) (return)))
             (call $note (call $fetch_port)) (call $note (call $fetch_port))",
        );
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    for _ in 0..2 {
        proxy.advance(MS);
        assert!(proxy.outcome(stream).is_paused());
    }
    proxy.advance(MS);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    assert_eq!(said(&proxy, WORKER), ["0", "10", "0", "10"]);
    assert_eq!(proxy.callouts().len(), 3);
    assert_eq!(wrongs(&proxy), [Wrong::SecondCallout; 2]);
}

#[test]
fn a_reply_in_the_callback_that_called_out_is_lost() {
    let text = waiting("(drop (call $fetch_port)) (call $reply (i32.const 401))");
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert!(proxy.outcome(stream).is_paused());
    assert_eq!(wrongs(&proxy), [Wrong::ReplyLost]);
}

#[test]
fn a_client_that_leaves_is_not_noticed_while_its_request_waits() {
    let text = waiting("(drop (call $continue (i32.const 0)))")
        + r#"(func (export "proxy_on_delete") (param i32) (call $note (i32.const 9)))"#;
    let mut proxy = started(&text);
    let stream = proxy.request(0, Request::get("/"));
    proxy.cancel(stream);
    assert_eq!(said(&proxy, WORKER), [""; 0]);
    proxy.advance(MS);
    assert!(proxy.upstream(stream).is_some());
    proxy.cancel(stream);
    assert_eq!(said(&proxy, WORKER), ["9"]);
}

#[test]
fn a_callback_that_speaks_decides() {
    let mut proxy = started(&waiting("(call $reply (i32.const 401))"));
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert_eq!(proxy.outcome(stream).replied().status, 401);
    proxy.assert_clean();
    let mut proxy = started(&waiting("(drop (call $continue (i32.const 0)))"));
    let stream = proxy.request(0, Request::get("/"));
    proxy.advance(MS);
    assert!(proxy.outcome(stream).is_forwarded());
    proxy.assert_clean();
}

#[test]
fn a_reply_beside_a_callout_is_lost() {
    let text = "(drop (call $fetch_port)) (call $reply (i32.const 401))";
    let mut proxy = started(&on_request(text, 1));
    let stream = proxy.request(0, Request::get("/"));
    assert!(proxy.outcome(stream).is_paused());
    proxy.advance(MS);
    assert!(proxy.outcome(stream).is_forwarded(), "there is no callback");
    let expected = [Wrong::ReplyLost, Wrong::ForwardedUndecided];
    assert_eq!(wrongs(&proxy), expected);
}

#[test]
fn a_request_has_one_callout_and_one_to_nowhere_is_taken_and_fails() {
    let text = "(call $note (call $fetch_port)) (call $note (call $fetch_port))";
    let mut proxy = started(&on_request(text, 1));
    proxy.request(0, Request::get("/"));
    assert_eq!(said(&proxy, WORKER), ["0", "10"]);
    assert_eq!(wrongs(&proxy), [Wrong::SecondCallout]);

    let text = on_request("(call $note (call $fetch (i32.const 0)))", 1)
        + &on_answer("(call $note (local.get $headers)) (call $reply (i32.const 503))");
    let without_a_port = apisix(&text);
    let unknown =
        apisix(&text.replace("$fetch (i32.const 0)", "$fetch_port")).clusters(["other:1"]);
    for builder in [without_a_port, unknown] {
        let mut proxy = builder.start().unwrap();
        let stream = proxy.request(0, Request::get("/"));
        proxy.advance(MS);
        assert_eq!(said(&proxy, WORKER), ["0", "0"], "taken, and no headers");
        assert_eq!(proxy.outcome(stream).replied().status, 503);
    }
}

#[test]
fn a_callout_that_failed_has_no_headers() {
    let said = |what: &str| {
        let text = waiting(&format!(
            "(call $note {what}) (call $reply (i32.const 503))"
        ));
        let builder = apisix(&text).on_callout(|_| Answer::Refused);
        let mut proxy = builder.start().unwrap();
        proxy.request(0, Request::get("/"));
        proxy.advance(MS);
        (said(&proxy, WORKER).join(" "), wrongs(&proxy))
    };
    assert_eq!(said("(local.get $headers)"), ("0".into(), vec![]));
    let one = "(call $header (i32.const 6) (i32.const 110) (i32.const 7) (i32.const 64)
        (i32.const 68))";
    assert_eq!(said(one), ("1".into(), vec![]));
    let map = "(call $pairs (i32.const 6) (i32.const 64) (i32.const 68))";
    assert_eq!(said(map), ("10".into(), vec![Wrong::MapPanics]));
}
