//! The revocation state in one VM: reads what all VMs share, answers from its
//! own copy, and, while it holds the lease, polls the companion for all of them.

use std::cell::RefCell;

use caracal_mandate::config::{Configuration, Feed as Settings};
use caracal_mandate::failure::Kind;
use caracal_mandate::revocation::head::{Head, Timing};
use caracal_mandate::revocation::page::{Cursor, MAX_ENTRIES, Page};
use caracal_mandate::revocation::replica::Replica;
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::abi::wasi;
use crate::vm::callouts::{self, CalloutFailure, CalloutResult, CompanionClient, companion_error};
use crate::vm::metrics::Metrics;
use crate::vm::revocation::log_writer::{Compaction, PublishOutcome};
use crate::vm::stores::RevocationLogStore;

/// Time that one callback spends on reading the log; the rest waits for the next.
pub(crate) const SLICE_MS: u64 = 5;
/// Chunks of the log that one callback reads, whatever the clock says.
pub(crate) const SLICE_CHUNKS: usize = 32;
/// Slots of the table that a tick looks at for expired anchors.
const SWEPT_SLOTS: usize = 4_096;
/// Times that a head may move on while the log is read.
const ATTEMPTS: usize = 4;

/// A poll that this VM has under way.
struct PendingPoll {
    lease: u64,
    token: Option<u32>,
    began_ms: u64,
    snapshot: bool,
}

/// A snapshot of which some pages are in the log. Only its last page makes the
/// cursor valid; what has been read counts at once.
struct SnapshotProgress {
    lease: u64,
    generation: Cursor,
    /// The companion's head when the first page was made: what came later is
    /// read from its feed.
    head: u64,
    confirmed_at_ms: u64,
    next: Cursor,
}

/// Why a piece of the log could not be taken in.
enum ReadError {
    /// The host said so.
    Status,
    /// The chunk is not what it must be; it should belong to this image.
    NotAsNamed(u64),
}

/// What to ask the companion.
pub(crate) struct PollRequest {
    pub(crate) path: String,
    pub(crate) timeout_ms: u64,
}

pub(crate) struct RevocationFeed {
    pub(crate) companion: CompanionClient,
    zone_id: String,
    pub(crate) timing: Timing,
    pub(crate) max_anchors: usize,
    /// The longest that an anchor is kept after it came, in seconds.
    pub(crate) keep_s: u32,
    /// It was said that they come near their limit.
    pub(crate) capacity_warned: bool,
    pub(crate) store: RevocationLogStore,
    /// The shared record as last read, its bytes, and the version to write against.
    pub(crate) head: Head,
    bytes: Vec<u8>,
    pub(crate) cas: u32,
    pub(crate) replica: Replica,
    /// When a decision last found everything there, on the monotonic clock.
    complete_ms: Option<u64>,
    /// The log did not hold what the head says.
    damaged: bool,
    pending_poll: Option<PendingPoll>,
    snapshot: Option<SnapshotProgress>,
    pub(crate) compaction: Option<Compaction>,
    /// A compaction was begun since the last poll.
    compaction_tried: bool,
}

/// Seconds of the monotonic clock, in which expiries in the log are written.
pub(crate) fn whole_seconds(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}

impl RevocationFeed {
    pub(crate) fn new(configuration: &Configuration, settings: &Settings) -> Self {
        RevocationFeed {
            companion: CompanionClient::new(settings),
            zone_id: configuration.zone_id.clone(),
            timing: Timing {
                poll_interval_ms: settings.poll_interval_ms,
                max_staleness_ms: settings.max_staleness_s.saturating_mul(1_000),
            },
            max_anchors: usize::try_from(configuration.limits.max_anchors).unwrap_or(usize::MAX),
            keep_s: max_anchor_life_s(configuration).unwrap_or(u32::MAX),
            capacity_warned: false,
            store: RevocationLogStore::new(configuration, settings),
            head: Head::default(),
            bytes: Vec::new(),
            cas: RevocationLogStore::CAS_UNWRITTEN,
            replica: Replica::default(),
            complete_ms: None,
            damaged: false,
            pending_poll: None,
            snapshot: None,
            compaction: None,
            compaction_tried: false,
        }
    }

