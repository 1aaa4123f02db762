//! Writes what the companion sent into the shared log, for all VMs. Only the holder of
//! the lease does this, in this order: read the chunk, read the head and check the lease,
//! write the chunk, write the head. Each write fails if the value has changed since it
//! was read, and entries are in force only when the head says so. So a holder that loses
//! the lease at any point changes nothing that is in force.

use caracal_mandate::config::Configuration;
use caracal_mandate::revocation::AnchorId;
use caracal_mandate::revocation::log::{Chunk, ChunkName, trail};
use caracal_mandate::revocation::log_head::LogHead;
use caracal_mandate::revocation::page::Page;

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::vm::revocation::log_store::max_anchor_life_s;
use crate::vm::revocation::shared_log::{ATTEMPTS, HeadUpdate, SharedLog, whole_seconds};

/// An anchor is kept this much longer than the companion says, in seconds. The companion
/// gives the remaining lifetime, so two pages give slightly different ends for one
/// anchor. This small difference must not make a new entry.
const SLACK_S: u32 = 5;

/// The result of writing a page.
pub(crate) enum PublishOutcome {
    Done,
    /// The lease is lost, and another VM polls.
    Lost,
    OverCapacity,
    Failed,
}

/// A chunk to be written, and the version that it replaces.
struct PendingChunk {
    name: ChunkName,
    chunk: Chunk,
    cas: u32,
}

/// The result of appending entries.
enum AppendOutcome {
    Committed,
    Retry,
    LeaseLost,
}

/// What the holder of the lease needs to append.
pub(crate) struct LogWriter {
    pub(crate) max_anchors: usize,
    /// The longest time for which an anchor is kept after it came, in seconds.
    max_life_s: u32,
    /// The log already says that the anchors come near their limit.
    capacity_warned: bool,
}

impl LogWriter {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        LogWriter {
            max_anchors: usize::try_from(configuration.limits.max_anchors).unwrap_or(usize::MAX),
            max_life_s: max_anchor_life_s(configuration).unwrap_or(u32::MAX),
            capacity_warned: false,
        }
    }

    /// Appends the new entries of a page, and changes the head with `finish`.
    pub(crate) fn publish(
        &mut self,
        log: &mut SharedLog,
        lease: u64,
        page: &Page,
        now_ms: u64,
        finish: &dyn Fn(&mut LogHead),
    ) -> PublishOutcome {
        for _ in 0..ATTEMPTS {
            match log.catch_up(now_ms) {
                Ok(true) => {}
                // This VM has not read enough of the log to know which entries are new.
                Ok(false) | Err(_) => return PublishOutcome::Failed,
            }
            let entries = self.new_entries(log, page, now_ms);
            let known = log.replica.anchors();
            let new = entries
                .iter()
                .filter(|(id, _)| !known.is_known(*id))
                .count();
            let all = known.len().saturating_add(new);
            if all > self.max_anchors {
                return report_over_capacity(log, lease);
            }
            self.warn_near_capacity(all);
            match append(log, lease, &entries, page, now_ms, finish) {
                Ok(AppendOutcome::Committed) => {
                    let _ = log.catch_up(now_ms);
                    return PublishOutcome::Done;
                }
                Ok(AppendOutcome::Retry) => {}
                Ok(AppendOutcome::LeaseLost) => return PublishOutcome::Lost,
                Err(Status(_)) => return PublishOutcome::Failed,
            }
        }
        PublishOutcome::Failed
    }

    /// Warns once, in time to act, that there will soon be too many anchors.
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

    /// The entries of a page that are not in the log, with their expiries.
    fn new_entries(&self, log: &SharedLog, page: &Page, now_ms: u64) -> Vec<(AnchorId, u32)> {
        let now_s = whole_seconds(now_ms);
        let known = log.replica.anchors();
        page.anchors
            .iter()
            .map(|(id, ttl_s)| (*id, now_s.saturating_add((*ttl_s).min(self.max_life_s))))
            .filter(|(id, expires)| *expires > now_s && known.would_change(*id, *expires))
            .map(|(id, expires)| (id, expires.saturating_add(SLACK_S)))
            .collect()
    }
}

/// Writes entries after the existing ones, and then the head.
fn append(
    log: &mut SharedLog,
    lease: u64,
    entries: &[(AnchorId, u32)],
    page: &Page,
    now_ms: u64,
    finish: &dyn Fn(&mut LogHead),
) -> Result<AppendOutcome, Status> {
    let head = log.head;
    let chunks = build_chunks(log, &head, entries)?;
    let moved = log.read_head()?;
    if !log.head.holds(lease) {
        return Ok(AppendOutcome::LeaseLost);
    }
    if moved {
        return Ok(AppendOutcome::Retry);
    }
    let Some(chunks) = chunks else {
        // Every VM read this chunk before it was damaged, so no other VM would notice.
        log.mark_damaged();
        return Ok(AppendOutcome::LeaseLost);
    };
    for pending in chunks {
        let bytes = pending.chunk.encode(pending.name);
        if !log.store.write_chunk(pending.name, &bytes, pending.cas)? {
            return Ok(AppendOutcome::Retry);
        }
    }
    let mut next = head;
    let added = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    next.len = head.len.saturating_add(added);
    let all = entries.iter();
    next.trail = all.fold(head.trail, |so_far, (id, end)| trail(so_far, *id, *end));
    let mut epochs = log.epochs.clone();
    epochs.raise(page, now_ms);
    finish(&mut next);
    Ok(if log.write_head_and_epochs(next, epochs)? {
        AppendOutcome::Committed
    } else {
        AppendOutcome::Retry
    })
}

/// The chunks that contain the new entries; `None` if the log is not what the head says.
fn build_chunks(
    log: &SharedLog,
    head: &LogHead,
    entries: &[(AnchorId, u32)],
) -> Result<Option<Vec<PendingChunk>>, Status> {
    let mut chunks = Vec::new();
    let mut position = head.len;
    let mut entries = entries.iter().copied().peekable();
    while entries.peek().is_some() {
        let name = ChunkName::at(head.image, head.set, position);
        let (bytes, cas) = log.store.chunk_to_write(name)?;
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
        chunks.push(PendingChunk { name, chunk, cas });
    }
    Ok(Some(chunks))
}

/// Notes that more anchors are revoked than may be held. The lease is kept, because the
/// failure is recorded under it.
fn report_over_capacity(log: &mut SharedLog, lease: u64) -> PublishOutcome {
    match log.update_head(lease, &|head| Some(head.overflowed())) {
        HeadUpdate::Written => PublishOutcome::OverCapacity,
        HeadUpdate::LeaseLost => PublishOutcome::Lost,
        HeadUpdate::Failed => PublishOutcome::Failed,
    }
}
