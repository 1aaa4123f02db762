//! Reads resources, routes and requirements.

use std::collections::BTreeMap;

use super::bounds::MAX_ROUTES;
use super::gateway::Mode;
use super::metadata::ChallengeSettings;
use super::parse_enforcement::enforcement;
use super::parse_requirements::overrides;
use super::reader::{At, Object, quoted};
use super::rules::{
    MAX_HOSTS, MAX_IDENTIFIER, MAX_METHODS, MAX_RESOURCES, Overrides, Protected, Resource,
    RouteOverrides,
};
use super::{parse_gateway, parse_mcp, parse_metadata, values};
use crate::routing::authority::HostName;

/// Reads the resources. `None` if `resources` cannot be read.
///
/// `challenge` is what the top level says of challenges.
pub(super) fn protected(
    object: &Object<'_, '_, '_>,
    mode: Mode,
    challenge: Option<&ChallengeSettings>,
) -> Option<Protected> {
    let Some(at) = object.get("resources") else {
        return (!object.has("resources")).then(|| without_names(object, challenge));
    };
    for name in ["audience", "routes", "exclude", "metadata"] {
        if object.get(name).is_some() {
            object.fail::<()>(name, "must not be beside resources: each has its own");
        }
    }
    let resources = resources(&at, mode)?;
    let own_routes = resources.values().map(|resource| &resource.routes);
    all_routes(object, "resources", own_routes);
    let excluded = resources.values().map(|resource| resource.exclude.len());
    at_most(object, "resources", "excluded prefixes", excluded.sum());
    Some(Protected {
        resources,
        ..Protected::default()
    })
}

fn without_names(object: &Object<'_, '_, '_>, challenge: Option<&ChallengeSettings>) -> Protected {
    let audience = object.require(
        "audience",
        "the identifier of the protected resource, as in a mandate's aud (or resources, if there are several)",
    );
    let audience = audience.and_then(|at| at.text().map(str::to_owned));
    let routes = object.get("routes").and_then(|at| routes(&at));
    let exclude = object.get("exclude").and_then(|at| exclude(&at));
    let protected = Protected {
        audience,
        routes: routes.unwrap_or_default(),
        exclude: exclude.unwrap_or_default(),
        metadata: parse_metadata::metadata(object, challenge),
        resources: BTreeMap::new(),
    };
    all_routes(object, "routes", [&protected.routes]);
    protected
}

fn all_routes<'r>(
    object: &Object<'_, '_, '_>,
    name: &str,
    all: impl IntoIterator<Item = &'r BTreeMap<String, RouteOverrides>>,
) {
    let routes: Vec<&RouteOverrides> = all.into_iter().flat_map(BTreeMap::values).collect();
    at_most(object, name, "routes", routes.len());
    let methods = routes.iter().map(|route| route.methods.len());
    at_most(object, name, "methods", methods.sum());
    let tools = routes
        .iter()
        .filter_map(|route| route.mcp.as_ref()?.tools.as_ref());
    at_most(object, name, "tools", tools.map(BTreeMap::len).sum());
}

fn at_most(object: &Object<'_, '_, '_>, name: &str, what: &str, found: usize) {
    if found > MAX_ROUTES {
        object.fail::<()>(
            name,
            format!("must have at most {MAX_ROUTES} {what} in all, has {found}"),
        );
    }
}

fn resources(at: &At<'_, '_, '_>, mode: Mode) -> Option<BTreeMap<String, Resource>> {
    let entries = at.entries(MAX_RESOURCES)?;
    if entries.is_empty() {
        return at.fail("must name at least one resource");
    }
    let mut resources: BTreeMap<String, Resource> = BTreeMap::new();
    let mut hosts: Vec<(HostName, &str)> = Vec::new();
    for (id, at) in entries {
        if let Err(problem) = values::identifier(id, MAX_IDENTIFIER) {
            at.fail::<()>(problem);
        }
        let Some(object) = at.object() else { continue };
        let resource = resource(&object, id, mode, &mut hosts);
        object.finish();
        let audience = resource.audience_of(id);
        // If two resources had one audience, a client with one mandate could choose the
        // resource that requires less.
        let same = |(other, known): &(&String, &Resource)| known.audience_of(other) == audience;
        if let Some((other, _)) = resources.iter().find(same) {
            at.fail::<()>(format!(
                "has the audience of {}; make them one resource, with routes",
                quoted(other)
            ));
        }
        resources.insert(id.to_owned(), resource);
    }
    exclusions(at, &resources);
    Some(resources)
}

