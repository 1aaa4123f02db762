//! What the holder of the lease has begun: a poll, or a snapshot in several pages.

use caracal_mandate::revocation::page::Cursor;

/// A poll without an answer yet.
pub(super) struct PendingPoll {
    pub(super) lease: u64,
    pub(super) token: Option<u32>,
    pub(super) began_ms: u64,
    pub(super) snapshot: bool,
}

/// A snapshot of which some pages are already in the log. The anchors in a page are in
/// force at once. Only the last page makes the cursor valid.
pub(super) struct SnapshotProgress {
    pub(super) lease: u64,
    pub(super) generation: Cursor,
    /// The companion's head when the first page was made. Later entries are read from its
    /// feed.
    pub(super) head: u64,
    pub(super) confirmed_at_ms: u64,
    pub(super) next: Cursor,
}
