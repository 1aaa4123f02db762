//! The zones whose mandates a configuration accepts. The claim `zone_id` chooses among
//! them and decides nothing else: the key set of that zone must verify the token.

/// Most zones of a configuration.
pub const MAX_ZONES: usize = 64;

/// One of the zones of a configuration, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ZoneIndex(u8);

impl ZoneIndex {
    /// The first zone, which is the only one of most configurations.
    pub const FIRST: ZoneIndex = ZoneIndex(0);

    /// The place of the zone: less than [`MAX_ZONES`].
    pub fn place(self) -> usize {
        usize::from(self.0)
    }

    fn at(place: usize) -> Option<Self> {
        let known = place < MAX_ZONES;
        u8::try_from(place).ok().filter(|_| known).map(ZoneIndex)
    }
}

/// Some of the zones of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneSet(u64);

impl ZoneSet {
    /// Every zone.
    pub const ALL: ZoneSet = ZoneSet(u64::MAX);
    /// No zone.
    pub const NONE: ZoneSet = ZoneSet(0);

    /// The same with one zone more.
    #[must_use]
    pub fn with(self, zone: ZoneIndex) -> Self {
        ZoneSet(self.0 | 1_u64.wrapping_shl(u32::from(zone.0)))
    }

    /// The zones of both.
    #[must_use]
    pub fn and(self, other: ZoneSet) -> Self {
        ZoneSet(self.0 | other.0)
    }

    /// Whether a zone is in it.
    pub fn contains(self, zone: ZoneIndex) -> bool {
        self.0.wrapping_shr(u32::from(zone.0)) & 1 == 1
    }
}

/// A zone, and who issues its mandates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The claim `zone_id` of its mandates.
    pub id: String,
    /// The claim `iss` of its mandates.
    pub issuer: String,
}

/// The zones of a configuration: `zone_id`, or all of `zones`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    first: Zone,
    others: Vec<Zone>,
    are_chosen: bool,
}

impl Zones {
    /// The one zone of `zone_id`. Its key set judges every token, whatever zone the token
    /// names (contract, rows 3 and 4).
    pub fn one(zone: Zone) -> Self {
        Zones {
            first: zone,
            others: Vec::new(),
            are_chosen: false,
        }
    }

    /// The zones of `zones`, sorted by their ids: at least one and at most [`MAX_ZONES`].
    pub fn several(first: Zone, others: Vec<Zone>) -> Self {
        Zones {
            first,
            others,
            are_chosen: true,
        }
    }

    /// Whether the claim `zone_id` chooses the zone.
    pub fn are_chosen(&self) -> bool {
        self.are_chosen
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// A zone.
    pub fn get(&self, zone: ZoneIndex) -> Option<&Zone> {
        match zone.place().checked_sub(1) {
            None => Some(&self.first),
            Some(place) => self.others.get(place),
        }
    }

    /// Every zone, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ZoneIndex, &Zone)> {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.enumerate()
            .filter_map(|(place, zone)| Some((ZoneIndex::at(place)?, zone)))
    }

    /// The zone with this id.
    pub fn find(&self, id: &str) -> Option<ZoneIndex> {
        if self.first.id == id {
            return Some(ZoneIndex::FIRST);
        }
        let found = self
            .others
            .binary_search_by(|zone| zone.id.as_str().cmp(id));
        found
            .ok()
            .and_then(|place| ZoneIndex::at(place.checked_add(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(id: &str) -> Zone {
        Zone {
            id: id.to_owned(),
            issuer: format!("https://{id}"),
        }
    }

    #[test]
    fn each_zone_is_found_by_its_id_and_no_other() {
        let ids: Vec<String> = (0..MAX_ZONES).map(|n| format!("z{n:02}")).collect();
        for several in 1..=MAX_ZONES {
            let mut all = ids.iter().take(several).map(|id| zone(id));
            let zones = Zones::several(all.next().unwrap(), all.collect());
            assert_eq!(zones.len(), several);
            assert_eq!(zones.iter().count(), several);
            for (index, known) in zones.iter() {
                assert_eq!(zones.find(&known.id), Some(index));
                assert_eq!(zones.get(index), Some(known));
            }
            assert_eq!(zones.find("z"), None);
            assert_eq!(zones.find("z64"), None);
        }
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let all: Vec<ZoneIndex> = (0..MAX_ZONES).filter_map(ZoneIndex::at).collect();
        assert_eq!(all.len(), MAX_ZONES);
        assert_eq!(ZoneIndex::at(MAX_ZONES), None);
        for one in &all {
            let set = ZoneSet::NONE.with(*one);
            for other in &all {
                assert_eq!(set.contains(*other), one == other);
                assert!(ZoneSet::ALL.contains(*other) && !ZoneSet::NONE.contains(*other));
                assert!(set.with(*other).contains(*other));
                let both = set.and(ZoneSet::NONE.with(*other));
                assert!(both.contains(*one) && both.contains(*other));
                assert_eq!(both, set.with(*other));
            }
        }
    }
}
