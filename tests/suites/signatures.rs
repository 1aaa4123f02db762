//! The signature primitive against Wycheproof, in full: what it says, and where
//! implementations may differ, what ours accepts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_mandate::keys::{Algorithm, KeySet};
use caracal_mandate::signature::{
    PublicKey, PureRust, SignatureVerifier as _, es256_signature_to_der,
};
use serde_json::{Value, json};
use wycheproof::TestResult;

/// The key as a JWKS gives it; `None` for one that is not usable.
fn key(jwk: &Value, algorithm: Algorithm) -> Option<PublicKey> {
    let document = json!({ "keys": [jwk] }).to_string();
    let keys = KeySet::parse(document.as_bytes(), &[algorithm]).ok()?;
    Some(keys.keys().first()?.public().clone())
}

/// Every case of a file: counts, and where the verdict is not Wycheproof's.
#[derive(Default)]
struct Tally {
    cases: usize,
    valid: usize,
    different: Vec<String>,
}

impl Tally {
    fn add(&mut self, id: usize, result: TestResult, accepted: bool, comment: &str) {
        self.cases += 1;
        self.valid += usize::from(accepted);
        let expected = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            // Nothing of P-256 or Ed25519 is left open there; if it ever is, say so.
            TestResult::Acceptable => {
                self.different.push(format!("{id}: acceptable: {comment}"));
                return;
            }
        };
        if accepted != expected {
            self.different
                .push(format!("{id}: accepted {accepted}: {comment}"));
        }
    }
}

#[test]
fn ecdsa_p256_in_jose_form() {
    let name = wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        // 04, x, y.
        let point: &[u8] = &group.key.key;
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": x, "y": y});
        let key = key(&jwk, Algorithm::Es256).expect("a point on the curve");
        for test in &group.tests {
            let accepted = PureRust.verify(&key, &test.msg, &test.sig);
            tally.add(test.tc_id, test.result, accepted, &test.comment);
            // What has no DER form is accepted by nobody, here or in a host.
            let has_der = es256_signature_to_der(&test.sig).is_some();
            assert!(has_der || !accepted, "{}", test.tc_id);
        }
    }
    println!(
        "ECDSA P-256: {} cases, {} accepted",
        tally.cases, tally.valid
    );
    assert!(tally.cases > 200, "{}", tally.cases);
    assert!(tally.different.is_empty(), "{:#?}", tally.different);
}

#[test]
fn ed25519() {
    let name = wycheproof::eddsa::TestName::Ed25519;
    let set = wycheproof::eddsa::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let x = BASE64.encode(&group.key.pk[..]);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k", "x": x});
        let key = key(&jwk, Algorithm::EdDsa);
        for test in &group.tests {
            let accepted = key
                .as_ref()
                .is_some_and(|key| PureRust.verify(key, &test.msg, &test.sig));
            tally.add(test.tc_id, test.result, accepted, &test.comment);
        }
    }
    println!("Ed25519: {} cases, {} accepted", tally.cases, tally.valid);
    assert!(tally.cases > 100, "{}", tally.cases);
    assert!(tally.different.is_empty(), "{:#?}", tally.different);
}

/// Lengths other than 64, and each of `r` and `s` at the edges of 1..n.
#[test]
fn lengths_and_edges_of_r_and_s() {
    let known = caracal_mandate::signature::KnownAnswer::es256().unwrap();
    assert!(PureRust.verify(&known.key, known.message, &known.good));
    assert!(!PureRust.verify(&known.key, known.message, &known.bad));
    for size in (0..130).filter(|size| *size != 64) {
        let mut signature = known.good.to_vec();
        signature.resize(size, 0);
        assert!(
            !PureRust.verify(&known.key, known.message, &signature),
            "{size}"
        );
    }
    let order = hex_bytes("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut above = order.clone();
    above[31] += 1;
    for edge in [vec![0; 32], order, above, vec![0xff; 32]] {
        for half in [0, 32] {
            let mut signature = known.good;
            signature[half..half + 32].copy_from_slice(&edge);
            assert!(!PureRust.verify(&known.key, known.message, &signature));
            assert!(es256_signature_to_der(&signature).is_none());
        }
    }
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}
