//! What a change of the zones, their issuers and their key sets admits.

use caracal_mandate::config::{AcceptedZone, Configuration};
use caracal_mandate::routing::resources::Resource;

use super::extra::{Extra, raised};
use crate::terminal::shown;

/// Zones that both configurations accept, with what each says of them. A single zone that
/// has another id now is compared with the one that it replaces.
fn both(old: &Configuration, new: &Configuration) -> Vec<(AcceptedZone, AcceptedZone)> {
    let (before, now) = (old.accepted_zones(), new.accepted_zones());
    if let ([one], [other]) = (before.as_slice(), now.as_slice()) {
        return vec![(one.clone(), other.clone())];
    }
    let same = |one: &AcceptedZone| {
        let now = now.iter().find(|other| other.zone.id == one.zone.id);
        now.map(|other| (one.clone(), other.clone()))
    };
    before.iter().filter_map(same).collect()
}

/// The zone's id, where there are several.
fn named(new: &Configuration, zone: &AcceptedZone) -> Option<String> {
    (!new.zones.is_empty()).then(|| zone.zone.id.clone())
}

/// Issuers and zones that are new.
pub(super) fn of_zones(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    let of = |now: &AcceptedZone| named(new, now);
    for (before, now) in both(old, new) {
        if before.zone.issuer != now.zone.issuer {
            let zone = of(&now);
            let issuer = now.zone.issuer;
            all.push(Extra::Issuer { issuer, zone });
        }
    }
    let before = old.accepted_zones();
    for now in new.accepted_zones() {
        if !before.iter().any(|one| one.zone.id == now.zone.id) {
            let zone = now.zone.id;
            all.push(Extra::Zone { zone });
        }
    }
    all
}

/// The zones that both configurations have, and that a resource accepts now and did not
/// before.
pub(super) fn newly_accepted(
    (old, was): (&Configuration, Option<&Resource>),
    (new, is): (&Configuration, Option<&Resource>),
) -> Vec<String> {
    let (Some(was), Some(is)) = (was, is) else {
        return Vec::new();
    };
    let (before, now) = (old.zones_in_force(), new.zones_in_force());
    let known = now.iter().filter(|(zone, _)| is.zones.contains(*zone));
    let known = known.filter_map(|(_, zone)| Some((before.find(&zone.id)?, &zone.id)));
    let taken = known.filter(|(zone, _)| !was.zones.contains(*zone));
    taken.map(|(_, id)| id.clone()).collect()
}

/// Key sets that are used for longer.
pub(super) fn of_key_sets(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    for (before, now) in both(old, new) {
        let zone = named(new, &now);
        let (before, now) = (before.jwks, now.jwks);
        let withdrawn = raised(before.ttl_s, now.ttl_s);
        all.extend(withdrawn.map(|(from_s, to_s)| Extra::WithdrawnKey {
            from_s,
            to_s,
            zone: zone.clone(),
        }));
        let most = |ttl_s: u64, stale_s: u64| ttl_s.saturating_add(stale_s);
        let (before, now) = (
            most(before.ttl_s, before.max_stale_s),
            most(now.ttl_s, now.max_stale_s),
        );
        let aged = raised(before, now);
        all.extend(aged.map(|(from_s, to_s)| Extra::KeySetAge { from_s, to_s, zone }));
    }
    all
}

/// Key sets that come from elsewhere.
pub(super) fn other_sources(old: &Configuration, new: &Configuration) -> Vec<String> {
    let mut notes = Vec::new();
    for (before, now) in both(old, new) {
        let of_zone = match (old.zones.is_empty(), new.zones.is_empty()) {
            (true, true) => String::new(),
            _ => format!(" of zone {}", shown(&now.zone.id)),
        };
        let differs = |key: &str, before: &str, now: &str| {
            format!(
                "{key}{of_zone} was {} and is {}: whether it serves the same keys is not known here",
                shown(before),
                shown(now)
            )
        };
        let (was, is) = (&before.jwks.upstream, &now.jwks.upstream);
        if was != is {
            notes.push(differs("jwks.upstream", was, is));
        }
        let url = |one: &AcceptedZone| one.jwks.url.clone().unwrap_or_default();
        if url(&before) != url(&now) {
            notes.push(differs("jwks.url", &url(&before), &url(&now)));
        }
    }
    notes.dedup();
    notes
}
