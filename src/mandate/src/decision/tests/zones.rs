//! Several zones: which one judges a token, and that no other does.

use super::*;
use crate::decision::explain::{Check, Outcome, TokenCheck, Traced};
use crate::zone::ZoneIndex;

const RESOURCE: &str = "resource://billing";

fn edge(changes: serde_json::Value) -> Edge {
    let mut document = json!({
        "zone_id": null, "audience": null,
        "zones": {
            "zone-a": {},
            "zone-b": {"issuer": "https://b.example", "jwks": {"upstream": "sts-b"}},
            "zone-c": {},
        },
        "resources": {
            RESOURCE: {},
            "resource://narrow": {"zones": ["zone-b", "zone-c"]},
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    let document = configuration(document).to_string();
    let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
    Edge {
        verifier: Verifier::from(&configuration),
        cache: MandateCache::new(10),
        signatures: Counted::default(),
    }
}

fn token(key: &Key, zone: &str, changes: serde_json::Value) -> String {
    let mut claims = json!({"zone_id": zone, "aud": [RESOURCE, "resource://narrow"]});
    if zone == "zone-b" {
        claims["iss"] = json!("https://b.example");
    }
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    key.mandate(NOW, claims)
}

/// The zone that judges a token at a resource, and the verdict with that zone's keys of
/// `all`. A token without a zone is judged without any keys.
fn judge(
    edge: &mut Edge,
    token: &str,
    resource: &str,
    all: [&KeySet; 3],
) -> (Option<ZoneIndex>, Verdict) {
    let credential = edge.screen_for(token, &[resource.as_bytes()]);
    let zone = credential.zone();
    let keys = zone.map(|zone| all[zone.place()]);
    let verdict = edge.decide(&credential, keys);
    (zone, verdict)
}

#[test]
fn the_zone_that_a_token_names_judges_it_and_no_other() {
    let mut edge = edge(json!({}));
    // Every zone has a key of its own under the same kid.
    let own = [Key::new("k", 1), Key::new("k", 2), Key::new("k", 3)];
    let sets = [keys(&[&own[0]]), keys(&[&own[1]]), keys(&[&own[2]])];
    let all = [&sets[0], &sets[1], &sets[2]];
    for (n, zone) in ["zone-a", "zone-b", "zone-c"].into_iter().enumerate() {
        for (by, key) in own.iter().enumerate() {
            let token = token(key, zone, json!({}));
            for _ in 0..2 {
                let (chosen, verdict) = judge(&mut edge, &token, RESOURCE, all);
                assert_eq!(chosen.unwrap().place(), n);
                match by == n {
                    true => assert!(is_admitted(&verdict)),
                    false => assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken)),
                }
            }
        }
    }
    // Three were good, and are remembered; six were bad, each time anew.
    assert_eq!(edge.verified(), 3 + 2 * 6);
}

#[test]
fn another_zone_is_refused_before_any_key_is_needed() {
    let mut edge = edge(json!({}));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    for zone in [
        json!("zone-d"),
        json!("zone-"),
        json!("ZONE-A"),
        json!(""),
        json!(7),
        json!(null),
    ] {
        let token = token(&key, "zone-a", json!({"zone_id": zone}));
        let (chosen, verdict) = judge(&mut edge, &token, RESOURCE, [&set, &set, &set]);
        assert_eq!(chosen, None, "{zone}");
        assert_eq!(refused(&verdict), Some(ErrorCode::InvalidZone), "{zone}");
    }
    assert_eq!(edge.verified(), 0);
}

#[test]
fn a_resource_may_accept_some_zones_only() {
    let mut edge = edge(json!({}));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    let all = [&set, &set, &set];
    let of_a = token(&key, "zone-a", json!({}));
    assert!(is_admitted(&judge(&mut edge, &of_a, RESOURCE, all).1));
    // It is remembered now, and still not for the other resource.
    let (chosen, verdict) = judge(&mut edge, &of_a, "resource://narrow", all);
    assert_eq!(
        (chosen, refused(&verdict)),
        (None, Some(ErrorCode::InvalidZone))
    );
    for zone in ["zone-b", "zone-c"] {
        let token = token(&key, zone, json!({}));
        let (_, verdict) = judge(&mut edge, &token, "resource://narrow", all);
        assert!(is_admitted(&verdict), "{zone}");
    }
}

#[test]
fn a_zone_has_its_own_issuer() {
    let mut edge = edge(json!({}));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    for (zone, issuer) in [
        ("zone-a", "https://b.example"),
        ("zone-b", crate::mint::ISSUER),
    ] {
        let token = token(&key, zone, json!({"iss": issuer}));
        let (_, verdict) = judge(&mut edge, &token, RESOURCE, [&set, &set, &set]);
        assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken), "{zone}");
    }
}

