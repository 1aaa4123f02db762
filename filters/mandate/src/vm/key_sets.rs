//! The key sets of all zones of one configuration. Each zone has its own record, lease and
//! backoff, so one that cannot be fetched does not hold up the others. Fetches that no
//! request waits for are spread: at most one begins in a tick, and after the start each
//! zone has its own moment.

use caracal_mandate::config::{AcceptedZone, Configuration};
use caracal_mandate::zone::{ZoneIndex, ZoneSet, Zones};

use crate::vm::key_set::KeySetCache;
use crate::vm::metrics::Metrics;
use crate::vm::pending_fetch::PendingFetch;
use crate::vm::time_slice::slice_exhausted;

/// How many zones a tick reads from shared data, beside those that requests wait for.
const READ_IN_TICK: usize = 8;
/// The first fetches after the start are this far apart.
const FIRST_FETCHES_APART_MS: u64 = 20;

/// The key sets of all zones, by the zones' places.
pub(crate) struct KeySets {
    first: KeySetCache,
    others: Vec<KeySetCache>,
    zones: Vec<ZoneIndex>,
    /// The place of the zone that is read next, and of the one that is fetched next.
    next_read: usize,
    next_fetch: usize,
    /// Zones that requests have asked for since the last tick, which cannot wait.
    asked: ZoneSet,
    /// When fetches may first have begun.
    started_ms: Option<u64>,
}

impl KeySets {
    #[cold]
    pub(crate) fn new(configuration: &Configuration, zones: &Zones) -> Result<Self, String> {
        let label = |one: &AcceptedZone| zones.are_chosen().then(|| one.zone.id.clone());
        let of_zone = |one: &AcceptedZone| KeySetCache::new(configuration, one, label(one));
        let all = configuration.accepted_zones();
        let mut all = all.iter().map(of_zone);
        Ok(KeySets {
            first: all.next().ok_or("there is no zone")?,
            others: all.collect(),
            zones: zones.iter().map(|(index, _)| index).collect(),
            next_read: 0,
            next_fetch: 0,
            asked: ZoneSet::NONE,
            started_ms: None,
        })
    }

    /// How many zones there are.
    pub(crate) fn count(&self) -> usize {
        self.zones.len()
    }

    /// How many zones have a key set that can be used.
    #[cold]
    pub(crate) fn usable(&self, now_ms: u64) -> usize {
        let all = std::iter::once(&self.first).chain(&self.others);
        all.filter(|key_set| key_set.usable(now_ms).is_some())
            .count()
    }

    /// How many key sets this VM has taken, of all zones together.
    pub(crate) fn installed(&self) -> u64 {
        let all = std::iter::once(&self.first).chain(&self.others);
        let all = all.map(|key_set| key_set.installed);
        all.fold(0, u64::saturating_add)
    }

    /// A request that cannot wait lacks the key set of this zone, or its key in there. It
    /// is fetched first.
    #[cold]
    pub(crate) fn ask_for(&mut self, zone: ZoneIndex, unknown_kid: bool) {
        self.asked = self.asked.with(zone);
        if let Some(key_set) = self.get_mut(zone) {
            key_set.unknown_kid_seen |= unknown_kid;
        }
    }

    /// The key set of a zone.
    pub(crate) fn get(&self, zone: ZoneIndex) -> Option<&KeySetCache> {
        match zone.place().checked_sub(1) {
            None => Some(&self.first),
            Some(place) => self.others.get(place),
        }
    }

