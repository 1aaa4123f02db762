//! A fetch of a key set that has not ended.

use caracal_mandate::jwks::refresh::Lease;

/// A fetch that this VM has begun.
pub(crate) struct PendingFetch {
    /// None if a request fetches by itself: it cannot wait for another's fetch.
    pub(crate) lease: Option<Lease>,
    pub(crate) started_ms: u64,
    pub(crate) token: Option<u32>,
}

impl PendingFetch {
    /// A fetch beside the one of the lease's holder.
    pub(crate) fn without_lease(now_ms: u64) -> Self {
        PendingFetch {
            lease: None,
            started_ms: now_ms,
            token: None,
        }
    }
}
