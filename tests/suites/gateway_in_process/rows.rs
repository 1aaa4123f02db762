//! Which row refuses what, before and after the exchange.

use caracal_tests::host::{Answer, Request};
use caracal_tests::hosts::{ENVOY, On};
use caracal_tests::mint::Key;
use serde_json::{Value, json};

use crate::edge::*;

#[test]
fn rows_are_judged_in_their_order_and_burn_nothing() {
    BOTH.into_iter().for_each(judges_rows_in_their_order);
}

fn judges_rows_in_their_order(on: On) {
    let mut edge = Edge::granting(on, bearer_token());
    let with = |changes: Value| {
        let token = mandate(BILLING, changes);
        Request::get("/x")
            .header("x-caracal-resource", BILLING)
            .bearer(token)
    };
    let named = |resource: &str| {
        Request::get("/x")
            .header("x-caracal-resource", resource)
            .bearer(mandate(BILLING, json!({})))
    };
    let foreign = Key::new("k1", 9).mandate(
        START,
        json!({"use": "gateway", "aud": [ISSUER], "exp": START + 10}),
    );
    for (what, request, status, error) in [
        ("G0", get("/x/../y%2f"), 400, "invalid_token"),
        ("G0 before all", Request::get("/%"), 400, "invalid_token"),
        (
            "G2: no bearer",
            Request::get("/x").header("x-caracal-resource", BILLING),
            401,
            "invalid_token",
        ),
        (
            "G2: no bearer comes first",
            Request::get("/x"),
            401,
            "invalid_token",
        ),
        (
            "G2: a client id",
            get("/x").header("x-caracal-client-id", "me"),
            400,
            "invalid_token",
        ),
        (
            "G2: the body's length for this hop",
            get("/x").header("connection", "close, Content-Length"),
            400,
            "invalid_token",
        ),
        (
            "G2: the body's type, in a second header",
            get("/x")
                .header("connection", "close")
                .header("connection", "content-type"),
            400,
            "invalid_token",
        ),
        (
            "G2: the path's place in a map",
            get("/x").header("connection", ":path"),
            400,
            "invalid_token",
        ),
        (
            "G2: no resource",
            Request::get("/x").bearer(mandate(BILLING, json!({}))),
            400,
            "invalid_token",
        ),
        (
            "G2: two",
            get("/x").header("x-caracal-resource", REPORTS),
            400,
            "invalid_token",
        ),
        (
            "G2: unknown",
            named("resource://other"),
            403,
            "access_denied",
        ),
        (
            "G3",
            with(json!({"exp": START + 34})),
            401,
            "credential_expired_not_renewable",
        ),
        (
            "G3 before the signature",
            Request::get("/x")
                .header("x-caracal-resource", BILLING)
                .bearer(foreign),
            401,
            "credential_expired_not_renewable",
        ),
        (
            "G4: use",
            with(json!({"use": "resource"})),
            401,
            "invalid_token",
        ),
        (
            "G4: aud",
            with(json!({"aud": [BILLING]})),
            401,
            "invalid_token",
        ),
        (
            "G4: zone",
            with(json!({"zone_id": "other"})),
            401,
            "zone_invalid",
        ),
        (
            "G5",
            with(json!({"target": [REPORTS]})),
            403,
            "access_denied",
        ),
        (
            "G5: the other resource",
            named(REPORTS),
            403,
            "access_denied",
        ),
        (
            "G6",
            with(json!({"scope": "other"})),
            403,
            "scope_insufficient",
        ),
        ("G11: the query", get("/x?a=1;b=2"), 400, "internal_error"),
        (
            "G11: many parameters",
            get(&format!("/x?{}", "b&".repeat(300))),
            400,
            "internal_error",
        ),
        (
            "G11: TRACE",
            Request::new("TRACE", "/x")
                .header("x-caracal-resource", BILLING)
                .bearer(mandate(BILLING, json!({}))),
            400,
            "internal_error",
        ),
    ] {
        let what = format!("{}: {what}", on.name());
        assert_eq!(edge.refused(request), (status, error.to_owned()), "{what}");
        assert_eq!(edge.asked(), [] as [Value; 0], "{what}");
    }
    // Metrics have the precise code. APISIX counts none.
    edge.proxy.advance(FIRST_TICK);
    let counts = [
        ("missing_token", 2),
        ("credential_expiring", 2),
        ("access_denied", 3),
        ("invalid_zone", 1),
        ("insufficient_scope", 1),
    ];
    for (code, count) in counts.into_iter().filter(|_| on == ENVOY) {
        let name = format!("caracal_decisions_total.outcome=refused.code={code}");
        assert_eq!(edge.proxy.metric_value(&name), count, "{code}");
    }
    // 35 seconds are enough, and two have passed; an empty client id is none.
    for request in [
        with(json!({"exp": START + 37})),
        get("/x").header("x-caracal-client-id", ""),
    ] {
        let stream = edge.send(request);
        assert!(edge.proxy.upstream(stream).is_some());
    }
    // Excluded: unverified, and without any credential.
    let stream = edge.send(Request::get("/open/x").header("x-caracal-resource", BILLING));
    assert_eq!(
        edge.proxy
            .upstream(stream)
            .unwrap()
            .headers
            .text("authorization"),
        None
    );
    edge.proxy.assert_clean();
}

