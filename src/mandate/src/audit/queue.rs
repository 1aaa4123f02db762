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

/// See the module.
#[derive(Debug, Default)]
pub struct AuditQueue {
    events: VecDeque<String>,
    bytes: usize,
    /// When the first event of the next batch came.
    since_ms: Option<u64>,
    /// The events at the front that are being sent, and since when.
    in_flight: Option<(usize, u64)>,
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
        self.events.len() < events && self.bytes < bytes
    }

    /// Keeps an event. `false` if it was dropped.
    #[must_use]
    pub fn push(&mut self, event: String, now_ms: u64) -> bool {
        let bytes = self.bytes.saturating_add(event.len());
        if self.events.len() >= MAX_EVENTS || bytes > MAX_BYTES || event.len() > MAX_BATCH_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.events.push_back(event);
        self.since_ms.get_or_insert(now_ms);
        true
    }

    /// The events that wait, for another queue.
    pub fn into_events(self) -> impl Iterator<Item = String> {
        self.events.into_iter()
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event waits.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The body of the batch that is due. Only one is under way at a time, so that events
    /// arrive in order.
    pub fn next_batch(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if let Some((_, sent_ms)) = self.in_flight {
            if now_ms.saturating_sub(sent_ms) < LOST_AFTER_MS {
                return None;
            }
            self.failed(now_ms);
        }
        let gathered = self.events.len() >= MAX_BATCH_EVENTS
            || now_ms.saturating_sub(self.since_ms?) >= GATHER_MS;
        if !gathered || now_ms < self.not_before_ms {
            return None;
        }
        let mut body = b"{\"events\":[".to_vec();
        let mut count = 0_usize;
        for event in self.events.iter().take(MAX_BATCH_EVENTS) {
            if body.len().saturating_add(event.len()) > MAX_BATCH_BYTES.saturating_add(16) {
                break;
            }
            if count > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event.as_bytes());
            count = count.saturating_add(1);
        }
        body.extend_from_slice(b"]}");
        self.in_flight = Some((count, now_ms));
        Some(body)
    }

    /// The companion has the batch, or will never take it. Returns the number of its
    /// events.
    pub fn done(&mut self, now_ms: u64) -> usize {
        let Some((count, _)) = self.in_flight.take() else {
            return 0;
        };
        for _ in 0..count {
            if let Some(event) = self.events.pop_front() {
                self.bytes = self.bytes.saturating_sub(event.len());
            }
        }
        self.since_ms = (!self.events.is_empty()).then_some(now_ms);
        self.failures = 0;
        self.not_before_ms = 0;
        count
    }

    /// The batch may not have arrived. It is sent again after a pause.
    pub fn failed(&mut self, now_ms: u64) {
        self.in_flight = None;
        let pause_ms = FIRST_PAUSE_MS
            .checked_shl(self.failures)
            .map_or(LAST_PAUSE_MS, |pause_ms| pause_ms.min(LAST_PAUSE_MS));
        self.failures = self.failures.saturating_add(1).min(16);
        self.not_before_ms = now_ms.saturating_add(pause_ms);
    }
}

#[cfg(test)]
mod tests;
