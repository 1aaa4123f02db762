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
            head.trail = trail(head.trail, AnchorId(id), 100);
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
    let mut next = head.replaced(2, 0, 0);
    shared.append(&mut next, 0..3);
    (next.base, next.base_trail) = (3, next.trail);
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

/// VMs that share a log, and a record that is put back between them.
#[test]
fn a_replica_does_not_follow_a_log_that_was_put_back() {
    let (mut shared, mut head) = (Shared::default(), image(1));
    let mut replica = Replica::default();
    shared.append(&mut head, 0..10);
    let (old, before) = (head, shared.0.clone());
    shared.append(&mut head, 10..12);
    assert_eq!(shared.read(&mut replica, &head), Ok(1));
    assert!(!replica.has_parted(&head));
    assert!(!replica.has_parted(&head.replaced(2, 10, 7)));
    // The old head alone, and then other entries after it, of which one is unknown.
    assert!(replica.has_parted(&old));
    let mut other = Shared(before);
    let mut fork = old;
    other.append(&mut fork, 20..22);
    assert!(replica.has_parted(&fork));
    other.append(&mut fork, 10..12);
    assert_eq!(other.read(&mut replica, &fork), Ok(1));
    assert!(replica.has_parted(&fork));
    // Its compaction does not hide it.
    assert!(replica.has_parted(&old.replaced(2, 10, 7)));
    assert!(!Replica::default().has_parted(&fork));
}

/// A writer that lost its lease has left entries in a chunk. Its chunk has a good tag, and is
/// put back after another writer has written others there.
#[test]
fn entries_that_never_came_into_force_are_not_taken_for_those_that_did() {
    let (mut shared, mut head) = (Shared::default(), image(1));
    shared.append(&mut head, 0..3);
    let (mut lost, mut never) = (Shared(shared.0.clone()), head);
    lost.append(&mut never, 7..8);
    shared.append(&mut head, 8..9);
    let mut replica = Replica::default();
    assert_eq!(lost.read(&mut replica, &head), Ok(1));
    assert!(replica.has_parted(&head));
    let mut right = Replica::default();
    assert_eq!(shared.read(&mut right, &head), Ok(1));
    assert!(!right.has_parted(&head));
}
