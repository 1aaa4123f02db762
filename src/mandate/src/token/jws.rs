//! The credential before any key is known: the unsigned part of a compact JWS (RFC 7515).
//! This module decides only whether a token can be a mandate at all: the first half of
//! row 3 of the contract.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memchr_iter;

use crate::json::{self, InvalidJson, Number, Value};
use crate::jwks::algorithm::Algorithm;
use crate::reply::{Reason, Refusal};

/// The limits for the unsigned part of a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenLimits<'a> {
    /// Longest token accepted, in bytes.
    pub max_bytes: usize,
    /// Algorithms that the operator allows.
    pub algorithms: &'a [Algorithm],
}

/// A token with the shape of a mandate. Nothing in it is verified. So it gives access to
/// what selects a key and what the key is tried on, and to no claim.
#[derive(Clone, PartialEq, Eq)]
pub struct UnverifiedMandate {
    token: Box<[u8]>,
    signing_input_len: usize,
    payload: Vec<u8>,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: String,
}

/// Why a token cannot be a mandate, whatever the keys are (row 3, unsigned part).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidJws {
    /// Longer than the limit.
    TooLong,
    /// Not three parts with dots between them.
    NotCompact,
    /// A part is not base64url without padding, canonically encoded.
    Base64,
    /// The header is not a strict JSON object.
    Header(InvalidJson),
    /// `alg` is absent, not a string, or not allowed here.
    Algorithm,
    /// `kid` is absent, not a string, or empty.
    KeyId,
    /// `crit` names an extension; none is supported (RFC 7515 section 4.1.11).
    Critical,
    /// `b64` is false (RFC 7797): the payload would be read unencoded.
    UnencodedPayload,
}

impl fmt::Display for InvalidJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidJws::TooLong => f.write_str("the token is too long"),
            InvalidJws::NotCompact => f.write_str("the token is not a compact JWS"),
            InvalidJws::Base64 => f.write_str("a part of the token is not unpadded base64url"),
            InvalidJws::Header(why) => write!(f, "the token's header {why}"),
            InvalidJws::Algorithm => f.write_str("the token's algorithm is not allowed here"),
            InvalidJws::KeyId => f.write_str("the token names no key (kid)"),
            InvalidJws::Critical => f.write_str("the token has a critical header extension"),
            InvalidJws::UnencodedPayload => f.write_str("the token's payload is not encoded (b64)"),
        }
    }
}

impl From<InvalidJws> for Refusal {
    fn from(why: InvalidJws) -> Self {
        let reason = match why {
            InvalidJws::Algorithm => Reason::Algorithm,
            _ => Reason::Malformed,
        };
        Refusal::invalid_token(reason, why)
    }
}

impl UnverifiedMandate {
    /// Reads the unsigned part of row 3: size, base64, header, algorithm, `kid`.
    ///
    /// # Errors
    /// See [`InvalidJws`].
    pub fn parse(token: &[u8], limits: TokenLimits<'_>) -> Result<Self, InvalidJws> {
        if token.len() > limits.max_bytes {
            return Err(InvalidJws::TooLong);
        }
        let mut dots = memchr_iter(b'.', token);
        let (Some(header_end), Some(signing_input_len), None) =
            (dots.next(), dots.next(), dots.next())
        else {
            return Err(InvalidJws::NotCompact);
        };
        let part = |range: Range<usize>| token.get(range).ok_or(InvalidJws::NotCompact);
        let header = part(0..header_end)?;
        let payload = part(header_end.saturating_add(1)..signing_input_len)?;
        let signature = part(signing_input_len.saturating_add(1)..token.len())?;
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidJws::Base64);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);

        let header = json::parse_object(&header).map_err(InvalidJws::Header)?;
        let text = |name| match json::member(&header, name) {
            Some(Value::String(s)) => Some(s.as_ref()),
            _ => None,
        };
        let algorithm = text("alg")
            .and_then(Algorithm::from_jose)
            .filter(|alg| limits.algorithms.contains(alg))
            .ok_or(InvalidJws::Algorithm)?;
        let kid = text("kid")
            .filter(|kid| !kid.is_empty())
            .ok_or(InvalidJws::KeyId)?;
        if json::member(&header, "crit").is_some() {
            return Err(InvalidJws::Critical);
        }
        if json::member(&header, "b64") == Some(&Value::Bool(false)) {
            return Err(InvalidJws::UnencodedPayload);
        }
        let kid = kid.to_owned();
        Ok(UnverifiedMandate {
            token: token.into(),
            signing_input_len,
            payload,
            signature,
            algorithm,
            kid,
        })
    }

    /// `alg` of the header: the allowed algorithm that the token claims.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid` of the header: never empty.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The token as it came, for the cache. Never log it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.token
    }

    pub(crate) fn signing_input(&self) -> &[u8] {
        self.token.get(..self.signing_input_len).unwrap_or_default()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// `exp` as the token says it, which nothing has verified.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        let payload = json::parse_object(&self.payload).ok()?;
        match json::member(&payload, "exp") {
            Some(Value::Number(Number::Integer(exp))) => Some(*exp),
            _ => None,
        }
    }

    /// `zone_id` as the token says it, which nothing has verified. None if it says none.
    ///
    /// # Errors The payload is not a strict JSON object.
    pub(crate) fn zone_id(&self) -> Result<Option<String>, InvalidJson> {
        let payload = json::parse_object(&self.payload)?;
        Ok(match json::member(&payload, "zone_id") {
            Some(Value::String(zone)) => Some(zone.as_ref().to_owned()),
            _ => None,
        })
    }

    /// The payload as it came, base64url without padding.
    pub(crate) fn encoded_payload(&self) -> &[u8] {
        let mut parts = self.signing_input().split(|b| *b == b'.');
        parts.nth(1).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// Leaves out the token: debug output must not leak a credential.
impl fmt::Debug for UnverifiedMandate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedMandate")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
