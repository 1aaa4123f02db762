//! When the key set is fetched, and by which VM. All VMs of a proxy share one record;
//! these are the rules by which it changes. A VM reads the record, computes the next one,
//! and writes it with a compare-and-set. If another VM was faster, it reads again. Times
//! are milliseconds of one monotonic clock.

use crate::fetch_failure::{Backoff, Cause, Failures, LOGGED_NUMBERS, Logged, Turn};
use crate::shared_record;

/// After a forced fetch, good or bad, no other is forced for this time (contract, "Key
/// sets").
pub const FORCED_FETCH_COOLDOWN_MS: u64 = 30_000;
/// Longest wait after a failed fetch. The first wait is [`FetchTiming::retry_ms`], and
/// each further one is twice as long.
const MAX_BACKOFF_MS: u64 = 10_000;
/// A lease may be taken over this long after the callout's own timeout. A VM that trapped
/// never gives its lease back.
const LEASE_GRACE_MS: u64 = 1_000;

const MAGIC: [u8; 4] = *b"CRF3";
const FIELDS: usize = 13 + LOGGED_NUMBERS;

/// The times of a key set, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct FetchTiming {
    /// Longest wait for the STS.
    pub timeout_ms: u64,
    /// How long a key set is fresh.
    pub ttl_ms: u64,
    /// How much longer it is used if it cannot be refreshed.
    pub max_stale_ms: u64,
    /// Wait after a failed fetch.
    pub retry_ms: u64,
}

/// Why a fetch is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// There is no key set yet, or the current one is getting old.
    Scheduled,
    /// A request's `kid` is unknown.
    Forced,
}

/// A fetch that one VM is making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Number of the lease. Each lease has its own.
    pub number: u64,
    /// Why the fetch is made.
    pub fetch: Fetch,
}

/// What happens to a request whose key is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutlook {
    /// A fetch is under way or will be made: wait for it.
    Wait,
    /// A fetch has not brought the key, and none is due: 401.
    UnknownKey,
    /// The STS cannot be reached: 503.
    Unavailable,
}

/// The state of the record when a request began to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchMark {
    forced: u64,
}

/// The shared record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Number of successful fetches; the stored key set has the same number. 0: none yet.
    pub generation: u64,
    /// Completed fetches, good and bad.
    pub attempts: u64,
    fetched_at_ms: u64,
    leases: u64,
    lease_until_ms: u64,
    lease_forced: bool,
    forced: u64,
    forced_failed: bool,
    cooldown_until_ms: u64,
    failures: Failures,
}

impl Control {
    /// The fetch that is due, if any. `key_wanted` means that a request waits for a `kid`
    /// that is not in the key set.
    pub fn due(&self, now_ms: u64, key_wanted: bool) -> Option<Fetch> {
        if self.is_leased(now_ms) {
            return None;
        }
        // A forced fetch that the proxy did not take is retried no sooner than `next_ms`.
        let waits = self.failures.untaken > 0 && now_ms < self.failures.next_ms;
        if key_wanted && now_ms >= self.cooldown_until_ms && !waits {
            return Some(Fetch::Forced);
        }
        (now_ms >= self.failures.next_ms).then_some(Fetch::Scheduled)
    }

    /// Whether a fetch is under way, as far as this record shows.
    pub fn is_leased(&self, now_ms: u64) -> bool {
        now_ms < self.lease_until_ms
    }

    /// The record after a VM took the lease for a fetch.
    pub fn leased(mut self, fetch: Fetch, now_ms: u64, timing: FetchTiming) -> (Self, Lease) {
        // After a lost or old record no number comes again that an earlier holder has.
        self.leases = self.leases.saturating_add(1).max(now_ms);
        self.lease_forced = fetch == Fetch::Forced;
        self.lease_until_ms = now_ms
            .saturating_add(timing.timeout_ms)
            .saturating_add(LEASE_GRACE_MS);
        (
            self,
            Lease {
                number: self.leases,
                fetch,
            },
        )
    }

    /// What never goes back from one record to the next: the number of leases, and when the
    /// fetch of the key set began that one of them has brought.
    pub fn order(&self) -> (u64, u64) {
        (self.leases, self.key_set_id().map_or(0, |(_, at)| at))
    }

    /// Whether a lease is still valid. If it was taken over or given back, its former
    /// holder must not write.
    pub fn holds(&self, lease: Lease) -> bool {
        self.lease_until_ms != 0 && self.leases == lease.number
    }

    /// The record after a fetch that brought a usable key set. The set's age counts from
    /// `started_ms`, when the fetch began.
    pub fn succeeded(self, started_ms: u64, now_ms: u64, timing: FetchTiming, jitter: u64) -> Self {
        let mut next = self.completed(now_ms, false);
        next.generation = self.generation.saturating_add(1);
        next.fetched_at_ms = started_ms;
        next.failures.succeeded();
        // 75 to 85 % of the life, so that proxies that started together drift apart.
        let percent = 75_u64.saturating_add(jitter % 11);
        next.failures.next_ms =
            started_ms.saturating_add(timing.ttl_ms.saturating_mul(percent) / 100);
        next
    }

