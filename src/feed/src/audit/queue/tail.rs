//! The end that events are appended to.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;

/// A segment has at least an eighth of the space, within these bounds: what is delivered is
/// freed segment by segment.
const SEGMENT: (u64, u64) = (64 * 1024, 16 * 1024 * 1024);

/// How often a full folder is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Tail {
    shared: Arc<Shared>,
    /// The file that is appended to, its number and its length.
    file: Option<(File, u64, u64)>,
    enough: u64,
    /// When the folder was looked at because it was full.
    looked: Option<Instant>,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let part = shared.max_bytes.checked_div(8).unwrap_or(0);
        Tail {
            enough: part.clamp(SEGMENT.0, SEGMENT.1),
            shared,
            file: None,
            looked: None,
        }
    }

    /// Whether there is room for so many bytes. If not, it may be that somebody has removed
    /// what was set aside.
    pub(crate) fn has_room(&mut self, bytes: u64) -> bool {
        let has = |tail: &Self| {
            tail.shared.state().bytes().saturating_add(bytes) <= tail.shared.max_bytes
        };
        if has(self) {
            return true;
        }
        let is_due = |at: Instant| at.elapsed() >= LOOK_EVERY;
        if !self.looked.is_none_or(is_due) {
            return false;
        }
        self.looked = Some(Instant::now());
        self.shared.look_aside();
        has(self)
    }

    /// Appends whole records, and returns when they are on disk. `now_us` is the time that
    /// is in them.
    ///
    /// # Errors
    /// They are not. Nothing of them will be delivered, unless a power cut brings it back.
    pub(crate) fn append(&mut self, records: &[u8], count: u64, now_us: u64) -> io::Result<()> {
        let (mut file, number, length) = match self.file.take() {
            Some(open) if open.2 < self.enough => open,
            _ => self.begin()?,
        };
        let written = file.write_all(records).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What the disk has of it is not known, and after a failed fsync a second one
            // tells nothing. So this file ends here.
            let _ = file.set_len(length).and_then(|()| file.sync_data());
            if length == 0 {
                let _ = self.shared.folder.remove(number);
            }
            return Err(error);
        }
        let length = length.saturating_add(u64::try_from(records.len()).unwrap_or(u64::MAX));
        self.file = Some((file, number, length));
        let mut state = self.shared.state();
        state.segments.entry(number).or_default().bytes = length;
        state.waiting = state.waiting.saturating_add(count);
        state.oldest_us.get_or_insert(now_us);
        self.shared.show(&state);
        drop(state);
        self.shared.news.notify_one();
        Ok(())
    }

    fn begin(&self) -> io::Result<(File, u64, u64)> {
        let number = {
            let mut state = self.shared.state();
            let number = state.next;
            state.next = number.saturating_add(1);
            number
        };
        Ok((self.shared.folder.create(number)?, number, 0))
    }
}
