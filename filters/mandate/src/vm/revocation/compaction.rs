//! Compaction of the shared log. The holder of the lease writes a new image of the log
//! without the expired entries, and then puts it in force. Meanwhile nothing is polled
//! and nothing is swept.

use caracal_mandate::revocation::anchors::Position;
use caracal_mandate::revocation::log::{CHUNK_ENTRIES, Chunk, ChunkName, trail};

use crate::abi::hostcalls::Status;
use crate::vm::revocation::shared_log::{SLICE_CHUNKS, SharedLog, whole_seconds};
use crate::vm::time_slice::slice_exhausted;

/// Number of expired entries that a log may hold beyond a quarter of its live ones.
const SPARE_ENTRIES: u64 = CHUNK_ENTRIES.saturating_mul(8);

/// The part of the new image that is already written.
pub(crate) struct Compaction {
    lease: u64,
    image: u64,
    /// The replica's reading that it walks through.
    reading: u64,
    at: Option<Position>,
    len: u64,
    trail: u64,
}

/// Whether there is more to write.
enum Progress {
    More,
    /// The new image is in force, or another VM has the lease, or it cannot be written.
    /// In the last two cases the current log stays in force.
    Ended,
}

impl Compaction {
    pub(crate) fn new(log: &SharedLog, lease: u64, now_ms: u64) -> Self {
        Compaction {
            lease,
            image: log.head.new_image(now_ms),
            reading: log.replica.reading(),
            at: Some(Position::default()),
            len: 0,
            trail: 0,
        }
    }

    /// The lease under which it writes.
    pub(crate) fn lease(&self) -> u64 {
        self.lease
    }

    /// Whether too much of the log has expired.
    pub(crate) fn is_due(log: &SharedLog) -> bool {
        let live = u64::try_from(log.replica.anchors().len()).unwrap_or(u64::MAX);
        let spare = (live / 4).saturating_add(SPARE_ENTRIES);
        log.head.len > live.saturating_add(spare)
    }

    /// Writes as much as one callback has time for. Returns itself if there is more to
    /// write and the lease is still held.
    pub(crate) fn go_on(mut self, log: &mut SharedLog, now_ms: u64) -> Option<Self> {
        for _ in 0..SLICE_CHUNKS {
            if slice_exhausted(now_ms) {
                break;
            }
            match self.write_chunk(log, now_ms) {
                Ok(Progress::More) => {}
                Ok(Progress::Ended) | Err(Status(_)) => return None,
            }
        }
        // The next tick continues, under a lease that lasts until then.
        let renewed = log.head.renewed(now_ms, log.timing);
        let goes_on = log.head.holds(self.lease) && matches!(log.write_head(renewed), Ok(true));
        goes_on.then_some(self)
    }

    fn write_chunk(&mut self, log: &mut SharedLog, now_ms: u64) -> Result<Progress, Status> {
        // Another plugin can take the head away for a moment and put it back: then a request
        // has had the replica read anew, and its anchors stand in other places. An image of
        // both readings would lack some.
        if log.replica.reading() != self.reading {
            return Ok(Progress::Ended);
        }
        let Some(from) = self.at else {
            log.read_head()?;
            if !log.head.holds(self.lease) {
                return Ok(Progress::Ended);
            }
            let next = log.head.replaced(self.image, self.len, self.trail);
            log.write_head(next.released(now_ms))?;
            return Ok(Progress::Ended);
        };
        let full = usize::try_from(CHUNK_ENTRIES).unwrap_or(usize::MAX);
        let now_s = whole_seconds(now_ms);
        let (found, next) = log.replica.anchors().walk(from, now_s, full);
        let set = 1_u64.wrapping_sub(log.head.set.min(1));
        let name = ChunkName::at(self.image, set, self.len);
        let cas = log.store.chunk_version(name)?;
        log.read_head()?;
        if !log.head.holds(self.lease) {
            return Ok(Progress::Ended);
        }
        let mut chunk = Chunk::default();
        for (id, expires) in found {
            if chunk.push(id, expires) {
                self.trail = trail(self.trail, id, expires);
            }
        }
        if !chunk.is_empty() && !log.store.write_chunk(name, &chunk.encode(name), cas)? {
            return Ok(Progress::Ended);
        }
        self.len = self.len.saturating_add(chunk.len());
        self.at = next;
        Ok(Progress::More)
    }
}
