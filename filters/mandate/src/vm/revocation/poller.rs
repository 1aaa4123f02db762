//! Polls the companion for revocations. Every VM reads the shared log. The holder of its
//! lease polls for all and appends what comes.

use std::cell::Cell;

use caracal_mandate::config::{Configuration, Feed as Settings};
use caracal_mandate::fetch_failure::Kind;
use caracal_mandate::revocation::log_head::PollTiming;
use caracal_mandate::revocation::page::{Cursor, Page};
use caracal_mandate::zone::Zones;

use crate::abi::hostcalls::{self, LogLevel};
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::callouts::{CompanionClient, companion_error};
use crate::vm::dependency_log;
use crate::vm::metrics::Metrics;
use crate::vm::revocation::begun::{PendingPoll, SnapshotProgress, feed_path, snapshot_path};
use crate::vm::revocation::compaction::Compaction;
use crate::vm::revocation::log_store::RevocationLogStore;
use crate::vm::revocation::log_writer::{LogWriter, PublishOutcome};
use crate::vm::revocation::shared_log::{HeadUpdate, SharedLog, whole_seconds};

/// How many slots of the table a tick searches for expired anchors.
const SWEPT_SLOTS: usize = 4_096;

/// The revocation state in one VM, and this VM's part in polling for it.
pub(crate) struct RevocationFeed {
    companion: CompanionClient,
    zones: Zones,
    pub(super) log: SharedLog,
    writer: LogWriter,
    pub(super) pending_poll: Option<PendingPoll>,
    pub(super) snapshot: Option<SnapshotProgress>,
    pub(super) compaction: Option<Compaction>,
    /// A compaction has begun since the last poll.
    compaction_tried: bool,
}

impl RevocationFeed {
    pub(crate) fn new(configuration: &Configuration, settings: &Settings, zones: &Zones) -> Self {
        let timing = PollTiming {
            poll_interval_ms: settings.poll_interval_ms,
            max_staleness_ms: settings.max_staleness_s.saturating_mul(1_000),
        };
        let store = RevocationLogStore::new(configuration, settings, zones);
        RevocationFeed {
            companion: CompanionClient::new(settings),
            zones: zones.clone(),
            log: SharedLog::new(store, timing, zones.len()),
            writer: LogWriter::new(configuration),
            pending_poll: None,
            snapshot: None,
            compaction: None,
            compaction_tried: false,
        }
    }

    /// Polls the companion if that is due, and continues what is under way.
    pub(crate) fn on_tick(&mut self, metrics: &mut Metrics, now_ms: u64) {
        let Some(path) = self.next_poll(metrics, now_ms) else {
            return;
        };
        let timeout_ms = self.log.timing.timeout_ms();
        match self.companion.fetch_page(&path, timeout_ms) {
            Ok(token) => {
                if let Some(poll) = &mut self.pending_poll {
                    poll.token = Some(token);
                }
            }
            Err(_) => self.dispatch_failed(metrics, now_ms),
        }
    }

    /// The path of the poll that is due.
    fn next_poll(&mut self, metrics: &mut Metrics, now_ms: u64) -> Option<String> {
        let has_everything = self.log.catch_up(now_ms) == Ok(true);
        self.log.begin(now_ms);
        if self.log.take_damaged() {
            self.log.reset_damaged(now_ms);
            return None;
        }
        if !has_everything {
            return None;
        }
        if let Some(compaction) = self.compaction.take() {
            self.compaction = compaction.go_on(&mut self.log, now_ms);
            return None;
        }
        self.log.replica.sweep(whole_seconds(now_ms), SWEPT_SLOTS);
        let turned = self.log.head.turned(now_ms, self.log.timing).is_some();
        if turned && !self.log.is_left_over(now_ms) {
            self.log_turn(now_ms);
        }
        self.poll(metrics, now_ms)
    }