    /// The record after a failed fetch, and whether to log the failure.
    #[inline(never)]
    pub fn failed(
        self,
        now_ms: u64,
        timing: FetchTiming,
        jitter: u64,
        cause: Cause,
    ) -> (Self, bool) {
        let mut next = self.completed(now_ms, true);
        let backoff = Backoff {
            first_ms: timing.retry_ms,
            max_doublings: 10,
            longest_ms: MAX_BACKOFF_MS,
        };
        let log = next.failures.failed(now_ms, backoff, jitter, cause);
        (next, log)
    }

    /// The record after a call that the proxy did not accept. The call is soon made
    /// again, and no request is refused for it. None if it was tried often enough, or if
    /// fetches are failing already.
    #[inline(never)]
    pub fn again(mut self, now_ms: u64) -> Option<Self> {
        self.lease_until_ms = 0;
        self.lease_forced = false;
        self.failures.again(now_ms).then_some(self)
    }

    /// Whether fetches have failed since the last good one.
    pub fn is_failing(&self) -> bool {
        self.failures.is_failing()
    }

    /// What the last failure was.
    pub fn cause(&self) -> Cause {
        self.failures.logged.cause
    }

    /// The record when requests begin or stop to be refused because no key set is usable.
    #[inline(never)]
    pub fn turned(mut self, now_ms: u64, timing: FetchTiming) -> Option<(Self, Turn)> {
        let ready = self.is_usable(now_ms, timing);
        let refused = !ready && self.is_failing();
        let turn = self.failures.turned(refused, ready, now_ms)?;
        Some((self, turn))
    }

    fn completed(mut self, now_ms: u64, failed: bool) -> Self {
        if self.lease_forced {
            self.forced = self.forced.saturating_add(1);
            self.forced_failed = failed;
            self.cooldown_until_ms = now_ms.saturating_add(FORCED_FETCH_COOLDOWN_MS);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.lease_until_ms = 0;
        self.lease_forced = false;
        self
    }

    /// Tells one stored key set from another, even if the record was lost and the
    /// generations began again. `None` before the first.
    pub fn key_set_id(&self) -> Option<(u64, u64)> {
        (self.generation > 0).then_some((self.generation, self.fetched_at_ms))
    }

    /// Age of the key set in milliseconds; `None` before the first.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        (self.generation > 0).then(|| now_ms.saturating_sub(self.fetched_at_ms))
    }

    /// Whether the key set may be used: it is fresh, or it could not be refreshed and is
    /// not too old.
    pub fn is_usable(&self, now_ms: u64, timing: FetchTiming) -> bool {
        let longest = timing.ttl_ms.saturating_add(timing.max_stale_ms);
        self.age_ms(now_ms).is_some_and(|age| age <= longest)
    }

    /// Whether the current key set was requested before `started_ms`.
    pub fn is_older_than(&self, started_ms: u64) -> bool {
        self.generation > 0 && self.fetched_at_ms < started_ms
    }

    /// What a request remembers when it begins to wait.
    pub fn fetch_mark(&self) -> FetchMark {
        FetchMark {
            forced: self.forced,
        }
    }

    /// What happens to a request when there is no usable key set.
    pub fn without_key_set(&self) -> FetchOutlook {
        if self.is_failing() {
            FetchOutlook::Unavailable
        } else {
            FetchOutlook::Wait
        }
    }

    /// What happens to a request whose `kid` is not in the key set.
    pub fn without_key(&self, seen: FetchMark, now_ms: u64) -> FetchOutlook {
        if self.forced != seen.forced {
            return if self.forced_failed {
                FetchOutlook::Unavailable
            } else {
                FetchOutlook::UnknownKey
            };
        }
        if now_ms < self.cooldown_until_ms {
            FetchOutlook::UnknownKey
        } else {
            FetchOutlook::Wait
        }
    }

    /// The record as bytes: numbers in the form of [`record`].
    #[inline(never)]
    pub fn encode(&self) -> Vec<u8> {
        let plain: [u64; FIELDS - LOGGED_NUMBERS] = [
            self.generation,
            self.attempts,
            self.fetched_at_ms,
            self.failures.next_ms,
            self.failures.count,
            self.leases,
            self.lease_until_ms,
            u64::from(self.lease_forced),
            self.forced,
            u64::from(self.forced_failed),
            self.cooldown_until_ms,
            self.failures.untaken,
            self.failures.refusing_since_ms,
        ];
        let all = plain.into_iter().chain(self.failures.logged.numbers());
        let mut fields = [0; FIELDS];
        for (number, value) in fields.iter_mut().zip(all) {
            *number = value;
        }
        shared_record::encode(MAGIC, &fields, &[])
    }

    /// Reads what [`Control::encode`] wrote. `None` for anything else, because another
    /// plugin may write under the same key.
    #[inline(never)]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = shared_record::decode::<FIELDS>(MAGIC, bytes)? else {
            return None;
        };
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next();
        let mut record = Control {
            generation: next()?,
            attempts: next()?,
            fetched_at_ms: next()?,
            ..Control::default()
        };
        record.failures.next_ms = next()?;
        record.failures.count = next()?;
        record.leases = next()?;
        record.lease_until_ms = next()?;
        record.lease_forced = next()? != 0;
        record.forced = next()?;
        record.forced_failed = next()? != 0;
        record.cooldown_until_ms = next()?;
        record.failures.untaken = next()?;
        record.failures.refusing_since_ms = next()?;
        record.failures.logged = Logged::from_numbers(next)?;
        Some(record)
    }
}

#[cfg(test)]
mod tests;
