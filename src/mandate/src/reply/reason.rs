//! Why a request was refused, for its operator: finer than the code that the client gets,
//! and from a fixed list, so that it can be a metric's label. It is in metrics, filter
//! state, logs and audit events. It is in no reply: what clients are told is the contract's
//! matter, and stays as it is.

/// What a code leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The token has not the form of a mandate, or a claim is missing or malformed.
    Malformed,
    /// There is more than one `Authorization` credential.
    SeveralCredentials,
    /// `alg` is not accepted, or not the key's.
    Algorithm,
    /// The zone's key set has no key with its `kid`.
    UnknownKey,
    /// No key verifies the signature.
    Signature,
    /// It is from another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// It has expired.
    Expired,
    /// `iat` or `nbf` is in the future.
    NotYetValid,
    /// It is valid for longer than a mandate may be.
    Lifetime,
    /// Its `use` is another one.
    Use,
    /// It lacks a required target.
    Target,
    /// A claim that is to be forwarded cannot be sent in a header.
    Unsendable,
    /// The path, the method or the host cannot be judged.
    Ambiguous,
    /// No resource can be chosen.
    Resource,
    /// MCP: it cannot be known which operation the request is.
    Message,
    /// There is no key set that can be used.
    KeySet,
    /// The revocation state is missing or too old.
    Revocations,
    /// Too many requests wait, or one waited for too long.
    Waiting,
    /// The edge itself failed: its proxy refused a call, or it is not configured.
    Edge,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 20] = [
        Reason::Malformed,
        Reason::SeveralCredentials,
        Reason::Algorithm,
        Reason::UnknownKey,
        Reason::Signature,
        Reason::Issuer,
        Reason::Audience,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::Lifetime,
        Reason::Use,
        Reason::Target,
        Reason::Unsendable,
        Reason::Ambiguous,
        Reason::Resource,
        Reason::Message,
        Reason::KeySet,
        Reason::Revocations,
        Reason::Waiting,
        Reason::Edge,
    ];

    /// Its name in metrics, filter state, logs and audit events.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::SeveralCredentials => "several_credentials",
            Reason::Algorithm => "algorithm",
            Reason::UnknownKey => "unknown_key",
            Reason::Signature => "signature",
            Reason::Issuer => "issuer",
            Reason::Audience => "audience",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::Lifetime => "lifetime",
            Reason::Use => "use",
            Reason::Target => "target",
            Reason::Unsendable => "unsendable",
            Reason::Ambiguous => "ambiguous",
            Reason::Resource => "resource",
            Reason::Message => "message",
            Reason::KeySet => "key_set",
            Reason::Revocations => "revocations",
            Reason::Waiting => "waiting",
            Reason::Edge => "edge",
        }
    }
}