    /// Reads the shared record. Whether it is another one than before.
    pub(crate) fn read_head(&mut self) -> Result<bool, Status> {
        let (bytes, cas) = self.store.head()?;
        self.cas = cas;
        if bytes == self.bytes {
            return Ok(false);
        }
        // One that is damaged is like none: nothing is confirmed, and whoever
        // polls next writes a new one.
        self.head = Head::decode(&bytes).unwrap_or_default();
        self.bytes = bytes;
        self.complete_ms = None;
        Ok(true)
    }

    /// Writes the record against the version last read; `false` when another VM
    /// wrote meanwhile.
    #[inline(never)]
    pub(crate) fn write_head(&mut self, head: Head) -> Result<bool, Status> {
        let bytes = head.encode();
        let written = self.store.write_head(&bytes, self.cas)?;
        if written {
            self.head = head;
            self.bytes = bytes;
            self.complete_ms = None;
        }
        Ok(written)
    }

    /// Reads the record, and what of the log this VM lacks, as far as the time for
    /// one callback goes. Whether it has everything.
    pub(crate) fn catch_up(&mut self, now_ms: u64) -> Result<bool, &'static str> {
        const UNREADABLE: &str = "The revocation state cannot be read";
        self.read_head().map_err(|_| UNREADABLE)?;
        for _ in 0..ATTEMPTS {
            let bad = match self.read_chunks(now_ms) {
                Ok(all) => return Ok(all),
                Err(ReadError::Status) => return Err(UNREADABLE),
                Err(ReadError::NotAsNamed(image)) => image,
            };
            // The log moved on, or it is damaged: the head tells. A predecessor's
            // chunks may be gone for good; then the image in force is read instead.
            let moved = self.read_head().map_err(|_| UNREADABLE)?;
            if !moved && bad == self.head.image {
                self.damaged = true;
                return Err("The revocation state is damaged");
            }
        }
        Ok(false)
    }

    fn read_chunks(&mut self, now_ms: u64) -> Result<bool, ReadError> {
        let mut chunks = 0;
        while let Some(lacking) = self.replica.lacking(&self.head) {
            if chunks >= SLICE_CHUNKS || slice_exhausted(now_ms) {
                return Ok(false);
            }
            chunks = chunks.saturating_add(1);
            let chunk = self.store.chunk(lacking.chunk);
            let chunk = chunk.map_err(|_| ReadError::Status)?;
            let bytes = chunk.as_ref().map(|chunk| chunk.value.as_slice());
            self.replica
                .take(lacking, bytes, whole_seconds(now_ms))
                .map_err(|_| ReadError::NotAsNamed(lacking.chunk.image))?;
        }
        Ok(true)
    }

    /// The log was found to be not what the head says: it is begun anew.
    pub(crate) fn mark_damaged(&mut self) {
        self.damaged = true;
    }

    /// Whether requests can be decided by what this VM knows now. The shared record
    /// is read once in a millisecond: what another VM has learnt counts that much
    /// later here, and a busy worker has tens of requests in one.
    pub(crate) fn availability(&mut self, now_ms: u64) -> Availability {
        if self.complete_ms != Some(now_ms) {
            self.complete_ms = None;
            match self.catch_up(now_ms) {
                Err(why) => return Availability::Unavailable(why),
                Ok(false) => return Availability::Pending,
                Ok(true) => self.complete_ms = Some(now_ms),
            }
        }
        if self.head.over_capacity {
            return Availability::Unavailable("More is revoked than this edge may hold");
        }
        match self.head.age_ms(now_ms) {
            Some(age) if age <= self.timing.max_staleness_ms => Availability::Ready,
            Some(_) => Availability::Unavailable("The revocation state is too old"),
            None if self.head.is_failing() => {
                Availability::Unavailable("The revocation state has not been read yet")
            }
            None => Availability::Pending,
        }
    }

    /// The part of a tick that is about revocation: the poll to make, if one is due.
    pub(crate) fn tick(&mut self, metrics: &mut Metrics, now_ms: u64) -> Option<PollRequest> {
        let synced = self.catch_up(now_ms) == Ok(true);
        if std::mem::take(&mut self.damaged) {
            self.reset_damaged_log(now_ms);
            return None;
        }
        if !synced {
            return None;
        }
        if self.compaction.is_some() {
            self.continue_compaction(now_ms);
            return None;
        }
        self.replica.sweep(whole_seconds(now_ms), SWEPT_SLOTS);
        if self.head.turned(now_ms, self.timing).is_some() {
            self.log_turn(now_ms);
        }
        self.poll(metrics, now_ms)
    }

    /// Says that requests begin or cease to be refused for want of a fresh state: once
    /// for all VMs, by the one that writes it down.
    #[cold]
    fn log_turn(&mut self, now_ms: u64) {
        let Some((next, turn)) = self.head.turned(now_ms, self.timing) else {
            return;
        };
        let why = next.cause().words();
        let age_ms = next.age_ms(now_ms);
        if !matches!(self.write_head(next), Ok(true)) {
            return;
        }
        let limit_s = self.timing.max_staleness_ms / 1_000;
        callouts::log_refusal_turn(
            turn,
            "revocation state",
            &self.companion.upstream,
            why,
            age_ms,
            &format!("{limit_s} s (revocation.max_staleness_s)"),
        );
    }

    fn poll(&mut self, metrics: &mut Metrics, now_ms: u64) -> Option<PollRequest> {
        if let Some(pending_poll) = &self.pending_poll {
            let late = now_ms.saturating_sub(pending_poll.began_ms)
                > self.timing.timeout_ms().saturating_add(1_000);
            if !late {
                return None;
            }
            // Some answers never come; the lease has gone by now.
            self.pending_poll = None;
            self.snapshot = None;
            metrics.feed_poll("error");
        }
        let goes_on = self
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.lease)
            .filter(|lease| self.head.holds(*lease));
        let lease = match goes_on {
            Some(lease) => lease,
            None => {
                self.snapshot = None;
                if !self.head.is_due(now_ms) {
                    return None;
                }
                let (leased, lease) = self.head.leased(now_ms, self.timing);
                // Another VM was faster: its poll serves this one too.
                if !matches!(self.write_head(leased), Ok(true)) {
                    return None;
                }
                lease
            }
        };
        // After one that came to nothing the companion is asked first: polls must
        // not stop because rebuilding does not succeed.
        let again = std::mem::take(&mut self.compaction_tried);
        if goes_on.is_none() && !again && Compaction::is_due(self) {
            self.compaction_tried = true;
            self.compaction = Some(Compaction::new(lease, self.head.new_image(now_ms)));
            return None;
        }
        let snapshot = self.head.generation.is_empty();
        let path = if snapshot {
            let cursor = self.snapshot.as_ref().map(|snapshot| snapshot.next);
            match cursor {
                Some(cursor) => {
                    format!("/v1/snapshot?cursor={}&max={MAX_ENTRIES}", cursor.as_str())
                }
                None => format!("/v1/snapshot?max={MAX_ENTRIES}"),
            }
        } else {
            format!(
                "/v1/feed?generation={}&after={}&wait_ms={}&max={MAX_ENTRIES}",
                self.head.generation.as_str(),
                self.head.cursor,
                self.timing.wait_ms(),
            )
        };
        self.pending_poll = Some(PendingPoll {
            lease,
            token: None,
            began_ms: now_ms,
            snapshot,
        });
        Some(PollRequest {
            path,
            timeout_ms: self.timing.timeout_ms(),
        })
    }

    /// The call's token, by which its answer is known.
    pub(crate) fn set_poll_token(&mut self, token: u32) {
        if let Some(pending_poll) = &mut self.pending_poll {
            pending_poll.token = Some(token);
        }
    }

    /// Whether an answer is to the poll under way.
    pub(crate) fn is_pending_poll(&self, token: u32) -> bool {
        self.pending_poll
            .as_ref()
            .is_some_and(|pending_poll| pending_poll.token == Some(token))
    }

    /// The poll was answered with a status and a body, or failed for a reason in
    /// words.
    pub(crate) fn on_poll_response(
        &mut self,
        answer: CalloutResult,
        metrics: &mut Metrics,
        now_ms: u64,
    ) {
        let Some(pending_poll) = self.pending_poll.take() else {
            return;
        };
        let result = match answer {
            Ok((200, body)) => self.apply_page(&pending_poll, &body, now_ms),
            // The companion has lost that log, or is another one.
            Ok((410, _)) if !pending_poll.snapshot => {
                self.restart_from_snapshot(pending_poll.lease, now_ms);
                Ok("gone")
            }
            Ok((status, body)) => Err(companion_error(status, &body)),
            Err(why) => Err(why),
        };
        match result {
            Ok(result) => metrics.feed_poll(result),
            Err(why) => {
                self.snapshot = None;
                metrics.feed_poll("error");
                self.record_failure(pending_poll.lease, &why, now_ms);
            }
        }
    }

    /// The proxy did not take the call: it is made again soon, or has failed.
    #[cold]
    pub(crate) fn poll_dispatch_failed(&mut self, metrics: &mut Metrics, now_ms: u64) {
        let lease = self
            .pending_poll
            .as_ref()
            .map(|pending_poll| pending_poll.lease);
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() || !lease.is_some_and(|lease| self.head.holds(lease)) {
                break;
            }
            let Some(next) = self.head.again(now_ms) else {
                break;
            };
            match self.write_head(next) {
                Ok(false) => {}
                Ok(true) => {
                    self.pending_poll = None;
                    self.snapshot = None;
                    return;
                }
                Err(_) => break,
            }
        }
        self.on_poll_response(Err(CalloutFailure::dispatch_failed()), metrics, now_ms);
    }

    fn apply_page(
        &mut self,
        pending_poll: &PendingPoll,
        body: &[u8],
        now_ms: u64,
    ) -> Result<&'static str, CalloutFailure> {
        let after = if pending_poll.snapshot {
            0
        } else {
            self.head.cursor
        };
        let page = Page::parse(body, after, &self.zone_id)
            .map_err(|why| CalloutFailure::new(Kind::Unreadable, why.to_string()))?;
        // As old as it can be: the companion made it after it was asked.
        let confirmed_at_ms = pending_poll.began_ms.saturating_sub(page.confirmed_age_ms);
        if pending_poll.snapshot {
            return self.apply_snapshot_page(pending_poll, &page, confirmed_at_ms, now_ms);
        }
        if page.generation != self.head.generation {
            self.restart_from_snapshot(pending_poll.lease, now_ms);
            return Ok("gone");
        }
        let published = self.publish(pending_poll.lease, &page, now_ms, &|head| {
            head.cursor = page.last.filter(|_| page.more).unwrap_or(page.head);
            if !page.more {
                head.confirm(confirmed_at_ms);
            }
            *head = head.answered().released(now_ms);
        });
        self.poll_result(published)
    }

    fn apply_snapshot_page(
        &mut self,
        pending_poll: &PendingPoll,
        page: &Page,
        confirmed_at_ms: u64,
        now_ms: u64,
    ) -> Result<&'static str, CalloutFailure> {
        let mut snapshot = self.snapshot.take().unwrap_or(SnapshotProgress {
            lease: pending_poll.lease,
            generation: page.generation,
            head: page.head,
            confirmed_at_ms,
            next: Cursor::default(),
        });
        if snapshot.generation != page.generation {
            self.restart_from_snapshot(pending_poll.lease, now_ms);
            return Ok("gone");
        }
        if page.more && page.next.is_empty() {
            return Err(CalloutFailure::new(
                Kind::Unreadable,
                "the snapshot says that there is more, and not where",
            ));
        }
        let timing = self.timing;
        let last = page.next.is_empty();
        let published = self.publish(pending_poll.lease, page, now_ms, &|head| {
            *head = head.answered();
            if last {
                head.generation = snapshot.generation;
                head.cursor = snapshot.head;
                head.over_capacity = false;
                head.confirm(snapshot.confirmed_at_ms);
                *head = head.released(now_ms);
            } else {
                *head = head.renewed(now_ms, timing);
            }
        });
        let went_well = matches!(published, PublishOutcome::Done);
        // While everybody is refused for what the companion does not know, this would
        // sound as if all were well.
        if went_well && last && self.head.is_fresh(now_ms, self.timing) {
            let held = self.replica.anchors().len();
            hostcalls::log(
                LogLevel::Info,
                &format!("caracal: revocations read: {held} anchors held"),
            );
        }
        if went_well && !last {
            snapshot.next = page.next;
            self.snapshot = Some(snapshot);
        }
        self.poll_result(published)
    }

    fn poll_result(&self, published: PublishOutcome) -> Result<&'static str, CalloutFailure> {
        match published {
            PublishOutcome::Done => Ok("ok"),
            // Another VM took over; what it writes counts.
            PublishOutcome::Lost => Ok("lost"),
            PublishOutcome::OverCapacity => Err(CalloutFailure::new(
                Kind::Capacity,
                format!(
                    "more than {} anchors are revoked (limits.max_anchors): every request that needs them is refused",
                    self.max_anchors
                ),
            )),
            PublishOutcome::Failed => Err(CalloutFailure::new(
                Kind::Unshared,
                "the state cannot be shared",
            )),
        }
    }

    /// Forgets the companion's log, and gives the lease back.
    fn restart_from_snapshot(&mut self, lease: u64, now_ms: u64) {
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() || !self.head.holds(lease) {
                return;
            }
            match self.write_head(self.head.gone(now_ms)) {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
        }
    }

    #[inline(never)]
    fn record_failure(&mut self, lease: u64, why: &CalloutFailure, now_ms: u64) {
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() || !self.head.holds(lease) {
                break;
            }
            let (next, log) = self.head.failed(now_ms, self.timing, why.cause());
            match self.write_head(next) {
                Ok(false) => continue,
                Ok(true) if log => hostcalls::log(
                    LogLevel::Error,
                    &format!(
                        "caracal: revocations not read from {}: {}",
                        self.companion.upstream, why.words
                    ),
                ),
                Ok(true) | Err(_) => {}
            }
            break;
        }
    }

    /// Begins a new log in place of one that is damaged. Until the companion's
    /// whole state is in it, nothing is confirmed and requests are refused.
    fn reset_damaged_log(&mut self, now_ms: u64) {
        let reset = self.head.reset(now_ms);
        if matches!(self.write_head(reset), Ok(true)) {
            hostcalls::log(
                LogLevel::Error,
                "caracal: the shared revocation state is damaged and read anew: does another plugin write under this vm_id?",
            );
        }
    }

    pub(crate) fn report(&self, metrics: &mut Metrics, since_start_ms: u64, now_ms: u64) {
        metrics.revocation_anchors(self.replica.anchors().len());
        metrics.revocation_age(self.head.age_ms(now_ms).unwrap_or(since_start_ms));
    }
}

