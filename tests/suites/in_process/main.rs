//! The wasm file in the in-process host: several workers over one shared data,
//! with a clock, a network and faults under the test's control.

mod cache;
mod measured;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::filter_wasm;
use caracal_tests::host::{Answer, Builder, Module, Outcome, Proxy, Request, Stream};
use caracal_tests::mint::{Key, configuration, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Longer than the first tick takes to come.
const FIRST_TICK: Duration = Duration::from_millis(30);

fn key() -> Key {
    Key::new("k1", 1)
}

fn good() -> String {
    key().mandate(START, json!({}))
}

fn builder(changes: Value) -> Builder {
    Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
        .configuration(configuration(changes).to_string())
        .wall(Duration::from_secs(START))
        .workers(2)
        .clusters(["sts"])
}

/// An STS that takes some time.
fn answering(changes: Value, after: Duration) -> Proxy {
    let keys = key_set(&[&key()]).to_string();
    builder(changes)
        .on_callout(move |_| Answer::with(200, keys.clone()).after(after))
        .start()
        .unwrap()
}

fn send(proxy: &mut Proxy, worker: usize) -> Stream {
    proxy.request(worker, Request::get("/").bearer(good()))
}

fn status(proxy: &Proxy, stream: Stream) -> u32 {
    match proxy.outcome(stream) {
        Outcome::Forwarded(_) => 200,
        Outcome::Replied(reply) => reply.status,
        _ => 0,
    }
}

#[test]
fn one_fetch_serves_all_workers_and_those_who_waited() {
    let mut proxy = answering(json!({}), Duration::from_millis(100));
    let waiting = [send(&mut proxy, 0), send(&mut proxy, 1)];
    for stream in waiting {
        assert!(proxy.outcome(stream).is_paused());
    }
    proxy.advance(Duration::from_millis(200));
    for stream in waiting {
        assert_eq!(status(&proxy, stream), 200);
    }
    assert_eq!(proxy.callouts().len(), 1);
    assert_eq!(proxy.metric_value("caracal_paused_requests"), 0);
    proxy.assert_clean();
}

/// Ages are there from the start, as old as the filter is, and so is the number of keys
/// that are not used.
#[test]
fn ages_are_told_before_there_is_anything_to_be_old() {
    let away = Rc::new(RefCell::new(true));
    let mut document = key_set(&[&key()]);
    let odd = json!({"kty": "EC", "kid": "odd"});
    document["keys"].as_array_mut().unwrap().push(odd);
    let (is_away, keys) = (Rc::clone(&away), document.to_string());
    let revocation = json!({"revocation": {"upstream": "feed"}});
    let mut proxy = builder(revocation)
        .clusters(["sts", "feed"])
        .on_callout(move |callout| match *is_away.borrow() {
            false if callout.cluster == "sts" => Answer::with(200, keys.clone()),
            _ => Answer::Refused,
        })
        .start()
        .unwrap();
    proxy.advance(FIRST_TICK);
    for name in [
        "caracal_jwks_age_seconds",
        "caracal_jwks_keys_skipped",
        "caracal_revocation_age_seconds",
    ] {
        assert!(proxy.metric(name).is_some(), "{name}");
    }
    proxy.advance(Duration::from_secs(5));
    for name in ["caracal_jwks_age_seconds", "caracal_revocation_age_seconds"] {
        let age = proxy.metric_value(name);
        assert!((3..=5).contains(&age), "{name}: {age}");
    }
    away.replace(false);
    proxy.advance(Duration::from_secs(20));
    let age = |name| proxy.metric_value(name);
    assert!(age("caracal_revocation_age_seconds") >= 23);
    assert!(age("caracal_jwks_age_seconds") <= 20);
    assert_eq!(age("caracal_jwks_keys_skipped"), 1);
    proxy.assert_clean();
}

/// What takes Envoy's header off an answer does not make it one of Envoy's own.
#[test]
fn an_answer_whose_header_was_taken_away_is_the_peer_s() {
    let hidden = |answer: Answer| answer.header("x-envoy-upstream-service-time", "");
    let companion = Rc::new(RefCell::new(InProcess::default()));
    let (answering, keys) = (Rc::clone(&companion), key_set(&[&key()]).to_string());
    let mut proxy = builder(json!({"revocation": {"upstream": "feed"}}))
        .clusters(["sts", "feed"])
        .on_callout(move |callout| match callout.cluster == "sts" {
            true => Answer::with(200, keys.clone()),
            false => hidden(answering.borrow().answer(callout)),
        })
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(1));
    // Another one, which does not know the position of this one.
    let mut other = InProcess::default();
    other.is_old = true;
    *companion.borrow_mut() = other;
    proxy.advance(Duration::from_secs(3));
    let polls = |result| proxy.metric_value(&format!("caracal_feed_polls_total.result={result}"));
    assert_eq!((polls("gone"), polls("error")), (1, 0));
    for (status, body, expected) in [
        (404, "upstream connect error", ": status 404, expected 200"),
        (
            503,
            "closed",
            // It may quote what it was asked with.
            ": status 503, expected 200; from it or from the proxy",
        ),
        (
            503,
            "upstream connect error",
            ": no answer from it; the proxy says 503: upstream",
        ),
    ] {
        let mut proxy = builder(json!({}))
            .on_callout(move |_| hidden(Answer::with(status, body)))
            .start()
            .unwrap();
        proxy.advance(Duration::from_secs(1));
        let line = proxy
            .logs()
            .iter()
            .find(|line| line.text.contains("key set not fetched"));
        let text = line.map(|line| line.text.clone()).unwrap_or_default();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("closed"), "{text}");
    }
}