#[test]
fn what_the_companion_refuses_is_relayed_and_reaches_nobody() {
    BOTH.into_iter().for_each(relays_what_is_refused);
}

fn relays_what_is_refused(on: On) {
    for (answer, status, error) in [
        (
            refusing(
                &json!({"status": 401, "error": "invalid_token", "error_description": "token replay detected", "cause": "replay", "burnt": true}),
            ),
            401,
            "invalid_token",
        ),
        (
            refusing(
                &json!({"status": 503, "error": "sts_unavailable", "cause": "redis", "burnt": false}),
            ),
            503,
            "sts_unavailable",
        ),
        (
            refusing(
                &json!({"status": 429, "error": "rate_limited", "cause": "sts_refused", "burnt": true, "retry_after_s": 3}),
            ),
            429,
            "rate_limited",
        ),
        (
            refusing(
                &json!({"status": 504, "error": "sts_unavailable", "cause": "sts_timeout", "burnt": true}),
            ),
            504,
            "sts_unavailable",
        ),
        (
            refusing(&json!({"status": 200, "error": "ok", "cause": "sts_refused", "burnt": true})),
            502,
            "sts_unavailable",
        ),
        (
            granted(&json!({"url": "https://evil.example.test/v1", "auth_mode": "none"})),
            502,
            "internal_error",
        ),
        (
            granted(
                &json!({"url": "https://billing.example.test/v1", "auth_mode": "none", "allowed_token_hosts": ["x"]}),
            ),
            502,
            "internal_error",
        ),
        (
            granted(
                &json!({"url": "https://billing.example.test/v1", "auth_mode": "provider_oauth", "auth_header": "Host", "credential": "c"}),
            ),
            400,
            "internal_error",
        ),
        (Answer::with(200, "{}").after(LATE), 502, "sts_unavailable"),
        (
            Answer::with(200, "x".repeat(300 * 1024)).after(LATE),
            503,
            "sts_unavailable",
        ),
        (Answer::with(401, "{}").after(LATE), 503, "sts_unavailable"),
        (Answer::with(404, "{}").after(LATE), 503, "sts_unavailable"),
        (Answer::with(500, "{}").after(LATE), 503, "sts_unavailable"),
    ] {
        let shown = format!("{answer:?}");
        let shown = shown.get(..shown.len().min(200)).unwrap().to_owned();
        let mut edge = Edge::ready(on, json!({}), move |_| answer.clone());
        assert_eq!(
            edge.refused(get("/x")),
            (status, error.to_owned()),
            "{shown}"
        );
        if on == ENVOY {
            assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
        }
        edge.proxy.assert_clean();
    }
    let mut edge = Edge::granting(on, bearer_token());
    assert_eq!(
        edge.refused(get("/x?a=1;b=2")),
        (400, "internal_error".to_owned())
    );
}
