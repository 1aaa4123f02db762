//! Input: which record, then its bytes, to which a good checksum may be added, as
//! another version of the filter would. A record that is read is one that was
//! written, and a head that says nonsense costs no more than a bounded copy.

use std::sync::LazyLock;

use caracal_mandate::jwks::refresh::{Control, FetchTiming};
use caracal_mandate::revocation::AnchorId;
use caracal_mandate::revocation::log::{CHUNK_ENTRIES, Chunk, ChunkName};
use caracal_mandate::revocation::log_head::LogHead;
use caracal_mandate::revocation::replica::Replica;
use caracal_mandate::zone::ZoneIndex;

use crate::byte;

static IDS: LazyLock<Vec<AnchorId>> = LazyLock::new(|| {
    let numbers = 0..CHUNK_ENTRIES;
    numbers.map(|id| AnchorId::of(&id.to_string())).collect()
});
const NOW_S: u32 = 1_000_000;
const NOW_MS: u64 = 5_000_000;
const TIMING: FetchTiming = FetchTiming {
    timeout_ms: 5_000,
    ttl_ms: 300_000,
    max_stale_ms: 600_000,
    retry_ms: 1_000,
};

pub fn check(data: &[u8]) {
    let mut data = data;
    let mode = byte(&mut data);
    let mut bytes = data.to_vec();
    if mode & 1 != 0 {
        bytes.extend(crc32(data).to_le_bytes());
    }
    let name = ChunkName {
        image: u64::from(mode >> 4),
        set: 0,
        index: u64::from(mode >> 2 & 1),
    };
    if let Some(control) = Control::decode(&bytes) {
        // Flags are numbers there, so other numbers than 0 and 1 are read as 1.
        assert_eq!(Control::decode(&control.encode()), Some(control));
        let _ = (control.due(NOW_MS, true), control.without_key_set());
        let _ = (
            control.age_ms(NOW_MS),
            control.failed(NOW_MS, TIMING, NOW_MS, control.cause()),
        );
    }
    if let Some(chunk) = Chunk::decode(name, &bytes) {
        assert_eq!(chunk.encode(name), bytes);
        assert_eq!(chunk.entries(0, u64::MAX).count() as u64, chunk.len());
    }
    for zones in [1, 3] {
        let Some((head, epochs)) = LogHead::decode(&bytes, zones) else {
            continue;
        };
        let again = LogHead::decode(&head.encode(&epochs), zones);
        let _ = (head.age_ms(NOW_MS), epochs.of(ZoneIndex::FIRST, NOW_MS));
        assert_eq!(again, Some((head, epochs)));
        read_by(&head, &bytes, name);
    }
}

/// A VM that reads this head, and gets those bytes for whatever chunk it asks.
fn read_by(head: &LogHead, bytes: &[u8], name: ChunkName) {
    let mut replica = Replica::default();
    for _ in 0..4 {
        let Some(lacking) = replica.lacking(head) else {
            return;
        };
        let mut chunk = Chunk::decode(name, bytes).unwrap_or_default();
        for id in IDS.iter() {
            if !chunk.push(*id, NOW_S + 1) {
                break;
            }
        }
        let before = replica.anchors().len();
        let taken = replica.take(lacking, Some(&chunk.encode(lacking.chunk)), NOW_S);
        assert!(taken.is_err() || replica.anchors().len() >= before);
        // A million anchors at the most have room made for them beforehand.
        assert!(replica.anchors().bytes() <= 256 << 20);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
