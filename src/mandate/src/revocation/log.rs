//! The log of revoked anchors in the proxy's shared data: entries in the order in which
//! they were learned, in chunks of a fixed size. Each chunk is a value of its own.
//!
//! An image is one such log. Entries are only appended to it. When too many of them have
//! expired, a new image is written into the other of two sets of chunks, and the head
//! then points there.

use siphasher::sip::SipHasher13;

use super::AnchorId;

/// Entries in a full chunk; 24 KiB.
pub const CHUNK_ENTRIES: u64 = 2048;
const ENTRY_BYTES: usize = 12;
const MAGIC: [u8; 4] = *b"CRL1";

/// Names a chunk of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkName {
    /// The image it must belong to.
    pub image: u64,
    /// The set of chunks that the image uses: 0 or 1.
    pub set: u64,
    /// Number of the chunk in the image, from 0.
    pub index: u64,
}

impl ChunkName {
    /// The chunk with the entry at this position of the image.
    pub fn at(image: u64, set: u64, position: u64) -> Self {
        ChunkName {
            image,
            set,
            index: position / CHUNK_ENTRIES,
        }
    }

    /// The position of its first entry.
    pub fn start(self) -> u64 {
        self.index.saturating_mul(CHUNK_ENTRIES)
    }
}

/// The trail after one more entry. A trail stands for all entries of an image from its
/// first on, in their order; no entries have the trail 0. A chunk and a head with good tags
/// may still be of different times. If an old one is put back, the trails differ.
#[inline]
pub fn trail(before: u64, id: AnchorId, expires_s: u32) -> u64 {
    SipHasher13::new_with_keys(before, u64::from(expires_s)).hash(&id.0.to_le_bytes())
}

/// A chunk as bytes.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    entries: Vec<u8>,
}

impl Chunk {
    /// Reads the chunk with that name. `None` if the bytes are those of another chunk or
    /// another version, or damaged.
    pub fn decode(name: ChunkName, bytes: &[u8]) -> Option<Self> {
        let ([image, index], entries) = crate::shared_record::decode::<2>(MAGIC, bytes)?;
        let fits = image == name.image && index == name.index;
        (fits && entries.len().is_multiple_of(ENTRY_BYTES)).then(|| Chunk {
            entries: entries.to_vec(),
        })
    }

    /// The bytes that [`Chunk::decode`] reads.
    pub fn encode(&self, name: ChunkName) -> Vec<u8> {
        crate::shared_record::encode(MAGIC, &[name.image, name.index], &self.entries)
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        u64::try_from(self.entries.len() / ENTRY_BYTES).unwrap_or(u64::MAX)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops the entries after the first `len`. A writer that lost its lease may have
    /// left entries that never came into force.
    pub fn truncate(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.entries.truncate(len.saturating_mul(ENTRY_BYTES));
    }

    /// Appends an entry; `false` if the chunk is full.
    pub fn push(&mut self, id: AnchorId, expires_s: u32) -> bool {
        if self.len() >= CHUNK_ENTRIES {
            return false;
        }
        self.entries.extend_from_slice(&id.0.to_le_bytes());
        self.entries.extend_from_slice(&expires_s.to_le_bytes());
        true
    }

    /// The entries from position `from` up to position `to`.
    pub fn entries(&self, from: u64, to: u64) -> impl Iterator<Item = (AnchorId, u32)> {
        let bound = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (entries, _) = self.entries.as_chunks::<ENTRY_BYTES>();
        let entries = entries.get(..bound(to).min(entries.len())).unwrap_or(&[]);
        entries.iter().skip(bound(from)).filter_map(|entry| {
            let (id, expires) = entry.split_first_chunk::<8>()?;
            let expires = expires.first_chunk::<4>()?;
            Some((
                AnchorId(u64::from_le_bytes(*id)),
                u32::from_le_bytes(*expires),
            ))
        })
    }
}

#[cfg(test)]
mod tests;