/// The longest that an anchor is kept, where the life of mandates is bounded: none
/// outlives that, and clocks may differ twice, when it was issued and where it is
/// judged.
pub(crate) fn max_anchor_life_s(configuration: &Configuration) -> Option<u32> {
    let skew_s = configuration.clock_skew_s.saturating_mul(2);
    let longest = configuration.limits.max_lifetime_s?;
    u32::try_from(longest.saturating_add(skew_s)).ok()
}

/// Whether a callback that began at `began_ms` has had its time.
pub(crate) fn slice_exhausted(began_ms: u64) -> bool {
    wasi::monotonic_ms().is_none_or(|now| now.saturating_sub(began_ms) > SLICE_MS)
}

/// The state as one decision sees it. It is read when row 12 asks, so that a
/// request refused before costs nothing and never depends on it.
pub(crate) struct LogView<'a> {
    pub(crate) feed: &'a RefCell<RevocationFeed>,
    pub(crate) now_ms: u64,
}

impl RevocationView for LogView<'_> {
    fn availability(&self) -> Availability {
        match self.feed.try_borrow_mut() {
            Ok(mut feed) => feed.availability(self.now_ms),
            Err(_) => Availability::Unavailable("The edge is busy with itself"),
        }
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        let now_s = whole_seconds(self.now_ms);
        self.feed
            .try_borrow()
            .map_or(true, |feed| feed.replica.anchors().contains(anchor, now_s))
    }

    fn delegation_epoch(&self) -> u64 {
        self.feed
            .try_borrow()
            .map_or(u64::MAX, |feed| feed.head.delegation_epoch(self.now_ms))
    }
}
