//! The head of the revocation state: one small record that all VMs of a proxy
//! share. It says how far the log of anchors goes, what the companion last
//! confirmed and when, the zone's delegation epoch, and who is polling. A VM
//! reads it, computes its successor and writes that with a compare-and-set;
//! whoever loses reads again. Times are milliseconds of one monotonic clock.

use super::page::{Cursor, MAX_CURSOR_BYTES, Page};
use crate::failure::{AGAIN_MS, Cause, LOGGED_NUMBERS, Logged, MAX_AGAIN, Turn, turn};
use crate::shared_record;

/// Longest wait that is asked of the companion, in milliseconds.
const MAX_WAIT_MS: u64 = 30_000;
/// Time on top of that for the answer to come.
const ANSWER_MS: u64 = 2_000;
/// Time on top of that before a lease is taken over: a VM that trapped never
/// gives it back.
const LEASE_GRACE_MS: u64 = 500;
/// Longest wait after a failed poll.
const MAX_BACKOFF_MS: u64 = 5_000;
/// Wait before the whole state of a companion is asked for that lost its log.
const GONE_PAUSE_MS: u64 = 50;
/// Wait before a state over capacity is read again from its beginning.
const OVER_CAPACITY_RETRY_MS: u64 = 30_000;

const MAGIC: [u8; 4] = *b"CRH3";
const NUMBERS: usize = 18 + LOGGED_NUMBERS;

/// What polling depends on, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct PollTiming {
    /// Longest time between two polls.
    pub poll_interval_ms: u64,
    /// Oldest state that is decided by.
    pub max_staleness_ms: u64,
}

impl PollTiming {
    /// How long the companion may hold a poll back that has nothing to say.
    /// Short enough that the state is confirmed several times before it is stale.
    pub fn wait_ms(self) -> u64 {
        let fresh = self.max_staleness_ms / 4;
        self.poll_interval_ms.min(fresh).min(MAX_WAIT_MS)
    }

    /// Longest wait for an answer.
    pub fn timeout_ms(self) -> u64 {
        self.wait_ms().saturating_add(ANSWER_MS)
    }
}

/// The record. `Default` is what stands there before anything was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogHead {
    /// The log in force; no two are alike. 0: there is none yet.
    pub image: u64,
    /// The set of chunks that it stands in, 0 or 1; its predecessor stands in
    /// the other.
    pub set: u64,
    /// Entries that it began with: all that its predecessor held.
    pub base: u64,
    /// Entries that count.
    pub len: u64,
    /// The predecessor, and how many entries it had when it was replaced.
    pub prev_image: u64,
    /// See `prev_image`.
    pub prev_len: u64,
    /// The companion's log that is followed; empty when its whole state has to be
    /// read first.
    pub generation: Cursor,
    /// The last entry of the companion's log that is in ours.
    pub cursor: u64,
    /// More anchors are revoked than may be held.
    pub over_capacity: bool,
    /// Polls completed, good and bad.
    pub attempts: u64,
    confirmed_at_ms: u64,
    epoch: u64,
    epoch_until_ms: u64,
    leases: u64,
    lease_until_ms: u64,
    next_poll_ms: u64,
    failures: u64,
    logged: Logged,
    untaken: u64,
    refusing_since_ms: u64,
}

