//! What a companion knows: which anchors are revoked until when, the zones'
//! epochs, the order in which it learned them, and how fresh all that is.
//!
//! The order is a log that holds each anchor and each zone once, where it was
//! last news. So a reader can go on from any place in it, and the whole state is
//! the log from its beginning. Ages are of the monotonic clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::RETENTION;
use crate::event::{Event, Stream};

mod page;

pub use page::{Entry, NoPage, Page};

/// Bytes that an anchor may take on average: the capacity is a bound on memory.
const ANCHOR_BYTES: usize = 256;
/// Zones whose epochs are kept.
const MAX_ZONES: usize = 100_000;
/// Entries that one call lets go of.
const EXPIRED_AT_ONCE: usize = 10_000;
/// A re-read that makes something live this much longer is no news.
const SLACK: Duration = Duration::from_secs(1);
/// How old the last reading of the shared store may be before the state counts
/// as no fresher than it.
const MAX_SCAN_AGE: Duration = Duration::from_secs(180);

#[derive(Debug)]
struct Held {
    seq: u64,
    until: Instant,
    /// The last reading of the shared store that it was in; 0 for none.
    scan: u64,
}

#[derive(Debug)]
struct HeldEpoch {
    epoch: u64,
    seq: u64,
    until: Instant,
}

#[derive(Debug, Clone)]
enum Item {
    Anchor(Arc<str>),
    Zone(Arc<str>),
}

#[derive(Debug, Default)]
struct Inner {
    seq: u64,
    anchors: HashMap<Arc<str>, Held>,
    bytes: usize,
    epochs: HashMap<Arc<str>, HeldEpoch>,
    log: BTreeMap<u64, Item>,
    expiries: BTreeSet<(Instant, u64)>,
    over_capacity: bool,
    tails: BTreeMap<Stream, Instant>,
    scanned: Option<Instant>,
    /// A reading of the shared store that began before this is not enough.
    rescan_since: Option<Instant>,
    scan: u64,
    /// Nothing outside this process has to be asked.
    alone: bool,
}

/// The state of one companion.
#[derive(Debug)]
pub struct State {
    generation: String,
    max_anchors: usize,
    zone: Option<String>,
    inner: Mutex<Inner>,
    head: watch::Sender<u64>,
}

