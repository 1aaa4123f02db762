//! What streams, the shared store and the API add to the state.

use super::*;

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin {
    /// The reading of the shared store that found it.
    scan: Option<u64>,
    /// The message that says so.
    pub(super) source: Option<Place>,
}

impl Logged {
    /// Whether a message is newer than the one that the entry rests on. If it is, the entry
    /// goes to the end of the log: a reader that had everything up to the older message was
    /// not sent it. Ids are times, so they are compared whatever the marks are. An entry
    /// without a message was sent to everybody.
    pub(super) fn is_outdated_by(&self, source: Option<Place>) -> bool {
        source.is_some_and(|new| self.source.is_some_and(|old| new.id > old.id))
    }

    /// What the entry rests on when it becomes longer in force because of this message, or
    /// of something else. If the message is not the newest one, no reader is taken to have
    /// the entry.
    pub(super) fn extended_by(self, source: Option<Place>) -> Option<Place> {
        match (self.source, source) {
            (None, new) => new,
            (Some(old), Some(new)) if new.id >= old.id => Some(new),
            (Some(old), _) => Some(Place { mark: 0, ..old }),
        }
    }
}

impl State {
    /// Adds an event of this message, for its whole retention from now on.
    pub fn apply(&self, event: &Event, source: Option<Place>) {
        match event {
            Event::Revoked(anchors) => {
                let origin = Origin { scan: None, source };
                for anchor in anchors {
                    self.revoke_at(anchor, self.retention, origin);
                }
            }
            Event::Epoch { zone, epoch } => self.raise_at(zone, *epoch, RETENTION, source),
        }
    }

    /// Adds an event that may have been added before. What is already held stays as it
    /// is, so that reading a stream again changes nothing but the mark of its messages.
    pub fn apply_again(&self, event: &Event, source: Option<Place>) {
        match event {
            Event::Revoked(anchors) => {
                let origin = Origin { scan: None, source };
                for anchor in anchors {
                    if !self.is_anchor_held(anchor, source) {
                        self.revoke_at(anchor, self.retention, origin);
                    }
                }
            }
            Event::Epoch { zone, epoch } => {
                if !self.is_epoch_held(zone, *epoch, source) {
                    self.raise_at(zone, *epoch, RETENTION, source);
                }
            }
        }
    }

    /// Whether an anchor is held because of this message or a later one. If it is, the mark
    /// that the message has now is noted. The entry need not be sent again: while a stream
    /// is read again, no reader's ids count.
    fn is_anchor_held(&self, anchor: &str, source: Option<Place>) -> bool {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let seq = inner.anchors.get(anchor).map(|held| held.seq);
        seq.is_some_and(|seq| inner.was_read(seq, source))
    }

    /// Revokes an anchor for this time. If it is revoked for longer already, it stays so.
    pub fn revoke(&self, anchor: &str, ttl: Duration) {
        self.revoke_at(anchor, ttl, Origin::default());
    }

    /// The same for an anchor that was found in the shared store.
    pub fn found(&self, anchor: &str, ttl: Duration, scan: u64) {
        // Take off the usual `shortened`, so that each reading does not extend it.
        let left = ttl.min(RETENTION).saturating_sub(self.shortened());
        if left.is_zero() {
            return;
        }
        let origin = Origin {
            scan: Some(scan),
            source: None,
        };
        self.revoke_at(anchor, left, origin);
        if let Some(seq) = self.lock().renew(anchor, ttl) {
            self.head.send_replace(seq);
        }
    }

