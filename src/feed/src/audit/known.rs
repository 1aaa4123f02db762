//! Ids of the last events, so that a filter that did not get an answer may send them again,
//! and a digest of each, so that another event with the same id is not taken for one of them.

use std::collections::{HashMap, VecDeque};

/// How many are remembered.
pub(super) const MOST: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    ids: HashMap<u128, u64>,
    order: VecDeque<u128>,
}

impl Known {
    /// The digest of the event that has this id.
    pub(super) fn digest(&self, id: u128) -> Option<u64> {
        self.ids.get(&id).copied()
    }

    /// Remembers an id, and forgets the oldest one if there are too many.
    pub(super) fn add(&mut self, id: u128, digest: u64) {
        if self.ids.contains_key(&id) {
            return;
        }
        self.ids.insert(id, digest);
        self.order.push_back(id);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut known = Known::default();
        let most = MOST as u128;
        for id in (0..most).chain([0]) {
            known.add(id, 7);
        }
        let has = |known: &Known, id| known.digest(id) == Some(7);
        assert!(has(&known, 0) && has(&known, most - 1));
        known.add(most, 7);
        // The first one counts.
        known.add(most, 8);
        assert!(!has(&known, 0) && has(&known, 1) && has(&known, most));
        assert_eq!((known.ids.len(), known.order.len()), (MOST, MOST));
    }
}
