//! Shadow mode in each proxy: what is refused goes on, is counted and recorded, and carries
//! nothing that its client made up; what is enforced stays enforced.

mod edge;
mod faults;
mod loud;
mod routes;
mod waits;

use caracal_tests::host::{Level, Request};
use caracal_tests::hosts::{ALL, APISIX, ENVOY, KONG};
use caracal_tests::mint::Key;
use serde_json::{Value, json};

use edge::{COUNTING, Edge, START, forging, mandate};

/// Requests that are refused: path, `Authorization`, code and reason.
fn bad() -> Vec<(&'static str, Option<String>, &'static str, &'static str)> {
    let of = |token: String| Some(format!("Bearer {token}"));
    let claims = |claims: Value| of(mandate(claims));
    let stranger = Key::new("k1", 9).mandate(START, json!({}));
    vec![
        ("/x", None, "missing_token", "missing_token"),
        (
            "/x",
            Some("Basic dTpw".to_owned()),
            "missing_token",
            "missing_token",
        ),
        ("/a/..%2f%2e%2e//x%00", None, "invalid_request", "ambiguous"),
        ("/x", of("a.b.c".to_owned()), "invalid_token", "malformed"),
        ("/x", of("x".repeat(9_000)), "invalid_token", "malformed"),
        ("/x", of(stranger), "invalid_token", "signature"),
        (
            "/x",
            claims(json!({"exp": START - 90})),
            "invalid_token",
            "expired",
        ),
        (
            "/x",
            claims(json!({"aud": "other"})),
            "invalid_token",
            "audience",
        ),
        (
            "/x",
            claims(json!({"scope": "c:d"})),
            "insufficient_scope",
            "insufficient_scope",
        ),
        (
            "/x",
            claims(json!({"scope": "a:b", "sid": "revoked"})),
            "session_revoked",
            "session_revoked",
        ),
    ]
}

#[test]
fn what_is_refused_goes_on_without_what_its_client_made_up() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({"required_scopes": ["a:b"]}));
        for (path, authorization, code, reason) in bad() {
            let before = edge.counted(code, reason);
            let mut sent = forging(Request::get(path));
            if let Some(value) = &authorization {
                sent = sent.header("authorization", value);
            }
            // Once cold, and once with what is remembered.
            for n in 1..=2 {
                let stream = edge.send(sent.clone());
                edge.went_on(stream, code, reason);
                assert_eq!(edge.got(stream, "baggage"), ["own=1"], "{on:?} {code}");
                let kept = edge.got(stream, "authorization");
                assert_eq!(kept.first(), authorization.as_ref(), "{on:?} {code}");
                if COUNTING.contains(&on) {
                    let counted = before.map(|before| before + n);
                    assert_eq!(
                        edge.counted(code, reason),
                        counted,
                        "{on:?} {code} {reason}"
                    );
                }
            }
        }
        // What the next hop would remove is not there.
        let listed = forging(Request::get("/x")).header("connection", "close, X-Caracal-Sub");
        let stream = edge.send(listed);
        edge.went_on(stream, "invalid_request", "invalid_request");
        assert_eq!(edge.got(stream, "baggage"), ["own=1"]);
        edge.refused_none();
        edge.proxy.assert_clean();
    }
}

#[test]
fn who_would_be_admitted_is_told_to_the_service() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({"forward": {"baggage": "verified"}}));
        for _ in 0..2 {
            let request = forging(Request::get("/x")).bearer(mandate(json!({})));
            let stream = edge.send(request);
            assert_eq!(edge.got(stream, "x-caracal-sub"), ["user-1"]);
            let baggage = edge.got(stream, "baggage").join(",");
            assert!(
                baggage.contains("own=1") && baggage.contains("caracal."),
                "{baggage}"
            );
            assert!(!baggage.contains("forged"), "{baggage}");
            if on == ENVOY {
                let decision = edge.proxy.filter_state_text(stream, "caracal_decision");
                assert_eq!(decision, Some("admitted"));
            }
        }
        // An excluded path keeps its own, as without shadow.
        let open = edge.send(forging(Request::get("/open")));
        assert!(edge.got(open, "x-caracal-sub").is_empty());
        assert_eq!(edge.got(open, "baggage"), ["caracal.sub=forged,own=1"]);
        edge.proxy.assert_clean();
    }
}

/// A mandate that the edge verified is removed as configured. What it did not verify is the
/// service's own business, as it was before the edge was there.
#[test]
fn authorization_is_removed_of_what_would_be_admitted() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({"forward": {"authorization": false}}));
        for _ in 0..2 {
            let good = edge.send(Request::get("/x").bearer(mandate(json!({}))));
            assert!(edge.got(good, "authorization").is_empty(), "{on:?}");
            assert_eq!(edge.got(good, "x-caracal-sub"), ["user-1"]);
            for (value, code, reason) in [
                ("Basic dTpw".to_owned(), "missing_token", "missing_token"),
                (
                    "Bearer own-session".to_owned(),
                    "invalid_token",
                    "malformed",
                ),
                (
                    format!("Bearer {}", mandate(json!({"aud": "other"}))),
                    "invalid_token",
                    "audience",
                ),
            ] {
                let request = Request::get("/x").header("authorization", &value);
                let stream = edge.send(request);
                edge.went_on(stream, code, reason);
                assert_eq!(edge.got(stream, "authorization"), [value]);
            }
        }
        edge.proxy.assert_clean();
    }
}