impl State {
    /// An empty state with a log of its own. `zone` limits epochs, never anchors.
    pub fn new(max_anchors: usize, zone: Option<String>) -> Arc<Self> {
        Arc::new(State {
            generation: format!("{:016x}", rand::random::<u64>()),
            max_anchors,
            zone,
            inner: Mutex::default(),
            head: watch::channel(0).0,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an event, for its whole retention from now.
    pub fn apply(&self, event: &Event) {
        match event {
            Event::Revoked(anchors) => {
                for anchor in anchors {
                    self.revoke(anchor, RETENTION);
                }
            }
            Event::Epoch { zone, epoch } => self.raise(zone, *epoch, RETENTION),
        }
    }

    /// An anchor is revoked for so long, or for longer if it is already.
    pub fn revoke(&self, anchor: &str, ttl: Duration) {
        self.revoke_at(anchor, ttl, None);
    }

    /// The same, of an anchor that was found in the shared store.
    pub fn found(&self, anchor: &str, ttl: Duration, scan: u64) {
        self.revoke_at(anchor, ttl, Some(scan));
    }

    fn revoke_at(&self, anchor: &str, ttl: Duration, scan: Option<u64>) {
        let Some(until) = Instant::now().checked_add(ttl) else {
            return;
        };
        let mut inner = self.lock();
        let inner = &mut *inner;
        let seq = inner.seq.saturating_add(1);
        if let Some(held) = inner.anchors.get_mut(anchor) {
            held.scan = scan.unwrap_or(held.scan);
            if !outlasts(until, held.until) {
                return;
            }
            inner.log.remove(&held.seq);
            inner.expiries.remove(&(held.until, held.seq));
            held.seq = seq;
            held.until = until;
        } else {
            let bytes = inner.bytes.saturating_add(anchor.len());
            let full = inner.anchors.len() >= self.max_anchors
                || bytes > self.max_anchors.saturating_mul(ANCHOR_BYTES);
            if full {
                if !std::mem::replace(&mut inner.over_capacity, true) {
                    tracing::error!(
                        max_anchors = self.max_anchors,
                        "over capacity: filters are told nothing until fewer anchors are revoked (--max-anchors)"
                    );
                }
                return;
            }
            inner.bytes = bytes;
            let held = Held {
                seq,
                until,
                scan: scan.unwrap_or(0),
            };
            inner.anchors.insert(Arc::from(anchor), held);
        }
        // The key's own text, not another copy of it.
        let Some((name, _)) = inner.anchors.get_key_value(anchor) else {
            return;
        };
        inner.log.insert(seq, Item::Anchor(Arc::clone(name)));
        inner.expiries.insert((until, seq));
        inner.seq = seq;
        self.head.send_replace(seq);
    }

    /// A zone's epoch is at least this, for so long.
    pub fn raise(&self, zone: &str, epoch: u64, ttl: Duration) {
        if self.zone.as_deref().is_some_and(|only| only != zone) {
            return;
        }
        let Some(until) = Instant::now().checked_add(ttl) else {
            return;
        };
        let mut inner = self.lock();
        let inner = &mut *inner;
        if let Some(held) = inner.epochs.get(zone) {
            let news = epoch > held.epoch || (epoch == held.epoch && outlasts(until, held.until));
            if !news {
                return;
            }
            let (old_until, old_seq) = (held.until, held.seq);
            inner.log.remove(&old_seq);
            inner.expiries.remove(&(old_until, old_seq));
        } else if inner.epochs.len() >= MAX_ZONES {
            inner.over_capacity = true;
            return;
        }
        let seq = inner.seq.saturating_add(1);
        let name: Arc<str> = Arc::from(zone);
        let held = HeldEpoch { epoch, seq, until };
        inner.epochs.insert(Arc::clone(&name), held);
        inner.log.insert(seq, Item::Zone(name));
        inner.expiries.insert((until, seq));
        inner.seq = seq;
        self.head.send_replace(seq);
    }

    /// Whether the shared store has to be asked how long an anchor stays: it is
    /// not known, or ends within the next hour.
    pub fn is_expiry_wanted(&self, anchor: &str, scan: u64) -> bool {
        let soon = Duration::from_secs(3_600);
        match self.lock().anchors.get_mut(anchor) {
            None => true,
            Some(held) => {
                held.scan = scan;
                held.until.saturating_duration_since(Instant::now()) < soon
            }
        }
    }

    /// Begins a reading of the shared store; its number.
    pub fn scan_begins(&self) -> u64 {
        let mut inner = self.lock();
        inner.scan = inner.scan.saturating_add(1);
        // Below nine tenths there is room again, and what was left out is in the
        // store, from which it is read now.
        let room = inner.anchors.len().saturating_mul(10) < self.max_anchors.saturating_mul(9);
        if inner.over_capacity && room {
            inner.over_capacity = false;
            inner.scanned = None;
            tracing::info!("below capacity again: reading the shared store");
        }
        inner.scan
    }

    /// A reading of the shared store that began at `began` is complete. How many
    /// anchors it should have found and did not: Redis has lost them. They stay
    /// revoked here until their own expiry.
    pub fn scan_ended(&self, scan: u64, began: Instant) -> usize {
        let mut inner = self.lock();
        if inner.rescan_since.is_none_or(|since| since <= began) {
            inner.scanned = Some(began);
        }
        let margin = began.checked_add(Duration::from_secs(120));
        let before = scan.saturating_sub(1);
        inner
            .anchors
            .values()
            .filter(|held| held.scan != 0 && held.scan == before)
            .filter(|held| margin.is_none_or(|margin| held.until > margin))
            .count()
    }

    /// Something may have been missed that is in the shared store: until that has
    /// been read again, nothing is confirmed.
    pub fn rescan_needed(&self) {
        let mut inner = self.lock();
        inner.scanned = None;
        inner.rescan_since = Some(Instant::now());
    }

    /// Everything in a stream up to `at` has been taken in.
    pub fn confirm(&self, stream: Stream, at: Instant) {
        self.lock().tails.insert(stream, at);
    }

    /// A stream has to be read again from its beginning first.
    pub fn unconfirm(&self, stream: Stream) {
        self.lock().tails.remove(&stream);
    }

    /// There is no Redis: what is known here is all there is.
    pub fn stand_alone(&self) {
        self.lock().alone = true;
    }

    /// Lets go of what has expired, a part at a time: nobody waits long for the
    /// lock. Whether there is more.
    pub fn expire(&self) -> bool {
        let now = Instant::now();
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
            match inner.log.remove(&seq) {
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

    /// Milliseconds since everything was known to be here; `None` when it never
    /// was, or does not fit.
    pub fn confirmed_age_ms(&self) -> Option<u64> {
        self.lock().confirmed_age_ms()
    }

    /// Why filters are told nothing; `None` when all is well.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.lock().not_ready()
    }

    /// How many anchors are held.
    pub fn len(&self) -> usize {
        self.lock().anchors.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells when the log has grown.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}

/// Whether a life is longer than the one known, by more than two readings of one
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
        let now = Instant::now();
        let scanned = self.scanned?.checked_add(MAX_SCAN_AGE)?;
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

    fn readiness(&self) -> Result<u64, NoPage> {
        match (self.not_ready(), self.confirmed_age_ms()) {
            (None, Some(age)) => Ok(age),
            (why, _) => Err(NoPage::NotReady(why.unwrap_or("not ready"))),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
