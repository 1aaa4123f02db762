//! Writes what the companion sent into the shared log, for all VMs. Only the
//! holder of the lease does, and in this order: read the chunk, read the head and
//! see that the lease holds, write the chunk, write the head, each write against
//! the version read. So a holder that was overtaken at any point changes nothing
//! that counts: entries count when the head says so.

use caracal_mandate::revocation::AnchorId;
use caracal_mandate::revocation::anchors::Position;
use caracal_mandate::revocation::head::Head;
use caracal_mandate::revocation::log::{CHUNK_ENTRIES, Chunk, ChunkName};
use caracal_mandate::revocation::page::Page;

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::vm::revocation::poller::{RevocationFeed, SLICE_CHUNKS, slice_exhausted, whole_seconds};

/// Attempts when another VM writes meanwhile.
const ATTEMPTS: usize = 4;
/// An anchor stays this much longer than the companion said, in seconds: two
/// readings of one expiry differ by the time that the pages took, and one that is
/// a little later must not be written again.
const SLACK_S: u32 = 5;
/// Expired entries that a log may hold besides a quarter of its live ones.
const SPARE_ENTRIES: u64 = CHUNK_ENTRIES.saturating_mul(8);

/// What came of a page.
pub(crate) enum PublishOutcome {
    Done,
    /// The lease is lost: another VM polls.
    Lost,
    OverCapacity,
    Failed,
}

/// A chunk as it will be written.
struct PendingChunk {
    name: ChunkName,
    chunk: Chunk,
    cas: u32,
}

enum AppendOutcome {
    Committed,
    Retry,
    LeaseLost,
}

impl RevocationFeed {
    /// Appends what of a page is new, and changes the head with `finish`.
    pub(crate) fn publish(
        &mut self,
        lease: u64,
        page: &Page,
        now_ms: u64,
        finish: &dyn Fn(&mut Head),
    ) -> PublishOutcome {
        for _ in 0..ATTEMPTS {
            match self.catch_up(now_ms) {
                Ok(true) => {}
                // Too far behind to know what is news.
                Ok(false) | Err(_) => return PublishOutcome::Failed,
            }
            let entries = self.new_entries(page, now_ms);
            let known = self.replica.anchors();
            let new = entries
                .iter()
                .filter(|(id, _)| !known.is_known(*id))
                .count();
            let all = known.len().saturating_add(new);
            if all > self.max_anchors {
                return self.report_over_capacity(lease);
            }
            self.warn_near_capacity(all);
            match self.append(lease, &entries, page, now_ms, finish) {
                Ok(AppendOutcome::Committed) => {
                    let _ = self.catch_up(now_ms);
                    return PublishOutcome::Done;
                }
                Ok(AppendOutcome::Retry) => {}
                Ok(AppendOutcome::LeaseLost) => return PublishOutcome::Lost,
                Err(Status(_)) => return PublishOutcome::Failed,
            }
        }
        PublishOutcome::Failed
    }

    /// Says once, while there is time to act, that there will soon be too many.
    fn warn_near_capacity(&mut self, anchors: usize) {
        let full = self.max_anchors;
        if !self.capacity_warned && anchors > full.saturating_sub(full / 5) {
            self.capacity_warned = true;
            hostcalls::log(
                LogLevel::Warn,
                &format!(
                    "caracal: {anchors} anchors are revoked: beyond {full} (limits.max_anchors) every request that needs them is refused"
                ),
            );
        }
    }

    fn new_entries(&self, page: &Page, now_ms: u64) -> Vec<(AnchorId, u32)> {
        let now_s = whole_seconds(now_ms);
        let known = self.replica.anchors();
        page.anchors
            .iter()
            .map(|(id, ttl_s)| (*id, now_s.saturating_add((*ttl_s).min(self.keep_s))))
            .filter(|(id, expires)| *expires > now_s && known.would_change(*id, *expires))
            .map(|(id, expires)| (id, expires.saturating_add(SLACK_S)))
            .collect()
    }

    fn append(
        &mut self,
        lease: u64,
        entries: &[(AnchorId, u32)],
        page: &Page,
        now_ms: u64,
        finish: &dyn Fn(&mut Head),
    ) -> Result<AppendOutcome, Status> {
        let head = self.head;
        let pending_chunks = self.build_chunks(&head, entries)?;
        let moved = self.read_head()?;
        if !self.head.holds(lease) {
            return Ok(AppendOutcome::LeaseLost);
        }
        if moved {
            return Ok(AppendOutcome::Retry);
        }
        let Some(pending_chunks) = pending_chunks else {
            // Nobody else would notice: every VM has read it before it was spoiled.
            self.mark_damaged();
            return Ok(AppendOutcome::LeaseLost);
        };
        for pending_chunk in pending_chunks {
            let bytes = pending_chunk.chunk.encode(pending_chunk.name);
            if !self
                .store
                .write_chunk(pending_chunk.name, &bytes, pending_chunk.cas)?
            {
                return Ok(AppendOutcome::Retry);
            }
        }
        let mut next = head;
        let added = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        next.len = head.len.saturating_add(added);
        next.raise(page, now_ms);
        finish(&mut next);
        Ok(if self.write_head(next)? {
            AppendOutcome::Committed
        } else {
            AppendOutcome::Retry
        })
    }