#[test]
fn a_body_does_not_carry_on_a_request_that_waits_or_was_refused() {
    let mut proxy = answering(json!({}), Duration::from_millis(100));
    let request = Request::new("POST", "/").bearer(good()).open();
    let stream = proxy.request(0, request);
    proxy.send_body(stream, "a part", false);
    assert!(proxy.outcome(stream).is_paused());
    assert!(proxy.upstream(stream).is_none());
    proxy.advance(Duration::from_millis(200));
    assert_eq!(status(&proxy, stream), 200);
    let refused = proxy.request(0, Request::new("POST", "/").open());
    assert_eq!(status(&proxy, refused), 401);
    assert!(proxy.upstream(refused).is_none());
    proxy.assert_clean();
}

#[test]
fn reserved_names_are_removed_from_trailers_too() {
    let mut proxy = answering(json!({}), Duration::ZERO);
    proxy.advance(FIRST_TICK);
    let trailers = [
        ("x-caracal-sub", "forged"),
        ("X_Caracal.Zone-Id", "forged"),
        ("x-checksum", "kept"),
    ];
    let request = Request::post("/", "body").bearer(good()).trailers(trailers);
    let stream = proxy.request(0, request);
    let reached = proxy.upstream(stream).unwrap().trailers.clone().unwrap();
    assert_eq!(reached.names(), ["x-checksum"]);
    proxy.assert_clean();
}

#[test]
fn reserved_headers_are_removed_all_of_them() {
    let mut proxy = answering(json!({}), Duration::ZERO);
    proxy.advance(FIRST_TICK);
    let mut request = Request::get("/").bearer(good()).header("x-kept", "1");
    for n in 0..90 {
        // Every other one is there twice.
        request = request.header(format!("x-caracal-forged-{}", n / 2), "forged");
    }
    let stream = proxy.request(0, request);
    assert_eq!(status(&proxy, stream), 200);
    let names = proxy.upstream(stream).unwrap().headers.names();
    assert!(names.iter().any(|name| name == "x-kept"));
    assert!(
        names.iter().all(|name| !name.contains("forged")),
        "{names:?}"
    );
    proxy.assert_clean();
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let mut proxy = answering(json!({}), Duration::from_millis(100));
    let stream = send(&mut proxy, 0);
    assert_eq!(proxy.metric_value("caracal_paused_requests"), 1);
    proxy.cancel(stream);
    assert_eq!(proxy.metric_value("caracal_paused_requests"), 0);
    proxy.advance(Duration::from_millis(200));
    proxy.assert_clean();
}