    /// Logs when requests begin or stop to be refused because the state is too old. Only
    /// the VM that writes this into the shared head logs it.
    #[cold]
    fn log_turn(&mut self, now_ms: u64) {
        let Some((next, turn)) = self.log.head.turned(now_ms, self.log.timing) else {
            return;
        };
        let why = next.cause().words();
        let age_ms = next.age_ms(now_ms);
        if !matches!(self.log.write_head(next), Ok(true)) {
            return;
        }
        let limit_s = self.log.timing.max_staleness_ms / 1_000;
        dependency_log::refusal_turn(
            turn,
            "revocation state",
            &self.companion.upstream,
            why,
            age_ms,
            &format!("{limit_s} s (revocation.max_staleness_s)"),
        );
    }

    fn poll(&mut self, metrics: &mut Metrics, now_ms: u64) -> Option<String> {
        if let Some(pending_poll) = &self.pending_poll {
            let late = now_ms.saturating_sub(pending_poll.began_ms)
                > self.log.timing.timeout_ms().saturating_add(1_000);
            if !late {
                return None;
            }
            // Some responses never come. The lease has expired by now.
            self.pending_poll = None;
            self.snapshot = None;
            metrics.feed_poll("error");
        }
        let goes_on = self
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.lease)
            .filter(|lease| self.log.head.holds(*lease));
        let lease = match goes_on {
            Some(lease) => lease,
            None => {
                self.snapshot = None;
                self.log.take_lease(now_ms)?
            }
        };
        // After a failed compaction, poll first: repeated failures must not stop polls.
        let again = std::mem::take(&mut self.compaction_tried);
        if goes_on.is_none() && !again && Compaction::is_due(&self.log) {
            self.compaction_tried = true;
            self.compaction = Some(Compaction::new(&self.log, lease, now_ms));
            return None;
        }
        let snapshot = self.log.head.generation.is_empty();
        let path = match snapshot {
            true => snapshot_path(self.snapshot.as_ref()),
            false => feed_path(&self.log),
        };
        self.pending_poll = Some(PendingPoll {
            lease,
            token: None,
            began_ms: now_ms,
            snapshot,
        });
        Some(path)
    }

    /// Whether a response belongs to the poll that waits for one.
    pub(crate) fn is_pending_poll(&self, token: u32) -> bool {
        self.pending_poll
            .as_ref()
            .is_some_and(|pending_poll| pending_poll.token == Some(token))
    }

    /// The poll has ended, with a status and a body or with a failure.
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
            // The companion has lost that feed, or is another one.
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

    /// The proxy did not accept the call. It is made again soon, or has failed.
    #[cold]
    fn dispatch_failed(&mut self, metrics: &mut Metrics, now_ms: u64) {
        let updated = match &self.pending_poll {
            Some(poll) => self.log.update_head(poll.lease, &|head| head.again(now_ms)),
            None => HeadUpdate::Failed,
        };
        if updated == HeadUpdate::Written {
            self.pending_poll = None;
            self.snapshot = None;
        } else {
            self.on_poll_response(Err(CalloutFailure::dispatch_failed()), metrics, now_ms);
        }
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
            self.log.head.cursor
        };
        let page = Page::parse(body, after, &self.zones)
            .map_err(|why| CalloutFailure::new(Kind::Unreadable, why.to_string()))?;
        // The companion made the page after it was asked: the earliest time possible.
        let confirmed_at_ms = pending_poll.began_ms.saturating_sub(page.confirmed_age_ms);
        if pending_poll.snapshot {
            return self.apply_snapshot_page(pending_poll, &page, confirmed_at_ms, now_ms);
        }
        // A page with a position is good from any companion.
        if page.position.is_empty() && page.generation != self.log.head.generation {
            self.restart_from_snapshot(pending_poll.lease, now_ms);
            return Ok("gone");
        }
        let published =
            self.writer
                .publish(&mut self.log, pending_poll.lease, &page, now_ms, &|head| {
                    head.generation = page.generation;
                    head.cursor = page.last.filter(|_| page.more).unwrap_or(page.head);
                    head.position = page.position;
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
        let hops = !page.position.is_empty();
        let mut snapshot = self.snapshot.take().unwrap_or(SnapshotProgress {
            lease: pending_poll.lease,
            generation: page.generation,
            head: page.head,
            confirmed_at_ms,
            next: Cursor::default(),
            position: page.position,
        });
        // Companions that know positions and others cannot share the reading of one snapshot.
        let goes_on = hops != snapshot.position.is_empty()
            && (hops || snapshot.generation == page.generation);
        if !goes_on {
            self.restart_from_snapshot(pending_poll.lease, now_ms);
            return Ok("gone");
        }
        if hops {
            // The page says what all pages so far have, and that is as fresh as this page.
            snapshot.generation = page.generation;
            snapshot.head = page.last.filter(|_| page.more).unwrap_or(page.head);
            snapshot.confirmed_at_ms = confirmed_at_ms;
            snapshot.position = page.position;
        }
        if page.more && !hops && page.next.is_empty() {
            return Err(CalloutFailure::new(
                Kind::Unreadable,
                "the snapshot has more pages, but no cursor",
            ));
        }
        let timing = self.log.timing;
        let last = !page.more;
        let published =
            self.writer
                .publish(&mut self.log, pending_poll.lease, page, now_ms, &|head| {
                    *head = head.answered();
                    if last {
                        head.generation = snapshot.generation;
                        head.cursor = snapshot.head;
                        head.position = snapshot.position;
                        head.over_capacity = false;
                        head.confirm(snapshot.confirmed_at_ms);
                        *head = head.released(now_ms);
                    } else {
                        *head = head.renewed(now_ms, timing);
                    }
                });
        let went_well = matches!(published, PublishOutcome::Done);
        // If the companion has lost Redis, all requests are still refused. Then this line
        // would mislead.
        if went_well && last && self.log.head.is_fresh(now_ms, self.log.timing) {
            let held = self.log.replica.anchors().len();
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
            // Another VM took over, and its result counts.
            PublishOutcome::Lost => Ok("lost"),
            PublishOutcome::OverCapacity => Err(CalloutFailure::new(
                Kind::Capacity,
                format!(
                    "more than {} anchors are revoked (limits.max_anchors): every request that needs them is refused",
                    self.writer.max_anchors
                ),
            )),
            PublishOutcome::Failed => Err(CalloutFailure::new(
                Kind::Unshared,
                "the state cannot be shared",
            )),
        }
    }

    /// Forgets the position in the companion's feed, and gives the lease back.
    fn restart_from_snapshot(&mut self, lease: u64, now_ms: u64) {
        let _ = self.log.update_head(lease, &|head| Some(head.gone(now_ms)));
    }

    #[inline(never)]
    fn record_failure(&mut self, lease: u64, why: &CalloutFailure, now_ms: u64) {
        let timing = self.log.timing;
        let is_to_be_logged = Cell::new(false);
        let updated = self.log.update_head(lease, &|head| {
            let (next, log) = head.failed(now_ms, timing, why.cause());
            is_to_be_logged.set(log);
            Some(next)
        });
        if updated == HeadUpdate::Written && is_to_be_logged.get() {
            hostcalls::log(
                LogLevel::Error,
                &format!(
                    "caracal: revocations not read from {}: {}",
                    self.companion.upstream, why.words
                ),
            );
        }
    }

    /// The configuration goes. A lease that its VM holds would keep others from polling until
    /// it expires.
    pub(crate) fn give_back(&mut self, now_ms: u64) {
        let polls = self.pending_poll.as_ref().map(|poll| poll.lease);
        let reads = self.snapshot.as_ref().map(|snapshot| snapshot.lease);
        let writes = self.compaction.as_ref().map(Compaction::lease);
        if let Some(lease) = polls.or(reads).or(writes) {
            let _ = self
                .log
                .update_head(lease, &|head| Some(head.released(now_ms)));
        }
    }

    pub(crate) fn report(&self, metrics: &mut Metrics, since_start_ms: u64, now_ms: u64) {
        metrics.revocation_anchors(self.log.replica.anchors().len());
        metrics.revocation_age(self.log.head.age_ms(now_ms).unwrap_or(since_start_ms));
    }
}
