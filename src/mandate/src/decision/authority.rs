//! Whether the authority of an admitted request still stands, while it is under way.
//!
//! Only what can end is looked at again: the mandate's time, what is revoked, the zone's
//! epoch and the key. That something is revoked or expired counts whatever else is not
//! known: neither can become undone.

use crate::decision::verifier::Verifier;
use crate::jwks::key_set::KeySet;
use crate::reply::{ErrorCode, Reason, Refusal};
use crate::revocation::{Availability, RevocationView};
use crate::token::mandate::Mandate;

/// What is known of an admitted request's authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// It stands.
    Stands,
    /// The edge lacks what it needs to know it.
    Unknown,
    /// It has ended.
    Ended(Ended),
}

/// Why the authority of an admitted request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// One of the mandate's anchors is revoked (row 12).
    Revoked,
    /// The zone's delegation epoch has overtaken the mandate (row 13).
    DelegationStale,
    /// The key that verified the mandate has left the key set (row 3).
    KeyGone,
    /// The mandate has expired (row 12).
    Expired,
}

impl Ended {
    /// Each of them.
    pub const ALL: [Ended; 4] = [
        Ended::Revoked,
        Ended::DelegationStale,
        Ended::KeyGone,
        Ended::Expired,
    ];

    /// The label of the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Ended::Revoked => "session_revoked",
            Ended::DelegationStale => "delegation_stale",
            Ended::KeyGone => "key_gone",
            Ended::Expired => "expired",
        }
    }

    /// What a client is told whose response has not begun.
    pub fn refusal(self) -> Refusal {
        match self {
            Ended::Revoked => Refusal::new(
                ErrorCode::SessionRevoked,
                "The mandate's session was revoked while the request was under way",
            ),
            Ended::DelegationStale => Refusal::new(
                ErrorCode::DelegationStale,
                "The zone's delegations changed while the request was under way",
            ),
            Ended::KeyGone => Verifier::unknown_key(),
            Ended::Expired => Refusal::invalid_token(
                Reason::Expired,
                "the mandate expired while the request was under way",
            ),
        }
    }
}

/// Judges an admitted mandate with its zone's key set and revocations, at a Unix time in
/// seconds. `ends_when_expired`: whether its expiry ends it.
#[cold]
#[inline(never)]
pub fn authority(
    mandate: &Mandate,
    keys: Option<&KeySet>,
    view: &dyn RevocationView,
    now: u64,
    ends_when_expired: bool,
) -> Authority {
    let claims = mandate.claims();
    if ends_when_expired && claims.exp <= now {
        return Authority::Ended(Ended::Expired);
    }
    if mandate
        .anchors()
        .iter()
        .any(|anchor| view.is_revoked(*anchor))
    {
        return Authority::Ended(Ended::Revoked);
    }
    let own = claims.delegation_graph_epoch.as_ref().ok().copied();
    if own
        .flatten()
        .is_some_and(|own| view.delegation_epoch() > own)
    {
        return Authority::Ended(Ended::DelegationStale);
    }
    match keys {
        None => return Authority::Unknown,
        Some(keys) if !mandate.key_is_in(keys) => return Authority::Ended(Ended::KeyGone),
        Some(_) => {}
    }
    match view.availability() {
        Availability::Ready => Authority::Stands,
        _ => Authority::Unknown,
    }
}
