//! The names of all checks.

use crate::decision::checks::MandateCheck;
use crate::token::claims::InvalidClaims;
use crate::token::jws::InvalidJws;
use crate::token::mandate::InvalidMandate;

/// What is checked before [`MandateCheck`]: the request, and the token up to its payload,
/// in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenCheck {
    /// The request is for one resource.
    Resource,
    /// All readings of the path fall under one rule.
    Path,
    /// The path is not under an excluded prefix. If it is, the checks end and the request
    /// is admitted.
    Excluded,
    /// The method is in upper case if the rule lists it.
    Method,
    /// There is one bearer token.
    Credential,
    /// The token is not too long.
    Size,
    /// It has three parts.
    Parts,
    /// They are base64url.
    Base64,
    /// Its header is a strict JSON object.
    Header,
    /// `alg` is accepted.
    Algorithm,
    /// There is a `kid`.
    KeyId,
    /// There is no `crit`.
    Critical,
    /// `b64` is not false.
    PayloadEncoding,
    /// There is a usable key set.
    KeySet,
    /// The key set has a key with that `kid`.
    Key,
    /// One of these keys is for that algorithm.
    KeyAlgorithm,
    /// One of these keys verifies the signature.
    Signature,
    /// The payload is a strict JSON object.
    Payload,
    /// The claims that row 3 requires are there, with the right types.
    RequiredClaims,
}

impl TokenCheck {
    /// Every check, in the order in which they are made.
    pub const ALL: &[TokenCheck] = &[
        TokenCheck::Resource,
        TokenCheck::Path,
        TokenCheck::Excluded,
        TokenCheck::Method,
        TokenCheck::Credential,
        TokenCheck::Size,
        TokenCheck::Parts,
        TokenCheck::Base64,
        TokenCheck::Header,
        TokenCheck::Algorithm,
        TokenCheck::KeyId,
        TokenCheck::Critical,
        TokenCheck::PayloadEncoding,
        TokenCheck::KeySet,
        TokenCheck::Key,
        TokenCheck::KeyAlgorithm,
        TokenCheck::Signature,
        TokenCheck::Payload,
        TokenCheck::RequiredClaims,
    ];

    /// The row of the contract ("Order of checks").
    pub fn row(self) -> u8 {
        match self {
            TokenCheck::Resource | TokenCheck::Path | TokenCheck::Method => 0,

            TokenCheck::Excluded => 1,
            TokenCheck::Credential => 2,
            _ => 3,
        }
    }

    pub(super) fn of_jws(why: InvalidJws) -> Self {
        match why {
            InvalidJws::TooLong => TokenCheck::Size,
            InvalidJws::NotCompact => TokenCheck::Parts,
            InvalidJws::Base64 => TokenCheck::Base64,
            InvalidJws::Header(_) => TokenCheck::Header,
            InvalidJws::Algorithm => TokenCheck::Algorithm,
            InvalidJws::KeyId => TokenCheck::KeyId,
            InvalidJws::Critical => TokenCheck::Critical,
            InvalidJws::UnencodedPayload => TokenCheck::PayloadEncoding,
        }
    }

    pub(super) fn of_mandate(why: InvalidMandate) -> Self {
        match why {
            InvalidMandate::UnknownKey => TokenCheck::Key,
            InvalidMandate::KeyAlgorithm => TokenCheck::KeyAlgorithm,
            InvalidMandate::Signature => TokenCheck::Signature,
            InvalidMandate::Claims(InvalidClaims::Json(_)) => TokenCheck::Payload,
            InvalidMandate::Claims(InvalidClaims::Claim(_)) => TokenCheck::RequiredClaims,
        }
    }
}

/// A check of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A check of the request or the token.
    Token(TokenCheck),
    /// A check of the verified mandate.
    Mandate(MandateCheck),
}

impl Check {
    /// Every check, in the order in which they are made.
    pub fn all() -> impl Iterator<Item = Check> {
        let token = TokenCheck::ALL.iter().copied().map(Check::Token);
        token.chain(MandateCheck::ALL.iter().copied().map(Check::Mandate))
    }

    /// The row of the contract ("Order of checks").
    pub fn row(self) -> u8 {
        match self {
            Check::Token(check) => check.row(),
            Check::Mandate(check) => check.row(),
        }
    }
}

/// Whether a check needs the token itself, and not only its claims.
pub(super) fn is_of_token(check: TokenCheck) -> bool {
    !matches!(
        check,
        TokenCheck::Resource
            | TokenCheck::Path
            | TokenCheck::Excluded
            | TokenCheck::Method
            | TokenCheck::Payload
            | TokenCheck::RequiredClaims
    )
}
