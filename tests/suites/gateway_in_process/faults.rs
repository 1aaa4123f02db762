//! Each host call of a request's way fails once with each status: nobody reaches the
//! upstream but rewritten and with the credential.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{HostCall, Vm};
use caracal_tests::hosts::{APISIX, ENVOY, On};
use serde_json::json;

use crate::edge::*;

/// What a proxy may say, and a number that none says.
const STATUSES: [u32; 8] = [1, 2, 3, 7, 8, 10, 12, 99];

#[test]
fn no_failed_host_call_lets_a_request_go_on_unexchanged() {
    BOTH.into_iter().for_each(fails_each_call);
}

/// An edge with its keys. On APISIX the way of a request begins with its own fetch of them,
/// and its configuration is read then.
fn started(on: On) -> Edge {
    Edge::granting(on, bearer_token())
}

fn is_asked(call: &HostCall) -> bool {
    call.vm == Vm::Worker(0)
}

fn fails_each_call(on: On) {
    let calls: Rc<RefCell<Vec<String>>> = Rc::default();
    {
        let mut edge = started(on);
        let noted = Rc::clone(&calls);
        edge.proxy.on_host_call(move |call| {
            if is_asked(call) {
                let name = format!("{} in {}", call.name, call.callback);
                noted.borrow_mut().push(name);
            }
            None
        });
        let stream = edge.send(get("/x"));
        edge.proxy.no_faults();
        edge.upstream(stream);
    }
    let calls = calls.take();
    let count = calls.len();
    assert!(count > 20, "{count}");
    let (mut admitted, mut refused) = (0, 0);
    for (nth, name) in calls.iter().enumerate() {
        for status in STATUSES {
            let what = format!("{}: {nth}, {name}, returns {status}", on.name());
            let mut edge = started(on);
            let mut calls = 0;
            edge.proxy.on_host_call(move |call| {
                calls += usize::from(is_asked(call));
                (is_asked(call) && calls == nth + 1).then_some(status)
            });
            let stream = edge.send(get("/x"));
            edge.proxy.no_faults();
            edge.proxy.advance(Duration::from_secs(10));
            // If Envoy does not take a reply, or does not let a request go on, its own
            // timeouts end the request.
            let ended = !edge.proxy.outcome(stream).is_paused();
            assert!(ended || on == ENVOY, "{what}");
            match edge.proxy.upstream(stream) {
                Some(upstream) => {
                    admitted += 1;
                    is_exchanged(on, &upstream.headers, &what);
                }
                None => refused += 1,
            }
            assert_eq!(edge.proxy.failed(Vm::Worker(0)), None, "{what}");
            // The proxy is well again.
            let again = mandate(BILLING, json!({"jti": "again"}));
            let stream = edge.send(resource(BILLING).bearer(again));
            if on == APISIX && edge.proxy.upstream(stream).is_none() {
                // A failed fetch of the key set is made again a moment later.
                let again = mandate(BILLING, json!({"jti": "and again"}));
                let stream = edge.send(resource(BILLING).bearer(again));
                edge.upstream(stream);
            } else {
                edge.upstream(stream);
            }
        }
    }
    println!(
        "{}: {count} host calls: {admitted} admitted, {refused} refused",
        on.name()
    );
    assert!(refused > 0 && admitted > 0);
}