/// Resources without hosts must exclude the same paths, or naming one opens the other: a
/// client that names a resource gets its exclusions without a mandate.
fn exclusions(at: &At<'_, '_, '_>, resources: &BTreeMap<String, Resource>) {
    let cut = |prefix: &String| prefix.trim_end_matches('/').to_owned();
    let anywhere = resources.iter().filter(|(_, one)| one.hosts.is_none());
    for (id, one) in anywhere.clone() {
        for (other, another) in anywhere.clone() {
            let has = |prefix: &String| another.exclude.iter().any(|has| cut(has) == cut(prefix));
            if let Some(prefix) = one.exclude.iter().find(|prefix| !has(prefix)) {
                at.fail::<()>(format!(
                    "excludes {} from {} and not from {}: who names the one could reach the other unverified; exclude it from both, or give them hosts",
                    quoted(prefix), quoted(id), quoted(other)
                ));
                return;
            }
        }
    }
}

fn resource<'v>(
    object: &Object<'v, '_, '_>,
    id: &'v str,
    mode: Mode,
    hosts: &mut Vec<(HostName, &'v str)>,
) -> Resource {
    let upstream_url = parse_gateway::upstream_url(object, mode);
    let audience = object.get("audience");
    let challenge = parse_metadata::challenge(object);
    let metadata = parse_metadata::metadata(object, challenge.as_ref());
    Resource {
        audience: audience.and_then(|at| at.text().map(str::to_owned)),
        requirements: overrides(object),
        routes: object
            .get("routes")
            .and_then(|at| routes(&at))
            .unwrap_or_default(),
        exclude: object
            .get("exclude")
            .and_then(|at| exclude(&at))
            .unwrap_or_default(),
        hosts: object.get("hosts").and_then(|at| own_hosts(&at, id, hosts)),
        zones: object.get("zones").and_then(|at| own_zones(&at)),
        upstream_url,
        challenge,
        metadata,
    }
}

/// The zones of a resource.
fn own_zones(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let zones = at.strings()?;
    if zones.is_empty() {
        return at.fail("must name at least one zone; leave it out if every zone may come");
    }
    Some(zones)
}

/// The hosts of a resource. `known` has the hosts of all resources so far.
fn own_hosts<'v>(
    at: &At<'v, '_, '_>,
    id: &'v str,
    known: &mut Vec<(HostName, &'v str)>,
) -> Option<Vec<String>> {
    let items = at.list(MAX_HOSTS)?;
    if items.is_empty() {
        return at.fail("must name at least one host; leave it out if the host does not matter");
    }
    let mut hosts = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        let Some(host) = HostName::parse(text) else {
            item.fail::<()>("expected a host name, an IPv4 address, or an IPv6 address in brackets, with the port that the proxy sees, if any; no final dot or wildcard");
            continue;
        };
        if let Some((_, other)) = known.iter().find(|(known, _)| known.is_as(&host)) {
            item.fail::<()>(format!("is a host of {} already", quoted(other)));
            continue;
        }
        known.push((host, id));
        hosts.push(text.to_owned());
    }
    Some(hosts)
}

fn routes(at: &At<'_, '_, '_>) -> Option<BTreeMap<String, RouteOverrides>> {
    let mut routes = BTreeMap::new();
    let mut prefixes = Prefixes::default();
    for (prefix, route) in at.entries(MAX_ROUTES)? {
        prefixes.add(prefix, &route);
        let Some(object) = route.object() else {
            continue;
        };
        let requirements = overrides(&object);
        let methods = object.get("methods").and_then(|at| methods(&at));
        let enforcement = enforcement(&object);
        let mcp = object.get("mcp").and_then(|at| parse_mcp::mcp(&at));
        object.finish();
        let methods = methods.unwrap_or_default();
        routes.insert(
            prefix.to_owned(),
            RouteOverrides {
                requirements,
                methods,
                enforcement,
                mcp,
            },
        );
    }
    Some(routes)
}

fn methods(at: &At<'_, '_, '_>) -> Option<BTreeMap<String, Overrides>> {
    let mut methods = BTreeMap::new();
    for (name, at) in at.entries(MAX_METHODS)? {
        if let Err(problem) = values::method(name) {
            at.fail::<()>(problem);
        }
        let Some(object) = at.object() else { continue };
        methods.insert(name.to_owned(), overrides(&object));
        object.finish();
    }
    Some(methods)
}

fn exclude(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let mut prefixes = Prefixes::default();
    for item in at.list(MAX_ROUTES)? {
        let Some(prefix) = item.text() else { continue };
        if prefix.chars().all(|c| c == '/') {
            item.fail::<()>("/ would let every request through unverified");
            continue;
        }
        prefixes.add(prefix, &item);
    }
    Some(prefixes.0)
}

/// The prefixes so far, to find two that are equal without a trailing `/`.
#[derive(Default)]
struct Prefixes(Vec<String>);

impl Prefixes {
    fn add(&mut self, prefix: &str, at: &At<'_, '_, '_>) {
        if let Err(problem) = values::prefix(prefix) {
            at.fail::<()>(problem);
            return;
        }
        let cut = |prefix: &str| prefix.trim_end_matches('/').to_owned();
        if let Some(same) = self.0.iter().find(|known| cut(known) == cut(prefix)) {
            at.fail::<()>(format!("is the same prefix as {}", quoted(same)));
            return;
        }
        self.0.push(prefix.to_owned());
    }
}
