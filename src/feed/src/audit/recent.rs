//! The last events, for whoever looks for one or follows them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::product::Made;

/// How many are kept, and how many bytes of them.
const MOST: (usize, usize) = (10_000, 16 * 1024 * 1024);

struct Entry {
    seq: u64,
    request_id: Box<str>,
    denied: bool,
    data: Arc<str>,
}

#[derive(Default)]
struct Ring {
    /// Number of the last event.
    last: u64,
    bytes: usize,
    entries: VecDeque<Entry>,
}

/// See the module.
pub(super) struct Recent(Mutex<Ring>);

/// What is asked for.
pub(super) struct Wanted<'a> {
    /// Of this request alone.
    pub(super) request_id: Option<&'a str>,
    /// The oldest with a larger number; without it the newest.
    pub(super) after: Option<u64>,
    pub(super) max: usize,
}

impl Recent {
    /// Numbers begin with the time, so that they go on growing over a restart and whoever
    /// follows need not know of it.
    pub(super) fn beginning(now_us: u64) -> Self {
        Recent(Mutex::new(Ring {
            last: now_us,
            ..Ring::default()
        }))
    }

    pub(super) fn add(&self, made: &Made) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last = ring.last.saturating_add(1);
        let entry = Entry {
            seq: ring.last,
            request_id: made.request_id.clone(),
            denied: made.denied,
            data: Arc::clone(&made.data),
        };
        ring.bytes = ring.bytes.saturating_add(entry.data.len());
        ring.entries.push_back(entry);
        while (ring.entries.len() > MOST.0 || ring.bytes > MOST.1)
            && let Some(oldest) = ring.entries.pop_front()
        {
            ring.bytes = ring.bytes.saturating_sub(oldest.data.len());
        }
    }

    /// The newest refusals, the newest first.
    pub(super) fn refusals(&self, max: usize) -> Vec<Arc<str>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let denied = ring.entries.iter().rev().filter(|entry| entry.denied);
        denied
            .take(max)
            .map(|entry| Arc::clone(&entry.data))
            .collect()
    }

    /// The events in their order, and the number to ask for what comes after them.
    pub(super) fn find(&self, wanted: &Wanted<'_>) -> (Vec<Arc<str>>, u64) {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted =
            |entry: &&Entry| wanted.request_id.is_none_or(|id| *entry.request_id == *id);
        let Some(after) = wanted.after else {
            let newest = ring.entries.iter().rev().filter(is_wanted).take(wanted.max);
            let mut newest: Vec<_> = newest.map(|entry| Arc::clone(&entry.data)).collect();
            newest.reverse();
            return (newest, ring.last);
        };
        let later = ring.entries.partition_point(|entry| entry.seq <= after);
        let later = ring
            .entries
            .range(later..)
            .filter(is_wanted)
            .take(wanted.max);
        let (mut found, mut last) = (Vec::new(), 0);
        for entry in later {
            found.push(Arc::clone(&entry.data));
            last = entry.seq;
        }
        let next = if found.len() < wanted.max {
            ring.last
        } else {
            last
        };
        (found, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(request_id: &str, data: &str) -> Made {
        Made {
            id: 1,
            request_id: request_id.into(),
            denied: data.starts_with("no"),
            data: data.into(),
            sig: "".into(),
        }
    }

    fn find(
        recent: &Recent,
        request_id: Option<&str>,
        after: Option<u64>,
        max: usize,
    ) -> (Vec<String>, u64) {
        let (found, next) = recent.find(&Wanted {
            request_id,
            after,
            max,
        });
        (found.iter().map(ToString::to_string).collect(), next)
    }

    #[test]
    fn whoever_follows_sees_each_event_once() {
        let recent = Recent::beginning(100);
        for n in 0..7 {
            recent.add(&made(
                if n % 2 == 0 { "even" } else { "odd" },
                &n.to_string(),
            ));
        }
        assert_eq!(
            find(&recent, None, None, 2),
            (vec!["5".into(), "6".into()], 107)
        );
        assert_eq!(
            find(&recent, Some("odd"), None, 2),
            (vec!["3".into(), "5".into()], 107)
        );
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let (found, next) = find(&recent, Some("even"), Some(after), 3);
            if found.is_empty() {
                break;
            }
            seen.extend(found);
            after = next;
        }
        assert_eq!(seen, ["0", "2", "4", "6"]);
        recent.add(&made("even", "8"));
        assert_eq!(find(&recent, None, Some(107), 3), (vec!["8".into()], 108));
    }

    #[test]
    fn the_newest_refusals_come_first() {
        let recent = Recent::beginning(0);
        for data in ["no 1", "yes 2", "no 3", "no 4", "yes 5"] {
            recent.add(&made("r", data));
        }
        let found: Vec<String> = recent.refusals(2).iter().map(|e| e.to_string()).collect();
        assert_eq!(found, ["no 4", "no 3"]);
        assert_eq!(recent.refusals(9).len(), 3);
    }

    #[test]
    fn there_is_a_bound_of_events_and_of_bytes() {
        let recent = Recent::beginning(0);
        for n in 0..=MOST.0 {
            recent.add(&made("r", &n.to_string()));
        }
        assert_eq!(find(&recent, None, Some(0), MOST.0 + 1).0.len(), MOST.0);
        let large = "x".repeat(64 * 1024);
        for _ in 0..MOST.0 {
            recent.add(&made("r", &large));
        }
        assert_eq!(
            find(&recent, None, Some(0), MOST.0).0.len(),
            MOST.1 / large.len()
        );
    }
}
