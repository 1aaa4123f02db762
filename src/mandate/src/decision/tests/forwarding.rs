//! Mandates of which something cannot be forwarded: refused last, or forwarded without it;
//! the same when remembered, and on every route.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::decision::checks::MandateCheck;
use crate::decision::explain::{Check, Outcome};
use crate::forwarding::{Forwarding, VariableValue};
use crate::header_names::MAX_CLAIMS_BYTES;

fn edge(changes: serde_json::Value) -> (Edge, Forwarding) {
    let document = configuration(changes).to_string();
    let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
    let edge = Edge {
        verifier: Verifier::from(&configuration),
        // Room for the largest mandates.
        cache: MandateCache::new(100),
        ..Edge::new()
    };
    (edge, Forwarding::from(&configuration.forward))
}

fn token(changes: serde_json::Value) -> String {
    Key::new("k1", 1).mandate(NOW, changes)
}

fn all_keys() -> KeySet {
    keys(&[&Key::new("k1", 1)])
}

/// Why a token is refused, cold and remembered, which must be the same; none if it is
/// admitted both times.
fn reason(edge: &mut Edge, token: &str) -> Option<(ErrorCode, String)> {
    let keys = all_keys();
    let mut each = [(); 2].map(|()| match edge.judge(token, &keys) {
        Verdict::Admitted(_) => None,
        Verdict::Refused(refusal, mandate) => {
            assert!(mandate.is_some(), "its signature is good");
            Some((refusal.code(), refusal.description().to_owned()))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(each[0], each[1]);
    assert_eq!(edge.verified(), 1, "the second time it is remembered");
    edge.signatures.0.set(0);
    each[0].take()
}

#[test]
fn a_claim_that_is_no_header_value_refuses_the_mandate() {
    let (mut edge, _) = edge(json!({}));
    let long = "x".repeat(1_025);
    for (claim, value) in [
        ("delegation_edge_id", "edge-é"),
        ("sub", " user"),
        ("client_id", "app\u{a0}"),
        ("jti", "a\r\nb"),
        ("scope", "a\tb"),
        ("agent_session_id", long.as_str()),
    ] {
        let (code, why) = reason(&mut edge, &token(json!({claim: value}))).unwrap();
        assert_eq!(code, ErrorCode::InvalidToken);
        assert!(why.contains(claim), "{why}");
        assert!(!why.contains(value), "a value is never repeated");
    }
    // What is not sent may be anything, and so may what is absent.
    for good in [
        json!({}),
        json!({"root_sid": "é"}),
        json!({"source_session_id": "é"}),
        json!({"delegation_edge_id": null, "agent_session_id": ""}),
        json!({"agent_session_id": "x".repeat(1_024)}),
    ] {
        assert_eq!(reason(&mut edge, &token(good)), None);
    }
}

#[test]
fn another_reason_comes_first() {
    let bad = |changes: serde_json::Value| {
        let mut all = json!({"delegation_edge_id": "edge-é"});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        token(all)
    };
    let (mut edge, _) = edge(json!({"max_hop_count": 1, "required_scopes": ["billing:read"]}));
    for (changes, code, word) in [
        (
            json!({"scope": "other"}),
            ErrorCode::InsufficientScope,
            "scope",
        ),
        (json!({"hop_count": 2}), ErrorCode::HopCountExceeded, "hops"),
        (json!({"exp": NOW - 10}), ErrorCode::InvalidToken, "expired"),
        (json!({"target": 1}), ErrorCode::InvalidToken, "target"),
        (json!({}), ErrorCode::InvalidToken, "delegation_edge_id"),
    ] {
        let (found, why) = reason(&mut edge, &bad(changes)).unwrap();
        assert_eq!(found, code, "{why}");
        assert!(why.contains(word), "{why}");
    }
    // Also a reason that comes late: it waits for what is revoked, and then is refused.
    let credential = edge.screen(&bad(json!({})));
    let waits = State(Availability::Pending, 0);
    let keys = all_keys();
    assert!(matches!(
        edge.decide_by(&credential, Some(&keys), &waits),
        Verdict::NeedsRevocations(_)
    ));
    let stale = State(Availability::Ready, 7);
    let old = edge.screen(&bad(json!({"delegation_graph_epoch": 3})));
    let verdict = edge.decide_by(&old, Some(&keys), &stale);
    assert_eq!(refused(&verdict), Some(ErrorCode::DelegationStale));
}

/// How far a revocation state is read, and the delegation epoch.
struct State(Availability, u64);

impl RevocationView for State {
    fn availability(&self) -> Availability {
        self.0
    }

    fn is_revoked(&self, _: AnchorId) -> bool {
        false
    }

    fn delegation_epoch(&self) -> u64 {
        self.1
    }
}

#[test]
fn what_is_omitted_is_told_to_be() {
    let (mut edge, forwarding) = edge(json!({
        "host": "kong", "jwks": {"upstream": "sts.test:80"},
        "forward": {
            "unsendable": "omit", "claims": "x-caracal-claims",
            "variables": {"a": "delegation_edge_id", "b": "sub", "c": "agent_session_id"},
        },
        "limits": {"max_token_bytes": 65_536},
    }));
    let keys = all_keys();
    let mut admitted = |changes| match edge.judge(&token(changes), &keys) {
        Verdict::Admitted(mandate) => mandate,
        other => panic!("{other:?}"),
    };
    let mandate = admitted(json!({"delegation_edge_id": "edge-é"}));
    let sent: Vec<_> = forwarding.principal(mandate.claims()).collect();
    assert!(sent.contains(&("x-caracal-delegation-id", None)));
    assert!(sent.contains(&("x-caracal-sub", Some("user-1".into()))));
    assert!(!sent.iter().any(|(name, _)| *name == "x-caracal-session-id"));
    let variables: Vec<_> = forwarding.variables(mandate.claims()).collect();
    assert_eq!(
        variables,
        [
            ("a", VariableValue::Unsendable),
            ("b", VariableValue::Claim("user-1".into())),
            ("c", VariableValue::Absent),
        ]
    );
    let (name, whole) = forwarding.all_claims(&mandate).unwrap();
    assert!(name == "x-caracal-claims" && whole.is_some());
    let large = admitted(json!({"extra": "x".repeat(MAX_CLAIMS_BYTES)}));
    assert_eq!(forwarding.all_claims(&large).unwrap().1, None);
}

fn sent_bytes(token: &str) -> usize {
    token.split('.').nth(1).unwrap().len()
}

#[test]
fn all_claims_are_the_payload_as_it_was_signed_up_to_a_bound() {
    let forward = json!({"claims": "x-caracal-claims"});
    let limits = json!({"max_token_bytes": 65_536});
    let (mut edge, forwarding) = edge(json!({"forward": forward, "limits": limits}));
    let keys = all_keys();
    let token_of = token(json!({"private": {"a": [1, "é"]}, "sub": "user-1"}));
    // Verified now, and remembered.
    for _ in 0..2 {
        let Verdict::Admitted(mandate) = edge.judge(&token_of, &keys) else {
            panic!("refused");
        };
        let (_, value) = forwarding.all_claims(&mandate).unwrap();
        let read: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(value.unwrap()).unwrap()).unwrap();
        assert_eq!(read["private"], json!({"a": [1, "é"]}));
        assert_eq!(read["sub"], "user-1");
        assert_eq!(read["exp"], mandate.claims().exp);
    }
    edge.signatures.0.set(0);
    // Exactly at the bound, and a byte over it.
    let payload = |filler: usize| token(json!({"filler": "x".repeat(filler)}));
    let empty = sent_bytes(&payload(0));
    let fits = (MAX_CLAIMS_BYTES - empty) / 4 * 3;
    let fits = fits
        + (0..8)
            .rfind(|more| sent_bytes(&payload(fits + more)) <= MAX_CLAIMS_BYTES)
            .unwrap();
    assert_eq!(reason(&mut edge, &payload(fits)), None);
    let (code, why) = reason(&mut edge, &payload(fits + 1)).unwrap();
    assert_eq!(code, ErrorCode::InvalidToken);
    assert!(why.contains("payload"), "{why}");
}

#[test]
fn verified_baggage_over_its_bound_refuses_the_mandate() {
    let wide = json!({"agent_session_id": "é".repeat(1_400)});
    // Elsewhere the claim is no header, and so not in the way.
    let forward = |baggage: &str| json!({"forward": {"baggage": baggage, "headers": {}}});
    let (mut edge_of_ours, _) = edge(forward("verified"));
    let (_, why) = reason(&mut edge_of_ours, &token(wide.clone())).unwrap();
    assert!(why.contains("baggage"), "{why}");
    let odd = json!({"agent_session_id": "é", "delegation_edge_id": "a,b"});
    assert_eq!(reason(&mut edge_of_ours, &token(odd)), None);
    let (mut other, _) = edge(forward("remove"));
    assert_eq!(reason(&mut other, &token(wide)), None);
}

/// One remembered mandate, several resources and routes: each request is answered as if
/// nothing were remembered.
#[test]
fn each_resource_and_route_says_the_same_cold_and_remembered() {
    let document = json!({
        "audience": null,
        "resources": {
            "resource://billing-api": {
                "hosts": ["billing.test"],
                "routes": {"/admin": {"required_scopes": ["admin"]}, "/": {}},
            },
            "resource://other": {"hosts": ["other.test"]},
        },
    });
    let keys = all_keys();
    let tokens = [
        token(json!({"delegation_edge_id": "edge-é"})),
        token(json!({"delegation_edge_id": "edge-1"})),
    ];
    let requests = [
        ("billing.test", "/"),
        ("other.test", "/"),
        ("billing.test", "/admin/1"),
        ("billing.test", "/a"),
    ];
    let (mut warm, _) = edge(document.clone());
    for round in 0..3 {
        for token in &tokens {
            for (host, path) in requests {
                let (mut cold, _) = edge(document.clone());
                let ask = |edge: &mut Edge| {
                    let authorization = format!("Bearer {token}").into_bytes();
                    let request = RequestView {
                        target: Some(path.as_bytes()),
                        authority: Some(host.as_bytes()),
                        authorization: &[&authorization],
                        ..RequestView::default()
                    };
                    let Screened::Credential(credential) =
                        edge.verifier.screen(&request, &edge.cache).unwrap()
                    else {
                        panic!("nothing is excluded");
                    };
                    let credential = credential.into_owned();
                    match edge.decide(&credential, Some(&keys)) {
                        Verdict::Admitted(_) => None,
                        Verdict::Refused(refusal, _) => Some(refusal),
                        other => panic!("{other:?}"),
                    }
                };
                let (first, again) = (ask(&mut cold), ask(&mut warm));
                assert_eq!(first, again, "{round}: {host}{path}");
            }
        }
    }
    assert_eq!(warm.verified(), 2);
}

#[test]
fn an_explanation_names_what_cannot_be_sent() {
    let (edge, _) = edge(json!({}));
    let keys = all_keys();
    let with = Context {
        keys: Some(&keys),
        revocation: &Disabled,
        signatures: &PureRust,
        now: NOW,
    };
    let trace = with_bearer(
        &token(json!({"delegation_edge_id": "edge-é"})),
        &[],
        |request| edge.verifier.trace(request, with),
    );
    let (check, outcome) = trace.checks.last().unwrap();
    assert_eq!(*check, Check::Mandate(MandateCheck::Forwarding));
    assert!(matches!(outcome, Outcome::Failed(why) if why.contains("delegation_edge_id")));
}
