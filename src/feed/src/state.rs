//! What a companion knows: which anchors are revoked and until when, the epochs of the
//! zones, the order in which it learned them, and how fresh all of it is.
//!
//! The order is a log. It has each anchor and each zone once, at the place where it last
//! changed. So a reader can continue from any place in it, and the whole state is the log
//! from its beginning. Ages are measured with the monotonic clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::RETENTION;
use crate::event::{Event, Stream};

mod anchors;
mod clock;
mod epochs;
pub mod follow;
pub mod page;
pub mod position;
mod scan;

use follow::{Reached, Seen};
use position::Place;

/// Average size of an anchor, in bytes: the capacity is a bound on memory.
const ANCHOR_BYTES: usize = 256;
/// Zones whose epochs are kept.
const MAX_ZONES: usize = 100_000;
/// Most expired entries that one call removes.
const EXPIRED_AT_ONCE: usize = 10_000;
/// If reading an entry again would extend its life by less than this, nothing changes.
const SLACK: Duration = Duration::from_secs(1);
/// How old the last reading of the shared store may be before the state counts as no
/// fresher than it. This is the minimum: if a reading takes long, the next one may take
/// as long.
const MAX_SCAN_AGE: Duration = Duration::from_secs(180);
/// Most problems that are kept at once.
const MAX_PROBLEMS: usize = 32;

#[derive(Debug)]
struct Held {
    seq: u64,
    until: Instant,
    /// The last reading of the shared store that found it; 0 for none.
    scan: u64,
}

#[derive(Debug)]
struct HeldEpoch {
    epoch: u64,
    seq: u64,
    until: Instant,
    /// The last reading of the shared store that found this epoch; 0 for none.
    scan: u64,
}

#[derive(Debug, Clone)]
enum Item {
    Anchor(Arc<str>),
    Zone(Arc<str>),
}

#[derive(Debug)]
struct Logged {
    item: Item,
    /// The newest message of a stream that names it. The mark is 0 if it is longer in force
    /// than that message says; none if no message is known.
    source: Option<Place>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The log's name.
    name: u64,
    seq: u64,
    anchors: HashMap<Arc<str>, Held>,
    bytes: usize,
    epochs: HashMap<Arc<str>, HeldEpoch>,
    log: BTreeMap<u64, Logged>,
    expiries: BTreeSet<(Instant, u64)>,
    over_capacity: bool,
    /// How many entries ever found no room.
    dropped: u64,
    nearly_full: bool,
    tails: BTreeMap<Stream, Instant>,
    reached: BTreeMap<Stream, Reached>,
    seen: BTreeMap<Stream, Seen>,
    /// What Redis's clock last said, and when.
    told_time: Option<(u64, Instant)>,
    /// When the last complete reading of the shared store began.
    scanned: Option<Instant>,
    /// How long the longest reading took.
    scan_took: Duration,
    scan: u64,
    /// The first reading of the shared store that must ask about everything.
    missed: u64,
    problems: BTreeMap<String, String>,
    /// The state needs nothing from outside this process.
    alone: bool,
}

/// The state of one companion.
#[derive(Debug)]
pub struct State {
    max_anchors: usize,
    zone: Option<String>,
    retention: Duration,
    inner: Mutex<Inner>,
    head: watch::Sender<u64>,
    /// Counts how often a stream was read to its end.
    turns: watch::Sender<u64>,
}

impl State {
    /// An empty state with its own log. `zone` limits epochs, but not anchors.
    pub fn new(max_anchors: usize, zone: Option<String>) -> Arc<Self> {
        State::keeping(max_anchors, zone, RETENTION)
    }

