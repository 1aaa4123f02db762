//! The delegation epochs of the zones. An epoch only rises.

use super::*;

impl State {
    /// A zone's epoch is at least this, for this time.
    pub fn raise(&self, zone: &str, epoch: u64, ttl: Duration) {
        if self.only_zone().is_some_and(|only| only != zone) {
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
        inner.log.insert(seq, Item::Zone(name));
        inner.expiries.insert((until, seq));
        inner.seq = seq;
        self.head.send_replace(seq);
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
