//! The zone that judges a request, and how it is described.

use caracal_mandate::config::{AcceptedZone, Configuration};
use serde_json::Value;

use super::shown_values::{json_in_words, list};
use crate::terminal::shown;

/// The zone that a payload names, or the first of the configuration. The filter refuses a
/// token that names another one before this is asked.
pub(super) fn of(configuration: &Configuration, payload: Option<&Value>) -> Option<AcceptedZone> {
    let named = payload.and_then(|payload| payload.get("zone_id")?.as_str());
    let all = configuration.accepted_zones();
    let named = all.iter().find(|one| Some(one.zone.id.as_str()) == named);
    named.or(all.first()).cloned()
}

/// The zones that a resource accepts.
pub(super) fn accepted(configuration: &Configuration, resource: Option<&str>) -> String {
    let of_resource = resource.and_then(|id| configuration.resources.get(id)?.zones.as_ref());
    let all = configuration.accepted_zones();
    match of_resource {
        Some(zones) => list(zones),
        None => list(all.iter().map(|one| &one.zone.id)),
    }
}

/// What the caller and the operator can do about a token of another zone.
pub(super) fn advice(
    configuration: &Configuration,
    resource: Option<&str>,
    payload: Option<&Value>,
) -> String {
    let named = payload.and_then(|payload| payload.get("zone_id"));
    let accepted = accepted(configuration, resource);
    let where_set = match resource.and_then(|id| configuration.resources.get(id)?.zones.as_ref()) {
        Some(_) => format!("zones of resource {}", shown(resource.unwrap_or_default())),
        None => "zones".to_owned(),
    };
    format!(
        "The caller asks the STS for a mandate of one of the zones {accepted}: the zone_id of this one (unverified) is {}. Or, if this edge should serve that zone too, the operator adds it to {where_set} in the filter's configuration.",
        json_in_words(named)
    )
}
