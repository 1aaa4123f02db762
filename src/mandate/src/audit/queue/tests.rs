#![allow(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

use proptest::prelude::*;

use super::*;

fn events(body: &[u8]) -> Vec<u64> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let events = body["events"].as_array().unwrap();
    events.iter().map(|event| event.as_u64().unwrap()).collect()
}

/// A queue as it is used, with the event's text at hand.
trait Push {
    fn add(&mut self, event: &str, now_ms: u64) -> bool;
    fn due(&mut self, now_ms: u64) -> Option<Vec<u8>>;
}

impl Push for AuditQueue {
    fn add(&mut self, event: &str, now_ms: u64) -> bool {
        self.push(now_ms, |out| out.extend_from_slice(event.as_bytes()))
    }

    fn due(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        self.next_batch(now_ms).map(<[u8]>::to_vec)
    }
}

#[test]
fn a_batch_waits_for_more_and_is_full_at_once() {
    let mut queue = AuditQueue::default();
    assert!(queue.add("1", 0));
    assert_eq!(queue.due(199), None);
    assert_eq!(events(&queue.due(200).unwrap()), [1]);
    assert!(queue.add("2", 210));
    assert_eq!(queue.due(1_000), None, "one at a time");
    assert_eq!(queue.done(1_000), 1);
    for n in 3..300 {
        assert!(queue.add(&n.to_string(), 1_000));
    }
    assert_eq!(events(&queue.due(1_000).unwrap()).len(), MAX_BATCH_EVENTS);
}

#[test]
fn a_batch_that_failed_is_sent_again_after_longer_and_longer_pauses() {
    let mut queue = AuditQueue::default();
    assert!(queue.add("1", 0));
    let mut now = 200;
    for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert_eq!(events(&queue.due(now).unwrap()), [1]);
        queue.failed(now);
        assert_eq!(queue.due(now + pause - 1), None);
        now += pause;
    }
    // One without an answer counts as failed.
    assert!(queue.due(now).is_some());
    assert_eq!(queue.due(now + LOST_AFTER_MS - 1), None);
    assert_eq!(queue.due(now + LOST_AFTER_MS), None);
    assert!(queue.due(now + LOST_AFTER_MS + LAST_PAUSE_MS).is_some());
}

#[test]
fn what_does_not_fit_is_dropped() {
    let mut queue = AuditQueue::default();
    for _ in 0..MAX_EVENTS {
        assert!(queue.add("1", 0));
    }
    assert!(!queue.add("1", 0));
    let mut queue = AuditQueue::default();
    // A comma stands behind each.
    let large = "1".repeat(MAX_BATCH_BYTES - 1);
    assert!(!queue.add(&"1".repeat(MAX_BATCH_BYTES + 1), 0));
    for _ in 0..MAX_BYTES / MAX_BATCH_BYTES {
        assert!(queue.add(&large, 0));
    }
    assert!(!queue.add("1", 0));
    while !queue.is_empty() {
        assert!(queue.due(1_000).unwrap().len() < MAX_BATCH_BYTES + 64);
        assert_eq!(queue.done(0), 1);
    }
    assert!(queue.add("1", 0), "there is room again");
}

proptest! {
    /// Whatever is lost on the way: what was kept arrives, in order, and what the companion
    /// confirmed is not sent again.
    #[test]
    fn kept_events_arrive_in_order(steps in prop::collection::vec((0..4_u8, 1..3_000_u64), 1..200)) {
        let mut queue = AuditQueue::default();
        let (mut now, mut next, mut confirmed) = (0, 0_u64, 0_u64);
        for (what, step) in steps {
            now += step;
            match what {
                0 | 1 => {
                    if queue.add(&next.to_string(), now) {
                        next += 1;
                    }
                }
                2 => queue.failed(now),
                _ => {
                    if let Some(body) = queue.due(now) {
                        let sent = events(&body);
                        let expected: Vec<u64> = (confirmed..).take(sent.len()).collect();
                        prop_assert_eq!(&sent, &expected);
                        if step % 2 == 0 {
                            prop_assert_eq!(queue.done(now), sent.len());
                            confirmed += u64::try_from(sent.len()).unwrap();
                        }
                    }
                }
            }
        }
        now += 100_000;
        queue.failed(now);
        while !queue.is_empty() {
            now += 100_000;
            let sent = events(&queue.due(now).unwrap());
            prop_assert_eq!(sent.first().copied(), Some(confirmed));
            confirmed += u64::try_from(queue.done(now)).unwrap();
        }
        prop_assert_eq!(confirmed, next);
    }
}

#[test]
fn another_queue_takes_over_what_waits_as_it_was_sent() {
    let (mut old, mut new) = (AuditQueue::default(), AuditQueue::default());
    for n in 0..=MAX_BATCH_EVENTS {
        assert!(old.add(&n.to_string(), 0));
    }
    let sent = old.due(0).unwrap();
    for batch in old.into_batches() {
        assert!(new.push_batch(batch, 10));
    }
    assert_eq!(new.len(), MAX_BATCH_EVENTS + 1);
    assert!(new.add("777", 10));
    assert_eq!(new.due(10).unwrap(), sent);
    assert_eq!(new.done(10), MAX_BATCH_EVENTS);
    assert_eq!(events(&new.due(210).unwrap()), [200, 777]);
    assert_eq!(new.done(210), 2);
    assert_eq!((new.bytes, new.len()), (0, 0));
    for _ in 0..MAX_EVENTS {
        assert!(new.add("1", 0));
    }
    let mut full = AuditQueue::default();
    assert!(full.add("1", 0));
    assert!(!new.push_batch(full.into_batches().next().unwrap(), 0));
}
