//! Decisions of Gateway mode: rows G0 to G7, and the second judgement after an exchange.

use super::*;
use crate::reply::Refusal;
use crate::revocation::RevocationView;
use crate::token::mandate::Mandate;
use std::rc::Rc;

const RESOURCE: &str = "resource://billing";
const ISSUER: &str = "https://sts.example.test";

fn gateway() -> Edge {
    let document = configuration(json!({
        "audience": null, "mode": "gateway", "gateway": {"upstream": "companion"},
        "resources": {
            RESOURCE: {"upstream_url": "https://billing.example", "exclude": ["/open"]},
            "resource://other": {"upstream_url": "https://other.example", "exclude": ["/open"]},
        },
    }));
    of(&document)
}

/// Connector mode with two resources.
fn connector() -> Edge {
    of(&configuration(json!({
        "audience": null, "resources": {RESOURCE: {}, "resource://other": {}},
    })))
}

fn of(document: &serde_json::Value) -> Edge {
    let document = document.to_string();
    let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
    Edge {
        verifier: Verifier::from(&configuration),
        cache: MandateCache::new(10),
        signatures: Counted::default(),
    }
}

fn key() -> Key {
    Key::new("k1", 1)
}

fn keys() -> KeySet {
    let document = key_set(&[&key()]).to_string();
    KeySet::parse(document.as_bytes(), &[Algorithm::Es256]).unwrap()
}

fn token(key: &Key, changes: serde_json::Value) -> String {
    let mut claims =
        json!({"use": "gateway", "aud": [ISSUER], "iss": ISSUER, "target": [RESOURCE]});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    key.mandate(NOW, claims)
}

/// What a request is refused for before its keys are looked at.
fn screened(
    edge: &Edge,
    target: &str,
    token: &str,
    names: &[&str],
    client: bool,
) -> Result<Vec<u8>, ErrorCode> {
    screened_with(edge, target, token, names, (client, false)).map_err(|refusal| refusal.code())
}

/// The same with what its headers say of the client and of `Connection`.
fn screened_with(
    edge: &Edge,
    target: &str,
    token: &str,
    names: &[&str],
    (client, listed): (bool, bool),
) -> Result<Vec<u8>, Refusal> {
    let authorization = format!("Bearer {token}").into_bytes();
    let authorization = [&*authorization];
    let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
    let request = RequestView {
        target: Some(target.as_bytes()),
        resource: &names,
        names_client: client,
        lists_end_to_end: listed,
        authorization: if token.is_empty() {
            &[]
        } else {
            &authorization
        },
        ..RequestView::default()
    };
    match edge.verifier.screen(&request, &edge.cache) {
        Ok(Screened::Credential(credential)) => {
            let resource = edge.verifier.resources().get(credential.matched().resource);
            assert_eq!(resource.unwrap().id, RESOURCE);
            Ok(credential.token().to_vec())
        }
        Ok(Screened::Excluded) => Ok(Vec::new()),
        Err(refusal) => Err(refusal),
    }
}

/// Before the resource, and after the bearer and the client's id.
#[test]
fn a_connection_that_lists_end_to_end_headers_is_refused_in_its_place() {
    let edge = gateway();
    let good = token(&key(), json!({}));
    let says = |target: &str, token: &str, names: &[&str], client| {
        screened_with(&edge, target, token, names, (client, true))
            .map_err(|refusal| (refusal.code(), refusal.description().to_owned()))
    };
    let own = Err((
        ErrorCode::InvalidRequest,
        crate::decision::verifier::listed_end_to_end()
            .description()
            .to_owned(),
    ));
    assert_eq!(says("/x", &good, &[RESOURCE], false), own);
    assert_eq!(says("/x", &good, &[], false), own);
    assert_eq!(says("/x", &good, &["resource://unknown"], false), own);
    assert_ne!(says("/x", &good, &[RESOURCE], true), own);
    assert_ne!(says("/a//b", &good, &[RESOURCE], false), own);
    let missing = says("/x", "", &[RESOURCE], false).unwrap_err();
    assert_eq!(missing.0, ErrorCode::MissingToken);
    assert_eq!(says("/open/x", "", &[RESOURCE], false), Ok(Vec::new()));
    let edge = connector();
    assert!(screened_with(&edge, "/x", &good, &[RESOURCE], (false, true)).is_ok());
}

