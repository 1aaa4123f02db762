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

use crate::abi::hostcalls::{self, Failed, Level};
use crate::vm::revocation::poller::{Feed, SLICE_CHUNKS, is_over, seconds};

/// Attempts when another VM writes meanwhile.
const ATTEMPTS: usize = 4;
/// An anchor stays this much longer than the companion said, in seconds: two
/// readings of one expiry differ by the time that the pages took, and one that is
/// a little later must not be written again.
const SLACK_S: u32 = 5;
/// Expired entries that a log may hold besides a quarter of its live ones.
const SPARE_ENTRIES: u64 = CHUNK_ENTRIES.saturating_mul(8);

/// What came of a page.
pub(crate) enum Published {
    Done,
    /// The lease is lost: another VM polls.
    Lost,
    OverCapacity,
    Failed,
}

/// A chunk as it will be written.
struct Draft {
    name: ChunkName,
    chunk: Chunk,
    cas: u32,
}

enum Step {
    Done,
    Again,
    Lost,
}

impl Feed {
    /// Appends what of a page is news, and changes the head with `finish`.
    pub(crate) fn publish(
        &mut self,
        lease: u64,
        page: &Page,
        now_ms: u64,
        finish: &dyn Fn(&mut Head),
    ) -> Published {
        for _ in 0..ATTEMPTS {
            match self.sync(now_ms) {
                Ok(true) => {}
                // Too far behind to know what is news.
                Ok(false) | Err(_) => return Published::Failed,
            }
            let news = self.news(page, now_ms);
            let known = self.replica.anchors();
            let new = news.iter().filter(|(id, _)| !known.is_known(*id)).count();
            let all = known.len().saturating_add(new);
            if all > self.max_anchors {
                return self.overflow(lease);
            }
            self.warn_of_crowd(all);
            match self.append(lease, &news, page, now_ms, finish) {
                Ok(Step::Done) => {
                    let _ = self.sync(now_ms);
                    return Published::Done;
                }
                Ok(Step::Again) => {}
                Ok(Step::Lost) => return Published::Lost,
                Err(Failed(_)) => return Published::Failed,
            }
        }
        Published::Failed
    }

    /// Says once, while there is time to act, that there will soon be too many.
    fn warn_of_crowd(&mut self, anchors: usize) {
        let full = self.max_anchors;
        if !self.crowded && anchors > full.saturating_sub(full / 5) {
            self.crowded = true;
            hostcalls::log(
                Level::Warn,
                &format!(
                    "caracal: {anchors} anchors are revoked: beyond {full} (limits.max_anchors) every request that needs them is refused"
                ),
            );
        }
    }

    fn news(&self, page: &Page, now_ms: u64) -> Vec<(AnchorId, u32)> {
        let now_s = seconds(now_ms);
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
        news: &[(AnchorId, u32)],
        page: &Page,
        now_ms: u64,
        finish: &dyn Fn(&mut Head),
    ) -> Result<Step, Failed> {
        let head = self.head;
        let drafts = self.drafts(&head, news)?;
        let moved = self.read_head()?;
        if !self.head.holds(lease) {
            return Ok(Step::Lost);
        }
        if moved {
            return Ok(Step::Again);
        }
        let Some(drafts) = drafts else {
            // Nobody else would notice: every VM has read it before it was spoiled.
            self.is_damaged();
            return Ok(Step::Lost);
        };
        for draft in drafts {
            let bytes = draft.chunk.encode(draft.name);
            if !self.store.write_chunk(draft.name, &bytes, draft.cas)? {
                return Ok(Step::Again);
            }
        }
        let mut next = head;
        let added = u64::try_from(news.len()).unwrap_or(u64::MAX);
        next.len = head.len.saturating_add(added);
        next.raise(page, now_ms);
        finish(&mut next);
        Ok(if self.write_head(next)? {
            Step::Done
        } else {
            Step::Again
        })
    }

