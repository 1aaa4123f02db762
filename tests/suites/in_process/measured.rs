//! What is measured besides what is counted: how long requests were at the filter, and how
//! long those waited that waited for keys.

use super::*;

use caracal_tests::host::Metric;
use caracal_tests::hosts::{ENVOY, KONG, On};

const ADDED: &str = "caracal_added_microseconds";
const WAITED: &str = "caracal_key_wait_milliseconds";

fn values(proxy: &Proxy, name: &str) -> Vec<u64> {
    match proxy.metric(name) {
        Some(Metric::Histogram(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn measuring() -> Value {
    json!({"metrics": {"timings": true}, "exclude": ["/open"], "readiness_path": "/ready"})
}

#[test]
fn each_decision_is_measured_once_with_its_wait() {
    const STS_TAKES: Duration = Duration::from_millis(100);
    let mut proxy = answering(measuring(), STS_TAKES);
    let waiting = [send(&mut proxy, 0), send(&mut proxy, 1)];
    assert!(values(&proxy, ADDED).is_empty());
    proxy.advance(Duration::from_millis(200));
    for stream in waiting {
        assert_eq!(status(&proxy, stream), 200);
    }
    // The first tick, the STS, and the next tick of the worker that did not fetch.
    let waited = values(&proxy, WAITED);
    assert_eq!(waited.len(), 2);
    assert!(
        waited.iter().all(|ms| (100..=130).contains(ms)),
        "{waited:?}"
    );
    let mut found = values(&proxy, ADDED);
    found.sort_unstable();
    let all: Vec<u64> = waited.iter().map(|ms| ms * 1_000).collect();
    assert!(
        found
            .iter()
            .zip(all)
            .all(|(us, wait)| us.abs_diff(wait) < 20_000),
        "{found:?}"
    );

    let refused = proxy.request(0, Request::get("/"));
    let wrong = proxy.request(0, Request::get("/").bearer("a.b.c"));
    let excluded = proxy.request(0, Request::get("/open"));
    let admitted = send(&mut proxy, 0);
    for (stream, expected) in [
        (refused, 401),
        (wrong, 401),
        (excluded, 200),
        (admitted, 200),
    ] {
        assert_eq!(status(&proxy, stream), expected);
    }
    assert_eq!(values(&proxy, ADDED).len(), 6);
    assert_eq!(values(&proxy, WAITED).len(), 2, "these did not wait");
    // That is no decision.
    let ready = proxy.request(0, Request::get("/ready"));
    assert_eq!(status(&proxy, ready), 200);
    assert_eq!(values(&proxy, ADDED).len(), 6);
    proxy.assert_clean();
}

/// One that is refused after its wait, and one whose client leaves.
#[test]
fn a_wait_that_ends_otherwise_is_measured_if_it_ends_in_a_decision() {
    let limits = json!({"limits": {"pause_timeout_ms": 200}, "metrics": {"timings": true}});
    let mut proxy = answering(limits, Duration::from_secs(3));
    let (late, left) = (send(&mut proxy, 0), send(&mut proxy, 0));
    proxy.advance(Duration::from_millis(50));
    proxy.cancel(left);
    proxy.advance(Duration::from_millis(200));
    assert_eq!(status(&proxy, late), 503);
    let waited = values(&proxy, WAITED);
    assert!(matches!(waited[..], [200..=215]), "{waited:?}");
    let added = values(&proxy, ADDED);
    assert!(matches!(added[..], [200_000..=215_000]), "{added:?}");
    proxy.assert_clean();
}

#[test]
fn without_the_option_no_request_is_timed() {
    let mut calls = Vec::new();
    for changes in [
        json!({}),
        json!({"metrics": {"timings": false}}),
        measuring(),
    ] {
        let mut proxy = answering(changes, FIRST_TICK);
        proxy.advance(4 * FIRST_TICK);
        for worker in [0, 0] {
            send(&mut proxy, worker);
        }
        proxy.advance(Duration::from_millis(1));
        let stream = send(&mut proxy, 0);
        assert_eq!(status(&proxy, stream), 200);
        assert!(proxy.metric(WAITED).is_some());
        calls.push((proxy.metric(ADDED).is_some(), proxy.cost(stream).host_calls));
    }
    let [(false, none), (false, off), (true, on)] = &calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!(none, off);
    let sum = |calls: &std::collections::BTreeMap<&str, u64>| calls.values().sum::<u64>();
    assert_eq!(
        sum(on),
        sum(off) + 3,
        "two looks at the clock, one value: {on:?} {off:?}"
    );
}

/// In Kong, where a metric that fails is a trap, and no request waits.
#[test]
fn kong_times_requests_too_and_has_no_waits() {
    let on: On = KONG;
    let keys = key_set(&[&key()]).to_string();
    let mut proxy = on
        .builder(&on.configuration(json!({"metrics": {"timings": true}})))
        .wall(Duration::from_secs(START))
        .on_callout(move |_| Answer::with(200, keys.clone()))
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(1));
    let stream = send(&mut proxy, 0);
    assert_eq!(status(&proxy, stream), 200);
    assert_eq!(
        values(&proxy, ADDED),
        [0],
        "its clock stands still in a callback"
    );
    assert!(proxy.metric(WAITED).is_none());
    assert!(
        !proxy
            .metrics()
            .keys()
            .any(|name| name.contains("build_info"))
    );
    proxy.assert_clean();
}

/// Every VM says that its configuration is in force. `envoy_logs` sees it end.
#[test]
fn the_configuration_in_force_is_told_by_a_gauge() {
    let on: On = ENVOY;
    let first = on.configuration(json!({}));
    let second = on.configuration(json!({"clock_skew_s": 7}));
    let keys = key_set(&[&key()]).to_string();
    let mut proxy = on
        .builder(&first)
        .wall(Duration::from_secs(START))
        .workers(2)
        .on_callout(move |_| Answer::with(200, keys.clone()))
        .start()
        .unwrap();
    let name = |document: &str| {
        let digest = caracal_mandate::config::digest(document.as_bytes());
        let version = env!("CARGO_PKG_VERSION");
        format!("caracal_build_info.configuration={digest}.version={version}")
    };
    let [first_name, second_name] = [&first, &second].map(|text| name(text));
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.metric_value(&first_name), 1);
    let digest = caracal_mandate::config::digest(first.as_bytes());
    let said = format!("with the configuration {digest}");
    assert!(proxy.logs().iter().any(|line| line.text.ends_with(&said)));
    proxy.restart_worker(0).unwrap();
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.metric_value(&first_name), 1);
    proxy.reconfigure(0, &second);
    proxy.reload().unwrap();
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.metric_value(&second_name), 1);
    proxy.assert_clean();
}