#[test]
fn what_a_request_says_is_judged_in_the_gateway_s_order() {
    let edge = gateway();
    let good = token(&key(), json!({}));
    let named = &[RESOURCE][..];
    assert_eq!(
        screened(&edge, "/x", &good, named, false),
        Ok(good.clone().into_bytes())
    );
    assert_eq!(screened(&edge, "/open/x", "", named, true), Ok(Vec::new()));
    for (target, token, names, client, code) in [
        ("/a//b", "", &[][..], true, ErrorCode::InvalidRequest),
        ("/a//b", "", named, true, ErrorCode::InvalidRequest),
        ("/x", "", &[], true, ErrorCode::MissingToken),
        ("/x", "", named, true, ErrorCode::MissingToken),
        (
            "/x",
            &good,
            &["resource://unknown"],
            true,
            ErrorCode::InvalidRequest,
        ),
        ("/x", &good, named, true, ErrorCode::InvalidRequest),
        (
            "/x",
            &good,
            &["resource://unknown"],
            false,
            ErrorCode::AccessDenied,
        ),
        (
            "/x",
            &good,
            &[RESOURCE, RESOURCE],
            false,
            ErrorCode::InvalidRequest,
        ),
        ("/x", &good, &[], false, ErrorCode::InvalidRequest),
    ] {
        let code = Err(code);
        assert_eq!(
            screened(&edge, target, token, names, client),
            code,
            "{target} {names:?} {client}"
        );
    }
    // In connector mode a client's header counts for nothing, and a path that falls under
    // one rule however it is read is good.
    let edge = connector();
    assert!(screened(&edge, "/a//b", &good, named, true).is_ok());
    let unknown = screened(&edge, "/x", "", &["resource://unknown"], true);
    assert_eq!(unknown, Err(ErrorCode::InvalidRequest));
}

#[test]
fn the_only_resource_is_named_too_by_header_or_host() {
    let good = token(&key(), json!({}));
    let only = |more: serde_json::Value| {
        let mut one = json!({"upstream_url": "https://billing.example", "exclude": ["/open"]});
        for (name, value) in more.as_object().unwrap() {
            one[name] = value.clone();
        }
        of(&configuration(json!({
            "audience": null, "mode": "gateway", "gateway": {"upstream": "companion"},
            "resources": {RESOURCE: one},
        })))
    };
    let edge = only(json!({}));
    let invalid = Err(ErrorCode::InvalidRequest);
    assert_eq!(screened(&edge, "/x", &good, &[], false), invalid);
    assert!(screened(&edge, "/x", &good, &[RESOURCE], false).is_ok());
    assert_eq!(screened(&edge, "/open", "", &[], false), Ok(Vec::new()));
    let missing = screened(&edge, "/x", "", &[], false);
    assert_eq!(missing, Err(ErrorCode::MissingToken));

    let edge = only(json!({"hosts": ["billing.edge.example"]}));
    let authorization = format!("Bearer {good}").into_bytes();
    let request = RequestView {
        target: Some(b"/x"),
        authority: Some(b"billing.edge.example"),
        authorization: &[&authorization],
        ..RequestView::default()
    };
    let screened = edge.verifier.screen(&request, &edge.cache);
    assert!(matches!(screened, Ok(Screened::Credential(_))));
}

fn decided(edge: &mut Edge, token: &str, keys: Option<&KeySet>) -> Verdict {
    let authorization = format!("Bearer {token}").into_bytes();
    let request = RequestView {
        target: Some(b"/x"),
        resource: &[RESOURCE.as_bytes()],
        authorization: &[&authorization],
        ..RequestView::default()
    };
    let Ok(Screened::Credential(credential)) = edge.verifier.screen(&request, &edge.cache) else {
        panic!("a credential");
    };
    let credential = credential.into_owned();
    assert_eq!(credential.token(), token.as_bytes());
    edge.decide(&credential, keys)
}

fn code(verdict: &Verdict) -> Option<ErrorCode> {
    match verdict {
        Verdict::Refused(refusal, _) => Some(refusal.code()),
        _ => None,
    }
}

