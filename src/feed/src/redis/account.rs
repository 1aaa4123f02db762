//! Counts the messages of a stream: every message that was ever added was either read
//! here or is missing. This is pure: readings go in, and what follows from them comes
//! out.
//!
//! Redis counts the messages that were ever added. Trimming removes messages from the
//! front only. So while the first message in the stream is one that was read before, no
//! message can have been trimmed unread. If the first message is a later one, the missing
//! messages are those that were added and neither read nor there. Deleted messages show
//! at the end of the stream.

use super::reply::{Id, Reading};

/// Messages that were trimmed or deleted unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub missing: u64,
    /// They are among this many first messages.
    pub until: u64,
}

/// What follows from a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The messages may be used.
    Take {
        /// Some messages are missing that may still matter.
        gap: Option<Gap>,
    },
    /// Another server's reign as a master has begun, or the stream has another name. The
    /// stream must be read from its beginning, because the ids of its new messages may be
    /// lower than those that were read.
    Restart,
    /// This is not the stream that was read: it was emptied or restored.
    Backwards,
}

/// How far a stream was read.
#[derive(Debug, Clone, Default)]
pub struct Account {
    reign: Option<String>,
    /// The stream's name; none before anything was read.
    name: Option<String>,
    id: Id,
    /// This many of the first messages ever added were read, or are known to be missing.
    counted: u64,
    /// Reading has started from the beginning and has not counted yet.
    fresh: bool,
    /// What was read before that: the number of messages, and the last id.
    before: (u64, Id),
    /// While the stream is read again: the messages that came after those.
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

    /// This many of the first messages ever added were read, or are known to be missing.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// The last id that was read before reading had to start again.
    pub fn before(&self) -> Id {
        self.before.1
    }

    /// Judges a reading that was requested after [`Account::id`]. A message that is older
    /// than `life_ms` concerns no mandate that is still valid. The time in an id comes
    /// from a clock that may be wrong, so a message counts as old only after twice that
    /// time.
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
        let name = self.name.replace(reading.name.clone());
        if name.is_some_and(|name| name != reading.name) {
            // It may have the same ids as the one that was read, and other messages.
            let fresh = self.fresh;
            self.begin(false);
            if !fresh {
                return Step::Restart;
            }
            self.reign = Some(reading.reign.clone());
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
            // All messages that were added since then must be there. Deleted messages
            // count as trimmed. (As many deletions as messages that a failover lost may
            // stay hidden.) If the newest id is below one that was read, a failover has
            // lost that message, and ids cannot tell new messages from known ones.
            if let Some(later) = self.later.take()
                && reading.last >= self.before.1
            {
                let since = reading.added.saturating_sub(self.before.0);
                missing = missing.max(since.saturating_sub(later));
            }
        }
        // Everything that was trimmed from the front is older than what is there now. A
        // deleted message may have any age, up to that of the newest deleted one.
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

    /// Whether every message that is no longer in the stream was read before.
    fn was_read(&self, reading: &Reading) -> bool {
        let trimmed = reading.added.saturating_sub(reading.length);
        let (counted, id) = self.before;
        let next = reading.first.unwrap_or(reading.last);
        trimmed == 0 || (trimmed <= counted && next <= id)
    }

    /// Starts reading from the beginning. What was read before counts only if the stream
    /// is the same, on another server.
    fn begin(&mut self, same_stream: bool) {
        // A reading that was interrupted has not counted to its end.
        let before = match (same_stream, self.later) {
            (true, Some(_)) => self.before,
            (true, None) => (self.counted, self.id.max(self.before.1)),
            (false, _) => (0, (0, 0)),
        };
        *self = Account {
            later: (before.0 > 0).then_some(0),
            before,
            name: self.name.take(),
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
