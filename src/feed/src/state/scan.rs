//! What readings of the shared store add to the state, and what they show to be missing
//! in the store.

use std::time::{Duration, Instant};

use super::page::Entry;
use super::{ANCHOR_BYTES, MAX_ZONES, State};

impl State {
    /// Whether the shared store must be asked how long it keeps an anchor: it is not
    /// known, expires within an hour, was not seen there before, or may have been revoked
    /// again by a message that was missed.
    pub fn is_expiry_wanted(&self, anchor: &str, scan: u64) -> bool {
        let soon =
            Duration::from_secs(3_600).min(self.retention.checked_div(2).unwrap_or_default());
        let mut inner = self.lock();
        let missed = inner.missed;
        match inner.anchors.get_mut(anchor) {
            None => true,
            Some(held) if held.scan == 0 || held.scan < missed => true,
            Some(held) => {
                held.scan = scan;
                held.until.saturating_duration_since(super::clock::now()) < soon
            }
        }
    }

    /// Messages were missed. They may have revoked again what is held, so the next reading
    /// of the shared store asks how long everything is kept.
    pub fn missed(&self) {
        let mut inner = self.lock();
        inner.missed = inner.scan.saturating_add(1);
    }

    /// Begins a reading of the shared store and returns its number.
    pub fn scan_begins(&self) -> u64 {
        let mut inner = self.lock();
        inner.scan = inner.scan.saturating_add(1);
        // Below nine tenths there is room again. What was left out is in the store, and
        // this reading finds it.
        let is_room = |held: usize, most: usize| held.saturating_mul(10) < most.saturating_mul(9);
        let most_bytes = self.max_anchors.saturating_mul(ANCHOR_BYTES);
        let room = is_room(inner.anchors.len(), self.max_anchors)
            && is_room(inner.bytes, most_bytes)
            && is_room(inner.epochs.len(), MAX_ZONES);
        if inner.over_capacity && room {
            inner.over_capacity = false;
            inner.scanned = None;
            tracing::info!("below capacity again: reading the shared store");
        }
        if inner.anchors.len().saturating_mul(10) < self.max_anchors.saturating_mul(7) {
            inner.nearly_full = false;
        }
        inner.scan
    }

    /// A reading of the shared store that began at `began` is complete. Returns how many
    /// anchors it should have found and did not: Redis has lost them. They stay revoked
    /// here until their own expiry.
    pub fn scan_ended(&self, scan: u64, began: Instant) -> usize {
        let mut inner = self.lock();
        inner.scanned = Some(began);
        inner.scan_took = inner
            .scan_took
            .max(super::clock::now().saturating_duration_since(began));
        let margin = began.checked_add(Duration::from_secs(120));
        let before = scan.saturating_sub(1);
        inner
            .anchors
            .values()
            .filter(|held| held.scan != 0 && held.scan == before)
            .filter(|held| margin.is_none_or(|margin| held.until > margin))
            .count()
    }

    /// When the last complete reading of the shared store began.
    pub fn scan_began(&self) -> Option<Instant> {
        self.lock().scanned
    }

    /// Among this many entries of the log after `after`: those that a reading of the
    /// shared store, which began at `began`, did not find, and where to continue. At the
    /// end that is `after` itself. Newer entries are left to the writer.
    pub fn absent(&self, scan: u64, began: Instant, after: u64, among: usize) -> (Vec<Entry>, u64) {
        let soon = began.checked_add(Duration::from_secs(10));
        self.pick(after, among, |found, until| {
            found != scan && soon.is_none_or(|soon| until > soon)
        })
    }

    /// Among this many entries of the log after `after`: those that came from streams,
    /// and where to continue. At the end that is `after` itself.
    pub fn news(&self, after: u64, among: usize) -> (Vec<Entry>, u64) {
        self.pick(after, among, |found, _| found == 0)
    }
}