#[test]
fn a_payload_that_cannot_be_read_names_no_zone() {
    let edge = edge(json!({}));
    let token = Key::new("k", 1).sign_raw("bm8ganNvbg");
    with_bearer(&token, &[RESOURCE.as_bytes()], |request| {
        let refusal = edge.verifier.screen(request, &edge.cache).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::InvalidToken);
        // Where there is one zone, its keys judge such a token.
        let one = Edge::new();
        let screened = one.verifier.screen(request, &one.cache);
        assert!(matches!(screened, Ok(Screened::Credential(_))));
    });
}

#[test]
fn in_gateway_mode_the_audience_is_the_issuer_of_the_zone() {
    let mut edge = edge(json!({
        "mode": "gateway", "gateway": {"upstream": "companion"},
        "resources": {RESOURCE: {"upstream_url": "https://billing.example"}},
    }));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    let all = [&set, &set, &set];
    let changed = |aud: &str, exp: u64| json!({"use": "gateway", "aud": [aud], "target": [RESOURCE], "exp": exp});
    let good = changed("https://b.example", NOW + 900);
    let good = token(&key, "zone-b", good);
    assert!(is_admitted(&judge(&mut edge, &good, RESOURCE, all).1));
    let other = token(&key, "zone-b", changed(crate::mint::ISSUER, NOW + 900));
    let (_, verdict) = judge(&mut edge, &other, RESOURCE, all);
    assert_eq!(refused(&verdict), Some(ErrorCode::InvalidToken));
    // Row G3 comes before the zone.
    let ending = token(&key, "zone-d", changed(crate::mint::ISSUER, NOW + 34));
    let (_, verdict) = judge(&mut edge, &ending, RESOURCE, all);
    assert_eq!(refused(&verdict), Some(ErrorCode::CredentialExpiring));
    let unknown = token(&key, "zone-d", changed(crate::mint::ISSUER, NOW + 35));
    let (_, verdict) = judge(&mut edge, &unknown, RESOURCE, all);
    assert_eq!(refused(&verdict), Some(ErrorCode::InvalidZone));
}

#[test]
fn after_a_wait_the_zone_is_still_the_mandate_s() {
    let mut edge = edge(json!({}));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    let token = token(&key, "zone-c", json!({}));
    let (zone, verdict) = judge(&mut edge, &token, RESOURCE, [&set, &set, &set]);
    let Verdict::Admitted(mandate) = verdict else {
        panic!("it is good");
    };
    let matched = edge.verifier.resources().match_route(&RequestView {
        target: Some(b"/"),
        resource: &[RESOURCE.as_bytes()],
        ..RequestView::default()
    });
    let matched = matched.unwrap();
    assert_eq!(edge.verifier.zone_again(&mandate, matched), zone);
    let with = |keys| Context {
        keys: Some(keys),
        revocation: &Disabled,
        signatures: &PureRust,
        now: NOW,
    };
    let again = edge.verifier.decide_again(&mandate, matched, with(&set));
    assert!(is_admitted(&again));
    let other = keys(&[&Key::new("k", 2)]);
    let again = edge.verifier.decide_again(&mandate, matched, with(&other));
    assert_eq!(refused(&again), Some(ErrorCode::InvalidToken));
}

#[test]
fn an_explanation_names_the_zone_as_what_failed() {
    let edge = edge(json!({}));
    let key = Key::new("k", 1);
    let set = keys(&[&key]);
    let explain = |token: &str| {
        let with = Context {
            keys: Some(&set),
            revocation: &Disabled,
            signatures: &PureRust,
            now: NOW,
        };
        let resource = RESOURCE.as_bytes();
        let trace = with_bearer(token, &[resource], |request| {
            edge.verifier.trace(request, with)
        });
        let failed = trace.checks.iter();
        let failed = failed.filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        let failed: Vec<Check> = failed.map(|(check, _)| *check).collect();
        (trace.verdict, failed)
    };
    let (verdict, failed) = explain(&token(&key, "zone-a", json!({})));
    assert_eq!((verdict, failed), (Traced::Admitted, vec![]));
    let (verdict, failed) = explain(&token(&key, "zone-d", json!({})));
    let Traced::Refused(refusal) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(refusal.code(), ErrorCode::InvalidZone);
    assert_eq!(failed, [Check::Token(TokenCheck::Zone)]);
}
