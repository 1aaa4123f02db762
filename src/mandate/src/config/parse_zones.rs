//! Reads the zones, their issuers, and where their key sets come from.

use std::collections::BTreeMap;

use super::bounds::{JWKS_MAX_STALE_S, JWKS_TIMEOUT_MS, JWKS_TTL_S};
use super::model::ProxyKind;
use super::reader::{At, Object, quoted};
use super::rules::Protected;
use super::zones::{Jwks, ZoneSettings};
use super::{parse_host, values};
use crate::zone::MAX_ZONES;

/// The issuer of the top level.
pub(super) fn issuer(
    object: &Object<'_, '_, '_>,
    environment: &dyn Fn(&str) -> Option<String>,
    allow_insecure: bool,
) -> Option<String> {
    let value =
        match object.get("issuer") {
            Some(at) => at.text()?.to_owned(),
            None if object.has("issuer") => return None,
            None => match environment("CARACAL_STS_URL").filter(|url| !url.is_empty()) {
                Some(url) => url.trim_end_matches('/').to_owned(),
                None => return object.fail(
                    "issuer",
                    "missing; the URL of the STS, here or in the environment as CARACAL_STS_URL",
                ),
            },
        };
    match values::issuer(&value, allow_insecure) {
        Ok(()) => Some(value),
        // An error must not repeat a URL that may contain a password.
        Err(problem) if value.contains('@') => object.fail("issuer", problem),
        Err(problem) => object.fail("issuer", format!("{} {problem}", quoted(&value))),
    }
}

/// A URL of the STS.
fn sts_url(at: &At<'_, '_, '_>, allow_insecure: bool) -> Option<String> {
    let text = at.text()?;
    match values::issuer(text, allow_insecure) {
        Ok(()) => Some(text.to_owned()),
        // What may hold a password is not repeated.
        Err(problem) if text.contains('@') => at.fail(problem),
        Err(problem) => at.fail(format!("{} {problem}", quoted(text))),
    }
}

/// The zones of a configuration: one of the two is empty.
pub(super) struct AllZones {
    pub(super) zone_id: Option<String>,
    pub(super) zones: BTreeMap<String, ZoneSettings>,
}

/// The zone or the zones whose mandates are accepted. The environment's CARACAL_ZONE_ID
/// counts only if the document names none.
pub(super) fn zones(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    allow_insecure: bool,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<AllZones> {
    let Some(at) = object.get("zones") else {
        if object.has("zones") {
            return None;
        }
        return Some(AllZones {
            zone_id: Some(zone_id(object, environment)?),
            zones: BTreeMap::new(),
        });
    };
    if object.get_either("zone_id", "expected_zone_id").is_some() {
        return object.fail(
            "zone_id",
            "must not be beside zones, which names every zone",
        );
    }
    let entries = at.entries(MAX_ZONES)?;
    if entries.is_empty() {
        return at.fail("must name at least one zone");
    }
    let mut zones = BTreeMap::new();
    for (id, at) in entries {
        if let Err(problem) = values::zone(id) {
            at.fail::<()>(problem);
        }
        let Some(zone) = at.object() else { continue };
        let issuer = zone.get("issuer");
        let issuer = issuer.and_then(|at| sts_url(&at, allow_insecure));
        let jwks = zone.get("jwks");
        let jwks = jwks.and_then(|at| jwks_at(&at, host, allow_insecure));
        zone.finish();
        zones.insert(id.to_owned(), ZoneSettings { issuer, jwks });
    }
    Some(AllZones {
        zone_id: None,
        zones,
    })
}

/// Every zone that a resource names must be one of the configuration's.
pub(super) fn check_resources(object: &Object<'_, '_, '_>, protected: &Protected, all: &AllZones) {
    for (id, resource) in &protected.resources {
        let named = resource.zones.iter().flatten();
        let mut unknown = named
            .filter(|zone| all.zone_id.as_ref() != Some(*zone) && !all.zones.contains_key(*zone));
        if let Some(zone) = unknown.next() {
            let known = "is no zone of this configuration: zones, or zone_id";
            object.fail::<()>(
                &format!("resources[{}].zones", quoted(id)),
                format!("{} {known}", quoted(zone)),
            );
        }
    }
}

fn zone_id(
    object: &Object<'_, '_, '_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    match object.get_either("zone_id", "expected_zone_id") {
        Some(at) => at.text().map(str::to_owned),
        None if object.has("zone_id") || object.has("expected_zone_id") => None,
        None => environment("CARACAL_ZONE_ID").filter(|zone| !zone.is_empty()).or_else(|| {
            object.fail("zone_id", "missing; the zone whose mandates are accepted, here or in the environment as CARACAL_ZONE_ID")
        }),
    }
}

/// The key set's source of the top level.
pub(super) fn jwks_of_all(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    allow_insecure: bool,
) -> Option<Jwks> {
    let what = "an object with upstream, the proxy's name for the STS";
    jwks_at(&object.require("jwks", what)?, host, allow_insecure)
}

fn jwks_at(at: &At<'_, '_, '_>, host: ProxyKind, allow_insecure: bool) -> Option<Jwks> {
    let jwks = at.object()?;
    let upstream = jwks
        .require(
            "upstream",
            "the proxy's name for the STS: on Envoy a cluster, elsewhere host:port",
        )
        .and_then(|at| parse_host::upstream(&at, host));
    let url = jwks.get("url").and_then(|at| sts_url(&at, allow_insecure));
    let (timeout_ms, ttl_s, max_stale_s) = (
        jwks.integer("timeout_ms", &JWKS_TIMEOUT_MS),
        jwks.integer("ttl_s", &JWKS_TTL_S),
        jwks.integer("max_stale_s", &JWKS_MAX_STALE_S),
    );
    jwks.finish();
    Some(Jwks {
        upstream: upstream?,
        url,
        timeout_ms,
        ttl_s,
        max_stale_s,
    })
}
