//! Events that the companion has not taken yet. No request waits for it: when there is no
//! room, new events are dropped, and counted.
//!
//! A batch stays in the queue until the companion has it. One whose answer was lost is sent
//! again as it was, and the companion knows its events by their ids.

use std::collections::VecDeque;

/// Most events that wait.
pub const MAX_EVENTS: usize = 5_000;
/// Most bytes of them.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Most events of a batch.
pub const MAX_BATCH_EVENTS: usize = 200;
/// Most bytes of a batch's events. The companion takes bodies of 512 KiB.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// A batch of fewer events is sent after this time.
const GATHER_MS: u64 = 200;
/// The pause after a failed batch, doubled for each until the last one.
const FIRST_PAUSE_MS: u64 = 1_000;
const LAST_PAUSE_MS: u64 = 30_000;
/// After so long a batch without an answer counts as failed.
const LOST_AFTER_MS: u64 = 10_000;

/// What a batch begins with, and how it ends.
const HEAD: &[u8] = b"{\"events\":[";
const TAIL: &[u8] = b"]}";

/// Events that are sent together, as they are sent. Once it is sent it does not change.
#[derive(Debug)]
pub struct Batch {
    /// Without [`TAIL`], and with a comma behind each event, until it is sent.
    body: Vec<u8>,
    events: usize,
    /// Of its events.
    bytes: usize,
    is_closed: bool,
}

impl Batch {
    fn new() -> Self {
        Batch {
            body: HEAD.to_owned(),
            events: 0,
            bytes: 0,
            is_closed: false,
        }
    }

    /// The number of its events.
    pub fn events(&self) -> usize {
        self.events
    }

    /// An event of so many bytes stands at its end.
    fn count(&mut self, bytes: usize) {
        self.events = self.events.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn takes_more(&self) -> bool {
        !self.is_closed && self.events < MAX_BATCH_EVENTS
    }

    fn close(&mut self) -> &[u8] {
        if !self.is_closed {
            self.body.pop();
            self.body.extend_from_slice(TAIL);
            self.is_closed = true;
        }
        &self.body
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct AuditQueue {
    /// None is empty.
    batches: VecDeque<Batch>,
    events: usize,
    /// Of all batches.
    bytes: usize,
    /// When the first event of the next batch came.
    since_ms: Option<u64>,
    /// Since when the first batch is being sent.
    in_flight_ms: Option<u64>,
    failures: u32,
    not_before_ms: u64,
}

impl AuditQueue {
    /// Whether there is room for one more event. Those about requests without a verified
    /// mandate have a quarter of it: whoever can send such requests must not be able to keep
    /// the others out.
    pub fn has_room(&self, is_verified: bool) -> bool {
        let (events, bytes) = match is_verified {
            true => (MAX_EVENTS, MAX_BYTES),
            false => (MAX_EVENTS / 4, MAX_BYTES / 4),
        };
        self.events < events && self.bytes < bytes
    }

    /// Keeps an event, which `write` appends. `false` if it was dropped.
    #[must_use]
    pub fn push(&mut self, now_ms: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.events >= MAX_EVENTS {
            return false;
        }
        let mut batch = match self.batches.pop_back() {
            Some(last) if last.takes_more() => last,
            Some(mut last) => {
                last.body.shrink_to_fit();
                self.batches.push_back(last);
                Batch::new()
            }
            None => Batch::new(),
        };
        let before = batch.body.len();
        write(&mut batch.body);
        batch.body.push(b',');
        let event = batch.body.len().saturating_sub(before);
        let bytes = self.bytes.saturating_add(event);
        let is_kept = event <= MAX_BATCH_BYTES && bytes <= MAX_BYTES;
        if !is_kept {
            batch.body.truncate(before);
        } else if batch.bytes.saturating_add(event) > MAX_BATCH_BYTES {
            let mut next = Batch::new();
            next.body.append(&mut batch.body.split_off(before));
            self.batches.push_back(batch);
            batch = next;
            batch.count(event);
        } else {
            batch.count(event);
        }
        if batch.events > 0 {
            self.batches.push_back(batch);
        }
        if is_kept {
            self.bytes = bytes;
            self.events = self.events.saturating_add(1);
            self.since_ms.get_or_insert(now_ms);
        }
        is_kept
    }

    /// Takes over a batch of another queue. `false` if it was dropped.
    #[must_use]
    pub fn push_batch(&mut self, batch: Batch, now_ms: u64) -> bool {
        let events = self.events.saturating_add(batch.events);
        let bytes = self.bytes.saturating_add(batch.bytes);
        if events > MAX_EVENTS || bytes > MAX_BYTES {
            return false;
        }
        (self.events, self.bytes) = (events, bytes);
        self.batches.push_back(batch);
        self.since_ms.get_or_insert(now_ms);
        true
    }

    /// The events that wait, for another queue.
    pub fn into_batches(self) -> impl Iterator<Item = Batch> {
        self.batches.into_iter()
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The body of the batch that is due. Only one is under way at a time, so that events
    /// arrive in order.
    pub fn next_batch(&mut self, now_ms: u64) -> Option<&[u8]> {
        if let Some(sent_ms) = self.in_flight_ms {
            if now_ms.saturating_sub(sent_ms) < LOST_AFTER_MS {
                return None;
            }
            self.failed(now_ms);
        }
        let is_alone = self.batches.len() < 2;
        let first = self.batches.front_mut()?;
        let is_full = !is_alone || !first.takes_more();
        let is_gathered = is_full || now_ms.saturating_sub(self.since_ms?) >= GATHER_MS;
        if !is_gathered || now_ms < self.not_before_ms {
            return None;
        }
        self.in_flight_ms = Some(now_ms);
        Some(first.close())
    }

    /// The companion has the batch, or will never take it. Returns the number of its
    /// events.
    pub fn done(&mut self, now_ms: u64) -> usize {
        if self.in_flight_ms.take().is_none() {
            return 0;
        }
        let Some(sent) = self.batches.pop_front() else {
            return 0;
        };
        self.events = self.events.saturating_sub(sent.events);
        self.bytes = self.bytes.saturating_sub(sent.bytes);
        self.since_ms = (!self.is_empty()).then_some(now_ms);
        self.failures = 0;
        self.not_before_ms = 0;
        sent.events
    }

    /// The batch may not have arrived. It is sent again after a pause.
    pub fn failed(&mut self, now_ms: u64) {
        self.in_flight_ms = None;
        let pause_ms = FIRST_PAUSE_MS
            .checked_shl(self.failures)
            .map_or(LAST_PAUSE_MS, |pause_ms| pause_ms.min(LAST_PAUSE_MS));
        self.failures = self.failures.saturating_add(1).min(16);
        self.not_before_ms = now_ms.saturating_add(pause_ms);
    }
}

#[cfg(test)]
mod tests;