/// Where a reserved header cannot be removed, the client's would reach the service.
#[test]
fn what_cannot_be_cleaned_is_refused_in_shadow_too() {
    for on in ALL {
        let mut refused = 0;
        // Every call that changes a header fails.
        for fail in ["replace", "remove", "add", "set"] {
            let mut edge = Edge::start(on, json!({"forward": {"authorization": false}}));
            edge.proxy.on_host_call(move |call| {
                let changes = call.name.contains("header_map") && call.name.contains(fail);
                (changes && call.callback == "proxy_on_request_headers").then_some(10)
            });
            for request in [
                Request::get("/x"),
                Request::get("/x").bearer("a.b.c"),
                Request::get("/a/..%2f%2e%2e//x%00"),
                Request::get("/open"),
            ] {
                let stream = edge.send(request.header("x-caracal-sub", "forged"));
                if let Some(upstream) = edge.proxy.upstream(stream) {
                    let values = upstream.headers.all("x-caracal-sub");
                    assert!(!values.contains(&&b"forged"[..]), "{on:?} {fail}");
                } else {
                    assert_eq!(edge.replied(stream), (503, "sts_unavailable".to_owned()));
                    refused += 1;
                }
            }
            // Nor does a verified one go on half told.
            let good = edge.send(Request::get("/x").bearer(mandate(json!({}))));
            if edge.proxy.upstream(good).is_some() {
                assert_eq!(edge.got(good, "x-caracal-sub"), ["user-1"]);
                assert!(edge.got(good, "authorization").is_empty(), "{on:?} {fail}");
            }
            edge.proxy.assert_clean();
        }
        assert!(refused >= 4, "{on:?} {refused}");
    }
    // What nginx shows in part, or would send on.
    for on in [KONG, APISIX] {
        let mut edge = Edge::start(on, json!({}));
        let odd = edge.send(Request::get("/x").header("x_caracal.sub", "forged"));
        assert_eq!(edge.replied(odd), (400, "invalid_request".to_owned()));
        let mut many = Request::get("/x").header("x-caracal-sub", "forged");
        for n in 0..120 {
            many = many.header(&format!("x-own-{n}"), "1");
        }
        let many = edge.send(many);
        assert_eq!(edge.replied(many), (400, "invalid_request".to_owned()));
    }
    let mut edge = Edge::start(KONG, json!({}));
    let twice = Request::get("/x").header("x-caracal-sub", "a");
    let twice = edge.send(twice.header("x-caracal-sub", "forged"));
    assert_eq!(edge.replied(twice), (400, "invalid_request".to_owned()));
    // Its refusal is one, and no shadow.
    assert_eq!(edge.counted("invalid_request", "ambiguous"), [0, 0]);
    let refused = "caracal_decisions_total.outcome=refused.code=invalid_request";
    assert_eq!(edge.proxy.metric_value(refused), 1);
}

/// nginx takes the host of the target, and the client sends another.
#[test]
fn a_host_that_is_named_twice_goes_on_clean() {
    for on in [KONG, APISIX] {
        let request = || {
            let request = forging(Request::get("http://other.test/x"));
            request.header("host", "edge.test")
        };
        let mut enforced = Edge::start(on, json!({"enforcement": "enforce"}));
        let stream = enforced.send(request());
        assert_eq!(
            enforced.replied(stream),
            (400, "invalid_request".to_owned())
        );
        let mut edge = Edge::start(on, json!({}));
        let stream = edge.send(request());
        edge.went_on(stream, "invalid_request", "ambiguous");
        edge.proxy.assert_clean();
    }
}

#[test]
fn each_decision_is_recorded_with_what_became_of_it() {
    for on in COUNTING {
        let audit = json!({"upstream": "feed"});
        let mut edge = Edge::start(
            on,
            json!({"audit": audit, "routes": {"/hard": {"enforcement": "enforce"}}}),
        );
        for (request, decision, status, code, shadow) in [
            (
                Request::get("/x").bearer(mandate(json!({"aud": "other"}))),
                "deny",
                207,
                json!("invalid_token"),
                json!(true),
            ),
            (
                Request::get("/x").bearer(mandate(json!({}))),
                "allow",
                207,
                Value::Null,
                json!(true),
            ),
            (
                Request::get("/hard"),
                "deny",
                401,
                json!("missing_token"),
                Value::Null,
            ),
            (
                Request::get("/hard").bearer(mandate(json!({}))),
                "allow",
                207,
                Value::Null,
                Value::Null,
            ),
        ] {
            let stream = edge.send(request);
            if edge.proxy.upstream(stream).is_some() {
                edge.proxy.respond(stream, 207, [("content-length", "0")]);
            }
            let events = edge.events();
            let [event] = events.as_slice() else {
                panic!("{events:?}")
            };
            assert_eq!(event["decision"], decision);
            let metadata = &event["metadata"];
            assert_eq!(metadata["shadow"], shadow, "{event}");
            assert_eq!(metadata["gateway_status"], status, "{event}");
            assert_eq!(metadata["reason"], code, "{event}");
            assert_eq!(metadata["error_kind"], Value::Null, "{event}");
            let executed = if decision == "allow" {
                "executed"
            } else {
                "denied"
            };
            assert_eq!(event["evaluation_status"], executed, "{event}");
        }
        edge.proxy.assert_clean();
    }
}

/// Nothing about a request holds its token.
#[test]
fn the_log_says_what_would_have_been_and_no_token() {
    for on in ALL {
        let mut edge = Edge::start(on, json!({}));
        let token = mandate(json!({"aud": "other"}));
        edge.send(Request::get("/x").bearer(&token));
        let line = "caracal: in shadow, not refused: invalid_token: ";
        assert!(
            edge.proxy.logged(Level::Debug, line),
            "{:?}",
            edge.proxy.logs()
        );
        assert!(!edge.proxy.logged(Level::Debug, "caracal: refused: "));
        for line in edge.proxy.logs() {
            for part in token.split('.') {
                assert!(!line.text.contains(part), "{}", line.text);
            }
        }
    }
}
