//! What rows 12 and 13 need to know about revocation.
//!
//! A decision asks a [`RevocationView`]. `anchors` is the compact set in one VM. `page`
//! reads what the companion sends. `log` is the form of the anchors in the proxy's shared
//! data, `log_head` is the record that says how far the log goes and how fresh it is, and
//! `epochs` are the delegation epochs in that record.
//! `replica` is what one VM has read of the log. `lookup_cache` is for a VM without a
//! copy: it has the companion's answers about single mandates.

pub mod anchors;
pub mod epochs;
pub mod log;
pub mod log_head;
pub mod lookup_cache;
pub mod page;
pub mod replica;

pub use crate::token::anchor::AnchorId;

/// Whether the revocation state may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It is complete and fresh enough.
    Ready,
    /// It is being read, for the first time or again, and will soon be there.
    Pending,
    /// It is missing, too old, damaged or over capacity; the text says which.
    Unavailable(&'static str),
}

/// A view of the revocation state at one moment.
pub trait RevocationView {
    /// Whether the state is complete and fresh enough. It is asked first, once for each
    /// decision that reaches row 12.
    fn availability(&self) -> Availability;

    /// The same for the anchors of one mandate, if the state is known for single anchors
    /// only.
    fn availability_of(&self, anchors: &[AnchorId]) -> Availability {
        let _ = anchors;
        self.availability()
    }

    /// Whether an anchor is revoked. All anchors share one namespace: a revoked id
    /// matches in any of the claims.
    fn is_revoked(&self, anchor: AnchorId) -> bool;

    /// The current delegation epoch of the zone that is judged; 0 if none is known.
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
