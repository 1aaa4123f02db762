//! The delegation epochs of the zones. An epoch only rises.

use std::cmp::Ordering;

use super::*;

impl State {
    /// A zone's epoch is at least this, for this time.
    pub fn raise(&self, zone: &str, epoch: u64, ttl: Duration) {
        self.raise_at(zone, epoch, ttl, None);
    }

    pub(super) fn raise_at(
        &self,
        zone: &str,
        epoch: u64,
        ttl: Duration,
        mut source: Option<Place>,
    ) {
        if self.only_zone().is_some_and(|only| only != zone) {
            return;
        }
        let Some(mut until) = clock::now().checked_add(ttl) else {
            return;
        };
        let mut inner = self.lock();
        let inner = &mut *inner;
        if let Some(held) = inner.epochs.get(zone) {
            let (old_until, old_seq) = (held.until, held.seq);
            let same = epoch == held.epoch;
            let longer = outlasts(until, old_until);
            let outdated = inner
                .log
                .get(&old_seq)
                .is_some_and(|logged| logged.is_outdated_by(source));
            if epoch < held.epoch || (same && !longer && !outdated) {
                if same {
                    inner.rest_on(old_seq, source);
                }
                return;
            }
            if same && !longer {
                until = old_until;
            }
            let old = inner.log.remove(&old_seq);
            inner.expiries.remove(&(old_until, old_seq));
            if let Some(old) = old.filter(|_| same) {
                source = old.extended_by(source);
            }
        } else if inner.epochs.len() >= MAX_ZONES {
            inner.over_capacity = true;
            inner.dropped = inner.dropped.saturating_add(1);
            return;
        }
        let seq = inner.seq.saturating_add(1);
        let name: Arc<str> = Arc::from(zone);
        let held = HeldEpoch {
            epoch,
            seq,
            until,
            scan: 0,
        };
        inner.epochs.insert(Arc::clone(&name), held);
        let item = Item::Zone(name);
        inner.log.insert(seq, Logged { item, source });
        inner.expiries.insert((until, seq));
        inner.seq = seq;
        self.head.send_replace(seq);
    }

    /// Whether a zone's epoch is higher, or is this one because of this message or a later
    /// one.
    pub(super) fn is_epoch_held(&self, zone: &str, epoch: u64, source: Option<Place>) -> bool {
        let mut inner = self.lock();
        let Some((held, seq)) = inner.epochs.get(zone).map(|held| (held.epoch, held.seq)) else {
            return false;
        };
        match held.cmp(&epoch) {
            Ordering::Greater => true,
            Ordering::Equal => inner.was_read(seq, source),
            Ordering::Less => false,
        }
    }

    /// A zone's epoch that was found in the shared store.
    pub fn found_epoch(&self, zone: &str, epoch: u64, ttl: Duration, scan: u64) {
        self.raise(zone, epoch, ttl);
        if let Some(held) = self.lock().epochs.get_mut(zone)
            && held.epoch == epoch
        {
            held.scan = scan;
        }
    }

    /// The zone whose epochs are kept, if they are not kept of all zones.
    pub fn only_zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
}
