//! What one VM has read of the log in shared data.

use super::anchors::RevokedAnchors;
use super::log::{Chunk, ChunkName, trail};
use super::log_head::LogHead;

/// A VM's copy: the anchors, and the position in the log up to which they were read.
#[derive(Debug, Default)]
pub struct Replica {
    anchors: RevokedAnchors,
    image: u64,
    position: u64,
    /// The trail of the entries that were read.
    trail: u64,
    /// How often it was emptied.
    emptied: u64,
}

/// A part of the log that is missing in the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// The chunk to read.
    pub chunk: ChunkName,
    /// The number of entries in force. Later entries are not read.
    until: u64,
}

/// A chunk is not what it must be. Perhaps the head has changed since it was read. If it
/// has not, the shared data is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

impl Replica {
    /// The anchors.
    pub fn anchors(&self) -> &RevokedAnchors {
        &self.anchors
    }

    /// Changes when the anchors are read anew. A walk through them must not go on then: it
    /// would leave some out.
    pub fn reading(&self) -> u64 {
        self.emptied
    }

    /// Removes expired anchors among the next `slots` slots of the table.
    pub fn sweep(&mut self, now_s: u32, slots: usize) {
        self.anchors.sweep(now_s, slots);
    }

    /// Whether the log has entries at this replica's positions that are not the ones it has
    /// read. Then an old record was put back, and others have written after it. The replica
    /// can neither follow such a log nor forget what it knows: the state must be read again.
    pub fn has_parted(&self, head: &LogHead) -> bool {
        let at = |len: u64, trail: u64| {
            self.position > len || (self.position == len && self.trail != trail)
        };
        match self.image {
            0 => false,
            image if image == head.image => at(head.len, head.trail),
            image if image == head.prev_image => at(head.prev_len, head.prev_trail),
            _ => false,
        }
    }

    /// What has to be read next to reach the head; `None` if the replica is there.
    pub fn lacking(&mut self, head: &LogHead) -> Option<Lacking> {
        if self.image != head.image {
            let follows = self.image != 0 && self.image == head.prev_image;
            if follows && self.position < head.prev_len {
                let set = 1_u64.wrapping_sub(head.set.min(1));
                return Some(Lacking {
                    chunk: ChunkName::at(self.image, set, self.position),
                    until: head.prev_len,
                });
            }
            self.image = head.image;
            if follows {
                // The replica has what the new image began with.
                self.position = head.base;
                self.trail = head.base_trail;
            } else {
                self.begin_again(head.len);
            }
        }
        (self.position < head.len).then(|| Lacking {
            chunk: ChunkName::at(self.image, head.set, self.position),
            until: head.len,
        })
    }

    /// Adds the entries of a missing chunk. Expired entries are left out.
    ///
    /// # Errors [`Damaged`]. Then no entry of the chunk was added.
    pub fn take(
        &mut self,
        lacking: Lacking,
        bytes: Option<&[u8]>,
        now_s: u32,
    ) -> Result<(), Damaged> {
        let start = lacking.chunk.start();
        let end = lacking
            .until
            .min(start.saturating_add(super::log::CHUNK_ENTRIES));
        let chunk = bytes
            .and_then(|bytes| Chunk::decode(lacking.chunk, bytes))
            .filter(|chunk| chunk.len() >= end.saturating_sub(start));
        let Some(chunk) = chunk else {
            // The chunks of a predecessor may be gone. The image in force has all
            // entries.
            self.image = 0;
            self.begin_again(0);
            return Err(Damaged);
        };
        let from = self.position.saturating_sub(start);
        for (id, expires) in chunk.entries(from, end.saturating_sub(start)) {
            self.trail = trail(self.trail, id, expires);
            if expires > now_s {
                self.anchors.insert(id, expires);
            }
        }
        self.position = end;
        Ok(())
    }

    /// An image that does not follow the known one is read from its beginning into an
    /// empty replica, so that a VM answers only from what the image has.
    fn begin_again(&mut self, entries: u64) {
        self.anchors = RevokedAnchors::with_room(usize::try_from(entries).unwrap_or(0));
        self.position = 0;
        self.trail = 0;
        self.emptied = self.emptied.wrapping_add(1);
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
