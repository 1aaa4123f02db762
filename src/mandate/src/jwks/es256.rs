//! ES256 verification (FIPS 186-5, section 6.4.2) with tables of multiples, which are
//! made once for each key. In wasm it takes a third of the time of `p256`, which makes
//! its tables again for every signature.
//!
//! Field, group, tables and multiplication come from RustCrypto, through its public
//! interfaces. Only the equation is here. All values are public, so variable time reveals
//! nothing.

use std::sync::LazyLock;

use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::Group as _;
use p256::elliptic_curve::PrimeField as _;
use p256::elliptic_curve::ops::{Invert as _, Reduce};
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::{FieldBytes, ProjectivePoint, Scalar};
use primeorder::array::typenum::U6;
use primeorder::wnaf::{WnafBase, WnafScalar};
use sha2::{Digest as _, Sha256};

/// Bytes of a scalar for one table: with eight tables of 32 bits, a verification needs 32
/// doublings instead of 256.
const PART_BYTES: usize = 4;
const PARTS: usize = 32 / PART_BYTES;

/// 16 odd multiples of a point, 1.5 KiB. With windows of 7 or 8 bits the library's digits
/// would overflow their type before they are reduced.
type Table = WnafBase<ProjectivePoint, U6>;

static GENERATOR: LazyLock<Tables> = LazyLock::new(|| Tables::of(ProjectivePoint::GENERATOR));

/// Tables for one point: for the point itself, and for its multiple after each further 32
/// doublings. 12 KiB.
#[derive(Clone)]
pub(crate) struct Tables(Vec<Table>);

impl Tables {
    /// This takes as long as about five verifications.
    pub(crate) fn of_key(key: &VerifyingKey) -> Self {
        Tables::of(ProjectivePoint::from(*key.as_affine()))
    }

    fn of(mut point: ProjectivePoint) -> Self {
        let mut tables = Vec::with_capacity(PARTS);
        for _ in 0..PARTS {
            tables.push(Table::new(&point));
            for _ in 0..PART_BYTES.saturating_mul(8) {
                point = point.double();
            }
        }
        Tables(tables)
    }

    /// Whether `signature` is valid for `message` under the key.
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "numbers of a finite field: they cannot overflow"
    )]
    pub(crate) fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let digest: [u8; 32] = Sha256::digest(message).into();
        let z = <Scalar as Reduce<FieldBytes>>::reduce(&digest.into());
        // Both are in 1..n, as the type guarantees.
        let (r, s) = signature.split_scalars();
        let inverse = *s.invert_vartime();
        let mut parts = Vec::with_capacity(PARTS.saturating_mul(2));
        split(&(z * inverse), &mut parts);
        split(&(*r * inverse), &mut parts);
        let tables = GENERATOR.0.iter().chain(&self.0);
        let point = Table::multiscalar_mul(tables.zip(&parts));
        if bool::from(point.is_identity()) {
            return false;
        }
        <Scalar as Reduce<FieldBytes>>::reduce(&point.to_affine().x()) == *r
    }
}

/// The parts of the scalar, the lowest first.
fn split(scalar: &Scalar, parts: &mut Vec<WnafScalar<Scalar, U6>>) {
    let mut bytes = scalar.to_repr();
    bytes.reverse();
    parts.extend(bytes.chunks(PART_BYTES).map(WnafScalar::from_le_bytes));
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::SigningKey;
    use p256::ecdsa::signature::{Signer as _, Verifier as _};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn says_what_p256_says(
            secret in 1_u8..255,
            message in prop::collection::vec(any::<u8>(), 0..80),
            flip in 0_usize..1024,
        ) {
            let key = SigningKey::from_slice(&[secret; 32]).unwrap();
            let signature: Signature = key.sign(&message);
            let tables = Tables::of_key(key.verifying_key());
            prop_assert!(tables.verify(&message, &signature));
            let mut bytes = signature.to_bytes();
            if let Some(byte) = bytes.get_mut(flip / 8) {
                *byte ^= 1 << (flip % 8);
            }
            if let Ok(signature) = Signature::from_bytes(&bytes) {
                let expected = key.verifying_key().verify(&message, &signature).is_ok();
                prop_assert_eq!(tables.verify(&message, &signature), expected);
            }
        }

        /// Takes any two numbers as a signature. Both implementations must agree, and
        /// neither may panic.
        #[test]
        fn any_numbers(
            secret in 1_u8..255,
            r in edge_scalar(),
            s in edge_scalar(),
            message in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let key = SigningKey::from_slice(&[secret; 32]).unwrap();
            if let Ok(signature) = Signature::from_scalars(r, s) {
                let expected = key.verifying_key().verify(&message, &signature).is_ok();
                prop_assert_eq!(Tables::of_key(key.verifying_key()).verify(&message, &signature), expected);
            }
        }
    }

    /// Small numbers, numbers near the order, and numbers with long runs of equal bits.
    fn edge_scalar() -> impl Strategy<Value = [u8; 32]> {
        let order_less_one: [u8; 32] = (-Scalar::ONE).to_repr().into();
        let with_last = |bytes: [u8; 32], last: u8| {
            let mut bytes = bytes;
            bytes[31] = last;
            bytes
        };
        let small = (0_u8..4).prop_map(move |last| with_last([0; 32], last));
        let near = any::<u8>().prop_map(move |last| with_last(order_less_one, last));
        let runs = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x80, 0xff]), 32);
        let runs = runs.prop_map(|bytes| bytes.try_into().unwrap());
        prop_oneof![small.boxed(), near.boxed(), runs.boxed()]
    }
}
