//! Places to wait, which the zones of a configuration share. A zone whose STS is silent
//! must not take every place, so half of them are reserved in equal parts.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::zone::ZoneIndex;

/// The places of one queue.
pub(crate) struct Places {
    max: usize,
    /// How many are reserved for each zone.
    reserved: usize,
    /// How many each zone has taken.
    taken: Rc<[Cell<usize>]>,
}

/// A place that a request has. It is free again when this is dropped.
pub(crate) struct Place {
    taken: Rc<[Cell<usize>]>,
    zone: ZoneIndex,
}

impl Places {
    /// `max` places for so many zones.
    #[cold]
    pub(crate) fn new(max: u64, zones: usize) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Places {
            max,
            reserved: (max / 2).checked_div(zones).unwrap_or(0),
            taken: (0..zones).map(|_| Cell::new(0)).collect(),
        }
    }

    /// A place for a request of a zone, if there is one.
    pub(crate) fn take(&self, zone: ZoneIndex) -> Option<Place> {
        let own = self.taken.get(zone.place())?;
        if own.get() >= self.reserved {
            let beyond = |taken: &Cell<usize>| taken.get().saturating_sub(self.reserved);
            let beyond: usize = self.taken.iter().map(beyond).fold(0, usize::saturating_add);
            let all_reserved = self.reserved.saturating_mul(self.taken.len());
            if beyond >= self.max.saturating_sub(all_reserved) {
                return None;
            }
        }
        own.set(own.get().saturating_add(1));
        Some(Place {
            taken: Rc::clone(&self.taken),
            zone,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(own) = self.taken.get(self.zone.place()) {
            own.set(own.get().saturating_sub(1));
        }
    }
}
