//! What a change of Gateway mode admits.

use caracal_mandate::config::{Configuration, Mode};

use super::extra::Extra;

/// Another mode judges other mandates; another upstream gets what is admitted.
pub(super) fn of_gateway(old: &Configuration, new: &Configuration) -> Vec<Extra> {
    let mut all = Vec::new();
    if old.mode != new.mode {
        all.push(Extra::Mode { mode: new.mode });
        return all;
    }
    if new.mode == Mode::Connector {
        return all;
    }
    let least_s = |one: &Configuration| one.gateway.as_ref().map_or(0, |one| one.min_remaining_s);
    let (before, now) = (least_s(old), least_s(new));
    if now < before {
        let (from_s, to_s) = (now, before.saturating_sub(1));
        all.push(Extra::Remaining { from_s, to_s });
    }
    for (id, resource) in &new.resources {
        let known = old.resources.get(id);
        let url = resource.upstream_url.clone().unwrap_or_default();
        if known.is_some_and(|known| known.upstream_url.as_ref() != Some(&url)) {
            let resource = id.clone();
            all.push(Extra::Upstream { resource, url });
        }
    }
    all
}
