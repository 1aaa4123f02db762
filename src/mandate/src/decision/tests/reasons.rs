//! What a refusal says to the operator, and not to the client.

use super::*;
use crate::reply::{Reason, Refusal, Reply, ReplyFormat};

fn judged(token: &str, keys: &KeySet, limits: serde_json::Value) -> Refusal {
    let document = configuration(json!({"required_targets": ["t"], "limits": limits})).to_string();
    let configuration = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
    let verifier = Verifier::from(&configuration);
    let mut cache = MandateCache::new(1);
    let screened = with_bearer(token, &[], |request| {
        match verifier.screen(request, &cache) {
            Ok(Screened::Credential(credential)) => Ok(credential.into_owned()),
            Ok(Screened::Excluded) => panic!("nothing is excluded"),
            Err(refusal) => Err(refusal),
        }
    });
    let credential = match screened {
        Ok(credential) => credential,
        Err(refusal) => return refusal,
    };
    let with = Context {
        keys: Some(keys),
        revocation: &Disabled,
        signatures: &PureRust,
        now: NOW,
    };
    match verifier.decide(&credential, with, &mut cache) {
        Verdict::Refused(refusal, _) => refusal,
        Verdict::NeedsKeySet(Missing::Key) => Verifier::unknown_key(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_cause_of_an_invalid_token_has_its_reason() {
    let (key, other) = (Key::new("k1", 1), Key::new("k2", 2));
    let keys = keys(&[&key]);
    let mandate = |changes| key.mandate(NOW, changes);
    let good = mandate(json!({"target": ["t"]}));
    let forged = format!(
        "{}AAAA",
        good.strip_suffix(good.get(good.len() - 4..).unwrap())
            .unwrap()
    );
    for (token, reason) in [
        ("no token".to_owned(), Reason::Malformed),
        (format!("{good},{good}"), Reason::SeveralCredentials),
        (
            key.sign_as(&json!({"alg": "HS256", "kid": "k1"}), &json!({})),
            Reason::Algorithm,
        ),
        (other.mandate(NOW, json!({})), Reason::UnknownKey),
        (forged, Reason::Signature),
        (mandate(json!({"iss": "https://other"})), Reason::Issuer),
        (mandate(json!({"aud": "other"})), Reason::Audience),
        (mandate(json!({"exp": NOW - 100})), Reason::Expired),
        (mandate(json!({"iat": NOW + 100})), Reason::NotYetValid),
        (mandate(json!({"nbf": NOW + 100})), Reason::NotYetValid),
        (mandate(json!({"exp": NOW + 9_000})), Reason::Lifetime),
        (mandate(json!({"use": "session"})), Reason::Use),
        (mandate(json!({"hop_count": "1"})), Reason::Malformed),
        (mandate(json!({"target": ["u"]})), Reason::Target),
        (
            mandate(json!({"target": ["t"], "sub": "é"})),
            Reason::Unsendable,
        ),
    ] {
        let refusal = judged(&token, &keys, json!({"max_lifetime_s": 3600}));
        assert_eq!(refusal.code(), ErrorCode::InvalidToken, "{reason:?}");
        assert_eq!(refusal.reason(), reason.as_str(), "{refusal:?}");
    }
}

#[test]
fn a_code_that_says_it_all_is_the_reason() {
    let key = Key::new("k1", 1);
    let refusal = judged(
        &key.mandate(NOW, json!({"zone_id": "other"})),
        &keys(&[&key]),
        json!({}),
    );
    assert_eq!(refusal.reason(), "invalid_zone");
}

/// Both are labels of one metric.
#[test]
fn no_reason_has_the_name_of_a_code() {
    let codes = ErrorCode::ALL.iter().chain(&ErrorCode::GATEWAY);
    let codes = codes.chain(&ErrorCode::MCP);
    let mut names: Vec<&str> = codes.map(|code| code.as_str()).collect();
    names.extend(Reason::ALL.iter().map(|reason| reason.as_str()));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn no_reply_has_a_reason() {
    for reason in Reason::ALL {
        let refusal = Refusal::new(ErrorCode::InvalidToken, "no");
        for format in [ReplyFormat::Http, ReplyFormat::Grpc] {
            let plain = Reply::new(&refusal, format);
            assert_eq!(Reply::new(&refusal.clone().because(reason), format), plain);
        }
    }
}