    /// See [`KeySets::get`].
    pub(crate) fn get_mut(&mut self, zone: ZoneIndex) -> Option<&mut KeySetCache> {
        match zone.place().checked_sub(1) {
            None => Some(&mut self.first),
            Some(place) => self.others.get_mut(place),
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut KeySetCache> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// A place in the turn; after the last zone comes the first.
    fn place(&self, number: usize) -> usize {
        number.checked_rem(self.zones.len()).unwrap_or(0)
    }

    /// Every zone once, from one place on.
    fn turn(&self, from: usize) -> impl Iterator<Item = ZoneIndex> + '_ {
        let all = self.zones.iter().copied();
        all.cycle().skip(from).take(self.zones.len())
    }

    /// Reads the records of all zones.
    pub(crate) fn load_all(&mut self) {
        self.iter_mut().for_each(KeySetCache::load_shared);
    }

    /// Reads the records of the zones that requests wait for, and of some others in turn.
    pub(crate) fn load_some(&mut self, wanted: ZoneSet, now_ms: u64) {
        if self.others.is_empty() {
            self.first.load_shared();
            self.first.report_turn(now_ms);
            return;
        }
        let from = self.next_read;
        self.next_read = self.place(from.saturating_add(READ_IN_TICK));
        let due = self.turn(from).enumerate();
        let due = due.filter(|(n, zone)| *n < READ_IN_TICK || wanted.contains(*zone));
        for zone in due.map(|(_, zone)| zone).collect::<Vec<_>>() {
            // A large key set takes long to read; the next tick goes on.
            if slice_exhausted(now_ms) {
                self.next_read = zone.place();
                return;
            }
            if let Some(key_set) = self.get_mut(zone) {
                key_set.load_shared();
                key_set.report_turn(now_ms);
            }
        }
    }

    /// Fetches what is due. Of several zones one fetch begins in a tick, first for a zone
    /// that requests wait for. `unknown_kids` are the zones whose key set lacks the key of
    /// a request.
    pub(crate) fn fetch_if_due(
        &mut self,
        wanted: ZoneSet,
        unknown_kids: ZoneSet,
        metrics: &mut Metrics,
        now_ms: u64,
    ) {
        if self.others.is_empty() {
            let unknown_kid = unknown_kids.contains(ZoneIndex::FIRST);
            self.first.fetch_if_due(unknown_kid, metrics, now_ms);
            return;
        }
        let since_start_ms = now_ms.saturating_sub(*self.started_ms.get_or_insert(now_ms));
        let wanted = wanted.and(std::mem::replace(&mut self.asked, ZoneSet::NONE));
        let waits = |zone: &ZoneIndex| wanted.contains(*zone);
        let first = self.turn(self.next_fetch).filter(waits);
        let then = self.turn(self.next_fetch).filter(|zone| !waits(zone));
        for zone in first.chain(then).collect::<Vec<_>>() {
            let place = u64::try_from(zone.place()).unwrap_or(u64::MAX);
            let from_ms = place.saturating_mul(FIRST_FETCHES_APART_MS);
            let Some(key_set) = self.get_mut(zone) else {
                continue;
            };
            if !waits(&zone) && !key_set.unknown_kid_seen && since_start_ms < from_ms {
                continue;
            }
            if key_set.fetch_if_due(unknown_kids.contains(zone), metrics, now_ms) {
                self.next_fetch = self.place(zone.place().saturating_add(1));
                return;
            }
        }
    }

    /// Whether a fetch is due at a time and no VM will be making one, as far as this VM knows.
    pub(crate) fn is_due(&self, at_ms: u64) -> bool {
        let all = std::iter::once(&self.first).chain(&self.others);
        let is_due = |one: &KeySetCache| one.record.due(at_ms, one.unknown_kid_seen).is_some();
        all.into_iter().any(is_due)
    }

    /// The zone and the fetch of a response.
    pub(crate) fn take_fetch(&mut self, token: u32) -> Option<(&mut KeySetCache, PendingFetch)> {
        self.iter_mut()
            .find_map(|key_set| key_set.take_fetch(token).map(|fetch| (key_set, fetch)))
    }

    /// Reports the ages of the key sets, and how many of their keys are not used.
    pub(crate) fn report(&mut self, metrics: &mut Metrics, since_start_ms: u64, now_ms: u64) {
        for key_set in self.iter_mut() {
            key_set.report(metrics, since_start_ms, now_ms);
        }
    }
}
