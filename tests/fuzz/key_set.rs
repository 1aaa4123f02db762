//! Input: a JWK Set. Every key that is kept is usable by another reading of the
//! document, is a point on its curve to another library, and has the thumbprint
//! that another digest gives it.

use std::collections::BTreeMap;

use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::{KeySet, MAX_KEYS, MAX_KEYS_PER_KID};
use caracal_mandate::jwks::signature::PublicKey;
use data_encoding::BASE64URL_NOPAD;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use serde_json::value::RawValue;

use crate::independent::{self, Jwk};

pub fn check(data: &[u8]) {
    let only_p256 = KeySet::parse(data, &Algorithm::ALL[..1]);
    let Ok(set) = KeySet::parse(data, &Algorithm::ALL) else {
        assert!(only_p256.is_err());
        return;
    };
    let document: BTreeMap<String, &RawValue> = serde_json::from_slice(data).unwrap();
    let jwks: Vec<&RawValue> = serde_json::from_str(document["keys"].get()).unwrap();
    let strict = jwks.iter().filter(|raw| independent::is_strict(raw, 1));
    let usable = strict.filter_map(|raw| {
        let members = independent::members(raw.get().as_bytes())?;
        independent::jwk(&members)
    });
    let usable: Vec<Jwk> = usable.filter(|jwk| is_point(jwk)).collect();
    assert!((1..=MAX_KEYS).contains(&set.keys().len()));
    assert_eq!(set.keys().len(), usable.len().min(MAX_KEYS));
    for (key, jwk) in set.keys().iter().zip(&usable) {
        assert_eq!(
            (key.kid(), key.algorithm().as_jose()),
            (jwk.kid.as_str(), jwk.algorithm.as_str())
        );
        let coordinate = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let canonical = match key.public() {
            PublicKey::P256(point) => {
                assert_eq!(point.sec1().as_slice(), jwk.public);
                let (x, y) = (
                    coordinate(&jwk.public[1..33]),
                    coordinate(&jwk.public[33..]),
                );
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            PublicKey::Ed25519(_) => {
                format!(
                    r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
                    coordinate(&jwk.public)
                )
            }
        };
        assert_eq!(
            digest(&SHA256, canonical.as_bytes()).as_ref(),
            key.thumbprint()
        );
        assert!(set.has_kid(key.kid()) && set.has_key(key.kid(), key.thumbprint()));
        assert!(set.candidates(key.kid(), key.algorithm()).count() <= MAX_KEYS_PER_KID);
    }
    let of_p256 = usable.iter().filter(|jwk| jwk.algorithm == "ES256").count();
    assert_eq!(
        only_p256.map_or(0, |set| set.keys().len()),
        of_p256.min(MAX_KEYS)
    );
}

/// Whether another library computes with the point.
fn is_point(jwk: &Jwk) -> bool {
    if jwk.algorithm != "ES256" {
        return true;
    }
    let mine = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
    agree_ephemeral(
        mine,
        &UnparsedPublicKey::new(&ECDH_P256, &jwk.public),
        |_| (),
    )
    .is_ok()
}
