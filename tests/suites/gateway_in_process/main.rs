//! Gateway mode in the in-process host: every row, every kind of provider, what changes
//! while a request waits for its exchange, and every host call that can fail there.

mod apisix;
mod checklist;
mod context;
mod edge;
mod faults;
mod lost;
mod rows;
mod scene;
mod traps;
mod waits;

use caracal_tests::host::{Headers, Outcome, Request};
use caracal_tests::hosts::{APISIX, ENVOY, On};
use serde_json::json;

use edge::*;

#[test]
fn a_request_is_exchanged_rewritten_and_its_response_cleaned() {
    for on in BOTH {
        exchanged_rewritten_and_cleaned(on);
    }
}

fn exchanged_rewritten_and_cleaned(on: On) {
    let mut edge = Edge::granting(on, bearer_token());
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
    let upstream = edge.upstream(stream);
    for (name, expected) in [
        (host_header(on), Some("billing.example.test")),
        (":path", Some("/v1/invoices/1?a=1&b=2")),
        ("authorization", Some("Bearer provider-secret")),
        ("x-request-id", Some("id-7")),
        ("x-forwarded-host", Some("edge.test")),
        (
            "x-forwarded-proto",
            Some(if on == APISIX { "https" } else { "http" }),
        ),
        ("forwarded", None),
        ("x-caracal-sub", None),
        ("x-caracal-resource", None),
        ("proxy-authorization", None),
        ("baggage", Some("a=1")),
        ("cookie", Some("c=1")),
    ] {
        assert_eq!(upstream.text(name), expected, "{name}");
    }
    // On APISIX nginx adds the peer's address to what is left.
    assert_ne!(upstream.text("x-forwarded-for"), Some("6.6.6.6"));
    assert!(on == ENVOY || !upstream.has("x-forwarded-for"));
    assert_eq!(upstream.text(":method"), Some("GET"));
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
        ("content-location", "/v1/y"),
        ("x-caracal-identity", "a.b.c"),
        ("content-type", "text/plain"),
    ];
    // More than APISIX can show in a map.
    let more: Vec<(String, &str)> = (0..20).map(|n| (format!("x-{n}"), "v")).collect();
    let more = more.iter().map(|(name, value)| (name.as_str(), *value));
    let headers: Headers = headers.into_iter().chain(more).collect();
    edge.proxy.respond(stream, 200, headers);
    let Outcome::Answered(response) = edge.proxy.outcome(stream) else {
        panic!("{:?}", edge.proxy.outcome(stream));
    };
    let response = response.headers;
    for name in ["server", "x-powered-by", "location", "x-caracal-identity"] {
        assert_eq!(response.text(name), None, "{name}");
    }
    assert_eq!(response.text("content-type"), Some("text/plain"));
    assert_eq!(response.text("content-location"), Some("/v1/y"));
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
    BOTH.into_iter().for_each(attaches_each_credential);
}

fn attaches_each_credential(on: On) {
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
        let mut edge = Edge::granting(on, directive.clone());
        // The client's own header of that name, written otherwise, is not what is read.
        let stream = edge.send(
            get("/x?key=mine")
                .header("x_api_key", "mine")
                .header("X-Token", "mine"),
        );
        let upstream = &edge.upstream(stream);
        assert_eq!(upstream.text(name), value, "{directive}");
        assert_eq!(upstream.text(":path"), Some(path), "{directive}");
        if name == "x-api-key" {
            assert_eq!(upstream.text("x_api_key"), None);
            assert_eq!(upstream.text("x-caracal-identity"), Some("i.d.t"));
        }
        edge.proxy.assert_clean();
    }
}

/// What a client lists in `Connection` is removed with it, as before; its body keeps its
/// length and its type.
#[test]
fn what_is_of_this_connection_alone_stays_here() {
    for on in BOTH {
        let mut edge = Edge::granting(on, bearer_token());
        let token = mandate(BILLING, json!({}));
        let request = Request::post("/x", "a=1")
            .header("x-caracal-resource", BILLING)
            .bearer(token)
            .header("content-length", "3")
            .header("content-type", "text/plain")
            .header("x-own", "1")
            .header("x-other", "1")
            .header("connection", "keep-alive, X-Own")
            .header("connection", "Upgrade");
        let stream = edge.send(request);
        let upstream = edge.upstream(stream);
        for (name, expected) in [
            ("content-length", Some("3")),
            ("content-type", Some("text/plain")),
            ("x-other", Some("1")),
            ("x-own", None),
            ("connection", Some("upgrade")),
            ("authorization", Some("Bearer provider-secret")),
        ] {
            assert_eq!(upstream.text(name), expected, "{}: {name}", on.name());
        }
        edge.proxy.assert_clean();
    }
}