    /// The chunks with the news in them; `None` when the log is not what the head
    /// says.
    fn build_chunks(
        &self,
        head: &Head,
        entries: &[(AnchorId, u32)],
    ) -> Result<Option<Vec<PendingChunk>>, Status> {
        let mut pending_chunks = Vec::new();
        let mut position = head.len;
        let mut entries = entries.iter().copied().peekable();
        while entries.peek().is_some() {
            let name = ChunkName::at(head.image, head.set, position);
            let (bytes, cas) = self.store.chunk_to_write(name)?;
            let kept = position.saturating_sub(name.start());
            let mut chunk = Chunk::default();
            if kept > 0 {
                match Chunk::decode(name, &bytes).filter(|chunk| chunk.len() >= kept) {
                    Some(known) => chunk = known,
                    None => return Ok(None),
                }
                chunk.truncate(kept);
            }
            while let Some((id, expires)) = entries.peek() {
                if !chunk.push(*id, *expires) {
                    break;
                }
                position = position.saturating_add(1);
                entries.next();
            }
            pending_chunks.push(PendingChunk { name, chunk, cas });
        }
        Ok(Some(pending_chunks))
    }

    /// Keeps the lease: the failure is reported under it.
    fn report_over_capacity(&mut self, lease: u64) -> PublishOutcome {
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() {
                return PublishOutcome::Failed;
            }
            if !self.head.holds(lease) {
                return PublishOutcome::Lost;
            }
            match self.write_head(self.head.overflowed()) {
                Ok(true) => return PublishOutcome::OverCapacity,
                Ok(false) => {}
                Err(_) => return PublishOutcome::Failed,
            }
        }
        PublishOutcome::Failed
    }

    /// Goes on writing a new image of what is alive, and puts it in force at the
    /// end.
    pub(crate) fn continue_compaction(&mut self, now_ms: u64) {
        let Some(mut compaction) = self.compaction.take() else {
            return;
        };
        for _ in 0..SLICE_CHUNKS {
            if slice_exhausted(now_ms) {
                break;
            }
            match self.compact_chunk(&mut compaction, now_ms) {
                Ok(AppendOutcome::Retry) => {}
                // In force, lost to another VM, or not to be written: the log
                // there is stays as good as it is.
                Ok(AppendOutcome::Committed | AppendOutcome::LeaseLost) | Err(Status(_)) => return,
            }
        }
        // It goes on in the next tick, under a lease that lasts until then.
        let renewed = self.head.renewed(now_ms, self.timing);
        if self.head.holds(compaction.lease) && matches!(self.write_head(renewed), Ok(true)) {
            self.compaction = Some(compaction);
        }
    }

    fn compact_chunk(
        &mut self,
        compaction: &mut Compaction,
        now_ms: u64,
    ) -> Result<AppendOutcome, Status> {
        let Some(from) = compaction.at else {
            self.read_head()?;
            if !self.head.holds(compaction.lease) {
                return Ok(AppendOutcome::LeaseLost);
            }
            let next = self.head.replaced(compaction.image, compaction.len);
            self.write_head(next.released(now_ms))?;
            return Ok(AppendOutcome::Committed);
        };
        let full = usize::try_from(CHUNK_ENTRIES).unwrap_or(usize::MAX);
        let (found, next) = self
            .replica
            .anchors()
            .walk(from, whole_seconds(now_ms), full);
        let set = 1_u64.wrapping_sub(self.head.set.min(1));
        let name = ChunkName::at(compaction.image, set, compaction.len);
        let (_, cas) = self.store.chunk_to_write(name)?;
        self.read_head()?;
        if !self.head.holds(compaction.lease) {
            return Ok(AppendOutcome::LeaseLost);
        }
        let mut chunk = Chunk::default();
        for (id, expires) in found {
            chunk.push(id, expires);
        }
        if !chunk.is_empty() && !self.store.write_chunk(name, &chunk.encode(name), cas)? {
            return Ok(AppendOutcome::LeaseLost);
        }
        compaction.len = compaction.len.saturating_add(chunk.len());
        compaction.at = next;
        Ok(AppendOutcome::Retry)
    }
}

/// A new image that this VM writes, without the expired entries of the log in
/// force. Nothing is polled and nothing swept meanwhile.
pub(crate) struct Compaction {
    lease: u64,
    image: u64,
    at: Option<Position>,
    len: u64,
}

impl Compaction {
    pub(crate) fn new(lease: u64, image: u64) -> Self {
        Compaction {
            lease,
            image,
            at: Some(Position::default()),
            len: 0,
        }
    }

    /// Whether too much of the log is of no use any more.
    pub(crate) fn is_due(feed: &RevocationFeed) -> bool {
        let live = u64::try_from(feed.replica.anchors().len()).unwrap_or(u64::MAX);
        let spare = (live / 4).saturating_add(SPARE_ENTRIES);
        feed.head.len > live.saturating_add(spare)
    }
}
