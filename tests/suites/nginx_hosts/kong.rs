//! Kong: ticks fetch, and no request ever waits or calls out.

use caracal_tests::host::Level;
use caracal_tests::hosts::KONG;

use super::*;

fn feed() -> Value {
    json!({"revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5}})
}

#[test]
fn a_cold_worker_refuses_at_once_and_says_when_to_come_again() {
    let mut proxy = builder(KONG, &keys(), feed()).workers(2).start().unwrap();
    for worker in [0, 1] {
        let stream = proxy.request(worker, good());
        let Outcome::Replied(reply) = proxy.outcome(stream) else {
            panic!("{:?}", proxy.outcome(stream));
        };
        assert_eq!(reply.status, 503);
        assert_eq!(reply.headers.text("retry-after"), Some("1"));
    }
    proxy.advance(SOON);
    for worker in [0, 1] {
        let stream = proxy.request(worker, good());
        assert_eq!(said(proxy.outcome(stream)).0, 200);
        let revoked = Request::get("/").bearer(mandate(json!({"sid": "revoked"})));
        let stream = proxy.request(worker, revoked);
        assert_eq!(said(proxy.outcome(stream)), refused(401, "session_revoked"));
    }
    let from_requests = proxy.callouts().iter().filter(|c| c.stream.is_some());
    assert_eq!(from_requests.count(), 0);
    proxy.assert_clean();
}

/// Filter chains on several routes are several configurations in each worker.
#[test]
fn configurations_in_a_worker_share_what_they_fetch() {
    let mut builder = builder(KONG, &keys(), feed()).workers(2);
    for scope in ["a", "b", "billing:read"] {
        let mut changes = feed();
        changes["required_scopes"] = json!([scope]);
        builder = builder.configuration(KONG.configuration(changes));
    }
    let mut proxy = builder.start().unwrap();
    proxy.advance(SOON);
    assert_eq!(
        proxy.callouts_to(KONG.sts()).len(),
        2,
        "one for each worker"
    );
    for (listener, status) in [(0, 200), (1, 403), (2, 403), (3, 200)] {
        let stream = proxy.request(1, good().listener(listener));
        assert_eq!(said(proxy.outcome(stream)).0, status, "{listener}");
    }
    proxy.assert_clean();
}

#[test]
fn an_unknown_kid_is_fetched_for_once_by_the_next_tick() {
    let mut proxy = start(KONG, json!({}));
    let unknown = Request::get("/").bearer(Key::new("k2", 2).mandate(START, json!({})));
    let fetches = |proxy: &Proxy| proxy.callouts_to(KONG.sts()).len();
    let before = fetches(&proxy);
    for expected in [503, 503] {
        let stream = proxy.request(0, unknown.clone());
        assert_eq!(said(proxy.outcome(stream)).0, expected);
    }
    proxy.advance(SOON);
    for _ in 0..3 {
        let stream = proxy.request(0, unknown.clone());
        assert_eq!(said(proxy.outcome(stream)), refused(401, "invalid_token"));
        proxy.advance(SOON);
    }
    assert_eq!(fetches(&proxy), before + 1);
    proxy.assert_clean();
}

#[test]
fn a_key_set_that_cannot_be_had_is_said_to_be_missing_and_comes_back() {
    for broken in [
        Answer::Refused,
        Answer::TimesOut,
        Answer::TooBig,
        Answer::with(500, "{}"),
        Answer::with(200, "{}"),
    ] {
        let sts = keys();
        let whole = sts.replace(broken.clone());
        let mut proxy = builder(KONG, &sts, json!({})).start().unwrap();
        proxy.advance(10 * SOON);
        let stream = proxy.request(0, good());
        assert_eq!(said(proxy.outcome(stream)).0, 503, "{broken:?}");
        sts.replace(whole);
        proxy.advance(Duration::from_secs(20));
        let stream = proxy.request(0, good());
        assert_eq!(said(proxy.outcome(stream)).0, 200, "{broken:?}");
        proxy.assert_clean();
    }
}

/// The details of a reply are the reason phrase there.
#[test]
fn a_refusal_has_the_usual_reason_phrase() {
    let mut proxy = start(KONG, json!({"required_scopes": ["another"]}));
    for (request, status, phrase) in [
        (Request::get("/%zz"), 400, "Bad Request"),
        (Request::get("/"), 401, "Unauthorized"),
        (good(), 403, "Forbidden"),
    ] {
        let stream = proxy.request(0, request);
        let reply = proxy.outcome(stream).replied();
        assert_eq!((reply.status, reply.reason.as_str()), (status, phrase));
    }
    proxy.restart_worker(0).unwrap();
    let stream = proxy.request(0, good());
    assert_eq!(
        proxy.outcome(stream).replied().reason,
        "Service Unavailable"
    );
}

/// A host that refuses a metric refuses the configuration: no tick finds it out.
#[test]
fn a_metric_that_cannot_be_defined_is_found_at_the_start() {
    for on in [hosts::ENVOY, KONG] {
        for answer in [2, status::TRAP] {
            let refused = builder(on, &keys(), json!({}))
                .on_host_call(move |call| {
                    (call.name == "proxy_define_metric" && call.nth == 7).then_some(answer)
                })
                .start();
            let refused = refused.err().unwrap().to_string();
            assert!(refused.contains("on_configure"), "{on:?}: {refused}");
        }
        let proxy = start(on, json!({}));
        let during = proxy.callbacks().iter();
        let mut defines = during.filter(|cost| cost.host_calls.contains_key("proxy_define_metric"));
        assert!(defines.all(|cost| cost.callback == "proxy_on_configure"));
    }
}

#[test]
fn grpc_clients_get_an_http_status() {
    let mut proxy = start(KONG, json!({}));
    let stream = proxy.request(
        0,
        Request::get("/").header("content-type", "application/grpc"),
    );
    let Outcome::Replied(reply) = proxy.outcome(stream) else {
        panic!("it is refused");
    };
    assert_eq!((reply.status, reply.grpc_status), (401, None));
    assert_eq!(reply.json()["error"], "missing_token");
}

#[test]
fn a_worker_that_died_is_cold_and_comes_back() {
    let mut proxy = start(KONG, feed());
    proxy.restart_worker(0).unwrap();
    let stream = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(stream)).0, 503);
    proxy.advance(SOON);
    proxy.reload().unwrap();
    let stream = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(stream)).0, 503);
    proxy.advance(SOON);
    let stream = proxy.request(0, good());
    assert_eq!(said(proxy.outcome(stream)).0, 200);
    proxy.assert_clean();
    assert_eq!(
        proxy.tick_periods(caracal_tests::host::Vm::Worker(0)),
        [10 * MS]
    );
}

