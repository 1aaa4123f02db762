use super::*;
use crate::config::Configuration;
use crate::decision::context::{Context, TokenPolicy};
use crate::jwks::signature::PureRust;
use crate::revocation::Disabled;
use crate::routing::routes::Requirements;
use crate::token::claims::Claims;

/// The answer for a mandate's life under these `limits`.
fn lives(limits: &str, iat: u64, exp: u64) -> Option<String> {
    let configuration = format!(
        r#"{{"issuer":"https://sts.example","zone_id":"z","audience":"a","jwks":{{"upstream":"s"}},"revocation":"disabled","limits":{limits}}}"#
    );
    let configuration = Configuration::from_json(configuration.as_bytes(), &|_| None).unwrap();
    let claims = format!(
        r#"{{"iss":"https://sts.example","aud":"a","exp":{exp},"iat":{iat},"jti":"j","sub":"s","sid":"s","root_sid":"r","client_id":"c","zone_id":"z","use":"resource","sub_type":"user"}}"#
    );
    let claims = Claims::parse(claims.as_bytes()).unwrap();
    let policy = TokenPolicy::from(&configuration);
    let facts = Facts {
        policy: &policy,
        zone: policy.zones.get(crate::zone::ZoneIndex::FIRST).unwrap(),
        least_s: policy.min_remaining_s,
        claims: &claims,
        anchors: &[],
        unsendable: None,
        audience: "a",
        resource: "a",
        required: &Requirements::default(),
        with: Context {
            keys: None,
            revocation: &Disabled,
            signatures: &PureRust,
            now: 1_000,
        },
    };
    match judge(&facts) {
        Ok(()) => None,
        Err(Stop::Refuse(refusal)) => {
            assert_eq!(refusal.code(), ErrorCode::InvalidToken);
            Some(refusal.description().to_owned())
        }
        Err(Stop::NeedsRevocations) => panic!("revocation is disabled"),
    }
}

#[test]
fn a_mandate_that_lives_too_long_is_refused() {
    let bounded = r#"{"max_lifetime_s":600}"#;
    assert_eq!(lives(bounded, 1_000, 1_600), None);
    let refused = lives(bounded, 1_000, 1_601).unwrap();
    assert!(refused.contains("too long"), "{refused}");
    // How much of its life is left does not matter.
    assert!(lives(bounded, 500, 1_101).is_some());
    // Without the option there is no bound. An early `exp` is the subject of another
    // check.
    assert_eq!(lives("{}", 0, i64::MAX as u64), None);
    assert!(lives(bounded, 1_000, 900).unwrap().contains("expired"));
}
