//! Signatures and what must be said of them, the same by every verifier:
//! Wycheproof in full, the edges of `r`, `s` and the lengths, the examples of the
//! RFCs, and for Ed25519, where implementations differ, the set that is accepted
//! here.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::{EdwardsPoint, Scalar};
use p256::ecdsa::Signature;
use sha2::{Digest as _, Sha512};
use wycheproof::TestResult;

/// A key (65 bytes of SEC 1, or 32 of Ed25519), a message and a signature.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub algorithm: &'static str,
    pub key: Vec<u8>,
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    pub valid: bool,
}

const ES256: &str = "ES256";
const EDDSA: &str = "EdDSA";

/// All of them.
pub fn all() -> Vec<Case> {
    let mut all = wycheproof_p256();
    all.extend(wycheproof_ed25519());
    all.extend(edges());
    all.extend(rfc_examples());
    all.extend(ed25519_accepted_set());
    all
}

fn is_valid(result: TestResult) -> bool {
    match result {
        TestResult::Valid => true,
        TestResult::Invalid => false,
        TestResult::Acceptable => panic!("Wycheproof leaves a case open: say what is right"),
    }
}

fn wycheproof_p256() -> Vec<Case> {
    let name = wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
    let groups = set.test_groups.iter();
    let cases = groups.flat_map(|group| {
        group.tests.iter().map(|test| Case {
            name: format!("wycheproof P-256 {}: {}", test.tc_id, test.comment),
            algorithm: ES256,
            key: group.key.key.to_vec(),
            message: test.msg.to_vec(),
            signature: test.sig.to_vec(),
            valid: is_valid(test.result),
        })
    });
    cases.collect()
}

fn wycheproof_ed25519() -> Vec<Case> {
    let name = wycheproof::eddsa::TestName::Ed25519;
    let set = wycheproof::eddsa::TestSet::load(name).unwrap();
    let groups = set.test_groups.iter();
    let cases = groups.flat_map(|group| {
        group.tests.iter().map(|test| Case {
            name: format!("wycheproof Ed25519 {}: {}", test.tc_id, test.comment),
            algorithm: EDDSA,
            key: group.key.pk.to_vec(),
            message: test.msg.to_vec(),
            signature: test.sig.to_vec(),
            valid: is_valid(test.result),
        })
    });
    cases.collect()
}

/// The ES256 example of RFC 7515, appendix A.3: key, message, signature.
fn rfc_7515() -> Case {
    let known = caracal_mandate::jwks::signature::KnownAnswer::es256().unwrap();
    let caracal_mandate::jwks::signature::PublicKey::P256(key) = &known.key else {
        panic!("a P-256 key");
    };
    Case {
        name: "RFC 7515 A.3".to_owned(),
        algorithm: ES256,
        key: key.sec1().to_vec(),
        message: known.message.to_vec(),
        signature: known.good.to_vec(),
        valid: true,
    }
}

fn with(case: &Case, name: String, signature: Vec<u8>, valid: bool) -> Case {
    Case {
        name,
        signature,
        valid,
        ..case.clone()
    }
}

/// Each of `r` and `s` at the edges of 1..n, high `s`, and lengths but 64.
fn edges() -> Vec<Case> {
    let good = rfc_7515();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let order = order.unwrap();
    let (mut below, mut above, mut one) = (order.clone(), order.clone(), vec![0; 32]);
    below[31] -= 1;
    above[31] += 1;
    one[31] = 1;
    let mut all = Vec::new();
    let values = [
        ("0", vec![0; 32]),
        ("1", one),
        ("n-1", below),
        ("n", order),
        ("n+1", above),
        ("2^256-1", vec![0xff; 32]),
    ];
    for (value, bytes) in &values {
        for (half, at) in [("r", 0), ("s", 32)] {
            let mut signature = good.signature.clone();
            signature[at..at + 32].copy_from_slice(bytes);
            all.push(with(&good, format!("{half} = {value}"), signature, false));
        }
        all.push(with(
            &good,
            format!("r = s = {value}"),
            [&bytes[..], bytes].concat(),
            false,
        ));
    }
    for size in (0..130).filter(|size| *size != 64) {
        let mut signature = good.signature.clone();
        signature.resize(size, 0);
        all.push(with(&good, format!("{size} bytes"), signature, false));
    }
    let low = Signature::from_slice(&good.signature).unwrap();
    let (r, s) = low.split_scalars();
    let high = Signature::from_scalars(r, -s).unwrap();
    // Which of the two is the high one does not matter: both count.
    all.push(with(
        &good,
        "n - s".to_owned(),
        high.to_bytes().to_vec(),
        true,
    ));
    let der = low.to_der().as_bytes().to_vec();
    all.push(with(&good, "DER".to_owned(), der, false));
    all
}

fn rfc_examples() -> Vec<Case> {
    let bytes = |text: &str| hex::decode(text).unwrap();
    // RFC 8037, appendix A.4; the key is that of RFC 8032, section 7.1, test 1.
    let ed25519 = Case {
        name: "RFC 8037 A.4".to_owned(),
        algorithm: EDDSA,
        key: bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        message: b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_vec(),
        signature: bytes(
            "860c98d2297f3060a33f42739672d61b53cf3adefed3d3c672f320dc021b411e\
             9d59b8628dc351e248b88b29468e0e41855b0fb7d83bb15be902bfccb8cd0a02",
        ),
        valid: true,
    };
    let mut other = rfc_7515();
    other.name = "RFC 7515 A.3, another message".to_owned();
    other.message.push(b' ');
    other.valid = false;
    vec![rfc_7515(), other, ed25519]
}

