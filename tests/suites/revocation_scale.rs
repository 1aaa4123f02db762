//! A million revoked anchors: what a request costs then, what they take in
//! memory, and how soon a new VM knows them. Counted, not timed.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Cost, Module, Outcome, Proxy, Request, Vm};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::json;

const START: u64 = 1_767_225_600;
const MANY: usize = 1_000_000;
/// Most work of one callback, in units of about a wasm instruction. A page of 1000
/// anchors is 17 million of them, and took Envoy 0.7 ms in the median and 1.3 ms at
/// most; no callback may hold a worker up for 10 ms.
const CALLBACK_FUEL: u64 = 100_000_000;

fn start(anchors: usize) -> Proxy {
    let companion = Rc::new(InProcess::default());
    for n in 0..anchors {
        companion.revoke(&format!("01890a5d-ac96-774b-bcce-{n:012}"));
    }
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(
            configuration(json!({"revocation": {"upstream": "feed", "max_staleness_s": 3600}}))
                .to_string(),
        )
        .wall(Duration::from_secs(START))
        .workers(2)
        .clusters(["sts", "feed"])
        .on_callout(move |callout| match callout.cluster.as_str() {
            "sts" => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            _ => companion.answer(callout),
        })
        .start()
        .unwrap()
}

fn status(proxy: &mut Proxy, sid: &str) -> (u32, u64, BTreeMap<&'static str, u64>) {
    let token = Key::new("k1", 1).mandate(START, json!({"sid": sid}));
    proxy.request(0, Request::get("/").bearer(&token));
    let stream = proxy.request(0, Request::get("/").bearer(&token));
    let Cost {
        fuel,
        host_calls: calls,
        ..
    } = proxy.cost(stream);
    let status = match proxy.outcome(stream) {
        Outcome::Forwarded(_) => 200,
        Outcome::Replied(reply) => reply.status,
        other => panic!("{other:?}"),
    };
    (status, fuel, calls)
}

fn shared_bytes(proxy: &Proxy) -> usize {
    proxy
        .shared_data()
        .values()
        .map(|(value, _)| value.len())
        .sum()
}

#[test]
fn a_million_anchors_cost_a_request_nothing() {
    let mut empty = start(0);
    empty.advance(Duration::from_secs(1));
    let (none, base_fuel, base_calls) = status(&mut empty, "free");
    assert_eq!(none, 200);
    let (base_memory, base_shared) = (empty.memory_size(Vm::Worker(0)), shared_bytes(&empty));

    let mut full = start(MANY);
    let mut waited = Duration::ZERO;
    while full.metric_value("caracal_revocation_anchors") < MANY as u64 {
        full.advance(Duration::from_secs(1));
        waited += Duration::from_secs(1);
        assert!(
            waited < Duration::from_secs(60),
            "the snapshot takes too long"
        );
    }
    full.advance(Duration::from_secs(3));
    let (free, fuel, calls) = status(&mut full, "free");
    assert_eq!(free, 200);
    assert_eq!(
        status(&mut full, "01890a5d-ac96-774b-bcce-000000999999").0,
        401
    );
    assert_eq!(calls, base_calls, "host calls of a request");
    println!("a request: {base_fuel} units of work with no anchors, {fuel} with {MANY}");
    assert!(
        fuel.abs_diff(base_fuel) * 10 <= base_fuel,
        "{base_fuel} {fuel}"
    );

    let memory = full.memory_size(Vm::Worker(0)) - base_memory;
    let shared = shared_bytes(&full) - base_shared;
    println!(
        "an anchor: {:.1} bytes in each VM, {:.1} in shared data",
        memory as f64 / MANY as f64,
        shared as f64 / MANY as f64
    );
    assert!(
        memory < 30 * MANY && shared < 14 * MANY,
        "{memory} {shared}"
    );

    let most = |proxy: &Proxy| {
        let costs = proxy.callbacks().iter().map(|c| (c.fuel, c.callback));
        costs.max().unwrap()
    };
    let (most_fuel, callback) = most(&full);
    println!("the longest callback: {most_fuel} units of work, {callback}");

    full.forget();
    full.restart_worker(1).unwrap();
    let token = Key::new("k1", 1).mandate(START, json!({}));
    let stream = full.request(1, Request::get("/").bearer(&token));
    let mut ticks = 0;
    while full.outcome(stream).is_paused() {
        full.advance(Duration::from_millis(10));
        ticks += 1;
        assert!(ticks < 500, "a new VM is not ready within 5 s");
    }
    assert!(full.outcome(stream).is_forwarded());
    println!("a new VM: ready after {ticks} ticks of 10 ms");
    let (again, callback) = most(&full);
    println!("the longest callback of a new VM: {again} units of work, {callback}");
    assert!(most_fuel.max(again) < CALLBACK_FUEL, "{most_fuel} {again}");
    full.assert_clean();
}