impl LogHead {
    /// Whether somebody should poll now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.lease_until_ms && now_ms >= self.next_poll_ms
    }

    /// The record with the lease taken, and the lease's number.
    pub fn leased(mut self, now_ms: u64, timing: PollTiming) -> (Self, u64) {
        self.leases = self.leases.saturating_add(1);
        if self.image == 0 {
            self.image = self.new_image(now_ms);
        }
        (self.renewed(now_ms, timing), self.leases)
    }

    /// The record with the lease held on to.
    pub fn renewed(mut self, now_ms: u64, timing: PollTiming) -> Self {
        self.lease_until_ms = now_ms
            .saturating_add(timing.timeout_ms())
            .saturating_add(LEASE_GRACE_MS);
        self
    }

    /// Whether a lease still holds. One that was taken over, or given back, is
    /// lost: its holder writes nothing.
    pub fn holds(&self, lease: u64) -> bool {
        self.lease_until_ms != 0 && self.leases == lease
    }

    /// The record with the lease given back, due again at once.
    pub fn released(mut self, now_ms: u64) -> Self {
        self.lease_until_ms = 0;
        self.next_poll_ms = now_ms;
        self
    }

    /// The record after a poll that brought something usable: no backoff.
    pub fn answered(mut self) -> Self {
        self.attempts = self.attempts.saturating_add(1);
        self.failures = 0;
        self.untaken = 0;
        self
    }

    /// The record after a failed poll, and whether to log the failure.
    #[inline(never)]
    pub fn failed(self, now_ms: u64, timing: PollTiming, cause: Cause) -> (Self, bool) {
        let mut next = self.released(now_ms);
        next.attempts = self.attempts.saturating_add(1);
        next.failures = self.failures.saturating_add(1);
        next.untaken = 0;
        let doublings = u32::try_from(self.failures.min(3)).unwrap_or(3);
        let wait = timing
            .poll_interval_ms
            .saturating_mul(1_u64.wrapping_shl(doublings))
            .min(MAX_BACKOFF_MS);
        let wait = if self.over_capacity {
            OVER_CAPACITY_RETRY_MS
        } else {
            wait
        };
        // 90 to 110 %, so that proxies that failed together drift apart.
        let percent = 90_u64.saturating_add(now_ms % 21);
        next.next_poll_ms = now_ms.saturating_add(wait.saturating_mul(percent) / 100);
        let log = next.logged.is_news(cause, now_ms);
        (next, log)
    }

    /// Whether polls have failed since the last good one.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The record after a call that the proxy did not take: made again soon, and nobody
    /// is refused for it. None when that has been tried enough, or polls fail anyway.
    #[inline(never)]
    pub fn again(self, now_ms: u64) -> Option<Self> {
        if self.failures > 0 || self.untaken >= MAX_AGAIN {
            return None;
        }
        let mut next = self.released(now_ms);
        next.untaken = self.untaken.saturating_add(1);
        next.next_poll_ms = now_ms.saturating_add(AGAIN_MS);
        Some(next)
    }

    /// Why the last poll failed; none when it did not.
    pub fn cause(&self) -> Cause {
        match self.failures {
            0 => Cause::default(),
            _ => self.logged.cause,
        }
    }

    /// Whether requests can be judged by a state of this age and size.
    pub fn is_fresh(&self, now_ms: u64, timing: PollTiming) -> bool {
        let age = self.age_ms(now_ms);
        !self.over_capacity && age.is_some_and(|age| age <= timing.max_staleness_ms)
    }

    /// The record when requests begin or cease to be refused for want of a fresh state.
    #[inline(never)]
    pub fn turned(mut self, now_ms: u64, timing: PollTiming) -> Option<(Self, Turn)> {
        let ready = self.is_fresh(now_ms, timing);
        let known = self.over_capacity || self.confirmed_at_ms != 0;
        let refused = !ready && (known || self.is_failing());
        let turn = turn(&mut self.refusing_since_ms, refused, ready, now_ms)?;
        Some((self, turn))
    }

    /// The record that forgets where in the companion's log it was: its whole
    /// state is read next. What is known stays known meanwhile, and as old as it
    /// is.
    pub fn forgotten(mut self) -> Self {
        self.generation = Cursor::default();
        self.cursor = 0;
        self
    }

    /// The record when the anchors do not fit: everything that needs them is
    /// refused until the companion's whole state has been read and fits.
    pub fn overflowed(self) -> Self {
        let mut next = self.forgotten();
        next.over_capacity = true;
        next
    }

    /// The record with the lease given back after the companion lost its log; not
    /// due at once: one that does so every time must not be asked without end.
    pub fn gone(self, now_ms: u64) -> Self {
        let mut next = self.forgotten().answered().released(now_ms);
        next.next_poll_ms = now_ms.saturating_add(GONE_PAUSE_MS);
        next
    }

    /// The record of a state found damaged: a new, empty log, nothing confirmed.
    pub fn reset(self, now_ms: u64) -> Self {
        let mut next = self.forgotten().released(now_ms);
        next.image = self.new_image(now_ms);
        next.set = 1_u64.wrapping_sub(self.set.min(1));
        next.base = 0;
        next.len = 0;
        next.prev_image = 0;
        next.prev_len = 0;
        next.confirmed_at_ms = 0;
        next
    }

    /// The record that puts a new image in force, which was written into the
    /// other set of chunks and holds everything that is alive in this one.
    pub fn replaced(mut self, image: u64, len: u64) -> Self {
        self.prev_image = self.image;
        self.prev_len = self.len;
        self.image = image;
        self.set = 1_u64.wrapping_sub(self.set.min(1));
        self.base = len;
        self.len = len;
        self
    }

    /// An id for an image that no other has or had: the clock does not go back,
    /// and two leases have two numbers.
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

    /// Takes over a page's epoch. It only goes up while it lives.
    pub fn raise(&mut self, page: &Page, now_ms: u64) {
        let Some((epoch, ttl_s)) = page.epoch else {
            return;
        };
        let until = now_ms.saturating_add(u64::from(ttl_s).saturating_mul(1_000));
        let known = self.delegation_epoch(now_ms);
        if epoch < known {
            return;
        }
        // A higher one must not end sooner than the lower one would have: then
        // none would be known where both forbid.
        self.epoch_until_ms = self.epoch_until_ms.max(until);
        self.epoch = epoch;
    }

    /// The zone's delegation epoch; 0 when none is known.
    pub fn delegation_epoch(&self, now_ms: u64) -> u64 {
        if now_ms < self.epoch_until_ms {
            self.epoch
        } else {
            0
        }
    }

    /// Notes that the state was whole at a time; never later than it is known to
    /// be, and a later confirmation is not undone by an earlier one.
    pub fn confirm(&mut self, at_ms: u64) {
        self.confirmed_at_ms = self.confirmed_at_ms.max(at_ms).max(1);
    }

    /// Milliseconds since the state was last known to be whole; `None` when it
    /// never was.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        (self.confirmed_at_ms != 0).then(|| now_ms.saturating_sub(self.confirmed_at_ms))
    }

    /// The record as bytes.
    #[inline(never)]
    pub fn encode(&self) -> Vec<u8> {
        let generation = self.generation.as_str().as_bytes();
        let plain: [u64; NUMBERS - LOGGED_NUMBERS] = [
            self.image,
            self.set,
            self.base,
            self.len,
            self.prev_image,
            self.prev_len,
            self.cursor,
            u64::from(self.over_capacity),
            self.attempts,
            self.confirmed_at_ms,
            self.epoch,
            self.epoch_until_ms,
            self.leases,
            self.lease_until_ms,
            self.next_poll_ms,
            self.failures,
            self.untaken,
            self.refusing_since_ms,
        ];
        let all = plain.into_iter().chain(self.logged.numbers());
        let mut numbers = [0; NUMBERS];
        for (number, value) in numbers.iter_mut().zip(all) {
            *number = value;
        }
        shared_record::encode(MAGIC, &numbers, generation)
    }

    /// Reads what [`LogHead::encode`] wrote. `None` for anything else.
    #[inline(never)]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, generation) = shared_record::decode::<NUMBERS>(MAGIC, bytes)?;
        if generation.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next();
        Some(LogHead {
            image: next()?,
            set: next()?,
            base: next()?,
            len: next()?,
            prev_image: next()?,
            prev_len: next()?,
            generation: Cursor::new(std::str::from_utf8(generation).ok()?)?,
            cursor: next()?,
            over_capacity: next()? != 0,
            attempts: next()?,
            confirmed_at_ms: next()?,
            epoch: next()?,
            epoch_until_ms: next()?,
            leases: next()?,
            lease_until_ms: next()?,
            next_poll_ms: next()?,
            failures: next()?,
            untaken: next()?,
            refusing_since_ms: next()?,
            logged: Logged::from_numbers(next)?,
        })
    }
}

#[cfg(test)]
mod tests;