/// Ed25519 at its edges, where implementations differ. Accepted here: canonical
/// encodings, `S` below the order, neither key nor `R` of small order, and the
/// equation with the cofactor, which RFC 8032, section 5.1.7 allows: only who owns
/// a key can sign so that it holds and the other one does not.
fn ed25519_accepted_set() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |name: &str, key: [u8; 32], message: &[u8], r: [u8; 32], s: [u8; 32], valid| {
        all.push(Case {
            name: format!("Ed25519 {name}"),
            algorithm: EDDSA,
            key: key.to_vec(),
            message: message.to_vec(),
            signature: [r, s].concat(),
            valid,
        });
    };
    let secret = Scalar::from(0x1234_5678_9abc_def0_u64);
    let nonce = Scalar::from(0x0fed_cba9_8765_4321_u64);
    let (public, commitment) = (
        EdwardsPoint::mul_base(&secret),
        EdwardsPoint::mul_base(&nonce),
    );
    let torsion = EIGHT_TORSION[1];
    let encode = |point: EdwardsPoint| point.compress().to_bytes();
    let message = |n: u32| format!("message {n}").into_bytes();
    // So that what has a part of small order fails without the cofactor.
    let odd = |r: [u8; 32], key: [u8; 32]| {
        let wanted = |n: &u32| challenge(&r, &key, &message(*n)).to_bytes()[0] % 8 == 1;
        message((0..).find(wanted).unwrap())
    };
    let answer = |r: [u8; 32], key: [u8; 32], message: &[u8], nonce: Scalar| {
        (nonce + challenge(&r, &key, message) * secret).to_bytes()
    };

    let (key, r) = (encode(public), encode(commitment));
    let said = message(0);
    let s = answer(r, key, &said, nonce);
    add("an ordinary signature", key, &said, r, s, true);
    add(
        "S and the order: RFC 8032 asks for S < L",
        key,
        &said,
        r,
        plus_order(s),
        false,
    );
    let mixed = encode(public + torsion);
    let said = odd(r, mixed);
    let s = answer(r, mixed, &said, nonce);
    add("a key with a part of small order", mixed, &said, r, s, true);
    let mixed = encode(commitment + torsion);
    let said = odd(mixed, key);
    let s = answer(mixed, key, &said, nonce);
    add("R with a part of small order", key, &said, mixed, s, true);
    for (n, point) in EIGHT_TORSION.iter().enumerate() {
        let small = encode(*point);
        let said = odd(small, key);
        let s = answer(small, key, &said, Scalar::ZERO);
        add(
            &format!("R of small order, {n}"),
            key,
            &said,
            small,
            s,
            false,
        );
        let said = message(1);
        add(
            &format!("a key of small order, {n}"),
            small,
            &said,
            r,
            nonce.to_bytes(),
            false,
        );
        let zero = [0; 32];
        add(
            &format!("all of small order, {n}"),
            small,
            &said,
            small,
            zero,
            false,
        );
    }
    for (name, bytes) in not_canonical() {
        let said = message(2);
        let s = answer(bytes, key, &said, Scalar::ZERO);
        add(&format!("R {name}"), key, &said, bytes, s, false);
        add(
            &format!("a key {name}"),
            bytes,
            &said,
            r,
            nonce.to_bytes(),
            false,
        );
    }
    all
}

/// Encodings of points of small order that RFC 8032, section 5.1.3 does not
/// decode: a `y` that is not reduced, or a sign where `x` is 0.
fn not_canonical() -> Vec<(&'static str, [u8; 32])> {
    let bytes = |first: u8, middle: u8, last: u8| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    vec![
        ("of y = p", bytes(0xed, 0xff, 0x7f)),
        ("of y = p and a sign", bytes(0xed, 0xff, 0xff)),
        ("of y = p + 1", bytes(0xee, 0xff, 0x7f)),
        ("of y = p + 1 and a sign", bytes(0xee, 0xff, 0xff)),
        ("of y = 1 and a sign", bytes(0x01, 0x00, 0x80)),
        ("of y = p - 1 and a sign", bytes(0xec, 0xff, 0xff)),
        ("of y = 2^255 - 1", bytes(0xff, 0xff, 0x7f)),
        ("that is no point", bytes(0x02, 0x00, 0x00)),
    ]
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let mut hash = Sha512::new();
    for part in [&r[..], key, message] {
        hash.update(part);
    }
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// S + L, which is the same number to whoever reduces it.
fn plus_order(s: [u8; 32]) -> [u8; 32] {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(order).unwrap();
    let mut sum = [0; 32];
    let mut carry = 0;
    for at in 0..32 {
        let byte = u16::from(s[at]) + u16::from(order[at]) + carry;
        sum[at] = byte as u8;
        carry = byte >> 8;
    }
    sum
}
