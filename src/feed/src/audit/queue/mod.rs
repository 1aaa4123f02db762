//! Events on disk, until they are delivered. `folder` has the files, `cursor` notes what was
//! delivered, `opening` reads what is there at a start, `tail` appends, `head` takes from the
//! other end.
//!
//! A crash may tear the last records of the newest segment, which were not acknowledged: they
//! are cut off. Any other damage is passed over to the next good record, and its segment is
//! kept as `.corrupt` when the rest of it is delivered.

mod cursor;
mod folder;
mod head;
mod opening;
mod tail;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::count::Counts;
use cursor::Position;
use folder::Folder;
pub(super) use head::{Batch, Head};
pub(super) use opening::open;
pub(super) use tail::Tail;

/// One file of the queue.
#[derive(Debug, Default)]
struct Segment {
    /// Bytes that are certainly on disk.
    bytes: u64,
    /// Damage was found in it.
    damaged: bool,
    /// Damage was found and counted at the start.
    counted: bool,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    /// The number of the next segment.
    next: u64,
    /// Delivered up to here.
    delivered: Position,
    /// Events that are not delivered.
    waiting: u64,
    /// When the oldest of them was taken, in Unix microseconds.
    oldest_us: Option<u64>,
    /// Bytes that were set aside.
    aside: u64,
}

impl State {
    /// All bytes on disk.
    fn bytes(&self) -> u64 {
        let segments = self.segments.values().map(|segment| segment.bytes);
        segments.fold(self.aside, u64::saturating_add)
    }
}

/// What both ends share.
struct Shared {
    folder: Folder,
    state: Mutex<State>,
    counts: Arc<Counts>,
    /// Something was appended.
    news: Notify,
    /// Most bytes on disk.
    max_bytes: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the state in the metrics.
    fn show(&self, state: &State) {
        self.counts
            .queue(state.bytes(), state.waiting, state.oldest_us);
    }

    /// Takes a segment out of the queue: removes it, or keeps it if it is damaged.
    fn leave(&self, number: u64) {
        let damaged = self
            .state()
            .segments
            .get(&number)
            .is_none_or(|segment| segment.damaged);
        let aside = if damaged {
            let kept = self.folder.set_aside(number);
            match &kept {
                Ok((bytes, name)) => tracing::error!(
                    bytes,
                    file = name,
                    "a file of audit events was damaged: its good events are delivered, and it is kept. It counts as used space until it is removed"
                ),
                Err(error) => {
                    tracing::error!(%error, "a damaged file of audit events cannot be set aside")
                }
            }
            kept.map_or(0, |(bytes, _)| bytes)
        } else {
            if let Err(error) = self.folder.remove(number) {
                tracing::error!(%error, "a delivered file of audit events cannot be removed");
            }
            0
        };
        let mut state = self.state();
        state.segments.remove(&number);
        state.aside = state.aside.saturating_add(aside);
        self.show(&state);
    }
}

#[cfg(test)]
mod tests;
