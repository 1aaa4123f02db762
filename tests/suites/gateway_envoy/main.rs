//! Gateway mode in a real Envoy with two workers, a real Redis, the companion and the
//! development STS. Each case is judged by what upstream, STS and Redis saw.

mod audit;
#[path = "../audit_companion/consumer.rs"]
#[allow(dead_code, unreachable_pub, reason = "another suite's file")]
mod consumer;
mod outages;
mod rows;
mod scene;
mod zones;

use caracal_tests::processes::Redis;
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};

use caracal_tests::mint::AUDIENCE;
use serde_json::{Value, json};

use scene::{Scene, resource};

/// Where the product's audit reads its events.
const STREAM: &str = "caracal.audit.events";

#[test]
fn an_allowed_request_reaches_the_upstream_once_with_its_credential() {
    let scene = Scene::start(json!({ AUDIENCE: resource(json!({
        "upstream_url": "https://billing.test/v1?fixed=1",
        "provider": {"kind": "bearer_token", "token": "provider-secret", "allowed_token_hosts": ["billing.test"]},
    })) }));
    let mandate = scene.sts.mandate(AUDIENCE);
    let answer = scene.send(
        "/invoices/7?b=2&fixed=9&a=1",
        &mandate,
        &[
            ("x-request-id", "request-7"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x-caracal-sub", "admin"),
            ("x_caracal_sub", "admin"),
            ("baggage", "caracal.zone=z,a=1"),
            ("cookie", "c=1"),
        ],
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    for hidden in ["x-powered-by", "x-caracal-identity", "location", "refresh"] {
        assert_eq!(answer.header(hidden), None, "{hidden}");
    }
    let left: u64 = answer
        .header("x-caracal-token-expires-in")
        .unwrap()
        .parse()
        .unwrap();
    assert!(left > 60, "{left}");
    let reached = scene.reached();
    let [request] = reached.as_slice() else {
        panic!("{} requests", reached.len());
    };
    assert_eq!(request.target, "/v1/invoices/7?a=1&b=2&fixed=1");
    let all = |name: &str| request.all(name);
    assert_eq!(all("host"), ["billing.test"]);
    assert_eq!(all("authorization"), ["Bearer provider-secret"]);
    assert_eq!(all("x-request-id"), ["request-7"]);
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("x-forwarded-proto"), ["http"]);
    assert_eq!(all("x-forwarded-host").len(), 1);
    assert_eq!(all("traceparent").len(), 1);
    assert_eq!(all("baggage"), ["a=1"]);
    assert_eq!(all("cookie"), ["c=1"]);
    let told: Vec<&str> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let told: Vec<&&str> = told
        .iter()
        .filter(|name| {
            name.to_lowercase()
                .replace('_', "-")
                .starts_with("x-caracal")
        })
        .collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(all("x-real-ip").is_empty());
    assert_eq!(scene.used_by(&mandate).as_deref(), Some("request-7"));
    assert_eq!(scene.sts.exchanges(), 1);
    // Once more: a replay.
    let again = scene.send("/invoices/7", &mandate, &[]);
    assert_eq!(
        (again.status, again.error().as_str()),
        (401, "invalid_token")
    );
    assert!(scene.reached().is_empty());
    assert_eq!(scene.sts.exchanges(), 1);
    scene.tells_no_secret(&[&mandate, "provider-secret"]);
}

#[test]
fn each_kind_of_provider_reaches_the_upstream() {
    for (provider, name, value) in [
        (json!({"kind": "none"}), "authorization", None),
        (
            json!({"kind": "oauth2_client_credentials", "token": "t"}),
            "authorization",
            Some("Bearer t"),
        ),
        (
            json!({"kind": "oauth2_authorization_code", "token": "t", "header": "X-Token", "scheme": "Token"}),
            "x-token",
            Some("Token t"),
        ),
        (
            json!({"kind": "bearer_token", "token": "t"}),
            "authorization",
            Some("Bearer t"),
        ),
        (
            json!({"kind": "http_basic", "username": "u", "password": "p"}),
            "authorization",
            Some("Basic dTpw"),
        ),
        (
            json!({"kind": "api_key", "token": "k", "header": "X-Api-Key"}),
            "x-api-key",
            Some("k"),
        ),
        (
            json!({"kind": "api_key", "token": "k&", "query": "key"}),
            "authorization",
            None,
        ),
    ] {
        let scene = Scene::start(json!({ AUDIENCE: resource(json!({ "provider": provider })) }));
        let answer = scene.send(
            "/x?key=mine",
            &scene.sts.mandate(AUDIENCE),
            &[("x-token", "mine"), ("x-api-key", "mine")],
        );
        assert_eq!(answer.status, 200, "{provider}: {answer:?}");
        let reached = scene.reached();
        assert_eq!(reached.len(), 1);
        assert_eq!(
            reached[0].all(name),
            value.into_iter().collect::<Vec<_>>(),
            "{provider}"
        );
        let target = match provider.get("query") {
            Some(_) => "/x?key=k%26",
            None => "/x?key=mine",
        };
        assert_eq!(reached[0].target, target, "{provider}");
    }
    // A resource mandate, and the identity beside a provider's token.
    let scene = Scene::start(
        json!({ AUDIENCE: resource(json!({"provider": {"kind": "caracal_mandate"}})) }),
    );
    assert_eq!(
        scene.send("/x", &scene.sts.mandate(AUDIENCE), &[]).status,
        200
    );
    let bearer = scene.reached()[0].all("authorization")[0].to_owned();
    assert_eq!(
        scene::claims(bearer.strip_prefix("Bearer ").unwrap())["use"],
        "resource"
    );
    let scene = Scene::start(
        json!({ AUDIENCE: resource(json!({"provider": {"kind": "bearer_token", "token": "t", "forward_identity": true}})) }),
    );
    assert_eq!(
        scene.send("/x", &scene.sts.mandate(AUDIENCE), &[]).status,
        200
    );
    let identity = scene.reached()[0].all("x-caracal-identity")[0].to_owned();
    assert_eq!(scene::claims(&identity)["use"], "resource");
}

#[test]
fn what_the_sts_refuses_is_relayed() {
    for (decision, status, error) in [
        (json!({"deny": "not today"}), 403, "access_denied"),
        (json!("step_up"), 401, "interaction_required"),
        (json!("rate_limit"), 403, "access_denied"),
        (json!({"too_many": 3}), 429, ""),
        (json!("oversize"), 502, "sts_unavailable"),
        (json!("not_json"), 502, "sts_unavailable"),
        (json!("other_resource"), 403, "access_denied"),
        (json!("unavailable"), 503, ""),
        (json!("redirect"), 502, "sts_unavailable"),
    ] {
        let scene = Scene::start(json!({ AUDIENCE: resource(json!({ "decision": decision })) }));
        let mandate = scene.sts.mandate(AUDIENCE);
        let answer = scene.send("/x", &mandate, &[]);
        assert_eq!(answer.status, status, "{decision}: {answer:?}");
        if !error.is_empty() {
            assert_eq!(answer.error(), error, "{decision}");
        }
        if decision == "step_up" {
            assert!(
                answer
                    .header("www-authenticate")
                    .unwrap()
                    .contains("interaction_required")
            );
            assert!(
                answer.json()["approval_id"].is_string(),
                "{}",
                answer.json()
            );
        }
        if status == 429 {
            assert_eq!(answer.header("retry-after"), Some("3"));
        }
        assert!(scene.used_by(&mandate).is_some(), "{decision}");
        assert!(scene.reached().is_empty(), "{decision}");
        scene.tells_no_secret(&[&mandate]);
    }
}

/// What the STS says of the upstream is held against the configuration.
#[test]
fn another_upstream_than_the_configured_one_is_refused() {
    for (upstream, provider, query, status) in [
        ("https://evil.test/base", json!({"kind": "none"}), "", 502),
        (
            "https://billing.test/other",
            json!({"kind": "none"}),
            "",
            502,
        ),
        ("http://billing.test/base", json!({"kind": "none"}), "", 502),
        (
            "https://billing.test/base",
            json!({"kind": "bearer_token", "token": "t", "allowed_token_hosts": ["x.test"]}),
            "",
            502,
        ),
        (
            "https://billing.test/base",
            json!({"kind": "bearer_token", "token": "t", "header": "Host"}),
            "",
            400,
        ),
        (
            "https://billing.test/base",
            json!({"kind": "none"}),
            "?a=1;b=2",
            400,
        ),
    ] {
        let scene = Scene::configured(
            json!({ AUDIENCE: resource(json!({"upstream_url": upstream, "provider": provider})) }),
            "https://billing.test/base",
        );
        let answer = scene.send(&format!("/x{query}"), &scene.sts.mandate(AUDIENCE), &[]);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, "internal_error"),
            "{upstream} {provider}: {answer:?}"
        );
        assert!(scene.reached().is_empty());
    }
}

#[test]
fn of_two_hundred_at_once_one_reaches_the_upstream() {
    let scene = Arc::new(Scene::start(json!({ AUDIENCE: resource(json!({})) })));
    for _ in 0..3 {
        let mandate = scene.sts.mandate(AUDIENCE);
        let admitted = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..200)
            .map(|_| {
                let (scene, mandate, admitted) =
                    (Arc::clone(&scene), mandate.clone(), Arc::clone(&admitted));
                std::thread::spawn(move || {
                    let answer = scene.send("/x", &mandate, &[]);
                    match answer.status {
                        200 => drop(admitted.fetch_add(1, Ordering::SeqCst)),
                        401 | 503 => {}
                        other => panic!("{other}: {answer:?}"),
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(admitted.load(Ordering::SeqCst), 1);
        assert_eq!(scene.reached().len(), 1);
    }
    assert_eq!(scene.sts.exchanges(), 3);
}
