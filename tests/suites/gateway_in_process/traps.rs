//! A VM that traps at any host call of any callback while requests wait for their exchange:
//! it admits nobody who was not exchanged, its requests end, and the next VM serves.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::host::{FailurePolicy, HostCall, Outcome, Request, Stream, Vm, status};
use caracal_tests::hosts::{APISIX, ENVOY, On};
use caracal_tests::mint::Key;
use serde_json::{Value, json};

use crate::edge::*;

/// In which everything is well again.
const WELL: Duration = Duration::from_secs(20);

#[test]
fn a_vm_that_traps_in_envoy() {
    // If its configuration traps, Envoy does not start.
    let expected = [
        "proxy_on_http_call_response",
        "proxy_on_request_headers",
        "proxy_on_response_headers",
        "proxy_on_tick",
    ];
    assert_eq!(traps_anywhere(ENVOY), expected.into());
}

#[test]
fn a_vm_that_traps_in_apisix() {
    let expected = [
        "proxy_on_configure",
        "proxy_on_http_call_response",
        "proxy_on_request_headers",
        "proxy_on_response_headers",
    ];
    assert_eq!(traps_anywhere(APISIX), expected.into());
}

/// The callbacks in which it trapped.
fn traps_anywhere(on: On) -> BTreeSet<&'static str> {
    let seen: Rc<RefCell<BTreeMap<(&str, &str), BTreeSet<u64>>>> = Rc::default();
    let note = Rc::clone(&seen);
    let mut edge = started(on, move |call| {
        let mut seen = note.borrow_mut();
        let calls = seen.entry((call.callback, call.name)).or_default();
        calls.insert(call.nth);
        None
    });
    let edge = edge.as_mut().unwrap();
    let lived = live(edge);
    for stream in &lived.good {
        edge.upstream(*stream);
    }
    let (mut callbacks, mut runs, mut ends) = (BTreeSet::new(), 0, BTreeMap::new());
    for ((callback, name), times) in seen.borrow().iter() {
        let middle = times.iter().nth(times.len() / 2);
        let chosen = [times.first(), middle, times.last()];
        let chosen: BTreeSet<u64> = chosen.into_iter().flatten().copied().collect();
        for nth in chosen {
            let what = format!("{}: {callback}, {name} {nth}", on.name());
            let wanted = (*callback, *name, nth);
            let edge = started(on, move |call| {
                let this = (call.callback, call.name, call.nth);
                (call.vm == Vm::Worker(0) && this == wanted).then_some(status::TRAP)
            });
            // A proxy that cannot even start it serves nothing.
            let Some(mut edge) = edge else { continue };
            runs += 1;
            callbacks.insert(*callback);
            for end in dies_and_comes_again(&mut edge, &what) {
                *ends.entry(end).or_insert(0) += 1;
            }
        }
    }
    println!("{}: {runs} runs with one trap each: {ends:?}", on.name());
    callbacks
}

type Fault = Box<dyn FnMut(&HostCall) -> Option<u32>>;

fn started(on: On, fault: impl FnMut(&HostCall) -> Option<u32> + 'static) -> Option<Edge> {
    let fault: Fault = Box::new(fault);
    let mut builder = builder(on, json!({})).on_host_call(fault);
    if on == ENVOY {
        builder = builder.failure_policy(FailurePolicy::Reload);
    }
    Edge::try_start(on, builder, |_: &Value| granted(&bearer_token()))
}

/// The requests of a life: some wait for the keys and then for their exchange, others for
/// their exchange alone, and the services answer.
#[derive(Default)]
struct Lived {
    good: Vec<Stream>,
    bad: Vec<Stream>,
}

fn live(edge: &mut Edge) -> Lived {
    let mut lived = Lived::default();
    for round in 0..3 {
        for number in 0..2 {
            let jti = format!("{round}-{number}");
            let token = mandate(BILLING, json!({ "jti": jti }));
            let request = resource(BILLING).bearer(token);
            lived.good.push(edge.proxy.request(0, request));
        }
        let foreign = json!({"use": "gateway", "aud": [ISSUER], "target": [BILLING]});
        for request in [
            resource(BILLING).bearer(Key::new("k1", 9).mandate(START, foreign)),
            resource(BILLING).bearer(mandate(REPORTS, json!({}))),
            Request::get("/x"),
        ] {
            lived.bad.push(edge.proxy.request(0, request));
        }
        edge.proxy.advance(LATE * 2);
        for stream in &lived.good {
            if matches!(edge.proxy.outcome(*stream), Outcome::Forwarded(_)) {
                edge.proxy.respond(*stream, 200, [("server", "own")]);
            }
        }
    }
    lived
}

/// How each request ended that was not let go on.
fn dies_and_comes_again(edge: &mut Edge, what: &str) -> Vec<&'static str> {
    let lived = live(edge);
    edge.proxy.no_faults();
    edge.proxy.advance(WELL);
    for stream in &lived.bad {
        assert!(edge.proxy.upstream(*stream).is_none(), "{what}");
    }
    let mut ends = Vec::new();
    for stream in &lived.good {
        if let Some(upstream) = edge.proxy.upstream(*stream) {
            is_exchanged(edge.on, &upstream.headers, what);
            continue;
        }
        ends.push(match edge.proxy.outcome(*stream) {
            Outcome::Replied(_) => "refused",
            Outcome::Trapped(reply) => {
                assert_eq!(reply.status, 503, "{what}");
                "answered by the proxy"
            }
            Outcome::Cut { .. } => "cut with its worker",
            // Envoy's own timeouts end such a request (HOSTS).
            Outcome::Hung if edge.on == ENVOY => "left to the proxy's timeouts",
            other => panic!("{what}: {other:?}"),
        });
    }
    // On Envoy the next request makes a new VM; APISIX needs a reload.
    if edge.on == APISIX && edge.proxy.failed(Vm::Worker(0)).is_some() {
        edge.proxy.reload().unwrap();
    }
    let mut again = |jti: &str| {
        let token = mandate(BILLING, json!({ "jti": jti }));
        let stream = edge.send(resource(BILLING).bearer(token));
        edge.proxy.advance(WELL);
        stream
    };
    again("first");
    let stream = again("second");
    is_exchanged(edge.on, &edge.upstream(stream), what);
    ends
}
