//! The head of the revocation state: one small record that all VMs of a proxy share. It
//! says how far the log of anchors goes, what the companion last confirmed and when, and
//! who is polling. The zones' delegation epochs stand beside it ([`super::epochs`]). A VM
//! reads it, computes the next one, and writes that with a compare-and-set. If another VM
//! was faster, it reads again. Times are milliseconds of one monotonic clock.

use super::epochs::Epochs;
use super::page::{Cursor, Position};
use crate::fetch_failure::{Backoff, Cause, Failures, LOGGED_NUMBERS, Logged, Turn};
use crate::shared_record;

/// Longest time for which a poll asks the companion to wait, in milliseconds.
const MAX_WAIT_MS: u64 = 30_000;
/// Additional time for the answer to arrive.
const ANSWER_MS: u64 = 2_000;
/// Additional time before a lease may be taken over: a VM that trapped never gives its
/// lease back.
const LEASE_GRACE_MS: u64 = 500;
/// Longest wait after a failed poll.
const MAX_BACKOFF_MS: u64 = 5_000;
/// When a companion lost its log, wait this long, then ask for its whole state.
const GONE_PAUSE_MS: u64 = 50;
/// If the position is good at every companion, the first failed poll is made again after this
/// time: if one of several companions was lost, another one answers.
const OTHER_COMPANION_MS: u64 = 50;
/// Pause before a state over capacity is read again from its beginning.
const OVER_CAPACITY_RETRY_MS: u64 = 30_000;

const MAGIC: [u8; 4] = *b"CRH5";
const NUMBERS: usize = 21 + LOGGED_NUMBERS;

/// The times of polling, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct PollTiming {
    /// Longest time between two polls.
    pub poll_interval_ms: u64,
    /// Age of the oldest state that may be used.
    pub max_staleness_ms: u64,
}

impl PollTiming {
    /// How long the companion may hold back a poll if it has nothing new. It is short
    /// enough that the state is confirmed several times before it is too old.
    pub fn wait_ms(self) -> u64 {
        let fresh = self.max_staleness_ms / 4;
        self.poll_interval_ms.min(fresh).min(MAX_WAIT_MS)
    }

    /// Longest wait for an answer.
    pub fn timeout_ms(self) -> u64 {
        self.wait_ms().saturating_add(ANSWER_MS)
    }
}

/// The record. `Default` is the state before anything was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogHead {
    /// Of two records the later one has the higher number. No number is used again, also
    /// after the record was lost. So whoever knows a record does not take an older one.
    pub version: u64,
    /// The log in force. Each log has its own number. 0: there is none yet.
    pub image: u64,
    /// The set of chunks of the log, 0 or 1. Its predecessor is in the other set.
    pub set: u64,
    /// The number of entries it began with, which are all the entries of its predecessor.
    pub base: u64,
    /// The number of entries in force.
    pub len: u64,
    /// The predecessor, and how many entries it had when it was replaced.
    pub prev_image: u64,
    /// See `prev_image`.
    pub prev_len: u64,
    /// The trail ([`super::log::trail`]) of the entries in force, of those it began with, and
    /// of the predecessor's.
    pub trail: u64,
    /// See `trail`.
    pub base_trail: u64,
    /// See `trail`.
    pub prev_trail: u64,
    /// The log of the companion that is followed. Empty if the companion's whole state
    /// must be read first.
    pub generation: Cursor,
    /// The last entry of the companion's log that is in this log.
    pub cursor: u64,
    /// What this log has, for whichever companion is asked next. Empty if the companion that
    /// is followed does not know positions.
    pub position: Position,
    /// More anchors are revoked than may be held.
    pub over_capacity: bool,
    /// Number of completed polls, good and bad.
    pub attempts: u64,
    confirmed_at_ms: u64,
    leases: u64,
    lease_until_ms: u64,
    failures: Failures,
}

