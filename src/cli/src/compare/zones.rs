//! What a change of the zones, their issuers and their key sets admits.

use caracal_mandate::config::{AcceptedZone, Configuration};

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

/// Issuers and zones that are new.
pub(super) fn of_zones(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    for (before, now) in both(old, new) {
        if before.zone.issuer != now.zone.issuer {
            let issuer = now.zone.issuer;
            all.push(Extra::Issuer { issuer });
        }
    }
    let before = old.accepted_zones();
    for now in new.accepted_zones() {
        if !before.iter().any(|one| one.zone.id == now.zone.id) {
            let zone = now.zone.id;
            all.push(Extra::Zone { zone });
        }
    }
    for (id, resource) in &new.resources {
        let Some(known) = old.resources.get(id) else {
            continue;
        };
        // A zone that is new everywhere is told above.
        for one in &before {
            let zone = &one.zone.id;
            let accepts = |zones: &Option<Vec<String>>| {
                zones.as_ref().is_none_or(|zones| zones.contains(zone))
            };
            let is_accepted = new.accepted_zones().iter().any(|now| now.zone.id == *zone);
            if is_accepted && accepts(&resource.zones) && !accepts(&known.zones) {
                let (resource, zone) = (id.clone(), zone.clone());
                all.push(Extra::ZoneAt { resource, zone });
            }
        }
    }
    all
}

/// Key sets that are used for longer.
pub(super) fn of_key_sets(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    for (before, now) in both(old, new) {
        let (before, now) = (before.jwks, now.jwks);
        let withdrawn = raised(before.ttl_s, now.ttl_s);
        all.extend(withdrawn.map(|(from_s, to_s)| Extra::WithdrawnKey { from_s, to_s }));
        let most = |ttl_s: u64, stale_s: u64| ttl_s.saturating_add(stale_s);
        let (before, now) = (
            most(before.ttl_s, before.max_stale_s),
            most(now.ttl_s, now.max_stale_s),
        );
        let aged = raised(before, now);
        all.extend(aged.map(|(from_s, to_s)| Extra::KeySetAge { from_s, to_s }));
    }
    all.dedup();
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
