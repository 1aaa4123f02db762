//! What a companion knows: which anchors are revoked until when, the zones'
//! epochs, the order in which it learned them, and how fresh all that is.
//!
//! The order is a log that holds each anchor and each zone once, where it was
//! last news. So a reader can go on from any place in it, and the whole state is
//! the log from its beginning. Ages are of the monotonic clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::RETENTION;
use crate::event::{Event, Stream};

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

/// An entry of the log, as the feed gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// An anchor is revoked.
    Anchor {
        /// Its number in the log.
        seq: u64,
        /// The anchor.
        anchor: Arc<str>,
        /// Seconds that it stays so, rounded up.
        ttl_s: u64,
    },
    /// A zone's delegation epoch.
    Epoch {
        /// Its number in the log.
        seq: u64,
        /// The zone.
        zone: Arc<str>,
        /// The epoch.
        epoch: u64,
        /// Seconds that it is kept, rounded up.
        ttl_s: u64,
    },
}

impl Entry {
    fn seq(&self) -> u64 {
        match self {
            Entry::Anchor { seq, .. } | Entry::Epoch { seq, .. } => *seq,
        }
    }
}

/// Entries after a place in the log.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// The log's name.
    pub generation: String,
    /// Number of its newest entry.
    pub head: u64,
    /// Milliseconds since the companion last knew that it had everything.
    pub confirmed_age_ms: u64,
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// There are more after these.
    pub more: bool,
}

/// Why the log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPage {
    /// It was never complete yet, or it is over capacity.
    NotReady(&'static str),
    /// The cursor is of another log, or beyond its end; this is its name now.
    Gone(String),
}

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

    /// The entries after `after` in the log of that name.
    ///
    /// # Errors
    /// See [`NoPage`].
    pub fn page(&self, generation: &str, after: u64, max: usize) -> Result<Page, NoPage> {
        let inner = self.lock();
        let age = inner.readiness()?;
        if generation != self.generation || after > inner.seq {
            return Err(NoPage::Gone(self.generation.clone()));
        }
        Ok(self.read(&inner, after, max, age))
    }

    /// The log of whatever name, from its beginning or after `after`.
    ///
    /// # Errors
    /// See [`NoPage`].
    pub fn snapshot(&self, after: u64, max: usize) -> Result<Page, NoPage> {
        let inner = self.lock();
        let age = inner.readiness()?;
        Ok(self.read(&inner, after, max, age))
    }

    fn read(&self, inner: &Inner, after: u64, max: usize, age: u64) -> Page {
        let now = Instant::now();
        let ttl = |until: Instant| {
            let left = until.saturating_duration_since(now);
            left.as_secs()
                .saturating_add(u64::from(left.subsec_nanos() > 0))
        };
        let mut entries = Vec::new();
        let (mut bytes, mut more) = (0_usize, false);
        for (seq, item) in inner.log.range(after.saturating_add(1)..) {
            if entries.len() >= max || bytes > MAX_PAGE_TEXT {
                more = true;
                break;
            }
            let seq = *seq;
            match item {
                Item::Anchor(anchor) => {
                    let Some(held) = inner.anchors.get(anchor) else {
                        continue;
                    };
                    bytes = bytes.saturating_add(anchor.len());
                    entries.push(Entry::Anchor {
                        seq,
                        anchor: Arc::clone(anchor),
                        ttl_s: ttl(held.until),
                    });
                }
                Item::Zone(zone) => {
                    let Some(held) = inner.epochs.get(zone) else {
                        continue;
                    };
                    bytes = bytes.saturating_add(zone.len());
                    entries.push(Entry::Epoch {
                        seq,
                        zone: Arc::clone(zone),
                        epoch: held.epoch,
                        ttl_s: ttl(held.until),
                    });
                }
            }
        }
        Page {
            generation: self.generation.clone(),
            head: inner.seq,
            confirmed_age_ms: age,
            entries,
            more,
        }
    }

    /// Which of these anchors are revoked, and the zone's epoch, with the age of
    /// that knowledge.
    ///
    /// # Errors
    /// See [`NoPage`].
    pub fn check<'a>(
        &self,
        anchors: &'a [String],
        zone: &str,
    ) -> Result<(Vec<&'a str>, u64, u64), NoPage> {
        let now = Instant::now();
        let inner = self.lock();
        let age = inner.readiness()?;
        let revoked = anchors
            .iter()
            .map(String::as_str)
            .filter(|anchor| inner.anchors.get(*anchor).is_some_and(|h| h.until > now));
        let epoch = inner.epochs.get(zone).filter(|held| held.until > now);
        Ok((revoked.collect(), epoch.map_or(0, |held| held.epoch), age))
    }

    /// Everything, with what is left of its life; for the state file.
    pub fn everything(&self) -> Vec<Entry> {
        let inner = self.lock();
        self.read_all(&inner)
    }

    fn read_all(&self, inner: &Inner) -> Vec<Entry> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.read(inner, after, 10_000, 0);
            let Some(last) = page.entries.last().map(Entry::seq) else {
                return all;
            };
            after = last;
            all.extend(page.entries);
            if !page.more {
                return all;
            }
        }
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

