//! The names of all checks.

use crate::decision::checks::MandateCheck;
use crate::token::claims::InvalidClaims;
use crate::token::jws::InvalidJws;
use crate::token::mandate::InvalidMandate;

/// What is judged before the checks of [`MandateCheck`]: of the request, and of the
/// token up to its payload. In the order in which it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenCheck {
    /// The request is for one resource.
    Resource,
    /// The path falls under one rule, however it is read.
    Path,
    /// The path is under no excluded prefix. One that is ends the checks, and admits.
    Excluded,
    /// The method is in upper case where the rule lists it.
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
    /// `alg` is one that is accepted.
    Algorithm,
    /// `kid` is there.
    KeyId,
    /// `crit` is not.
    Critical,
    /// `b64` is not false.
    PayloadEncoding,
    /// There is a usable key set.
    KeySet,
    /// It has a key of that `kid`.
    Key,
    /// One of them is for that algorithm.
    KeyAlgorithm,
    /// One of them verifies the signature.
    Signature,
    /// The payload is a strict JSON object.
    Payload,
    /// The claims that row 3 requires are there, each of its type.
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
    /// Of the request and the token.
    Token(TokenCheck),
    /// Of the verified mandate.
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

/// Whether a check needs the token itself, and not its claims alone.
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
