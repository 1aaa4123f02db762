//! What the holder of the lease has begun: a poll, or a snapshot in several pages; and what
//! it asks for.

use caracal_mandate::revocation::page::{Cursor, MAX_ENTRIES, Position};

use crate::vm::revocation::shared_log::SharedLog;

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
    /// What the pages so far have, if the companions know positions. Then each page may come
    /// from another one, and `next` is empty.
    pub(super) position: Position,
}

/// The path of a snapshot's first or next page.
pub(super) fn snapshot_path(begun: Option<&SnapshotProgress>) -> String {
    if let Some(begun) = begun.filter(|begun| !begun.next.is_empty()) {
        let cursor = begun.next.as_str();
        return format!("/v1/snapshot?cursor={cursor}&max={MAX_ENTRIES}");
    }
    let position = begun.map_or("", |begun| begun.position.as_str());
    format!("/v1/snapshot?max={MAX_ENTRIES}&position={position}")
}

/// The path of a poll for what is new. Companions that know positions go by that, others by
/// their log's name and a number in it.
pub(super) fn feed_path(log: &SharedLog) -> String {
    let head = &log.head;
    let mut path = format!(
        "/v1/feed?generation={}&after={}&wait_ms={}&max={MAX_ENTRIES}",
        head.generation.as_str(),
        head.cursor,
        log.timing.wait_ms(),
    );
    if !head.position.is_empty() {
        path.push_str("&position=");
        path.push_str(head.position.as_str());
    }
    path
}
