//! Gateway mode in the in-process host: every row, every kind of provider, what changes
//! while a request waits for its exchange, and every host call that can fail there.

mod edge;
mod waits;

use caracal_tests::host::{Answer, Outcome, Request};
use caracal_tests::mint::Key;
use serde_json::{Value, json};

use edge::*;

#[test]
fn a_request_is_exchanged_rewritten_and_its_response_cleaned() {
    let mut edge = Edge::granting(bearer_token());
    let request = get("/invoices/1?b=2&a=1")
        .authority("edge.test")
        .header("x-request-id", "id-7")
        .header("x-forwarded-for", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("x-caracal-sub", "admin")
        .header("proxy-authorization", "Basic x")
        .header("baggage", "caracal.zone=z,a=1")
        .header("traceparent", "nonsense")
        .header("cookie", "c=1");
    let stream = edge.proxy.request(0, request);
    assert!(matches!(edge.proxy.outcome(stream), Outcome::Paused));
    edge.proxy.advance(LATE * 2);
    let upstream = edge.proxy.upstream(stream).unwrap().headers.clone();
    for (name, expected) in [
        (":authority", Some("billing.example.test")),
        (":path", Some("/v1/invoices/1?a=1&b=2")),
        ("authorization", Some("Bearer provider-secret")),
        ("x-request-id", Some("id-7")),
        ("x-forwarded-host", Some("edge.test")),
        ("x-forwarded-proto", Some("http")),
        ("forwarded", None),
        ("x-caracal-sub", None),
        ("x-caracal-resource", None),
        ("proxy-authorization", None),
        ("baggage", Some("a=1")),
        ("cookie", Some("c=1")),
    ] {
        assert_eq!(upstream.text(name), expected, "{name}");
    }
    assert_ne!(upstream.text("x-forwarded-for"), Some("6.6.6.6"));
    assert_eq!(upstream.all("authorization").len(), 1);
    assert_eq!(upstream.text("traceparent").map(str::len), Some(55));
    let asked = edge.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["resource"], BILLING);
    assert_eq!(
        (&asked[0]["method"], &asked[0]["path"]),
        (&json!("GET"), &json!("/invoices/1"))
    );
    assert_eq!(asked[0]["request_id"], "id-7");
    let headers = [
        ("server", "nginx"),
        ("x-powered-by", "PHP"),
        ("location", "https://billing.example.test/v1/x"),
        ("x-caracal-identity", "a.b.c"),
        ("content-type", "text/plain"),
    ];
    edge.proxy.respond(stream, 200, headers);
    let Outcome::Answered(response) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    let response = response.headers;
    for name in ["server", "x-powered-by", "location", "x-caracal-identity"] {
        assert_eq!(response.text(name), None, "{name}");
    }
    assert_eq!(response.text("content-type"), Some("text/plain"));
    let left: u64 = response
        .text("x-caracal-token-expires-in")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3_600).contains(&left), "{left}");
    let shown = format!("{:?}", edge.proxy.logs());
    assert!(
        !shown.contains("provider-secret") && !shown.contains("eyJ"),
        "{shown}"
    );
    edge.proxy.assert_clean();
}

#[test]
fn each_kind_of_provider_attaches_its_credential() {
    let url = "https://billing.example.test/v1";
    for (directive, name, value, path) in [
        (
            json!({"auth_mode": "none"}),
            "authorization",
            None,
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "caracal_jwt", "credential": "r.s.t"}),
            "authorization",
            Some("Bearer r.s.t"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "t", "auth_header": "X-Token", "auth_scheme": "Token"}),
            "x-token",
            Some("Token t"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "dTpw", "auth_scheme": "Basic"}),
            "authorization",
            Some("Basic dTpw"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_apikey", "credential": "k", "auth_header": "X-Api-Key", "identity": "i.d.t"}),
            "x-api-key",
            Some("k"),
            "/v1/x?key=mine",
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "key", "credential": "k"}),
            "authorization",
            None,
            "/v1/x?key=k",
        ),
    ] {
        let mut directive = directive;
        directive["url"] = json!(url);
        let mut edge = Edge::granting(directive.clone());
        // The client's own header of that name, written otherwise, is not what is read.
        let stream = edge.send(
            get("/x?key=mine")
                .header("x_api_key", "mine")
                .header("X-Token", "mine"),
        );
        let upstream = &edge.proxy.upstream(stream).unwrap().headers;
        assert_eq!(upstream.text(name), value, "{directive}");
        assert_eq!(upstream.text(":path"), Some(path), "{directive}");
        if name == "x-api-key" {
            assert_eq!(upstream.text("x_api_key"), None);
            assert_eq!(upstream.text("x-caracal-identity"), Some("i.d.t"));
        }
        edge.proxy.assert_clean();
    }
}

#[test]
fn rows_are_judged_in_their_order_and_burn_nothing() {
    let mut edge = Edge::granting(bearer_token());
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
        assert_eq!(edge.refused(request), (status, error.to_owned()), "{what}");
        assert_eq!(edge.asked(), [] as [Value; 0], "{what}");
    }
    // Metrics have the precise code.
    edge.proxy.advance(FIRST_TICK);
    for (code, count) in [
        ("missing_token", 2),
        ("credential_expiring", 2),
        ("access_denied", 3),
        ("invalid_zone", 1),
        ("insufficient_scope", 1),
    ] {
        let name = format!("caracal_decisions_total.outcome=refused.code={code}");
        assert_eq!(edge.proxy.metric_value(&name), count, "{code}");
    }
    // 35 seconds are enough; an empty client id is none.
    for request in [
        with(json!({"exp": START + 36})),
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
        let mut edge = Edge::start(builder(json!({})), move |_| answer.clone());
        edge.proxy.advance(FIRST_TICK);
        assert_eq!(
            edge.refused(get("/x")),
            (status, error.to_owned()),
            "{shown}"
        );
        assert_eq!(edge.proxy.metric_value("caracal_paused_requests"), 0);
        edge.proxy.assert_clean();
    }
    let mut edge = Edge::granting(bearer_token());
    assert_eq!(
        edge.refused(get("/x?a=1;b=2")),
        (400, "internal_error".to_owned())
    );
}