/// What nginx would start with, and every worker would die of.
#[test]
fn a_configuration_for_another_host_is_refused_by_name() {
    let changes = json!({"limits": {"max_paused": 3}});
    let refused = builder(KONG, &keys(), changes).start().err().unwrap();
    assert!(
        refused.to_string().contains("limits.max_paused"),
        "{refused}"
    );
}

#[test]
fn nothing_that_is_secret_is_logged() {
    let mut changes = feed();
    changes["revocation"]["token"] = json!("feed-token");
    let mut proxy = start(KONG, changes);
    let token = mandate(json!({}));
    let stream = proxy.request(0, Request::get("/").bearer(&token));
    proxy.advance(SOON);
    let _ = proxy.outcome(stream);
    let sent = proxy.callouts_to(KONG.feed());
    let authorization = sent[0].headers.text("authorization");
    assert_eq!(authorization, Some("Bearer feed-token"));
    assert_eq!(sent[0].headers.text(":scheme"), Some("http"), "it is near");
    assert_eq!(
        proxy.callouts_to(KONG.sts())[0].headers.text(":scheme"),
        Some("https")
    );
    for line in proxy.logs() {
        assert!(line.level >= Level::Trace);
        for secret in [token.as_str(), "feed-token"] {
            assert!(!line.text.contains(secret), "a log line has a secret in it");
        }
    }
}