    fn revoke_at(&self, anchor: &str, ttl: Duration, origin: Origin) {
        let Origin { scan, mut source } = origin;
        let Some(mut until) = clock::now().checked_add(ttl.min(self.retention)) else {
            return;
        };
        let mut inner = self.lock();
        let inner = &mut *inner;
        let seq = inner.seq.saturating_add(1);
        if let Some(held) = inner.anchors.get_mut(anchor) {
            // If the writer still has to write the entry, and the store's key expires
            // sooner, the entry stays with the writer.
            let kept = held.scan == 0 && outlasts(held.until, until);
            held.scan = scan.filter(|_| !kept).unwrap_or(held.scan);
            let longer = outlasts(until, held.until);
            let outdated = inner
                .log
                .get(&held.seq)
                .is_some_and(|logged| logged.is_outdated_by(source));
            if !longer && !outdated {
                let old = held.seq;
                inner.rest_on(old, source);
                return;
            }
            if !longer {
                until = held.until;
            }
            if let Some(old) = inner.log.remove(&held.seq) {
                source = old.extended_by(source);
            }
            inner.expiries.remove(&(held.until, held.seq));
            held.seq = seq;
            held.until = until;
            // The store's key may expire sooner, so the writer must see the entry again.
            if longer && scan.is_none() {
                held.scan = 0;
            }
        } else {
            let bytes = inner.bytes.saturating_add(anchor.len());
            let full = inner.anchors.len() >= self.max_anchors
                || bytes > self.max_anchors.saturating_mul(ANCHOR_BYTES);
            if full {
                inner.dropped = inner.dropped.saturating_add(1);
                if !std::mem::replace(&mut inner.over_capacity, true) {
                    tracing::error!(
                        max_anchors = self.max_anchors,
                        "over capacity: filters get no revocations and refuse requests until fewer anchors are revoked (--max-anchors)"
                    );
                }
                return;
            }
            inner.bytes = bytes;
            let count = inner.anchors.len().saturating_add(1);
            let nearly = count.saturating_mul(10) >= self.max_anchors.saturating_mul(8);
            if nearly && !std::mem::replace(&mut inner.nearly_full, true) {
                tracing::warn!(
                    anchors = count,
                    max_anchors = self.max_anchors,
                    "four fifths of --max-anchors are used. Beyond the limit filters refuse requests. Each proxy also has its own limit (limits.max_anchors)"
                );
            }
            let held = Held {
                seq,
                until,
                scan: scan.unwrap_or(0),
            };
            inner.anchors.insert(Arc::from(anchor), held);
        }
        // Use the text of the key, and not another copy of it.
        let Some((name, _)) = inner.anchors.get_key_value(anchor) else {
            return;
        };
        let item = Item::Anchor(Arc::clone(name));
        inner.log.insert(seq, Logged { item, source });
        inner.expiries.insert((until, seq));
        inner.seq = seq;
        self.head.send_replace(seq);
    }
}

impl Inner {
    /// The store keeps a held anchor for this time. If that is longer than its message says,
    /// the entry goes to the end of the log and rests on no message any more.
    /// Returns its number there.
    fn renew(&mut self, anchor: &str, ttl: Duration) -> Option<u64> {
        let old = self.anchors.get(anchor)?.seq;
        let source = self.log.get(&old).and_then(|logged| logged.source);
        let rests = source.filter(|source| source.mark != 0);
        if !rests.is_some_and(|message| self.is_kept_longer(message, ttl)) {
            return None;
        }
        let seq = self.seq.saturating_add(1);
        let (held, logged) = (self.anchors.get_mut(anchor)?, self.log.remove(&old)?);
        self.expiries.remove(&(held.until, old));
        self.expiries.insert((held.until, seq));
        held.seq = seq;
        let source = logged.source.map(|old| Place { mark: 0, ..old });
        self.log.insert(seq, Logged { source, ..logged });
        self.seq = seq;
        Some(seq)
    }

    /// Whether an entry rests on this message or a later one. Whatever mark that one had:
    /// the messages that an older one had in common with this one have kept their ids.
    pub(super) fn was_read(&mut self, seq: u64, source: Option<Place>) -> bool {
        let Some(new) = source else { return true };
        let known = self.log.get(&seq).and_then(|logged| logged.source);
        let read = known.is_some_and(|known| known.id >= new.id);
        if read {
            self.rest_on(seq, source);
        }
        read
    }

    /// Notes that an entry of the log rests on a message, if no newer one is noted, and if
    /// the entry is not longer in force than its newest one says.
    pub(super) fn rest_on(&mut self, seq: u64, source: Option<Place>) {
        let Some(new) = source else { return };
        if let Some(logged) = self.log.get_mut(&seq) {
            let newer = logged.source.is_none_or(|old| match old.mark {
                0 => new.id > old.id,
                _ => new.id >= old.id,
            });
            if newer {
                logged.source = source;
            }
        }
    }
}