    /// The same, but nothing is kept for longer than `retention`: no mandate that was
    /// issued before a revocation is valid for longer. At most 24 hours count.
    pub fn keeping(max_anchors: usize, zone: Option<String>, retention: Duration) -> Arc<Self> {
        let inner = Inner {
            name: rand::random(),
            ..Inner::default()
        };
        Arc::new(State {
            retention: retention.min(RETENTION),
            max_anchors,
            zone,
            inner: Mutex::new(inner),
            head: watch::channel(0).0,
            turns: watch::channel(0).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds the lock can panic in the middle of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last number of the log.
    pub fn seq(&self) -> u64 {
        self.lock().seq
    }

    /// How many entries were ever left out because there was no room.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// By how much less than in the shared store an anchor is kept here.
    pub fn shortened(&self) -> Duration {
        RETENTION.saturating_sub(self.retention)
    }

    /// Whether something was left out because there was no room.
    pub fn is_over_capacity(&self) -> bool {
        self.lock().over_capacity
    }

    /// Sets the problem of one of the tasks, or clears it.
    pub fn problem(&self, task: &str, why: Option<String>) {
        let problems = &mut self.lock().problems;
        match why {
            None => drop(problems.remove(task)),
            Some(why) if problems.len() < MAX_PROBLEMS || problems.contains_key(task) => {
                problems.insert(task.to_owned(), why);
            }
            Some(_) => {}
        }
    }

    /// The problems of the tasks, by name.
    pub fn problems(&self) -> BTreeMap<String, String> {
        self.lock().problems.clone()
    }

    /// Everything in a stream up to `at` has been added.
    pub fn confirm(&self, stream: Stream, at: Instant) {
        self.lock().tails.insert(stream, at);
    }

    /// A stream must first be read again from its beginning.
    pub fn unconfirm(&self, stream: Stream) {
        let mut inner = self.lock();
        inner.tails.remove(&stream);
        inner.reached.remove(&stream);
    }

    /// There is no Redis. What is known here is everything.
    pub fn stand_alone(&self) {
        self.lock().alone = true;
    }

    /// Redis has lost data under the ids that readers go by, and nobody knows what they were
    /// told under these ids. So the log gets another name, and its readers get all of it
    /// again.
    pub fn rename(&self) {
        self.lock().name = rand::random();
    }

    /// Removes expired entries, a part at a time, so that nobody waits long for the lock.
    /// Returns whether there are more.
    pub fn expire(&self) -> bool {
        let now = clock::now();
        let mut inner = self.lock();
        let inner = &mut *inner;
        for _ in 0..EXPIRED_AT_ONCE {
            let Some((until, seq)) = inner.expiries.first().copied() else {
                return false;
            };
            if until > now {
                return false;
            }
            inner.expiries.pop_first();
            match inner.log.remove(&seq).map(|logged| logged.item) {
                Some(Item::Anchor(anchor)) => {
                    inner.anchors.remove(&anchor);
                    inner.bytes = inner.bytes.saturating_sub(anchor.len());
                }
                Some(Item::Zone(zone)) => drop(inner.epochs.remove(&zone)),
                None => {}
            }
        }
        true
    }

    /// Milliseconds since everything was known to be here; `None` if it never was, or
    /// does not fit.
    pub fn confirmed_age_ms(&self) -> Option<u64> {
        self.lock().confirmed_age_ms()
    }

    /// Why the companion serves nothing to filters; `None` if everything is well.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.lock().not_ready()
    }

    /// Whether there is no Redis.
    pub fn is_alone(&self) -> bool {
        self.lock().alone
    }

    /// Most anchors that are held.
    pub fn max_anchors(&self) -> usize {
        self.max_anchors
    }

    /// How many anchors are held.
    pub fn len(&self) -> usize {
        self.lock().anchors.len()
    }

    /// Whether no anchor is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reports when the log has grown.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Reports when a stream was read to its end.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// The settings that decide what a message means here, for [`position::mark`].
    pub fn settings(&self) -> String {
        let zone = self.only_zone().unwrap_or_default();
        format!("{} {zone}", self.retention.as_secs())
    }
}

/// Whether a lifetime is longer than the known one, by more than two readings of the same
/// expiry differ.
fn outlasts(until: Instant, known: Instant) -> bool {
    until.saturating_duration_since(known) > SLACK
}

impl Inner {
    fn confirmed_age_ms(&self) -> Option<u64> {
        if self.over_capacity {
            return None;
        }
        if self.alone {
            return Some(0);
        }
        let now = clock::now();
        let allowed = self
            .scan_took
            .saturating_mul(3)
            .saturating_add(MAX_SCAN_AGE);
        let scanned = self.scanned?.checked_add(allowed)?;
        let mut confirmed = scanned.min(now);
        for stream in Stream::ALL {
            confirmed = confirmed.min(*self.tails.get(&stream)?);
        }
        let age = now.saturating_duration_since(confirmed).as_millis();
        Some(u64::try_from(age).unwrap_or(u64::MAX))
    }

    fn not_ready(&self) -> Option<&'static str> {
        if self.over_capacity {
            return Some("more anchors are revoked than --max-anchors");
        }
        if self.confirmed_age_ms().is_none() {
            return Some("the streams and the shared store have not been read yet");
        }
        None
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
