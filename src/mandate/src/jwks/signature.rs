//! Checks signatures, and does nothing else with tokens. This project writes no
//! cryptography itself: libraries, or the host's own crypto, answer one question with yes
//! or no behind this trait.

use std::cell::OnceCell;

use ed25519_compact as ed25519;
use jwt_simple::algorithms::{ECDSAP256PublicKeyLike as _, ES256PublicKey};

use crate::jwks::es256::Tables;

/// Bytes of a JOSE ES256 or EdDSA signature: `r || s`, or `R || S`.
pub const SIGNATURE_BYTES: usize = 64;

/// A public key that has been checked: the point is on its curve.
#[derive(Clone)]
pub enum PublicKey {
    /// P-256, with the key prepared once for all later verifications.
    P256(P256Key),
    /// Ed25519 (RFC 8037).
    Ed25519(ed25519::PublicKey),
}

/// DER of a P-256 `SubjectPublicKeyInfo` (RFC 5480) up to the point.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A P-256 point in the forms that verifiers need.
#[derive(Clone)]
pub struct P256Key {
    sec1: [u8; 65],
    spki: Vec<u8>,
    key: ES256PublicKey,
    /// Made when it is first needed. On a host that checks signatures itself that is
    /// never.
    tables: OnceCell<Tables>,
}

impl P256Key {
    /// From the affine coordinates of a JWK.
    ///
    /// Returns `None` when the point is not on the curve.
    pub fn from_coordinates(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let mut sec1 = [0x04; 65];
        let (_, coordinates) = sec1.split_first_mut()?;
        let (x_out, y_out) = coordinates.split_at_mut_checked(32)?;
        x_out.copy_from_slice(x);
        y_out.copy_from_slice(y);
        let key = ES256PublicKey::from_bytes(&sec1).ok()?;
        let spki = [SPKI_PREFIX.as_slice(), &sec1].concat();
        Some(P256Key {
            sec1,
            spki,
            key,
            tables: OnceCell::new(),
        })
    }

    /// The DER encoding of its `SubjectPublicKeyInfo` (RFC 5480).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn tables(&self) -> &Tables {
        self.tables
            .get_or_init(|| Tables::of_key(self.key.public_key().as_ref()))
    }

    /// The uncompressed SEC 1 encoding: `04 || x || y`.
    pub fn sec1(&self) -> &[u8; 65] {
        &self.sec1
    }
}

/// Answers whether `signature` is valid for `message` under `key`.
///
/// Every implementation gives the same answer to every input. For ES256 a signature is 64
/// bytes `r || s`, both in 1..n, and a high `s` is accepted, as by the published
/// connector. For EdDSA it is what `ed25519-compact` accepts. A wrong length gives
/// `false`.
pub trait SignatureVerifier {
    /// `true` only if the signature is valid.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// The primitives of RustCrypto (P-256, with tables) and `ed25519-compact`, in Rust.
#[derive(Debug, Clone, Copy, Default)]
pub struct PureRust;

impl SignatureVerifier for PureRust {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        match key {
            PublicKey::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|sig| key.tables().verify(message, &sig)),
            PublicKey::Ed25519(key) => ed25519::Signature::from_slice(signature)
                .is_ok_and(|sig| key.verify(message, &sig).is_ok()),
        }
    }
}

/// The DER form (`SEQUENCE { r, s }`) of a JOSE ES256 signature, for verifiers that take
/// only DER.
///
/// Returns `None` for what no verifier accepts: a wrong length, or an `r` or `s` that is
/// zero or not below the group order.
pub fn es256_signature_to_der(signature: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_slice(signature).ok()?;
    Some(signature.to_der().as_bytes().to_vec())
}

/// A key, a message, a good and a bad signature. A verifier is trusted only if it tells
/// the two apart (RFC 7515, appendix A.3).
pub struct KnownAnswer {
    /// The public key.
    pub key: PublicKey,
    /// The signed bytes.
    pub message: &'static [u8],
    /// A valid signature.
    pub good: [u8; SIGNATURE_BYTES],
    /// The same with one bit flipped.
    pub bad: [u8; SIGNATURE_BYTES],
}

