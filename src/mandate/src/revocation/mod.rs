//! What rows 12 and 13 need to know about revocation.
//!
//! [`RevocationView`] is what a decision asks. `anchors` is the compact set that
//! a VM answers from; `page` reads what the companion sends; `log` is how the
//! anchors stand in the proxy's shared data, `log_head` the record that says how far
//! the log goes and how fresh it is, and `replica` what one VM has read of it.
//! `lookup_cache` is for a VM that keeps no copy: what the companion said of single mandates.

pub mod anchors;
pub mod log;
pub mod log_head;
pub mod lookup_cache;
pub mod page;
pub mod replica;

pub use crate::token::anchor::AnchorId;

/// Whether the revocation state can be decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Whole and fresh enough.
    Ready,
    /// It is being read for the first time, or again: soon it can be said.
    Pending,
    /// It is missing, too old, damaged or over capacity, in words.
    Unavailable(&'static str),
}

/// A view of the revocation state at one moment.
pub trait RevocationView {
    /// Whether the state is fresh and whole enough to decide by. It is asked
    /// first, once for each decision that gets as far as row 12.
    fn availability(&self) -> Availability;

    /// The same for the anchors of one mandate, where the state is known by single
    /// anchors.
    fn availability_of(&self, anchors: &[AnchorId]) -> Availability {
        let _ = anchors;
        self.availability()
    }

    /// Whether an anchor is revoked. Anchors share one namespace: a revoked id
    /// matches whichever claim carries it.
    fn is_revoked(&self, anchor: AnchorId) -> bool;

    /// The current delegation epoch of the verifier's zone; 0 when none is known.
    fn delegation_epoch(&self) -> u64;
}

/// Revocation is switched off (`"revocation": "disabled"`): nothing is revoked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disabled;

impl RevocationView for Disabled {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, _: AnchorId) -> bool {
        false
    }

    fn delegation_epoch(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_revocation_is_disabled_nothing_is_revoked() {
        assert_eq!(Disabled.availability(), Availability::Ready);
        assert!(!Disabled.is_revoked(AnchorId::of("sid-1")));
        assert_eq!(Disabled.delegation_epoch(), 0);
    }
}
