//! A filter that is not made for its host: the one for Envoy, in the profiles of Kong and
//! APISIX, which hide from it where it is. Whatever it does there, a request that it did
//! not admit does not reach the upstream unnoticed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::filter_wasm;
use caracal_tests::host::{
    Answer, Builder, Module, Outcome, Proxy, Request, Stream, Vm, Wrong, status,
};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
const MS: Duration = Duration::from_millis(1);
/// Longer than the first tick and its fetch take.
const SOON: Duration = Duration::from_millis(300);

fn key() -> Key {
    Key::new("k1", 1)
}

fn good() -> Request {
    Request::get("/").bearer(key().mandate(START, json!({})))
}

/// Requests that must not be admitted.
fn bad() -> Vec<Request> {
    let tokens = [
        Key::new("k1", 9).mandate(START, json!({})),
        key().mandate(START, json!({"exp": START - 3_600})),
        key().mandate(START, json!({"aud": "resource://another"})),
        "no.mandate".to_owned(),
    ];
    let mut all: Vec<Request> = tokens.map(|t| Request::get("/").bearer(t)).into();
    all.push(Request::get("/"));
    all.push(Request::post("/", "a body"));
    all.push(good().bearer("another"));
    all
}

/// A filter whose keys come from `upstream`.
fn configured(make: fn(Module) -> Builder, upstream: &str, changes: Value) -> Builder {
    let mut all = json!({"jwks": {"upstream": upstream}});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    make(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(all).to_string())
        .hides_itself()
        .wall(Duration::from_secs(START))
}

fn kong(answer: impl Fn() -> Answer + 'static) -> Proxy {
    let builder = configured(Proxy::kong, "sts", json!({}));
    builder.on_callout(move |_| answer()).start().unwrap()
}

fn keys() -> Answer {
    Answer::json(&key_set(&[&key()])).after(5 * MS)
}

/// The requests among these that the upstream has although no violation of theirs was
/// written down.
fn unnoticed(proxy: &Proxy, streams: &[Stream]) -> Vec<Stream> {
    let noticed = |stream: &Stream| {
        let mut all = proxy.violations().iter();
        all.any(|v| v.stream == Some(*stream))
    };
    let reached = streams.iter().filter(|s| proxy.upstream(**s).is_some());
    reached.filter(|s| !noticed(s)).copied().collect()
}

fn has(proxy: &Proxy, wrong: Wrong) -> bool {
    proxy.violations().iter().any(|v| v.wrong == wrong)
}

#[test]
fn kong_a_warm_filter_decides() {
    let mut proxy = kong(keys);
    proxy.advance(SOON);
    let admitted = proxy.request(0, good());
    assert!(proxy.outcome(admitted).is_forwarded());
    for request in bad() {
        let refused = proxy.request(0, request);
        assert!(matches!(proxy.outcome(refused).status(), Some(400 | 401)));
        assert!(proxy.upstream(refused).is_none());
    }
    proxy.assert_clean();
}

#[test]
fn kong_a_forged_header_that_the_filter_removes_is_noticed() {
    let mut proxy = kong(keys);
    proxy.advance(SOON);
    let request = good().header("x-caracal-sub", "forged");
    let stream = proxy.request(0, request);
    let forwarded = proxy.outcome(stream).forwarded();
    let subjects = forwarded.headers.all("x-caracal-sub");
    assert!(subjects.contains(&&b"forged"[..]), "as Kong does");
    assert!(has(&proxy, Wrong::RemovedStillSent));
}

#[test]
fn kong_waiting_for_keys_is_noticed_and_opens_nothing() {
    let answers: [fn() -> Answer; 4] = [
        keys,
        || Answer::Refused,
        || Answer::Never,
        || Answer::with(200, "{}"),
    ];
    for answer in answers {
        let mut proxy = kong(answer);
        let mut cold: Vec<Stream> = Vec::new();
        for request in bad() {
            cold.push(proxy.request(0, request));
        }
        let waits = proxy.request(0, good());
        assert!(proxy.outcome(waits).is_paused(), "it is made for Envoy");
        assert!(has(&proxy, Wrong::PauseForever));
        proxy.advance(10 * SOON);
        assert_eq!(unnoticed(&proxy, &cold), []);
        assert!(proxy.upstream(waits).is_none());
    }
}