impl KnownAnswer {
    /// The ES256 example of RFC 7515, appendix A.3.
    ///
    /// Returns `None` only if the constants were damaged.
    pub fn es256() -> Option<Self> {
        const X: [u8; 32] = [
            127, 205, 206, 39, 112, 246, 196, 93, 65, 131, 203, 238, 111, 219, 75, 123, 88, 7, 51,
            53, 123, 233, 239, 19, 186, 207, 110, 60, 123, 209, 84, 69,
        ];
        const Y: [u8; 32] = [
            199, 241, 68, 205, 27, 189, 155, 126, 135, 44, 223, 237, 185, 238, 185, 244, 179, 105,
            93, 110, 169, 11, 36, 173, 138, 70, 35, 40, 133, 136, 229, 173,
        ];
        const GOOD: [u8; SIGNATURE_BYTES] = [
            14, 209, 33, 83, 121, 99, 108, 72, 60, 47, 127, 21, 88, 7, 212, 2, 163, 178, 40, 3, 58,
            249, 124, 126, 23, 129, 154, 195, 22, 158, 166, 101, 197, 10, 7, 211, 140, 60, 112,
            229, 216, 241, 45, 175, 8, 74, 84, 128, 166, 101, 144, 197, 242, 147, 80, 154, 143, 63,
            127, 138, 131, 163, 84, 213,
        ];
        let mut bad = GOOD;
        *bad.last_mut()? ^= 1;
        Some(KnownAnswer {
            key: PublicKey::P256(P256Key::from_coordinates(&X, &Y)?),
            message: b"eyJhbGciOiJFUzI1NiJ9.\
                eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                cGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            good: GOOD,
            bad,
        })
    }

    /// Whether a verifier accepts the good signature and rejects the bad one.
    pub fn holds_for(&self, verifier: &dyn SignatureVerifier) -> bool {
        verifier.verify(&self.key, self.message, &self.good)
            && !verifier.verify(&self.key, self.message, &self.bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_rust_passes_the_known_answer_test() {
        assert!(KnownAnswer::es256().unwrap().holds_for(&PureRust));
    }

    #[test]
    fn a_verifier_that_says_yes_to_all_fails_it() {
        struct Yes;
        impl SignatureVerifier for Yes {
            fn verify(&self, _: &PublicKey, _: &[u8], _: &[u8]) -> bool {
                true
            }
        }
        assert!(!KnownAnswer::es256().unwrap().holds_for(&Yes));
    }

    #[test]
    fn lengths_and_ranges_are_checked() {
        let ka = KnownAnswer::es256().unwrap();
        let with = |at: usize, value: &[u8]| {
            let mut sig = ka.good;
            sig[at..at + value.len()].copy_from_slice(value);
            sig
        };
        let order: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
            0x25, 0x51,
        ];
        for bad in [
            with(0, &[0; 32]),
            with(32, &[0; 32]),
            with(0, &order),
            with(32, &order),
        ] {
            assert!(!PureRust.verify(&ka.key, ka.message, &bad));
            assert_eq!(es256_signature_to_der(&bad), None);
        }
        for len in [0, 63, 65, 70] {
            let mut sig = ka.good.to_vec();
            sig.resize(len, 0);
            assert!(!PureRust.verify(&ka.key, ka.message, &sig), "{len}");
        }
        let der = es256_signature_to_der(&ka.good).unwrap();
        assert_eq!(&der[..4], &[0x30, 0x45, 0x02, 0x20]);
        assert!(!PureRust.verify(&ka.key, ka.message, &der));
    }

    #[test]
    fn ed25519_rfc_8037_example() {
        // RFC 8037, appendix A.4.
        let x = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64,
            0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68,
            0xf7, 0x07, 0x51, 0x1a,
        ];
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = [
            0x86, 0x0c, 0x98, 0xd2, 0x29, 0x7f, 0x30, 0x60, 0xa3, 0x3f, 0x42, 0x73, 0x96, 0x72,
            0xd6, 0x1b, 0x53, 0xcf, 0x3a, 0xde, 0xfe, 0xd3, 0xd3, 0xc6, 0x72, 0xf3, 0x20, 0xdc,
            0x02, 0x1b, 0x41, 0x1e, 0x9d, 0x59, 0xb8, 0x62, 0x8d, 0xc3, 0x51, 0xe2, 0x48, 0xb8,
            0x8b, 0x29, 0x46, 0x8e, 0x0e, 0x41, 0x85, 0x5b, 0x0f, 0xb7, 0xd8, 0x3b, 0xb1, 0x5b,
            0xe9, 0x02, 0xbf, 0xcc, 0xb8, 0xcd, 0x0a, 0x02,
        ];
        let key = PublicKey::Ed25519(ed25519::PublicKey::new(x));
        assert!(PureRust.verify(&key, message, &signature));
        assert!(!PureRust.verify(&key, b"another", &signature));
    }
}
