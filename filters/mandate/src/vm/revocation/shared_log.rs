//! The log of revoked anchors that all VMs share, and this VM's copy of it. The head says
//! which chunks are in force. Each VM reads what it does not have yet.
//!
//! Another plugin cannot make a head or a chunk, but can put back an old one. So within a VM's
//! life no head is taken that is older than one it has seen, no state that was confirmed
//! earlier, and no lower epoch; and the entries that were read must be those that the head's
//! writer knew. Otherwise the whole state is read again, and requests are refused meanwhile.

use std::cmp::Ordering;

use caracal_mandate::revocation::Availability;
use caracal_mandate::revocation::epochs::Epochs;
use caracal_mandate::revocation::log_head::{LogHead, PollTiming};
use caracal_mandate::revocation::replica::Replica;

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::vm::revocation::log_store::RevocationLogStore;
use crate::vm::shared_data::refuse;
use crate::vm::time_slice::slice_exhausted;

/// Most chunks that one callback reads or writes, whatever the clock says.
pub(crate) const SLICE_CHUNKS: usize = 8;
/// While others spoil the record, this VM begins a poll at most this often.
const SPOILED_APART_MS: u64 = 1_000;
/// How often a record is read or written again if another VM writes it too.
pub(crate) const ATTEMPTS: usize = 4;

/// Seconds of the monotonic clock. Expiries in the log are in this unit.
pub(crate) fn whole_seconds(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}

/// Why a part of the log could not be read.
enum ReadError {
    /// The host's call failed.
    Status,
    /// The chunk is not what it should be. It should belong to this image.
    NotAsNamed(u64),
}

/// The result of changing the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadUpdate {
    Written,
    /// Another VM holds the lease now.
    LeaseLost,
    Failed,
}

/// The log and this VM's copy of it.
pub(crate) struct SharedLog {
    pub(crate) store: RevocationLogStore,
    pub(crate) timing: PollTiming,
    /// The shared record when it was last read, and its version for a write.
    pub(crate) head: LogHead,
    /// The delegation epochs in the record.
    pub(crate) epochs: Epochs,
    /// The number of zones.
    zones: usize,
    cas: u32,
    /// The newest record that this VM has seen, and the latest confirmation in any.
    newest: LogHead,
    confirmed_ms: u64,
    /// The record that was last read is not what this filter wrote last.
    spoiled: bool,
    /// When this VM last took the lease.
    leased_ms: Option<u64>,
    /// When the record was last read in a callback.
    read_ms: u64,
    pub(crate) replica: Replica,
    /// The replica has everything that the record says.
    has_all: bool,
    /// When a decision last found that everything was there, on the monotonic clock.
    complete_ms: Option<u64>,
    /// The log is not what the head says.
    damaged: bool,
    /// How far the log went when this was last asked.
    seen: (u64, u64),
    /// When this VM first looked at the record, and how many polls had ended by then.
    began: Option<(u64, u64)>,
}

impl SharedLog {
    pub(crate) fn new(store: RevocationLogStore, timing: PollTiming, zones: usize) -> Self {
        SharedLog {
            store,
            timing,
            head: LogHead::default(),
            epochs: Epochs::none(zones),
            zones,
            newest: LogHead::default(),
            confirmed_ms: 0,
            spoiled: false,
            leased_ms: None,
            read_ms: 0,
            cas: RevocationLogStore::CAS_UNWRITTEN,
            replica: Replica::default(),
            has_all: false,
            complete_ms: None,
            damaged: false,
            seen: (0, 0),
            began: None,
        }
    }

    /// Reads the shared record. Returns whether it has changed.
    pub(crate) fn read_head(&mut self) -> Result<bool, Status> {
        let (changed, cas) = self.store.head()?;
        self.cas = cas;
        let Some(bytes) = changed else {
            return Ok(false);
        };
        self.take(&bytes);
        Ok(true)
    }

