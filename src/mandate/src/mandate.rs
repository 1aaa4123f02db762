//! A verified mandate: a type that only verification can build, so that code
//! holding one needs no check to be remembered.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::claims::{Claims, InvalidClaims};
use crate::jws::UnverifiedMandate;
use crate::keys::{KeySet, Thumbprint};
use crate::revocation::AnchorId;
use crate::signature::SignatureVerifier;

/// What logs, metrics and access logs may show of a token: the first 8 bytes of
/// its SHA-256 (contract, "Audit stream").
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Of the token as it came.
    pub fn of(token: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(token).into();
        Fingerprint(digest.first_chunk().copied().unwrap_or_default())
    }

    /// Lower-case hex digits, as they are shown.
    pub fn to_hex(self) -> [u8; 16] {
        let mut hex = [0; 16];
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (to, digit) in hex.iter_mut().zip(digits) {
            *to = match digit {
                0..=9 => b'0' | digit,
                // 10 is the first letter, which stands at 0x61.
                _ => digit.wrapping_add(b'a' - 10),
            };
        }
        hex
    }
}

/// Lower-case hex, 16 digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A mandate whose signature one of the zone's keys verified and whose claims
/// are well formed. Whether it is accepted, here and now, is judged by
/// [`Verifier::decide`](crate::decide::Verifier::decide) on every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mandate {
    claims: Claims,
    kid: String,
    thumbprint: Thumbprint,
    fingerprint: Fingerprint,
    anchors: Vec<AnchorId>,
}

impl Mandate {
    /// The claims, signed by the zone.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The token's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What a revocation can name: `sid`, `root_sid`, `agent_session_id` and
    /// `delegation_edge_id`, those that are there.
    pub fn anchors(&self) -> &[AnchorId] {
        &self.anchors
    }

    /// Whether the very key that verified it is still in the key set.
    pub(crate) fn key_is_in(&self, keys: &KeySet) -> bool {
        keys.has_key(&self.kid, &self.thumbprint)
    }
}

/// Why a token is no mandate of the zone (row 3, signed part).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMandate {
    /// The key set has no key under its `kid`: another fetch may bring it.
    UnknownKey,
    /// Keys under its `kid` verify other algorithms than its own.
    KeyAlgorithm,
    /// No key under its `kid` verifies the signature.
    Signature,
    /// The signed payload is no mandate.
    Claims(InvalidClaims),
}

impl fmt::Display for InvalidMandate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidMandate::UnknownKey => f.write_str("the zone has no key of the token's kid"),
            InvalidMandate::KeyAlgorithm => {
                f.write_str("the zone's key of that kid has another algorithm")
            }
            InvalidMandate::Signature => f.write_str("the signature does not verify"),
            InvalidMandate::Claims(why) => why.fmt(f),
        }
    }
}

/// Verifies a token against a key set. No claim is looked at before a signature
/// has verified: an unverified claim decides nothing.
///
/// # Errors
/// See [`InvalidMandate`].
pub(crate) fn verify(
    token: &UnverifiedMandate,
    fingerprint: Fingerprint,
    keys: &KeySet,
    verifier: &dyn SignatureVerifier,
) -> Result<Mandate, InvalidMandate> {
    if !keys.has_kid(token.kid()) {
        return Err(InvalidMandate::UnknownKey);
    }
    let mut candidates = keys.candidates(token.kid(), token.algorithm()).peekable();
    if candidates.peek().is_none() {
        return Err(InvalidMandate::KeyAlgorithm);
    }
    let key = candidates
        .find(|key| verifier.verify(key.public(), token.signing_input(), token.signature()))
        .ok_or(InvalidMandate::Signature)?;
    let claims = Claims::parse(token.payload()).map_err(InvalidMandate::Claims)?;
    Ok(Mandate {
        anchors: anchors(&claims),
        claims,
        kid: token.kid().to_owned(),
        thumbprint: *key.thumbprint(),
        fingerprint,
    })
}

/// Digested once for each mandate, not once for each request. A claim of a wrong
/// shape has no anchor; row 6 refuses its mandate before it is asked for.
pub(crate) fn anchors(claims: &Claims) -> Vec<AnchorId> {
    anchor_texts(claims).map(AnchorId::of).collect()
}

/// The anchors as the claims have them.
pub(crate) fn anchor_texts(claims: &Claims) -> impl Iterator<Item = &str> {
    let optional = [&claims.agent_session_id, &claims.delegation_edge_id];
    let optional = optional
        .into_iter()
        .filter_map(|shape| shape.as_ref().ok().and_then(Option::as_deref));
    [claims.sid.as_str(), claims.root_sid.as_str()]
        .into_iter()
        .chain(optional)
}
