//! A verified mandate. Only verification can build this type, so code that has one does
//! not need to check again.

use std::cell::OnceCell;
use std::fmt;

use super::anchor::{AnchorId, anchors};
use super::fingerprint::Fingerprint;
use crate::jwks::key_set::{KeySet, Thumbprint};
use crate::jwks::signature::SignatureVerifier;
use crate::reply::{Reason, Refusal};
use crate::token::claims::{Claims, InvalidClaims};
use crate::token::jws::UnverifiedMandate;

/// A mandate with a signature that one of the zone's keys verified, and with well-formed
/// claims. [`Verifier::decide`](crate::decision::verifier::Verifier::decide) judges on
/// every request whether it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mandate {
    claims: Claims,
    kid: String,
    thumbprint: Thumbprint,
    fingerprint: Fingerprint,
    anchors: Vec<AnchorId>,
    sent: Sent,
    /// What the audit says of it in each event.
    audited: OnceCell<Box<str>>,
}

/// What a configuration sends to the upstream of a mandate, as far as it is found out once,
/// when the mandate is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// What is to be sent and cannot be, and so refuses the mandate: a claim, or a word for
    /// several.
    pub(crate) unsendable: Option<&'static str>,
    /// The payload as it was signed, if it is sent: JSON as base64url without padding.
    pub(crate) payload: Option<Box<[u8]>>,
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

    /// The ids that a revocation can name: `sid`, `root_sid`, `agent_session_id` and
    /// `delegation_edge_id`, as far as the mandate has them.
    pub fn anchors(&self) -> &[AnchorId] {
        &self.anchors
    }

    /// What the audit says of it, which is written once and kept as long as the mandate.
    pub fn audited(&self, write: impl FnOnce(&Claims) -> String) -> &str {
        self.audited.get_or_init(|| write(&self.claims).into())
    }

    /// What is sent of it.
    pub(crate) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// The same mandate with what is sent of it.
    pub(crate) fn with_sent(self, sent: Sent) -> Self {
        Mandate { sent, ..self }
    }

    /// Whether exactly the key that verified it is still in the key set.
    pub(crate) fn key_is_in(&self, keys: &KeySet) -> bool {
        keys.has_key(&self.kid, &self.thumbprint)
    }
}

/// Why a token is not a mandate of the zone (row 3, signed part).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMandate {
    /// The key set has no key with its `kid`. Another fetch may bring it.
    UnknownKey,
    /// The keys with its `kid` are for other algorithms.
    KeyAlgorithm,
    /// No key with its `kid` verifies the signature.
    Signature,
    /// The signed payload is not that of a mandate.
    Claims(InvalidClaims),
}

impl fmt::Display for InvalidMandate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidMandate::UnknownKey => f.write_str("the zone has no key with the token's kid"),
            InvalidMandate::KeyAlgorithm => {
                f.write_str("the zone's key with that kid has another algorithm")
            }
            InvalidMandate::Signature => f.write_str("the signature does not verify"),
            InvalidMandate::Claims(why) => why.fmt(f),
        }
    }
}

impl From<InvalidMandate> for Refusal {
    fn from(why: InvalidMandate) -> Self {
        let reason = match why {
            InvalidMandate::UnknownKey => Reason::UnknownKey,
            InvalidMandate::KeyAlgorithm => Reason::Algorithm,
            InvalidMandate::Signature => Reason::Signature,
            InvalidMandate::Claims(_) => Reason::Malformed,
        };
        Refusal::invalid_token(reason, why)
    }
}

/// Verifies a token with a key set. No claim is read before the signature has verified:
/// an unverified claim decides nothing.
///
/// # Errors See [`InvalidMandate`].
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
        sent: Sent::default(),
        audited: OnceCell::new(),
    })
}