    /// Takes a record that has changed. A damaged or old one counts as absent: nothing is
    /// confirmed, and the next poller writes a new one.
    #[inline(never)]
    fn take(&mut self, bytes: &[u8]) {
        let found = LogHead::decode(bytes, self.zones).filter(|(head, _)| {
            let is_old = match head.version.cmp(&self.newest.version) {
                Ordering::Greater => false,
                Ordering::Equal => *head != self.newest,
                Ordering::Less => true,
            };
            if is_old {
                refuse("is older than what this VM has seen");
            }
            !is_old
        });
        self.spoiled = found.is_none();
        let none = || (LogHead::default(), Epochs::none(self.zones));
        let (head, mut epochs) = found.unwrap_or_else(none);
        epochs.keep(&self.epochs, self.read_ms);
        self.epochs = epochs;
        self.know(head);
    }

    fn know(&mut self, head: LogHead) {
        self.head = head;
        if head.version >= self.newest.version {
            self.newest = head;
        }
        self.confirmed_ms = self.confirmed_ms.max(head.confirmed_at_ms());
        self.has_all = false;
        self.complete_ms = None;
    }

    /// Takes the lease if a poll is due. None if another VM was faster, and polls for this one
    /// too, or if others spoil the record again and again.
    pub(crate) fn take_lease(&mut self, now_ms: u64) -> Option<u64> {
        let leased = self.leased_ms.filter(|_| self.spoiled);
        let spares = leased.is_some_and(|at| now_ms.saturating_sub(at) < SPOILED_APART_MS);
        if spares || !self.head.is_due(now_ms) {
            return None;
        }
        let (leased, lease) = self.head.leased(now_ms, self.timing);
        if !matches!(self.write_head(leased), Ok(true)) {
            return None;
        }
        self.leased_ms = Some(now_ms);
        Some(lease)
    }

    /// Writes the record. Returns `false` if it has changed since it was last read.
    #[inline(never)]
    pub(crate) fn write_head(&mut self, head: LogHead) -> Result<bool, Status> {
        let head = head.numbered(self.newest.version);
        let bytes = head.encode(&self.epochs);
        self.write(head, &bytes)
    }

    /// The same with other epochs.
    pub(crate) fn write_head_and_epochs(
        &mut self,
        head: LogHead,
        epochs: Epochs,
    ) -> Result<bool, Status> {
        let head = head.numbered(self.newest.version);
        let written = self.write(head, &head.encode(&epochs))?;
        if written {
            self.epochs = epochs;
        }
        Ok(written)
    }

    fn write(&mut self, head: LogHead, bytes: &[u8]) -> Result<bool, Status> {
        let written = self.store.write_head(bytes, self.cas)?;
        if written {
            self.know(head);
        }
        Ok(written)
    }

    /// Changes the record while a lease is held. `change` returns none if there is
    /// nothing to write.
    #[inline(never)]
    pub(crate) fn update_head(
        &mut self,
        lease: u64,
        change: &dyn Fn(&LogHead) -> Option<LogHead>,
    ) -> HeadUpdate {
        for _ in 0..ATTEMPTS {
            if self.read_head().is_err() {
                return HeadUpdate::Failed;
            }
            if !self.head.holds(lease) {
                return HeadUpdate::LeaseLost;
            }
            let Some(next) = change(&self.head) else {
                return HeadUpdate::Failed;
            };
            match self.write_head(next) {
                Ok(true) => return HeadUpdate::Written,
                Ok(false) => {}
                Err(_) => return HeadUpdate::Failed,
            }
        }
        HeadUpdate::Failed
    }