impl LogHead {
    /// Whether somebody should poll now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.lease_until_ms && now_ms >= self.failures.next_ms
    }

    /// The record with the lease taken, and the lease's number.
    pub fn leased(mut self, now_ms: u64, timing: PollTiming) -> (Self, u64) {
        // After a lost or old record no number comes again that an earlier holder has.
        self.leases = self.leases.saturating_add(1).max(now_ms);
        if self.image == 0 {
            self.image = self.new_image(now_ms);
        }
        (self.renewed(now_ms, timing), self.leases)
    }

    /// The record with the lease extended.
    pub fn renewed(mut self, now_ms: u64, timing: PollTiming) -> Self {
        self.lease_until_ms = now_ms
            .saturating_add(timing.timeout_ms())
            .saturating_add(LEASE_GRACE_MS);
        self
    }

    /// Whether a lease is still valid. If it was taken over or given back, its former
    /// holder must not write.
    pub fn holds(&self, lease: u64) -> bool {
        self.lease_until_ms != 0 && self.leases == lease
    }

    /// The record with the lease given back, and a poll due at once.
    pub fn released(mut self, now_ms: u64) -> Self {
        self.lease_until_ms = 0;
        self.failures.next_ms = now_ms;
        self
    }

    /// The record after a poll with a usable answer: there is no backoff.
    pub fn answered(mut self) -> Self {
        self.attempts = self.attempts.saturating_add(1);
        self.failures.succeeded();
        self
    }

    /// The record after a failed poll, and whether to log the failure.
    #[inline(never)]
    pub fn failed(self, now_ms: u64, timing: PollTiming, cause: Cause) -> (Self, bool) {
        let mut next = self.released(now_ms);
        next.attempts = self.attempts.saturating_add(1);
        let another = !self.position.is_empty() && !self.is_failing();
        let backoff = match (self.over_capacity, another) {
            (true, _) => Backoff {
                first_ms: OVER_CAPACITY_RETRY_MS,
                max_doublings: 0,
                longest_ms: OVER_CAPACITY_RETRY_MS,
            },
            (false, true) => Backoff {
                first_ms: OTHER_COMPANION_MS,
                max_doublings: 0,
                longest_ms: OTHER_COMPANION_MS,
            },
            (false, false) => Backoff {
                first_ms: timing.poll_interval_ms,
                max_doublings: 3,
                longest_ms: MAX_BACKOFF_MS,
            },
        };
        let log = next.failures.failed(now_ms, backoff, now_ms, cause);
        (next, log)
    }

    /// Whether polls have failed since the last good one.
    pub fn is_failing(&self) -> bool {
        self.failures.is_failing()
    }

    /// The record after a call that the proxy did not accept. The call is soon made
    /// again, and no request is refused for it. None if it was tried often enough, or if
    /// polls are failing already.
    #[inline(never)]
    pub fn again(self, now_ms: u64) -> Option<Self> {
        let mut next = self.released(now_ms);
        next.failures.again(now_ms).then_some(next)
    }

    /// Why the last poll failed; none if it succeeded.
    pub fn cause(&self) -> Cause {
        match self.is_failing() {
            false => Cause::default(),
            true => self.failures.logged.cause,
        }
    }

    /// Whether requests may be judged with this state: it is young enough and within
    /// capacity.
    pub fn is_fresh(&self, now_ms: u64, timing: PollTiming) -> bool {
        let age = self.age_ms(now_ms);
        !self.over_capacity && age.is_some_and(|age| age <= timing.max_staleness_ms)
    }

    /// The record when requests begin or stop to be refused because there is no fresh
    /// state.
    #[inline(never)]
    pub fn turned(mut self, now_ms: u64, timing: PollTiming) -> Option<(Self, Turn)> {
        let ready = self.is_fresh(now_ms, timing);
        let known = self.over_capacity || self.confirmed_at_ms != 0;
        let refused = !ready && (known || self.is_failing());
        let turn = self.failures.turned(refused, ready, now_ms)?;
        Some((self, turn))
    }

    /// The record without a position in the companion's log, so the companion's whole
    /// state is read next. What is known stays known meanwhile, and keeps its age.
    pub fn forgotten(mut self) -> Self {
        self.generation = Cursor::default();
        self.cursor = 0;
        self.position = Position::default();
        self
    }

    /// The record when there are too many anchors. Every request that needs them is
    /// refused until the companion's whole state has been read and fits.
    pub fn overflowed(self) -> Self {
        let mut next = self.forgotten();
        next.over_capacity = true;
        next
    }

    /// The record with the lease given back after the companion lost its log. The next
    /// poll is not due at once: a companion that loses its log every time must not be
    /// asked without a pause.
    pub fn gone(self, now_ms: u64) -> Self {
        let mut next = self.forgotten().answered().released(now_ms);
        next.failures.next_ms = now_ms.saturating_add(GONE_PAUSE_MS);
        next
    }

    /// The record after the state was found damaged: a new, empty log, and nothing
    /// confirmed.
    pub fn reset(self, now_ms: u64) -> Self {
        let mut next = self.forgotten().released(now_ms);
        next.image = self.new_image(now_ms);
        next.set = 1_u64.wrapping_sub(self.set.min(1));
        next.base = 0;
        next.len = 0;
        next.prev_image = 0;
        next.prev_len = 0;
        (next.trail, next.base_trail, next.prev_trail) = (0, 0, 0);
        next.confirmed_at_ms = 0;
        next
    }

    /// The record that puts a new image in force. The image was written into the other
    /// set of chunks, and has all entries of this one that have not expired.
    pub fn replaced(mut self, image: u64, len: u64, trail: u64) -> Self {
        self.prev_image = self.image;
        self.prev_len = self.len;
        self.prev_trail = self.trail;
        self.trail = trail;
        self.base_trail = trail;
        self.image = image;
        self.set = 1_u64.wrapping_sub(self.set.min(1));
        self.base = len;
        self.len = len;
        self
    }

    /// An id for an image that no other image has or had. The clock does not go back, and
    /// each lease has its own number.
    pub fn new_image(&self, now_ms: u64) -> u64 {
        let unique = now_ms
            .wrapping_shl(20)
            .wrapping_add(self.leases & 0xf_ffff)
            .max(1);
        if unique == self.image {
            unique.wrapping_add(1)
        } else {
            unique
        }
    }

    /// Notes that the state was complete at this time. The time is never later than is
    /// certain, and an earlier confirmation does not undo a later one.
    pub fn confirm(&mut self, at_ms: u64) {
        self.confirmed_at_ms = self.confirmed_at_ms.max(at_ms).max(1);
    }

    /// The record with a number above that of every record before it. `newest` is the
    /// newest that the writer knows.
    pub fn numbered(mut self, newest: u64) -> Self {
        // An image has a higher number than everything that was written before it began:
        // a record is not written a million times in a millisecond.
        let before = self.version.max(newest).max(self.image);
        self.version = before.saturating_add(1);
        self
    }

    /// When the state was last known to be complete; 0 if it never was.
    pub fn confirmed_at_ms(&self) -> u64 {
        self.confirmed_at_ms
    }

    /// Milliseconds since the state was last known to be complete; `None` if it never
    /// was.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        (self.confirmed_at_ms != 0).then(|| now_ms.saturating_sub(self.confirmed_at_ms))
    }

    /// The record as bytes, with the epochs of all zones.
    #[inline(never)]
    pub fn encode(&self, epochs: &Epochs) -> Vec<u8> {
        let texts = [self.generation.as_str(), self.position.as_str()].concat();
        let rest = epochs.encode(texts.as_bytes());
        let generation = self.generation.as_str().len();
        let plain: [u64; NUMBERS - LOGGED_NUMBERS] = [
            u64::try_from(generation).unwrap_or(u64::MAX),
            self.version,
            self.image,
            self.set,
            self.base,
            self.len,
            self.prev_image,
            self.prev_len,
            self.trail,
            self.base_trail,
            self.prev_trail,
            self.cursor,
            u64::from(self.over_capacity),
            self.attempts,
            self.confirmed_at_ms,
            self.leases,
            self.lease_until_ms,
            self.failures.next_ms,
            self.failures.count,
            self.failures.untaken,
            self.failures.refusing_since_ms,
        ];
        let all = plain.into_iter().chain(self.failures.logged.numbers());
        let mut numbers = [0; NUMBERS];
        for (number, value) in numbers.iter_mut().zip(all) {
            *number = value;
        }
        shared_record::encode(MAGIC, &numbers, &rest)
    }

    /// Reads what [`LogHead::encode`] wrote for so many zones. `None` for anything else.
    #[inline(never)]
    pub fn decode(bytes: &[u8], zones: usize) -> Option<(Self, Epochs)> {
        let (numbers, rest) = shared_record::decode::<NUMBERS>(MAGIC, bytes)?;
        let (epochs, texts) = Epochs::decode(rest, zones)?;
        let texts = std::str::from_utf8(texts).ok()?;
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next();
        let generation = usize::try_from(next()?).ok()?;
        let (generation, position) = texts.split_at_checked(generation)?;
        let head = LogHead {
            version: next()?,
            image: next()?,
            set: next()?,
            base: next()?,
            len: next()?,
            prev_image: next()?,
            prev_len: next()?,
            trail: next()?,
            base_trail: next()?,
            prev_trail: next()?,
            generation: Cursor::new(generation)?,
            cursor: next()?,
            position: Position::new(position)?,
            over_capacity: next()? != 0,
            attempts: next()?,
            confirmed_at_ms: next()?,
            leases: next()?,
            lease_until_ms: next()?,
            failures: Failures {
                next_ms: next()?,
                count: next()?,
                untaken: next()?,
                refusing_since_ms: next()?,
                logged: Logged::from_numbers(next)?,
            },
        };
        Some((head, epochs))
    }
}

#[cfg(test)]
mod tests;