#[test]
fn kong_a_location_that_bypasses_replies_is_noticed_and_a_gate_shuts_it() {
    for gate in [false, true] {
        let mut builder = configured(Proxy::kong, "sts", json!({})).replies_bypassed();
        if gate {
            builder = builder.gate();
        }
        let mut proxy = builder.on_callout(|_| keys()).start().unwrap();
        proxy.advance(SOON);
        let mut sent = Vec::new();
        for request in bad() {
            sent.push(proxy.request(0, request));
        }
        assert_eq!(unnoticed(&proxy, &sent), []);
        assert!(has(&proxy, Wrong::ReplyBypassed));
        let reached = sent.iter().filter(|s| proxy.upstream(**s).is_some());
        assert_eq!(reached.count() == 0, gate);
    }
}

#[test]
fn kong_a_trap_at_any_host_call_is_noticed() {
    // Which calls a request makes is learnt from one that goes well.
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut proxy = kong(keys);
    proxy.advance(SOON);
    let noted = Rc::clone(&seen);
    proxy.on_host_call(move |call| {
        noted.borrow_mut().push(call.name);
        None
    });
    proxy.request(0, good());
    let calls = seen.borrow().len();
    assert!(calls > 3, "{calls}");
    for place in 0..calls {
        let mut proxy = kong(keys);
        proxy.advance(SOON);
        let mut left = place;
        proxy.on_host_call(move |_| {
            let now = left == 0;
            left = left.wrapping_sub(1);
            now.then_some(status::TRAP)
        });
        let stream = proxy.request(0, good());
        assert_eq!(proxy.outcome(stream).status(), Some(500), "call {place}");
        assert!(proxy.upstream(stream).is_none(), "call {place}");
        assert!(has(&proxy, Wrong::Trapped), "call {place}");
        proxy.no_faults();
        let again = proxy.request(0, Request::get("/"));
        assert!(proxy.upstream(again).is_none(), "call {place}");
    }
}

#[test]
fn kong_a_filter_that_traps_in_a_tick_multiplies_its_timers() {
    let mut proxy = kong(keys);
    proxy.advance(SOON);
    proxy.on_host_call(|call| (call.callback == "proxy_on_tick").then_some(status::TRAP));
    proxy.advance(10 * SOON);
    assert!(has(&proxy, Wrong::Trapped));
    assert!(has(&proxy, Wrong::TimersMultiply));
}

#[test]
fn kong_without_a_store_it_does_not_start_and_a_wiped_one_is_cold() {
    let builder = configured(Proxy::kong, "sts", json!({})).shared_room(0);
    let refused = builder.on_callout(|_| keys()).start().err().unwrap();
    assert!(refused.message.contains("CallTraps in proxy_"), "{refused}");
    let mut proxy = kong(keys);
    proxy.advance(SOON);
    proxy.reload().unwrap();
    assert!(proxy.shared_data().is_empty());
    let cold = proxy.request(0, good());
    assert!(proxy.upstream(cold).is_none(), "cold again");
}

#[test]
fn apisix_refuses_the_configuration_and_every_request() {
    let builder = configured(Proxy::apisix, "sts.test:443", json!({}));
    let mut proxy = builder.workers(2).on_callout(|_| keys()).start().unwrap();
    for (n, request) in bad().into_iter().chain([good()]).enumerate() {
        let stream = proxy.request(n % 2, request);
        assert!(matches!(proxy.outcome(stream).status(), Some(400 | 503)));
        assert!(proxy.upstream(stream).is_none());
        proxy.advance(SOON);
    }
    assert!(proxy.callouts().is_empty());
    assert_eq!(proxy.failed(Vm::Worker(0)), None, "refused, not dead");
    proxy.assert_clean();
}

#[test]
fn apisix_a_filter_that_started_is_noticed_when_it_waits() {
    // As if there were ticks: what comes after is as it is there.
    let builder = configured(Proxy::apisix, "sts.test:443", json!({}));
    let mut proxy = builder
        .on_callout(|_| keys())
        .on_host_call(|call| {
            (call.name == "proxy_set_tick_period_milliseconds").then_some(status::OK)
        })
        .start()
        .unwrap();
    let mut sent = Vec::new();
    for request in bad() {
        sent.push(proxy.request(0, request));
        proxy.advance(SOON);
    }
    assert_eq!(unnoticed(&proxy, &sent), []);
    let stream = proxy.request(0, good());
    proxy.advance(SOON);
    assert!(proxy.upstream(stream).is_none(), "there are no keys");
    assert!(matches!(
        proxy.outcome(stream),
        Outcome::Cut { reply: None, .. }
    ));
    assert_eq!(proxy.details(stream), "worker_died");
    let own = proxy
        .violations()
        .iter()
        .rfind(|v| v.stream == Some(stream));
    assert_eq!(own.unwrap().wrong, Wrong::PauseKills);
}
