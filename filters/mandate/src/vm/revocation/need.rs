//! Whether the revocation state needs ticks soon.

use crate::vm::pace::Need;
use crate::vm::revocation::poller::RevocationFeed;

impl RevocationFeed {
    /// What a tick has to do until some time. The last tick, or decision, has read the shared
    /// record.
    pub(crate) fn need(&mut self, until_ms: u64) -> Need {
        if self.log.has_moved() {
            return Need::Busy;
        }
        let goes_on = self.compaction.is_some() || self.snapshot.is_some();
        // Who waits for an answer polls again when it is there.
        let is_due = self.pending_poll.is_none() && self.log.head.is_due(until_ms);
        match goes_on || is_due {
            true => Need::Due,
            false => Need::Nothing,
        }
    }
}
