//! The names of all checks.

use crate::decision::checks::MandateCheck;
use crate::reply::Reason;
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
    /// MCP: the request comes from an origin that is allowed, or from none.
    Origin,
    /// MCP: it is known which operation the request is.
    Mcp,
    /// There is one bearer token.
    Credential,
    /// Gateway mode: there is no `X-Caracal-Client-ID` (row G2).
    ClientId,
    /// Gateway mode: `Connection` lists no header that must reach the upstream (row G2).
    Connection,
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
    /// Several zones: `zone_id` names one that is accepted for the resource. Its key set
    /// judges the token.
    Zone,
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
        TokenCheck::Origin,
        TokenCheck::Mcp,
        TokenCheck::Credential,
        TokenCheck::ClientId,
        TokenCheck::Connection,
        TokenCheck::Size,
        TokenCheck::Parts,
        TokenCheck::Base64,
        TokenCheck::Header,
        TokenCheck::Algorithm,
        TokenCheck::KeyId,
        TokenCheck::Critical,
        TokenCheck::PayloadEncoding,
        TokenCheck::Zone,
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
            TokenCheck::Resource
            | TokenCheck::Path
            | TokenCheck::Method
            | TokenCheck::Origin
            | TokenCheck::Mcp => 0,
            TokenCheck::Excluded => 1,
            TokenCheck::Credential | TokenCheck::ClientId | TokenCheck::Connection => 2,
            TokenCheck::Zone => 4,
            _ => 3,
        }
    }

    /// What a refusal by it says to the operator.
    pub(super) fn reason(self) -> Reason {
        match self {
            TokenCheck::Algorithm | TokenCheck::KeyAlgorithm => Reason::Algorithm,
            TokenCheck::Credential => Reason::SeveralCredentials,
            TokenCheck::Key => Reason::UnknownKey,
            TokenCheck::Signature => Reason::Signature,
            _ => Reason::Malformed,
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
    /// MCP: the tool is listed, where tools are listed.
    Tool,
}

impl Check {
    /// Every check of a mode, in the order in which they are made. Gateway mode looks at
    /// the bearer before the resource, and at the time left before the signature, as the
    /// product's Gateway does. `chooses_zone` says whether there are several zones, and
    /// `has_mcp` whether a route has rules of MCP.
    pub fn all(is_gateway: bool, chooses_zone: bool, has_mcp: bool) -> Vec<Check> {
        let token = TokenCheck::ALL.iter().copied().map(Check::Token);
        let all = token.chain(MandateCheck::ALL.iter().copied().map(Check::Mandate));
        let all = all.chain([Check::Tool]);
        let mut all: Vec<Check> = all
            .filter(|check| is_gateway || !check.is_of_gateway())
            .filter(|check| has_mcp || !check.is_of_mcp())
            .filter(|check| chooses_zone || *check != Check::Token(TokenCheck::Zone))
            .collect();
        if is_gateway {
            all.sort_by_key(|check| check.gateway_order());
        }
        all
    }

    fn is_of_mcp(self) -> bool {
        matches!(
            self,
            Check::Token(TokenCheck::Origin | TokenCheck::Mcp) | Check::Tool
        )
    }

    fn is_of_gateway(self) -> bool {
        match self {
            Check::Token(check) => matches!(check, TokenCheck::ClientId | TokenCheck::Connection),
            Check::Mandate(check) => check.is_of_gateway(),
            Check::Tool => false,
        }
    }

    fn gateway_order(self) -> u8 {
        match self {
            Check::Token(TokenCheck::Path) => 0,
            Check::Token(TokenCheck::Excluded | TokenCheck::Origin) => 1,
            Check::Token(TokenCheck::Credential) => 2,
            Check::Token(TokenCheck::ClientId) => 3,
            Check::Token(TokenCheck::Connection) => 4,
            // A route is matched, and with it the method, before a request has to name the
            // only resource.
            Check::Token(TokenCheck::Method | TokenCheck::Mcp) => 5,
            Check::Token(TokenCheck::Resource) => 6,
            Check::Token(check) if check < TokenCheck::Zone => 7,
            Check::Mandate(MandateCheck::Remaining) => 8,
            Check::Token(_) => 9,
            Check::Mandate(_) | Check::Tool => 10,
        }
    }

    /// The row of Gateway mode.
    pub fn gateway_row(self) -> &'static str {
        match self {
            Check::Token(check) => match check {
                TokenCheck::Path | TokenCheck::Method | TokenCheck::Origin | TokenCheck::Mcp => {
                    "G0"
                }
                TokenCheck::Excluded => "G1",
                TokenCheck::Credential
                | TokenCheck::ClientId
                | TokenCheck::Connection
                | TokenCheck::Resource
                | TokenCheck::Size => "G2",
                _ => "G4",
            },
            Check::Tool => "G7",
            Check::Mandate(MandateCheck::Remaining) => "G3",
            Check::Mandate(MandateCheck::OwnTarget) => "G5",
            Check::Mandate(check) => match check.row() {
                ..=4 => "G4",
                5..=11 => "G6",
                _ => "G7",
            },
        }
    }

    /// The row of the contract ("Order of checks").
    pub fn row(self) -> u8 {
        match self {
            Check::Token(check) => check.row(),
            Check::Mandate(check) => check.row(),
            Check::Tool => 14,
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
            | TokenCheck::Origin
            | TokenCheck::Mcp
            | TokenCheck::ClientId
            | TokenCheck::Connection
            | TokenCheck::Payload
            | TokenCheck::RequiredClaims
    )
}
