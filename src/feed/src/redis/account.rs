//! Keeps count of a stream's messages: each one ever added was read here, or is
//! missing. Pure: readings go in, what follows from them comes out.
//!
//! Redis counts what was ever added. Trimming takes from the front only, so while
//! the first message in the stream is one that was read before, none can have been
//! trimmed unread; and when it is a later one, what is missing is what was added
//! but neither read nor there. Deleted messages show at the stream's end.

use super::reply::{Id, Reading};

/// Messages that were trimmed or deleted unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub missing: u64,
    /// They are among so many first messages.
    pub until: u64,
}

/// What follows from a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The messages count.
    Take {
        /// Some are missing that may still matter.
        gap: Option<Gap>,
    },
    /// Another server's time as a master began: the stream has to be read from its
    /// beginning, since ids of its newer messages may lie before those read.
    Restart,
    /// The stream is not the one that was read: it was emptied or set back.
    Backwards,
}

/// How far a stream was read.
#[derive(Debug, Clone, Default)]
pub struct Account {
    reign: Option<String>,
    id: Id,
    /// Of all messages ever added, so many first ones were read or are missing.
    counted: u64,
    /// The reading began anew and has not counted yet.
    fresh: bool,
    /// What was read before that: how many, and up to which id.
    before: (u64, Id),
    /// While the stream is read again: messages that came after those.
    later: Option<u64>,
}

impl Account {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Account {
            fresh: true,
            ..Account::default()
        }
    }

    /// The last message that was read.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Of all messages ever added, so many first ones were read or are missing.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// Up to which id the stream was read before it had to be begun anew.
    pub fn before(&self) -> Id {
        self.before.1
    }

    /// Judges a reading that was asked for after [`Account::id`]. Messages that are
    /// older than `life_ms` concern no mandate that is still valid. An id's time is of a
    /// clock that may be wrong, so it has to be older than twice that.
    pub fn judge(&mut self, reading: &Reading, life_ms: u64) -> Step {
        let same = !reading.reign.is_empty() && self.reign.as_ref() == Some(&reading.reign);
        if !same && !self.fresh {
            self.begin(true);
            return Step::Restart;
        }
        self.reign = Some(reading.reign.clone());
        if !self.fresh && (reading.last < self.id || reading.added < self.counted) {
            self.begin(false);
            return Step::Backwards;
        }
        let mut missing = 0;
        if self.fresh {
            self.fresh = false;
            self.counted = reading.added.saturating_sub(reading.length);
            if !self.was_read(reading) {
                missing = self.counted;
            }
        } else if reading.first.is_none_or(|first| first > self.id) {
            let unread = self.counted.saturating_add(reading.length);
            let Some(trimmed) = reading.added.checked_sub(unread) else {
                self.begin(false);
                return Step::Backwards;
            };
            missing = trimmed;
            self.counted = self.counted.saturating_add(trimmed);
        }
        if let Some(later) = &mut self.later {
            let known = self.before.1;
            let new = reading.messages.iter().filter(|one| one.id > known).count();
            *later = later.saturating_add(u64::try_from(new).unwrap_or(u64::MAX));
        }
        let read = u64::try_from(reading.messages.len()).unwrap_or(u64::MAX);
        self.counted = self.counted.saturating_add(read);
        if let Some(last) = reading.messages.last() {
            self.id = last.id;
        }
        if !reading.more {
            let Some(deleted) = reading.added.checked_sub(self.counted) else {
                self.begin(false);
                return Step::Backwards;
            };
            missing = missing.saturating_add(deleted);
            self.counted = reading.added;
            // Of what was added since, all has to be there: deleted ones count as if they
            // had been trimmed. (What a failover lost may hide as many deletions.)
            // Where the newest id is below one that was read, a failover has lost that, and
            // ids do not tell new messages from known ones.
            if let Some(later) = self.later.take()
                && reading.last >= self.before.1
            {
                let since = reading.added.saturating_sub(self.before.0);
                missing = missing.max(since.saturating_sub(later));
            }
        }
        // Everything trimmed from the front is older than what is there now. What was
        // deleted may be of any age, up to the newest that was.
        let long = life_ms.saturating_mul(2);
        let is_old = |id: Id| id.0.saturating_add(long) < reading.time_ms;
        let oldest = reading.first.unwrap_or(reading.last);
        let old = is_old(oldest) && is_old(reading.deleted);
        let gap = (missing > 0 && !old).then_some(Gap {
            missing,
            until: self.counted,
        });
        Step::Take { gap }
    }

    /// Whether all that is no longer in the stream was read before.
    fn was_read(&self, reading: &Reading) -> bool {
        let trimmed = reading.added.saturating_sub(reading.length);
        let (counted, id) = self.before;
        let next = reading.first.unwrap_or(reading.last);
        trimmed == 0 || (trimmed <= counted && next <= id)
    }

    /// Reads from the beginning. What was read counts only if the stream is the same,
    /// at another server.
    fn begin(&mut self, same_stream: bool) {
        // A reading that was broken off has not counted to its end.
        let before = match (same_stream, self.later) {
            (true, Some(_)) => self.before,
            (true, None) => (self.counted, self.id.max(self.before.1)),
            (false, _) => (0, (0, 0)),
        };
        *self = Account {
            later: (before.0 > 0).then_some(0),
            before,
            ..Account::new()
        };
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
