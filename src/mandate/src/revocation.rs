//! What rows 12 and 13 need to know about revocation, and from whom.

/// A view of the revocation state at one moment.
pub trait RevocationView {
    /// Whether the state is fresh and whole enough to decide by.
    fn available(&self) -> bool;

    /// Whether an anchor is revoked. Anchors share one namespace: a revoked id
    /// matches whichever claim carries it.
    fn is_revoked(&self, anchor: &str) -> bool;

    /// The current delegation epoch of a zone; 0 when none is known.
    fn delegation_epoch(&self, zone_id: &str) -> u64;
}

/// Revocation is switched off (`"revocation": "disabled"`): nothing is revoked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disabled;

impl RevocationView for Disabled {
    fn available(&self) -> bool {
        true
    }

    fn is_revoked(&self, _: &str) -> bool {
        false
    }

    fn delegation_epoch(&self, _: &str) -> u64 {
        0
    }
}

/// No state that could be decided by: everything that needs it is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unavailable;

impl RevocationView for Unavailable {
    fn available(&self) -> bool {
        false
    }

    fn is_revoked(&self, _: &str) -> bool {
        true
    }

    fn delegation_epoch(&self, _: &str) -> u64 {
        u64::MAX
    }
}
