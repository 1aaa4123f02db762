//! What the upstream gets of a mandate and of the caller's own headers, in each proxy: claims
//! that cannot be sent, all claims in one header, `baggage`, and excluded paths.

mod baggage;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Headers, Outcome, Proxy, Request, Stream};
use caracal_tests::hosts::{ALL, APISIX, ENVOY, KONG, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Longer than the first tick and its fetches take.
const SOON: Duration = Duration::from_millis(300);

fn key() -> Key {
    Key::new("k1", 1)
}

fn mandate(claims: Value) -> String {
    key().mandate(START, claims)
}

/// A proxy that has fetched nothing yet.
fn cold(on: On, changes: Value) -> Proxy {
    let companion = InProcess::default();
    let mut all = json!({"exclude": ["/open"], "revocation": {"upstream": "feed"}});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    on.builder(&on.configuration(all))
        .wall(Duration::from_secs(START))
        .on_callout(move |callout| match on.is_sts(callout) {
            true => Answer::json(&key_set(&[&key()])),
            false => companion.answer(callout),
        })
        .start()
        .unwrap()
}

fn start(on: On, changes: Value) -> Proxy {
    let mut proxy = cold(on, changes);
    proxy.advance(SOON);
    proxy
}

fn forwarding(on: On, forward: Value) -> Proxy {
    start(on, json!({"forward": forward}))
}

/// Every value of a header that the upstream got, without one that nginx overwrote with
/// nothing.
fn got(proxy: &Proxy, stream: Stream, name: &str) -> Vec<String> {
    let forwarded = proxy.upstream(stream).expect("it was forwarded");
    let values = forwarded.headers.all(name).into_iter();
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    values
        .map(|value| text(value))
        .filter(|value| !value.is_empty())
        .collect()
}

/// Sends a request as a client does that comes again; its last stream.
fn send(on: On, proxy: &mut Proxy, request: &Request) -> Stream {
    *on.send(proxy, 0, request).last().unwrap()
}

fn said(outcome: Outcome) -> (u32, String, String) {
    match outcome {
        Outcome::Forwarded(_) => (200, String::new(), String::new()),
        Outcome::Replied(reply) => {
            let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
            (reply.status, text("error"), text("error_description"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_claim_that_cannot_be_sent_refuses_the_mandate_cold_and_remembered() {
    for on in ALL {
        let mut proxy = start(on, json!({}));
        let bad = mandate(json!({"delegation_edge_id": "edge-é"}));
        for _ in 0..3 {
            let stream = send(on, &mut proxy, &Request::get("/").bearer(&bad));
            let (status, error, why) = said(proxy.outcome(stream));
            assert_eq!((status, error.as_str()), (401, "invalid_token"));
            assert!(
                why.contains("delegation_edge_id") && !why.contains("edge-"),
                "{why}"
            );
            assert!(proxy.upstream(stream).is_none());
        }
        let good = mandate(json!({"delegation_edge_id": "edge-1"}));
        let stream = send(on, &mut proxy, &Request::get("/").bearer(&good));
        assert_eq!(got(&proxy, stream, "x-caracal-delegation-id"), ["edge-1"]);
        proxy.assert_clean();
    }
}

#[test]
fn what_is_omitted_is_counted() {
    for on in ALL {
        let mut proxy = forwarding(on, json!({"unsendable": "omit"}));
        let bad = mandate(json!({"delegation_edge_id": "edge-é"}));
        for n in 1..=3 {
            let stream = send(on, &mut proxy, &Request::get("/").bearer(&bad));
            assert_eq!(said(proxy.outcome(stream)).0, 200);
            assert!(got(&proxy, stream, "x-caracal-delegation-id").is_empty());
            assert_eq!(got(&proxy, stream, "x-caracal-sub"), ["user-1"]);
            // APISIX counts nothing.
            if on != APISIX {
                assert_eq!(proxy.metric_value("caracal_headers_not_sent_total"), n);
            }
        }
        proxy.assert_clean();
    }
}

#[test]
fn on_kong_a_variable_refuses_or_is_left_empty_and_counted() {
    let bad = mandate(json!({"root_sid": "é"}));
    for (unsendable, status) in [("refuse", 401), ("omit", 200)] {
        let forward = json!({"variables": {"caracal_root": "root_sid"}, "unsendable": unsendable});
        let configuration = KONG.configuration(json!({"forward": forward}));
        let mut proxy = KONG
            .builder(&configuration)
            .wall(Duration::from_secs(START))
            .on_callout(|_| Answer::json(&key_set(&[&key()])))
            .variables(["caracal_root"])
            .start()
            .unwrap();
        proxy.advance(SOON);
        let stream = proxy.request(0, Request::get("/").bearer(&bad));
        assert_eq!(said(proxy.outcome(stream)).0, status);
        let omitted = u64::from(status == 200);
        assert_eq!(
            proxy.metric_value("caracal_headers_not_sent_total"),
            omitted
        );
        let value = proxy.filter_state_text(stream, "ngx\0caracal_root");
        assert_eq!(value, (status == 200).then_some(""));
        proxy.assert_clean();
    }
}

#[test]
fn all_claims_go_in_one_header_that_nobody_else_sets() {
    for on in ALL {
        let mut proxy = forwarding(on, json!({"claims": "x-principal", "headers": {}}));
        let token = mandate(json!({"delegation_edge_id": "edge-é", "own": [1, {"a": null}]}));
        let payload = token.split('.').nth(1).unwrap();
        let request = Request::get("/")
            .bearer(&token)
            .header("X-Principal", "forged");
        // Verified now, and remembered.
        for _ in 0..2 {
            let stream = send(on, &mut proxy, &request);
            let values = got(&proxy, stream, "x-principal");
            assert_eq!(values, [payload], "{on:?}");
            let read: Value = serde_json::from_slice(&BASE64.decode(&values[0]).unwrap()).unwrap();
            assert_eq!(read["delegation_edge_id"], "edge-é");
            assert_eq!(read["own"], json!([1, {"a": null}]));
        }
        let open = Request::get("/open").header("x-principal", "forged");
        let open = proxy.request(0, open);
        assert!(got(&proxy, open, "x-principal").is_empty());
        let listed = request.header("connection", "x-principal");
        let listed = send(on, &mut proxy, &listed);
        assert_eq!(said(proxy.outcome(listed)).0, 400);
        proxy.assert_clean();
    }
}

#[test]
fn claims_over_the_bound_are_refused_or_omitted() {
    let large = mandate(json!({"own": "x".repeat(8_192)}));
    for on in ALL {
        for (unsendable, status) in [("refuse", 401), ("omit", 200)] {
            let forward = json!({"claims": "x-principal", "unsendable": unsendable});
            let limits = json!({"max_token_bytes": 16_384});
            let mut proxy = start(on, json!({"forward": forward, "limits": limits}));
            for n in 1..=2 {
                let request = Request::get("/")
                    .bearer(&large)
                    .header("x-principal", "forged");
                let stream = send(on, &mut proxy, &request);
                assert_eq!(said(proxy.outcome(stream)).0, status);
                if status == 200 {
                    assert!(got(&proxy, stream, "x-principal").is_empty());
                }
                if status == 200 && on != APISIX {
                    assert_eq!(proxy.metric_value("caracal_headers_not_sent_total"), n);
                }
            }
            proxy.assert_clean();
        }
    }
}

/// What a service's own clients send it there is no business of the edge.
#[test]
fn an_excluded_path_keeps_its_own_credential_and_baggage() {
    const OWN: [&str; 4] = [
        "Bearer of-the-service",
        "bearer  x",
        "Basic dXNlcjpwYXNz",
        "Digest username=\"a\"",
    ];
    for on in ALL {
        for forward in [
            json!({}),
            json!({"authorization": false}),
            json!({"authorization": false, "baggage": "verified"}),
            json!({"baggage": "keep"}),
        ] {
            let mut proxy = forwarding(on, forward);
            for credential in OWN {
                let baggage = "a=1,caracal.session=own";
                let request = Request::get("/open/x")
                    .header("authorization", credential)
                    .header("baggage", baggage)
                    .header("x-caracal-sub", "forged")
                    .header("X_Caracal_Session_Id", "forged");
                let stream = proxy.request(0, request);
                assert_eq!(got(&proxy, stream, "authorization"), [credential]);
                assert_eq!(got(&proxy, stream, "baggage"), [baggage]);
                for name in [
                    "x-caracal-sub",
                    "x_caracal_session_id",
                    "x-caracal-session-id",
                ] {
                    assert!(got(&proxy, stream, name).is_empty(), "{name}");
                }
            }
            // Two lines of them too, as they came.
            let twice = Request::get("/open")
                .header("baggage", "caracal.hop=1")
                .header("baggage", "b=2");
            let stream = proxy.request(0, twice);
            assert_eq!(got(&proxy, stream, "baggage"), ["caracal.hop=1", "b=2"]);
            proxy.assert_clean();
        }
    }
}

#[test]
fn a_mandate_is_hidden_where_it_was_judged() {
    for on in ALL {
        for keeps in [true, false] {
            let mut proxy = cold(on, json!({"forward": {"authorization": keeps}}));
            // The first waits for what is fetched, the second is remembered.
            for _ in 0..2 {
                let token = mandate(json!({}));
                let stream = send(on, &mut proxy, &Request::get("/").bearer(&token));
                let expected = keeps.then(|| format!("Bearer {token}"));
                let values = got(&proxy, stream, "authorization");
                assert_eq!(values.first(), expected.as_ref(), "{on:?}");
            }
            proxy.assert_clean();
        }
    }
}

#[test]
fn what_cannot_be_written_keeps_the_request() {
    let forward = json!({
        "authorization": false, "headers": {}, "claims": "x-principal", "baggage": "verified",
    });
    for on in ALL {
        let mut calls = vec![
            "proxy_get_header_map_value",
            "proxy_replace_header_map_value",
        ];
        if on == ENVOY {
            calls.extend([
                "proxy_add_header_map_value",
                "proxy_remove_header_map_value",
            ]);
        }
        for name in calls {
            let mut proxy = forwarding(on, forward.clone());
            let request = Request::get("/")
                .bearer(mandate(json!({})))
                .header("baggage", "a=1,caracal.hop=2");
            let before = send(on, &mut proxy, &request);
            assert!(proxy.upstream(before).is_some());
            proxy.on_host_call(move |call| (call.name == name).then_some(10));
            let stream = proxy.request(0, request.clone());
            assert_eq!(said(proxy.outcome(stream)).0, 503, "{on:?}: {name}");
            assert!(proxy.upstream(stream).is_none());
            proxy.no_faults();
            let after = send(on, &mut proxy, &request);
            assert!(proxy.upstream(after).is_some());
        }
    }
}

/// Some upstreams treat trailers as headers.
#[test]
fn trailers_bring_no_baggage_where_the_callers_does_not_go_on() {
    for (baggage, is_left) in [("remove", false), ("verified", false), ("keep", true)] {
        let forward = json!({"baggage": baggage, "claims": "x-principal"});
        let mut proxy = forwarding(ENVOY, forward);
        let trailers: Headers = [
            ("baggage", "caracal.session=forged"),
            ("x-principal", "forged"),
            ("x-other", "1"),
        ]
        .into_iter()
        .collect();
        let request = Request::post("/", "body")
            .bearer(mandate(json!({})))
            .trailers(trailers);
        let stream = proxy.request(0, request);
        let forwarded = proxy.upstream(stream).unwrap();
        let trailers = forwarded.trailers.as_ref().unwrap();
        assert_eq!(trailers.has("baggage"), is_left);
        assert!(!trailers.has("x-principal") && trailers.has("x-other"));
        proxy.assert_clean();
    }
}
