//! What one VM has read of the log in shared data.

use super::anchors::RevokedAnchors;
use super::log::{Chunk, ChunkName};
use super::log_head::LogHead;

/// A VM's copy: the anchors, and the position in the log up to which they were read.
#[derive(Debug, Default)]
pub struct Replica {
    anchors: RevokedAnchors,
    image: u64,
    position: u64,
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

    /// Removes expired anchors among the next `slots` slots of the table.
    pub fn sweep(&mut self, now_s: u32, slots: usize) {
        self.anchors.sweep(now_s, slots);
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
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::AnchorId;
    use super::super::log::CHUNK_ENTRIES;
    use super::*;

    /// Shared data with several images, one after another.
    #[derive(Default)]
    struct Shared(BTreeMap<(u64, u64), Vec<u8>>);

    impl Shared {
        fn append(&mut self, head: &mut LogHead, ids: std::ops::Range<u64>) {
            for id in ids {
                let name = ChunkName::at(head.image, head.set, head.len);
                let old = self.0.get(&(name.set, name.index));
                let mut chunk = old
                    .and_then(|bytes| Chunk::decode(name, bytes))
                    .unwrap_or_default();
                assert!(chunk.push(AnchorId(id), 100));
                self.0.insert((name.set, name.index), chunk.encode(name));
                head.len += 1;
            }
        }

        fn read(&self, replica: &mut Replica, head: &LogHead) -> Result<usize, Damaged> {
            let mut chunks = 0;
            while let Some(lacking) = replica.lacking(head) {
                let bytes = self.0.get(&(lacking.chunk.set, lacking.chunk.index));
                replica.take(lacking, bytes.map(Vec::as_slice), 0)?;
                chunks += 1;
            }
            Ok(chunks)
        }
    }

    fn image(n: u64) -> LogHead {
        let mut head = LogHead::default();
        head.image = n;
        head
    }

    #[test]
    fn a_replica_follows_across_chunks_and_images() {
        let (mut shared, mut head) = (Shared::default(), image(1));
        let (mut one, mut late) = (Replica::default(), Replica::default());
        shared.append(&mut head, 0..10);
        assert_eq!(shared.read(&mut one, &head), Ok(1));
        assert_eq!(shared.read(&mut late, &head), Ok(1));
        shared.append(&mut head, 10..CHUNK_ENTRIES + 5);
        assert_eq!(shared.read(&mut one, &head), Ok(2));
        assert_eq!(shared.read(&mut one, &head), Ok(0));
        // A new image with the first three only, as if the others had expired.
        let mut next = head.replaced(2, 0);
        shared.append(&mut next, 0..3);
        next.base = 3;
        shared.append(&mut next, 9_000..9_002);
        assert_eq!(shared.read(&mut one, &next), Ok(1));
        assert_eq!(
            one.anchors().len(),
            usize::try_from(CHUNK_ENTRIES).unwrap() + 7
        );
        // A replica that was behind reads the rest of the predecessor, if it is still
        // there.
        let mut gone = Replica::default();
        assert_eq!(shared.read(&mut gone, &next), Ok(1));
        assert_eq!(gone.anchors().len(), 5);
        assert_eq!(shared.read(&mut late, &next), Ok(3));
        assert!(late.anchors().contains(AnchorId(CHUNK_ENTRIES + 4), 0));
        assert!(late.anchors().contains(AnchorId(9_001), 0));
    }

    #[test]
    fn what_does_not_count_is_not_read_and_what_is_damaged_is_not_believed() {
        let (mut shared, mut head) = (Shared::default(), image(1));
        shared.append(&mut head, 0..10);
        let mut short = head;
        short.len = 4;
        let mut replica = Replica::default();
        assert_eq!(shared.read(&mut replica, &short), Ok(1));
        assert_eq!(replica.anchors().len(), 4);
        let mut beyond = head;
        beyond.len = 11;
        assert_eq!(shared.read(&mut replica, &beyond), Err(Damaged));
        assert_eq!(replica.anchors().len(), 0);
        assert_eq!(shared.read(&mut replica, &head), Ok(1));
        if let Some(bytes) = shared.0.get_mut(&(0, 0)) {
            bytes[30] ^= 1;
        }
        assert_eq!(shared.read(&mut Replica::default(), &head), Err(Damaged));
        assert_eq!(
            shared.read(&mut replica, &head),
            Ok(0),
            "it has read it before"
        );
    }

    #[test]
    fn an_image_that_does_not_follow_is_read_from_its_beginning() {
        let (mut shared, mut head) = (Shared::default(), image(3));
        shared.append(&mut head, 0..2);
        let mut replica = Replica::default();
        assert_eq!(shared.read(&mut replica, &head), Ok(1));
        // After another predecessor, the entries it began with are not the known ones.
        let mut other = image(9);
        other.prev_image = 5;
        other.set = 1;
        shared.append(&mut other, 50..54);
        other.base = 4;
        assert_eq!(shared.read(&mut replica, &other), Ok(1));
        assert_eq!(replica.anchors().len(), 4);
        // The same if nothing is known, whatever predecessor it names.
        other.prev_image = 0;
        let mut cold = Replica::default();
        assert_eq!(shared.read(&mut cold, &other), Ok(1));
        assert_eq!(cold.anchors().len(), 4);
    }

    #[test]
    fn expired_anchors_leave_when_they_are_swept() {
        let (mut shared, mut head) = (Shared::default(), image(1));
        shared.append(&mut head, 0..3);
        let mut replica = Replica::default();
        assert_eq!(shared.read(&mut replica, &head), Ok(1));
        replica.sweep(99, 10_000);
        assert_eq!(replica.anchors().len(), 3);
        replica.sweep(100, 10_000);
        assert_eq!(replica.anchors().len(), 0);
        // An entry that has already expired is not added.
        let mut late = Replica::default();
        let lacking = late.lacking(&head).unwrap();
        let bytes = shared.0.get(&(0, 0)).map(Vec::as_slice);
        assert_eq!(late.take(lacking, bytes, 100), Ok(()));
        assert_eq!(late.anchors().len(), 0);
    }
}