    /// The chunks with the news in them; `None` when the log is not what the head
    /// says.
    fn drafts(&self, head: &Head, news: &[(AnchorId, u32)]) -> Result<Option<Vec<Draft>>, Failed> {
        let mut drafts = Vec::new();
        let mut position = head.len;
        let mut news = news.iter().copied().peekable();
        while news.peek().is_some() {
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
            while let Some((id, expires)) = news.peek() {
                if !chunk.push(*id, *expires) {
                    break;
                }
                position = position.saturating_add(1);
                news.next();
            }
            drafts.push(Draft { name, chunk, cas });
        }
        Ok(Some(drafts))
    }

    /// Keeps the lease: the failure is reported under it.
    fn overflow(&mut self, lease: u64) -> Published {
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() {
                return Published::Failed;
            }
            if !self.head.holds(lease) {
                return Published::Lost;
            }
            match self.write_head(self.head.overflowed()) {
                Ok(true) => return Published::OverCapacity,
                Ok(false) => {}
                Err(_) => return Published::Failed,
            }
        }
        Published::Failed
    }

    /// Goes on writing a new image of what is alive, and puts it in force at the
    /// end.
    pub(crate) fn rebuild_on(&mut self, now_ms: u64) {
        let Some(mut rebuild) = self.rebuild.take() else {
            return;
        };
        for _ in 0..SLICE_CHUNKS {
            if is_over(now_ms) {
                break;
            }
            match self.rebuild_chunk(&mut rebuild, now_ms) {
                Ok(Step::Again) => {}
                // In force, lost to another VM, or not to be written: the log
                // there is stays as good as it is.
                Ok(Step::Done | Step::Lost) | Err(Failed(_)) => return,
            }
        }
        // It goes on in the next tick, under a lease that lasts until then.
        let renewed = self.head.renewed(now_ms, self.timing);
        if self.head.holds(rebuild.lease) && matches!(self.write_head(renewed), Ok(true)) {
            self.rebuild = Some(rebuild);
        }
    }

    fn rebuild_chunk(&mut self, rebuild: &mut Rebuild, now_ms: u64) -> Result<Step, Failed> {
        let Some(from) = rebuild.at else {
            self.read_head()?;
            if !self.head.holds(rebuild.lease) {
                return Ok(Step::Lost);
            }
            let next = self.head.replaced(rebuild.image, rebuild.len);
            self.write_head(next.released(now_ms))?;
            return Ok(Step::Done);
        };
        let full = usize::try_from(CHUNK_ENTRIES).unwrap_or(usize::MAX);
        let (found, next) = self.replica.anchors().walk(from, seconds(now_ms), full);
        let set = 1_u64.wrapping_sub(self.head.set.min(1));
        let name = ChunkName::at(rebuild.image, set, rebuild.len);
        let (_, cas) = self.store.chunk_to_write(name)?;
        self.read_head()?;
        if !self.head.holds(rebuild.lease) {
            return Ok(Step::Lost);
        }
        let mut chunk = Chunk::default();
        for (id, expires) in found {
            chunk.push(id, expires);
        }
        if !chunk.is_empty() && !self.store.write_chunk(name, &chunk.encode(name), cas)? {
            return Ok(Step::Lost);
        }
        rebuild.len = rebuild.len.saturating_add(chunk.len());
        rebuild.at = next;
        Ok(Step::Again)
    }
}

/// A new image that this VM writes, without the expired entries of the log in
/// force. Nothing is polled and nothing swept meanwhile.
pub(crate) struct Rebuild {
    lease: u64,
    image: u64,
    at: Option<Position>,
    len: u64,
}

impl Rebuild {
    pub(crate) fn new(lease: u64, image: u64) -> Self {
        Rebuild {
            lease,
            image,
            at: Some(Position::default()),
            len: 0,
        }
    }

    /// Whether too much of the log is of no use any more.
    pub(crate) fn is_due(feed: &Feed) -> bool {
        let live = u64::try_from(feed.replica.anchors().len()).unwrap_or(u64::MAX);
        let spare = (live / 4).saturating_add(SPARE_ENTRIES);
        feed.head.len > live.saturating_add(spare)
    }
}
