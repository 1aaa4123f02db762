//! What a request meets in a real Envoy beside its verdict: headers, replies,
//! paths, logs and metrics.

use std::time::Duration;

use caracal_tests::edge::Recording;
use caracal_tests::envoy::Paths;
use caracal_tests::mint::now;
use caracal_tests::processes::until;
use caracal_tests::servers::request;
use serde_json::{Value, json};

struct Edge(Recording);

impl std::ops::Deref for Edge {
    type Target = Recording;

    fn deref(&self) -> &Recording {
        &self.0
    }
}

impl Edge {
    fn start(changes: Value, normalize: bool) -> Self {
        let paths = normalize.then_some(Paths::SHIPPED);
        Edge(Recording::start(changes, paths.as_slice()))
    }

    fn good(&self) -> String {
        self.key.mandate(now(), json!({}))
    }
}

#[test]
fn only_the_filter_speaks_in_its_namespace() {
    let edge = Edge::start(json!({"exclude": ["/healthz"]}), false);
    let forged = [
        ("x-caracal-sub", "forged"),
        ("X-Caracal-Whatever", "forged"),
        ("x-caracal-sub", "twice"),
        ("traceparent", "00-1-2-01"),
    ];
    assert_eq!(edge.client().get("/healthz", None, &forged).status, 200);
    let token = edge.good();
    assert_eq!(edge.client().get("/a", Some(&token), &forged).status, 200);
    let reached = edge.reached();
    assert_eq!(reached.len(), 2);
    for request in &reached {
        assert!(request.all("x-caracal-whatever").is_empty());
        assert_eq!(request.all("traceparent"), ["00-1-2-01"]);
    }
    assert!(reached[0].all("x-caracal-sub").is_empty());
    assert_eq!(reached[1].all("x-caracal-sub"), ["user-1"]);
    assert_eq!(reached[1].all("x-caracal-client-id"), ["app-1"]);
    assert_eq!(reached[1].all("x-caracal-scope"), ["billing:read"]);
    assert!(reached[1].all("x-caracal-session-id").is_empty());
    assert_eq!(reached[1].all("authorization"), [format!("Bearer {token}")]);
}

#[test]
fn the_mandate_stays_at_the_edge_when_asked() {
    let edge = Edge::start(json!({"forward": {"authorization": false}}), false);
    let baggage = [("baggage", "caracal.trace=1,other=2")];
    let response = edge.client().get("/", Some(&edge.good()), &baggage);
    assert_eq!(response.status, 200);
    let reached = edge.reached();
    assert!(reached[0].all("authorization").is_empty());
    assert_eq!(reached[0].all("baggage"), ["other=2"]);
}

#[test]
fn exactly_one_authorization_counts() {
    let edge = Edge::start(json!({}), false);
    let good = format!("Bearer {}", edge.good());
    let twice = [("authorization", good.as_str()), ("authorization", &good)];
    let apart = [
        ("authorization", good.as_str()),
        ("x-between", "1"),
        ("authorization", &good),
    ];
    let joined = format!("{good},{good}");
    for headers in [&twice[..], &apart, &[("authorization", joined.as_str())]] {
        let response = edge.client().get("/", None, headers);
        assert_eq!(
            (response.status, response.error().as_str()),
            (401, "invalid_token")
        );
    }
    assert!(edge.reached().is_empty());
}

#[test]
fn a_refusal_says_why_and_how_to_ask() {
    let edge = Edge::start(json!({"required_scopes": ["billing:pay"]}), false);
    let missing = edge.client().get("/", None, &[]);
    assert_eq!(missing.status, 401);
    let challenge = missing.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer"), "{challenge}");
    // RFC 6750 section 3.1: who sent nothing is told no error.
    assert!(!challenge.contains("error"), "{challenge}");
    assert_eq!(missing.header("content-type"), Some("application/json"));
    assert_eq!(missing.header("cache-control"), Some("no-store"));
    for member in ["error", "error_description", "error_hint"] {
        assert!(missing.json()[member].is_string(), "{member}");
    }
    let token = edge.good();
    let lacking = edge.client().get("/", Some(&token), &[]);
    assert_eq!(
        (lacking.status, lacking.error().as_str()),
        (403, "insufficient_scope")
    );
    let challenge = lacking.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(challenge.contains("scope=\"billing:pay\""), "{challenge}");
    assert!(!String::from_utf8_lossy(&lacking.body).contains(&token));
}

#[test]
fn grpc_gets_a_status_and_words() {
    let edge = Edge::start(json!({}), false);
    let headers = [("content-type", "application/grpc")];
    let response = edge.client().get("/pay.Service/Do", None, &headers);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("grpc-status"), Some("16"));
    assert!(!response.header("grpc-message").unwrap().contains('{'));
    assert!(edge.reached().is_empty());
}

