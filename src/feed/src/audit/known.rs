//! Ids of the last events, so that a filter that did not get an answer may send them again.

use std::collections::{HashSet, VecDeque};

/// How many are remembered.
pub(super) const MOST: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    ids: HashSet<u128>,
    order: VecDeque<u128>,
}

impl Known {
    pub(super) fn has(&self, id: u128) -> bool {
        self.ids.contains(&id)
    }

    /// Remembers an id, and forgets the oldest one if there are too many.
    pub(super) fn add(&mut self, id: u128) {
        if !self.ids.insert(id) {
            return;
        }
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
            known.add(id);
        }
        assert!(known.has(0) && known.has(most - 1));
        known.add(most);
        assert!(!known.has(0) && known.has(1) && known.has(most));
        assert_eq!((known.ids.len(), known.order.len()), (MOST, MOST));
    }
}
