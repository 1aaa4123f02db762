use super::*;

const NAME: ChunkName = ChunkName {
    image: 7,
    set: 1,
    index: 3,
};

fn chunk(entries: u64) -> Chunk {
    let mut chunk = Chunk::default();
    for n in 0..entries {
        assert!(chunk.push(AnchorId(n), 9));
    }
    chunk
}

#[test]
fn a_chunk_is_read_under_its_own_name_only() {
    let bytes = chunk(2).encode(NAME);
    let read = |name: ChunkName| Chunk::decode(name, &bytes).map(|chunk| chunk.len());
    assert_eq!(read(NAME), Some(2));
    assert_eq!(read(ChunkName { image: 8, ..NAME }), None);
    assert_eq!(read(ChunkName { index: 4, ..NAME }), None);
    // Part of an entry after the last one; no version writes that.
    let odd = crate::shared_record::encode(MAGIC, &[NAME.image, NAME.index], &[0; 13]);
    assert!(Chunk::decode(NAME, &odd).is_none());
    // A complete chunk of another image.
    let other = crate::shared_record::encode(MAGIC, &[8, 4], &[0; 12]);
    assert!(Chunk::decode(NAME, &other).is_none());
}

#[test]
fn a_chunk_holds_so_many_entries_and_loses_those_behind() {
    let mut full = chunk(CHUNK_ENTRIES);
    assert_eq!(full.len(), CHUNK_ENTRIES);
    assert!(!full.push(AnchorId(1), 1));
    full.truncate(2);
    assert_eq!((full.len(), full.is_empty()), (2, false));
    let entries: Vec<_> = full.entries(1, 9).collect();
    assert_eq!(entries, [(AnchorId(1), 9)]);
    full.truncate(3);
    assert_eq!(full.len(), 2);
    full.truncate(0);
    assert!(full.is_empty() && Chunk::default().is_empty());
}

#[test]
fn an_entry_stands_in_the_chunk_of_its_position() {
    let name = ChunkName::at(7, 1, 3 * CHUNK_ENTRIES + 5);
    assert_eq!((name, name.start()), (NAME, 3 * CHUNK_ENTRIES));
}