#[test]
fn no_reading_of_a_path_gets_around_a_route() {
    for normalize in [false, true] {
        let edge = Edge::start(
            json!({"routes": {"/payouts": {"require_delegation": true}}, "exclude": ["/healthz"]}),
            normalize,
        );
        let token = edge.good();
        for path in [
            "/payouts",
            "/payouts/",
            "/%70ayouts",
            "//payouts",
            "/./payouts",
            "/a/../payouts",
            "/payouts;x=1",
            "/a/..%2fpayouts",
            "/a%2f..%2fpayouts",
            "/%2e/payouts",
            "\\payouts",
            "/a\\..\\payouts",
            "/healthz/../payouts",
            "/healthz/..;/payouts",
            "/healthz%2f..%2fpayouts",
            "/payouts%00",
            "/payouts%zz",
        ] {
            for token in [Some(token.as_str()), None] {
                let response = edge.client().get(path, token, &[]);
                assert!(response.status >= 400, "{path}: {}", response.status);
            }
        }
        assert!(edge.reached().is_empty());
    }
}

#[test]
fn the_token_is_in_no_log_and_the_decision_is() {
    let edge = Edge::start(json!({"exclude": ["/healthz"]}), false);
    let good = edge.good();
    let bad = edge.key.mandate(now(), json!({"aud": "resource://other"}));
    let mut broken = good.clone();
    broken.pop();
    for (path, token) in [("/1", &good), ("/2", &bad), ("/3", &broken)] {
        edge.client().get(path, Some(token), &[]);
    }
    edge.client().get("/healthz", None, &[]);
    // Envoy writes its access log every 10 s, or when 64 KiB have come together.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while edge.envoy.access_log().len() < 4 {
        assert!(std::time::Instant::now() < deadline, "no access log");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let log = edge.envoy.access_log();
    let of = |path: &str| log.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(of("/1")["caracal_decision"], "admitted");
    assert_eq!(of("/1")["caracal_client_id"], "app-1");
    assert_eq!(of("/1")["caracal_jti"], "jti-1");
    assert_eq!(of("/2")["caracal_decision"], "refused");
    assert_eq!(of("/2")["caracal_error"], "invalid_token");
    assert_eq!(of("/2")["caracal_reason"], "audience");
    assert_eq!(of("/1")["caracal_reason"], Value::Null);
    assert_eq!(of("/2")["details"], "caracal_invalid_token");
    assert_eq!(of("/3")["caracal_client_id"], Value::Null);
    assert_eq!(of("/healthz")["caracal_decision"], "excluded");
    assert_eq!(
        of("/1")["caracal_subject_fingerprint"]
            .as_str()
            .unwrap()
            .len(),
        16
    );
    let all = format!("{}{}", edge.envoy.log(), json!(log));
    for token in [&good, &bad, &broken] {
        for part in token.split('.') {
            assert!(!all.contains(part), "a part of a token is in a log");
        }
    }
}

#[test]
fn decisions_are_counted_by_name() {
    let edge = Edge::start(json!({}), false);
    let token = edge.good();
    let mut client = edge.client();
    for _ in 0..3 {
        assert_eq!(client.get("/", Some(&token), &[]).status, 200);
    }
    client.get("/", None, &[]);
    // Counters are told at ticks, and these requests may have fallen between two.
    for (name, count) in [
        ("caracal_decisions_total.outcome=admitted.code=none", 3),
        (
            "caracal_decisions_total.outcome=refused.code=missing_token",
            1,
        ),
        ("caracal_refusals_total.reason=missing_token", 1),
        ("caracal_signature_checks_total.by=host.result=valid", 1),
        ("caracal_mandate_cache_total.result=hit", 2),
        ("caracal_jwks_fetches_total.result=ok", 1),
        ("caracal_paused_requests", 0),
    ] {
        until(name, Duration::from_secs(5), || {
            edge.envoy.metric(name) == count
        });
    }
}

#[test]
fn odd_requests_are_answered_and_harm_nobody() {
    let edge = Edge::start(json!({}), false);
    let long = "x".repeat(20_000);
    let authorization = format!("Bearer {long}");
    let odd: Vec<Vec<u8>> = vec![
        request("GET", "/", &[("authorization", "")]),
        request("GET", "/", &[("authorization", "Bearer")]),
        request("GET", "/", &[("authorization", &authorization)]),
        request("OPTIONS", "*", &[]),
        request("CONNECT", "a.test:443", &[]),
        request("GET", "http://other.test/x", &[]),
        b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \xff\xfe\r\n\r\n".to_vec(),
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
    ];
    for bytes in odd {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let status = edge.client().exchange(&bytes).unwrap().status;
        assert!((400..500).contains(&status), "{shown:?}: {status}");
    }
    assert_eq!(edge.client().get("/", Some(&edge.good()), &[]).status, 200);
    assert_eq!(edge.reached().len(), 1);
}