#[test]
fn a_mandate_must_last_and_be_for_the_resource() {
    let keys = keys();
    let mut edge = gateway();
    let stranger = Key::new("k1", 9);
    for (key, changes, with, expected) in [
        (key(), json!({"exp": NOW + 35}), Some(&keys), None),
        (
            key(),
            json!({"exp": NOW + 34}),
            Some(&keys),
            Some(ErrorCode::CredentialExpiring),
        ),
        // Before the signature and the keys.
        (
            stranger,
            json!({"exp": NOW + 34}),
            Some(&keys),
            Some(ErrorCode::CredentialExpiring),
        ),
        (
            Key::new("k1", 9),
            json!({"exp": NOW + 35}),
            Some(&keys),
            Some(ErrorCode::InvalidToken),
        ),
        (
            key(),
            json!({"exp": NOW + 34}),
            None,
            Some(ErrorCode::CredentialExpiring),
        ),
        (
            key(),
            json!({"target": ["resource://other"]}),
            Some(&keys),
            Some(ErrorCode::AccessDenied),
        ),
        (
            key(),
            json!({"target": 5}),
            Some(&keys),
            Some(ErrorCode::InvalidToken),
        ),
        (
            key(),
            json!({"use": "resource"}),
            Some(&keys),
            Some(ErrorCode::InvalidToken),
        ),
    ] {
        let verdict = decided(&mut edge, &token(&key, changes.clone()), with);
        assert_eq!(code(&verdict), expected, "{changes}: {verdict:?}");
    }
    let verdict = decided(
        &mut edge,
        &token(&key(), json!({"exp": NOW + 35, "jti": "j"})),
        None,
    );
    assert!(matches!(verdict, Verdict::NeedsKeySet(Missing::KeySet)));
    // In connector mode neither is asked for.
    let mut edge = connector();
    let changes = json!({"exp": NOW + 5, "use": "resource", "aud": [RESOURCE], "target": []});
    let verdict = decided(&mut edge, &token(&key(), changes), Some(&keys));
    assert!(matches!(verdict, Verdict::Admitted(_)), "{verdict:?}");
}

struct Revoked;

impl RevocationView for Revoked {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, _: AnchorId) -> bool {
        true
    }

    fn delegation_epoch(&self) -> u64 {
        0
    }
}

#[test]
fn after_its_exchange_a_mandate_needs_to_be_valid_and_no_more() {
    let keys = keys();
    let mut edge = gateway();
    let good = token(&key(), json!({"exp": NOW + 40}));
    let Verdict::Admitted(mandate) = decided(&mut edge, &good, Some(&keys)) else {
        panic!("admitted");
    };
    let authorization = format!("Bearer {good}").into_bytes();
    let request = RequestView {
        target: Some(b"/x"),
        resource: &[RESOURCE.as_bytes()],
        authorization: &[&authorization],
        ..RequestView::default()
    };
    let matched = edge.verifier.resources().match_route(&request).unwrap();
    let again = |mandate: &Rc<Mandate>, keys, revocation: &dyn RevocationView, now| {
        let with = Context {
            keys,
            revocation,
            signatures: &edge.signatures,
            now,
        };
        edge.verifier.decide_again(mandate, matched, with)
    };
    assert!(matches!(
        again(&mandate, Some(&keys), &Disabled, NOW),
        Verdict::Admitted(_)
    ));
    assert!(matches!(
        again(&mandate, Some(&keys), &Disabled, NOW + 39),
        Verdict::Admitted(_)
    ));
    let ended = again(&mandate, Some(&keys), &Disabled, NOW + 40);
    assert_eq!(code(&ended), Some(ErrorCode::CredentialExpiring));
    for now in [NOW, NOW + 39] {
        let revoked = again(&mandate, Some(&keys), &Revoked, now);
        assert_eq!(code(&revoked), Some(ErrorCode::SessionRevoked));
    }
    assert!(matches!(
        again(&mandate, None, &Disabled, NOW),
        Verdict::NeedsKeySet(Missing::KeySet)
    ));
    let others = key_set(&[&Key::new("k2", 2)]).to_string();
    let others = KeySet::parse(others.as_bytes(), &[Algorithm::Es256]).unwrap();
    let gone = again(&mandate, Some(&others), &Disabled, NOW);
    assert_eq!(code(&gone), Some(ErrorCode::InvalidToken));
}
