//! What both ends of the queue know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::cursor::Position;
use super::folder::Folder;
use crate::audit::count::Counts;

/// One file of the queue.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Bytes that are certainly on disk.
    pub(super) bytes: u64,
    /// Damage was found in it.
    pub(super) damaged: bool,
    /// Damage was found and counted at the start.
    pub(super) counted: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) segments: BTreeMap<u64, Segment>,
    /// The number of the next segment.
    pub(super) next: u64,
    /// Delivered up to here.
    pub(super) delivered: Position,
    /// Events that are not delivered.
    pub(super) waiting: u64,
    /// When the oldest of them was taken, in Unix microseconds.
    pub(super) oldest_us: Option<u64>,
    /// Bytes that were set aside.
    pub(super) aside: u64,
}

impl State {
    /// All bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.segments.values().map(|segment| segment.bytes);
        segments.fold(self.aside, u64::saturating_add)
    }
}

/// What both ends share.
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) state: Mutex<State>,
    pub(super) counts: Arc<Counts>,
    /// Something was appended.
    pub(super) news: Notify,
    /// Most bytes on disk.
    pub(super) max_bytes: u64,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the state in the metrics.
    pub(super) fn show(&self, state: &State) {
        self.counts
            .queue(state.bytes(), state.waiting, state.oldest_us);
    }

    /// Takes a segment out of the queue: removes it, or keeps it if it is damaged.
    pub(super) fn leave(&self, number: u64) {
        // Held over the renaming, so that nobody who looks counts the file twice.
        let mut state = self.state();
        let damaged = state
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
        state.segments.remove(&number);
        state.aside = state.aside.saturating_add(aside);
        self.show(&state);
    }

    /// Looks how much is still there of what was set aside.
    pub(super) fn look_aside(&self) {
        let mut state = self.state();
        if state.aside == 0 {
            return;
        }
        match self.folder.contents() {
            Ok(contents) => state.aside = contents.corrupt.1,
            Err(error) => {
                tracing::error!(%error, "the folder of audit events cannot be read");
            }
        }
        self.show(&state);
    }
}