/// Text in one page, in bytes, but for its last entry.
const MAX_PAGE_TEXT: usize = 256 * 1024;

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
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(100);

    fn alone(max: usize) -> Arc<State> {
        let state = State::new(max, Some("z".to_owned()));
        state.stand_alone();
        state
    }

    fn anchors(page: &Page) -> Vec<String> {
        let name = |entry: &Entry| match entry {
            Entry::Anchor { anchor, .. } => anchor.to_string(),
            Entry::Epoch { zone, epoch, .. } => format!("{zone}={epoch}"),
        };
        page.entries.iter().map(name).collect()
    }

    #[test]
    fn the_log_has_each_once_where_it_was_last_news() {
        let state = alone(10);
        for anchor in ["a", "b", "a"] {
            state.revoke(anchor, LONG);
        }
        state.raise("z", 5, LONG);
        state.raise("z", 4, LONG * 2);
        state.raise("other", 9, LONG);
        let page = state.snapshot(0, 10).unwrap();
        assert_eq!(anchors(&page), ["a", "b", "z=5"]);
        state.revoke("a", LONG * 2);
        state.raise("z", 6, LONG);
        let next = state.page(&page.generation, page.head, 10).unwrap();
        assert_eq!(anchors(&next), ["a", "z=6"]);
        assert_eq!(anchors(&state.snapshot(0, 10).unwrap()), ["b", "a", "z=6"]);
        let one = state.snapshot(0, 1).unwrap();
        assert!(one.more);
        assert!(!next.more);
    }

    #[test]
    fn a_cursor_of_another_log_or_beyond_the_end_is_gone() {
        let state = alone(10);
        state.revoke("a", LONG);
        let name = state.snapshot(0, 1).unwrap().generation;
        let gone = Err(NoPage::Gone(name.clone()));
        assert_eq!(state.page("other", 0, 1).map(|_| ()), gone);
        assert_eq!(state.page(&name, 2, 1).map(|_| ()), gone);
        assert!(state.page(&name, 1, 1).is_ok());
    }

    #[test]
    fn it_is_as_fresh_as_its_oldest_source() {
        let state = State::new(10, None);
        let now = Instant::now();
        assert_eq!(state.confirmed_age_ms(), None);
        state.confirm(Stream::Revocations, now);
        state.confirm(Stream::Delegations, now);
        assert_eq!(
            state.confirmed_age_ms(),
            None,
            "the shared store was not read"
        );
        let scan = state.scan_begins();
        assert_eq!(state.scan_ended(scan, now), 0);
        assert!(state.confirmed_age_ms().is_some());
        state.unconfirm(Stream::Delegations);
        assert!(matches!(state.snapshot(0, 1), Err(NoPage::NotReady(_))));
    }

    #[test]
    fn over_capacity_nothing_is_told_until_there_is_room() {
        let state = alone(20);
        for n in 0..21 {
            state.revoke(&n.to_string(), if n < 10 { Duration::ZERO } else { LONG });
        }
        assert!(state.not_ready().is_some());
        state.expire();
        assert_eq!(state.len(), 10);
        assert!(state.not_ready().is_some());
        state.scan_begins();
        assert_eq!(state.not_ready(), None);
    }

    #[test]
    fn what_the_store_has_lost_is_counted_and_kept() {
        let state = alone(10);
        let long = Duration::from_secs(10_000);
        let (first, now) = (state.scan_begins(), Instant::now());
        state.found("a", long, first);
        state.found("b", long, first);
        state.revoke("streamed", long);
        assert_eq!(state.scan_ended(first, now), 0);
        let second = state.scan_begins();
        assert!(!state.is_expiry_wanted("a", second));
        assert_eq!(state.scan_ended(second, now), 1);
        assert_eq!(state.len(), 3);
    }
}
