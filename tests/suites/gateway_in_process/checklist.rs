//! The guide's checklist on APISIX, with the real companion, development STS and Redis
//! behind the in-process proxy: each case is judged by what upstream, STS and Redis saw.

use std::rc::Rc;

use caracal_tests::host::Outcome;
use caracal_tests::mint::{AUDIENCE, now};
use caracal_tests::processes::until;
use serde_json::{Value, json};

use crate::scene::*;

#[test]
fn an_allowed_request_reaches_the_upstream_once_with_its_credential() {
    let url = "https://billing.test/v1?fixed=1";
    let provider = json!({"kind": "bearer_token", "token": "provider-secret",
        "allowed_token_hosts": ["billing.test"]});
    let of_sts = resource(json!({"upstream_url": url, "provider": provider}));
    let mut scene = Scene::start(of_sts, url);
    let before = scene.sts.exchanges();
    let mandate = scene.sts.mandate(AUDIENCE);
    let headers = [
        ("x-request-id", "request-7"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-caracal-sub", "admin"),
        ("x_caracal_sub", "admin"),
        ("baggage", "caracal.zone=z,a=1"),
        ("cookie", "c=1"),
    ];
    let outcome = scene.send("/invoices/7?b=2&fixed=9&a=1", &mandate, &headers);
    let upstream = outcome.forwarded().headers;
    for (name, expected) in [
        (":path", Some("/v1/invoices/7?a=1&b=2&fixed=1")),
        ("host", Some("billing.test")),
        ("authorization", Some("Bearer provider-secret")),
        ("x-request-id", Some("request-7")),
        ("x-forwarded-for", None),
        ("x-real-ip", None),
        ("x-caracal-sub", None),
        ("x_caracal_sub", None),
        ("x-caracal-resource", None),
        ("baggage", Some("a=1")),
        ("cookie", Some("c=1")),
    ] {
        assert_eq!(upstream.text(name), expected, "{name}");
    }
    assert_eq!(scene.used_by(&mandate).as_deref(), Some("request-7"));
    assert_eq!(scene.sts.exchanges(), before + 1);
    // Once more: a replay (row G8).
    let (reply, error) = replied(scene.send("/invoices/7", &mandate, &[]));
    assert_eq!((reply.status, error.as_str()), (401, "invalid_token"));
    assert_eq!(scene.sts.exchanges(), before + 1);
    let shown = format!("{:?}", scene.proxy.logs());
    assert!(!shown.contains("provider-secret") && !shown.contains(&mandate));
    scene.proxy.assert_clean();
}

#[test]
fn each_kind_of_provider_reaches_the_upstream() {
    let url = "https://billing.test/base";
    let token = |kind: &str| json!({"kind": kind, "token": "t"});
    let with = |kind: &str, more: Value| {
        let mut provider = token(kind);
        for (name, value) in more.as_object().unwrap() {
            provider[name] = value.clone();
        }
        provider
    };
    for (provider, name, value) in [
        (json!({"kind": "none"}), "authorization", None),
        (
            token("oauth2_client_credentials"),
            "authorization",
            Some("Bearer t"),
        ),
        (
            with(
                "oauth2_authorization_code",
                json!({"header": "X-Token", "scheme": "Token"}),
            ),
            "x-token",
            Some("Token t"),
        ),
        (token("bearer_token"), "authorization", Some("Bearer t")),
        (
            json!({"kind": "http_basic", "username": "u", "password": "p"}),
            "authorization",
            Some("Basic dTpw"),
        ),
        (
            with("api_key", json!({"header": "X-Api-Key"})),
            "x-api-key",
            Some("t"),
        ),
        (
            with("api_key", json!({"query": "key"})),
            "authorization",
            None,
        ),
    ] {
        let mut scene = Scene::start(resource(json!({ "provider": provider })), url);
        let mine = [("x-token", "mine"), ("x-api-key", "mine")];
        let mine = mine.iter().filter(|(own, _)| *own == name);
        let mine: Vec<_> = mine.copied().collect();
        let upstream = scene.forwarded("/x?key=mine", &mine);
        assert_eq!(upstream.text(name), value, "{provider}");
        let target = match provider.get("query") {
            Some(_) => "/base/x?key=t",
            None => "/base/x?key=mine",
        };
        assert_eq!(upstream.text(":path"), Some(target), "{provider}");
        scene.proxy.assert_clean();
    }
    // A resource mandate, and the identity beside a provider's token.
    let mandate = json!({"kind": "caracal_mandate"});
    let mut scene = Scene::start(resource(json!({ "provider": mandate })), url);
    let upstream = scene.forwarded("/x", &[]);
    let bearer = upstream.text("authorization").unwrap();
    let bearer = bearer.strip_prefix("Bearer ").unwrap();
    assert_eq!(claims(bearer)["use"], "resource");
    let identity = with("bearer_token", json!({"forward_identity": true}));
    let mut scene = Scene::start(resource(json!({ "provider": identity })), url);
    let upstream = scene.forwarded("/x", &[]);
    let identity = upstream.text("x-caracal-identity").unwrap();
    assert_eq!(claims(identity)["use"], "resource");
}

/// Rows G0 to G7: refused, and the mandate is not used up.
#[test]
fn rows_before_the_exchange_use_no_mandate_up() {
    let mut scene = Scene::start(resource(json!({})), "https://billing.test/base");
    let before = scene.sts.exchanges();
    let sts = Rc::clone(&scene.sts);
    let odd = |changes: Value| sts.odd(&changes);
    let good = odd(json!({}));
    let named = [("x-caracal-resource", AUDIENCE)];
    let client = [named[0], ("x-caracal-client-id", "me")];
    let twice = [named[0], named[0]];
    let other = [("x-caracal-resource", "resource://other")];
    let expiring = "credential_expired_not_renewable";
    for (what, path, mandate, headers, status, error) in [
        (
            "G0",
            "/a/..%2fb",
            good.clone(),
            &named[..],
            400,
            "invalid_token",
        ),
        (
            "G2, bearer",
            "/x",
            String::new(),
            &named,
            401,
            "invalid_token",
        ),
        (
            "G2, client",
            "/x",
            good.clone(),
            &client,
            400,
            "invalid_token",
        ),
        (
            "G2, no resource",
            "/x",
            good.clone(),
            &[],
            400,
            "invalid_token",
        ),
        ("G2, two", "/x", good.clone(), &twice, 400, "invalid_token"),
        (
            "G2, unknown",
            "/x",
            good.clone(),
            &other,
            403,
            "access_denied",
        ),
        (
            "G3",
            "/x",
            // The proxy's clock began before this one was read.
            odd(json!({"exp": now() + 30})),
            &named,
            401,
            expiring,
        ),
        (
            "G4, use",
            "/x",
            odd(json!({"use": "resource"})),
            &named,
            401,
            "invalid_token",
        ),
        (
            "G4, aud",
            "/x",
            odd(json!({"aud": [AUDIENCE]})),
            &named,
            401,
            "invalid_token",
        ),
        (
            "G4, zone",
            "/x",
            odd(json!({"zone_id": "other"})),
            &named,
            401,
            "zone_invalid",
        ),
        (
            "G5",
            "/x",
            odd(json!({"target": ["resource://other"]})),
            &named,
            403,
            "access_denied",
        ),
        (
            "G6",
            "/x",
            odd(json!({"scope": "other"})),
            &named,
            403,
            "scope_insufficient",
        ),
        (
            "G11",
            "/x?a=1;b=2",
            good.clone(),
            &named,
            400,
            "internal_error",
        ),
    ] {
        let (reply, found) = replied(scene.send_as(path, &mandate, headers));
        assert_eq!((reply.status, found.as_str()), (status, error), "{what}");
        if !mandate.is_empty() {
            assert_eq!(scene.used_by(&mandate), None, "{what}");
        }
    }
    assert_eq!(scene.sts.exchanges(), before);
    // The good one is still good.
    scene.send("/x", &good, &[]).forwarded();
    // G7: the companion refuses it before it is used up, and nothing else is asked.
    let event = ["caracal.sessions.revoke", "*", "session_id", "sid-revoked"];
    let _: String = scene.redis.ask(&[&["XADD"], &event[..]].concat());
    let mut refused = String::new();
    until("it is revoked", SOON, || {
        refused = odd(json!({"sid": "sid-revoked"}));
        matches!(scene.send("/x", &refused, &[]), Outcome::Replied(reply) if reply.status == 401)
    });
    assert_eq!(scene.used_by(&refused), None);
    let paths: Vec<String> = scene
        .proxy
        .callouts()
        .iter()
        .map(|callout| callout.path.clone())
        .collect();
    assert!(paths.iter().all(|path| path != "/v1/check"), "{paths:?}");
    scene.proxy.assert_clean();
}

/// Row G9: the STS decides, and the client learns how.
#[test]
fn what_the_sts_refuses_is_relayed() {
    for (decision, status, error) in [
        (json!({"deny": "not today"}), 403, "access_denied"),
        (json!("step_up"), 401, "interaction_required"),
        (json!({"too_many": 3}), 429, ""),
        (json!("oversize"), 502, "sts_unavailable"),
        (json!("not_json"), 502, "sts_unavailable"),
        (json!("other_resource"), 403, "access_denied"),
        (json!("unavailable"), 503, ""),
        (json!("redirect"), 502, "sts_unavailable"),
    ] {
        let url = "https://billing.test/base";
        let mut scene = Scene::start(resource(json!({})), url);
        let decided = resource(json!({ "decision": decision }));
        scene.sts.decide(&json!({ AUDIENCE: decided }));
        let mandate = scene.sts.mandate(AUDIENCE);
        let (reply, found) = replied(scene.send("/x", &mandate, &[]));
        assert_eq!(reply.status, status, "{decision}: {}", reply.text());
        assert!(error.is_empty() || found == error, "{decision}: {found}");
        if decision == "step_up" {
            let challenge = reply.headers.text("www-authenticate").unwrap();
            assert!(challenge.contains("interaction_required"), "{challenge}");
            assert!(reply.json()["approval_id"].is_string());
        }
        if status == 429 {
            assert_eq!(reply.headers.text("retry-after"), Some("3"));
        }
        assert!(scene.used_by(&mandate).is_some(), "{decision}");
        scene.proxy.assert_clean();
    }
}

/// Rows G10 and G11: what the STS says of the upstream is held against the configuration.
#[test]
fn another_upstream_than_the_configured_one_is_refused() {
    let none = json!({"kind": "none"});
    let hosts = json!({"kind": "bearer_token", "token": "t", "allowed_token_hosts": ["x.test"]});
    let host = json!({"kind": "bearer_token", "token": "t", "header": "Host"});
    let own = "https://billing.test/base";
    for (upstream, provider, status) in [
        ("https://evil.test/base", &none, 502),
        ("https://billing.test/other", &none, 502),
        ("http://billing.test/base", &none, 502),
        (own, &hosts, 502),
        (own, &host, 400),
    ] {
        let of_sts = resource(json!({"upstream_url": upstream, "provider": provider}));
        let mut scene = Scene::start(of_sts, own);
        let mandate = scene.sts.mandate(AUDIENCE);
        let (reply, error) = replied(scene.send("/x", &mandate, &[]));
        let what = format!("{upstream} {provider}");
        assert_eq!(
            (reply.status, error.as_str()),
            (status, "internal_error"),
            "{what}"
        );
        assert!(reply.text().contains("used up"), "{what}");
        assert!(scene.used_by(&mandate).is_some(), "{what}");
        scene.proxy.assert_clean();
    }
}