    /// Reads the record, and then as much of the log as one callback has time for.
    /// Returns whether this VM has everything now.
    pub(crate) fn catch_up(&mut self, now_ms: u64) -> Result<bool, &'static str> {
        const UNREADABLE: &str = "The revocation state cannot be read";
        self.read_ms = now_ms;
        self.read_head().map_err(|_| UNREADABLE)?;
        if self.has_all {
            return Ok(true);
        }
        for _ in 0..ATTEMPTS {
            let bad = match self.read_chunks(now_ms) {
                Ok(all) => {
                    self.has_all = all;
                    return Ok(all);
                }
                Err(ReadError::Status) => return Err(UNREADABLE),
                Err(ReadError::NotAsNamed(image)) => image,
            };
            // The log has moved on, or it is damaged; the head shows which. The chunks of
            // an image that was replaced may be gone. Then the image in force is read
            // instead.
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
        loop {
            if self.replica.has_parted(&self.head) {
                return Err(ReadError::NotAsNamed(self.head.image));
            }
            let Some(missing) = self.replica.lacking(&self.head) else {
                return Ok(true);
            };
            if chunks >= SLICE_CHUNKS || slice_exhausted(now_ms) {
                return Ok(false);
            }
            chunks = chunks.saturating_add(1);
            let chunk = self.store.chunk(missing.chunk);
            let chunk = chunk.map_err(|_| ReadError::Status)?;
            let bytes = chunk.as_ref().map(|chunk| chunk.value.as_slice());
            self.replica
                .take(missing, bytes, whole_seconds(now_ms))
                .map_err(|_| ReadError::NotAsNamed(missing.chunk.image))?;
        }
    }

    /// Whether the log has changed since this was last asked, or this VM does not have all of
    /// it.
    pub(crate) fn has_moved(&mut self) -> bool {
        let extent = (self.head.image, self.head.len);
        let before = std::mem::replace(&mut self.seen, extent);
        before != extent || self.damaged || !self.has_all
    }

    /// A tick has looked at the record.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        if self.began.is_none() {
            self.began = Some((now_ms, self.head.attempts));
        }
    }

    /// Whether the record may be what an earlier configuration, or an earlier version of the
    /// filter, has left: this VM has just begun, and nobody has polled since. Then requests
    /// wait for the first poll, as they do where there is no record yet.
    pub(crate) fn is_left_over(&self, now_ms: u64) -> bool {
        // As long as a poll takes, and a lease that its holder never gave back.
        let longest = self.timing.timeout_ms().saturating_add(1_000);
        let is_new = self.began.is_none_or(|(began_ms, attempts)| {
            attempts == self.head.attempts && now_ms.saturating_sub(began_ms) <= longest
        });
        is_new && !self.head.is_failing()
    }

    /// The log is not what the head says. The next tick begins a new one.
    pub(crate) fn mark_damaged(&mut self) {
        self.damaged = true;
    }

    /// Whether it was found damaged since the last call.
    pub(crate) fn take_damaged(&mut self) -> bool {
        std::mem::take(&mut self.damaged)
    }

    /// Begins a new log in place of a damaged one. Until the companion's whole state is
    /// in it, nothing is confirmed and requests are refused.
    pub(crate) fn reset_damaged(&mut self, now_ms: u64) {
        // Who damages it again and again must not have the companion asked at each tick.
        self.spoiled = true;
        let reset = self.head.reset(now_ms);
        if matches!(self.write_head(reset), Ok(true)) {
            hostcalls::log(
                LogLevel::Error,
                "caracal: the shared revocation state is damaged and is read again: does another plugin write under this vm_id?",
            );
        }
    }

    /// Whether requests can be decided with what this VM knows now. The shared record is
    /// read once in a millisecond, because a busy worker has tens of requests in that
    /// time. So a write of another VM takes effect here up to a millisecond later.
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
            return Availability::Unavailable("Too many anchors are revoked");
        }
        // After a record was lost the companion may first confirm less than this VM has seen.
        let is_older = self.head.confirmed_at_ms() < self.confirmed_ms;
        match self.head.age_ms(now_ms).filter(|_| !is_older) {
            Some(age) if age <= self.timing.max_staleness_ms => Availability::Ready,
            Some(_) if self.is_left_over(now_ms) => Availability::Pending,
            Some(_) => Availability::Unavailable("The revocation state is too old"),
            None if self.head.is_failing() => {
                Availability::Unavailable("The revocation state has not been read yet")
            }
            None => Availability::Pending,
        }
    }
}
