//! Nobody can overlook that an edge is in shadow.

use std::time::Duration;

use caracal_tests::host::{Level, Request};
use caracal_tests::hosts::{ALL, APISIX, ENVOY, KONG};
use serde_json::{Value, json};

use crate::edge::{Edge, START, mandate};

const LINE: &str = "caracal: SHADOW MODE on ";

fn said(edge: &Edge) -> usize {
    let worker = |line: &&caracal_tests::host::LogLine| {
        line.vm == caracal_tests::host::Vm::Worker(0) && line.text.starts_with(LINE)
    };
    let lines: Vec<_> = edge.proxy.logs().iter().filter(worker).collect();
    assert!(lines.iter().all(|line| line.level == Level::Warn));
    lines.len()
}

#[test]
fn it_is_said_at_the_start_and_once_a_minute() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({}));
        // APISIX reads a configuration with the first request.
        edge.send(Request::get("/x"));
        assert_eq!(said(&edge), 1, "{on:?}");
        for minutes in 2..=4 {
            for _ in 0..10 {
                edge.proxy.advance(Duration::from_secs(6));
                edge.send(Request::get("/x"));
            }
            edge.proxy.advance(Duration::from_millis(1_100));
            edge.send(Request::get("/x"));
            assert_eq!(said(&edge), minutes, "{on:?}");
        }
        assert!(
            edge.proxy
                .logged(Level::Warn, "SHADOW MODE on everything: ")
        );
    }
}

#[test]
fn the_line_names_the_rules_and_not_all_of_many() {
    let route = json!({"enforcement": "shadow"});
    let routes: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("/r{n}"), route.clone())).collect();
    for (changes, text) in [
        (
            json!({"enforcement": "enforce", "routes": {"/a": route, "/b": {}}}),
            "SHADOW MODE on /a: ",
        ),
        (
            json!({"routes": {"/a": {"enforcement": "enforce"}, "/b": {}}}),
            "SHADOW MODE on every path outside routes, /b: ",
        ),
        (
            json!({"enforcement": "enforce", "routes": routes}),
            "/r17 and 12 more: ",
        ),
    ] {
        let edge = Edge::start(ENVOY, changes);
        let lines: Vec<_> = edge.proxy.logs().iter().map(|line| &line.text).collect();
        assert!(edge.proxy.logged(Level::Warn, text), "{text}: {lines:?}");
    }
}

#[test]
fn a_gauge_says_it_and_its_end() {
    for on in [ENVOY, KONG] {
        let mut edge = Edge::start(on, json!({}));
        let shadow = |edge: &mut Edge| {
            edge.proxy.advance(Duration::from_secs(2));
            edge.proxy.metric_value("caracal_shadow")
        };
        assert_eq!(shadow(&mut edge), 1);
        let enforced = on.configuration(json!({}));
        edge.proxy.configure_again(0, &enforced);
        if on == ENVOY {
            // A VM on the main thread has the old configuration, and reports for it.
            assert_eq!(shadow(&mut edge), 1);
            continue;
        }
        assert_eq!(shadow(&mut edge), 0, "{on:?}");
        let again = on.configuration(json!({"enforcement": "shadow"}));
        edge.proxy.configure_again(0, &again);
        assert_eq!(shadow(&mut edge), 1);
    }
    let mut edge = Edge::start(ENVOY, json!({"enforcement": "enforce"}));
    edge.proxy.advance(Duration::from_secs(2));
    assert_eq!(edge.proxy.metric("caracal_shadow").map(|_| 0), Some(0));
    assert_eq!(edge.proxy.metric_value("caracal_shadow"), 0);
    assert!(!edge.proxy.logged(Level::Warn, "SHADOW"));
    let metrics = edge.proxy.metrics().keys();
    let of_shadow: Vec<_> = metrics.filter(|name| name.contains("shadow")).collect();
    assert_eq!(of_shadow, ["caracal_shadow"]);
}

/// Readiness says it, and stays what it is. Public documents stay too.
#[test]
fn readiness_says_it() {
    for on in [ENVOY, KONG] {
        for (enforcement, body) in [
            ("shadow", r#"{"ready":true,"missing":[],"shadow":true}"#),
            ("enforce", r#"{"ready":true,"missing":[]}"#),
        ] {
            let mut edge = Edge::start(
                on,
                json!({"readiness_path": "/ready", "enforcement": enforcement,
                    "metadata": {"resource": "https://api.test"}}),
            );
            let stream = edge.send(Request::get("/ready"));
            let reply = edge.proxy.outcome(stream).replied();
            assert_eq!((reply.status, reply.text()), (200, body), "{on:?}");
            let stream = edge.send(Request::get("/.well-known/oauth-protected-resource"));
            assert_eq!(edge.proxy.outcome(stream).replied().status, 200);
        }
    }
}

/// In Gateway mode it is an error of the configuration.
#[test]
fn gateway_mode_does_not_start_with_it() {
    for on in [ENVOY, APISIX] {
        let gateway = |top: &str, route: &str| {
            on.adapt(json!({
                "issuer": "https://sts.test", "zone_id": "zone-1", "mode": "gateway",
                "jwks": {"upstream": "sts"},
                "revocation": {"upstream": "feed", "token": "t"},
                "gateway": {"upstream": "feed"}, "enforcement": top,
                "resources": {"r": {"upstream_url": "https://a.test",
                    "routes": {"/a": {"enforcement": route}}}},
            }))
            .to_string()
        };
        for (top, route) in [("shadow", "enforce"), ("enforce", "shadow")] {
            let started = on.builder(&gateway(top, route)).start();
            let why = match started {
                Err(error) => format!("{error:?}"),
                // APISIX reads it with the first request.
                Ok(mut proxy) => {
                    let request = Request::get("/a").bearer(mandate(json!({"iat": START})));
                    let stream = proxy.request(0, request);
                    assert!(proxy.upstream(stream).is_none());
                    let lines = proxy.logs().iter().map(|line| line.text.as_str());
                    lines.collect::<Vec<_>>().join("\n")
                }
            };
            assert!(
                why.contains("shadow is not possible in Gateway mode"),
                "{why}"
            );
        }
    }
}