#[test]
fn waiting_is_bounded_in_number_and_time() {
    let limits = json!({"limits": {"max_paused": 2, "pause_timeout_ms": 1_000}});
    let mut proxy = answering(limits, Duration::from_secs(4));
    let waiting = [send(&mut proxy, 0), send(&mut proxy, 0)];
    let third = send(&mut proxy, 0);
    assert_eq!(status(&proxy, third), 503);
    proxy.advance(Duration::from_millis(950));
    assert!(
        waiting
            .iter()
            .all(|stream| proxy.outcome(*stream).is_paused())
    );
    proxy.advance(Duration::from_millis(100));
    assert!(waiting.iter().all(|stream| status(&proxy, *stream) == 503));
    proxy.assert_clean();
}

#[test]
fn a_holder_that_dies_with_the_lease_is_followed_by_another() {
    let keys = key_set(&[&key()]).to_string();
    let mut calls = 0;
    let mut proxy = builder(json!({}))
        .on_callout(move |_| {
            calls += 1;
            match calls {
                1 => Answer::Never,
                _ => Answer::with(200, keys.clone()),
            }
        })
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(20));
    let stream = send(&mut proxy, 0);
    proxy.advance(Duration::from_secs(1));
    assert_eq!(status(&proxy, stream), 200);
}

#[test]
fn a_vm_made_anew_is_warm_from_shared_data() {
    let mut proxy = answering(json!({}), Duration::ZERO);
    proxy.advance(FIRST_TICK);
    proxy.restart_worker(1).unwrap();
    let stream = send(&mut proxy, 1);
    assert_eq!(status(&proxy, stream), 200);
    assert_eq!(proxy.callouts().len(), 1);
    proxy.assert_clean();
}

#[test]
fn damaged_shared_data_is_never_believed_and_heals() {
    let mut proxy = answering(json!({}), Duration::ZERO);
    proxy.advance(FIRST_TICK);
    let names: Vec<Vec<u8>> = proxy.shared_data().keys().cloned().collect();
    for name in names {
        proxy.corrupt_shared(&name, |bytes| {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        });
    }
    proxy.restart_worker(0).unwrap();
    proxy.advance(Duration::from_secs(10));
    for worker in 0..2 {
        let stream = send(&mut proxy, worker);
        proxy.advance(Duration::from_millis(100));
        assert_eq!(status(&proxy, stream), 200);
    }
    proxy.assert_clean();
}

/// Whatever status a host call returns, the request is refused or verified, and
/// the filter lives on.
#[test]
fn a_host_call_that_fails_never_admits_and_never_traps() {
    for failing in [
        "proxy_get_header_map_pairs",
        "proxy_remove_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_get_shared_data",
        "proxy_set_shared_data",
        "proxy_get_current_time_nanoseconds",
        "proxy_set_property",
        "proxy_define_metric",
        "proxy_increment_metric",
        "proxy_log",
    ] {
        for code in [1, 2, 3, 7, 10, 12] {
            let mut proxy = answering(json!({}), Duration::ZERO);
            proxy.advance(FIRST_TICK);
            proxy.on_host_call(move |call| (call.name == failing).then_some(code));
            let forged = Request::get("/")
                .bearer(good())
                .header("x-caracal-sub", "forged");
            let with = proxy.request(0, forged);
            let bare = proxy.request(0, Request::get("/"));
            proxy.advance(Duration::from_secs(7));
            assert!(status(&proxy, bare) >= 400, "{failing} {code}");
            if let Some(forwarded) = proxy.upstream(with) {
                let subject = forwarded.headers.all("x-caracal-sub");
                assert_eq!(subject, [b"user-1"], "{failing} {code}");
            }
            proxy.no_faults();
            let after = send(&mut proxy, 0);
            proxy.advance(Duration::from_secs(7));
            assert_eq!(status(&proxy, after), 200, "{failing} {code}");
        }
    }
}
