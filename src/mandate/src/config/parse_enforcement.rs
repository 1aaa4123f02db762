//! Reads `enforcement`, and checks where shadow is not possible.

use std::collections::BTreeMap;

use super::enforcement::Enforcement;
use super::gateway::Mode;
use super::reader::{Object, one_of, quoted};
use super::rules::{Protected, RouteOverrides};

/// Reads the key of the top level or of a route.
pub(super) fn enforcement(object: &Object<'_, '_, '_>) -> Option<Enforcement> {
    let at = object.get("enforcement")?;
    let text = at.text()?;
    let known = Enforcement::ALL.iter().find(|(name, _)| *name == text);
    match known {
        Some((_, enforcement)) => Some(*enforcement),
        None => at.fail(format!(
            "expected {}, found {}",
            one_of(Enforcement::ALL.map(|(name, _)| name)),
            quoted(text)
        )),
    }
}

/// Checks where shadow is not possible: in Gateway mode, and where a client could choose it
/// by naming another resource.
pub(super) fn check(
    object: &Object<'_, '_, '_>,
    protected: &Protected,
    top: Enforcement,
    mode: Mode,
) {
    if mode == Mode::Gateway {
        check_gateway(object, protected, top);
        return;
    }
    let resources = protected.resources.iter();
    let mut anywhere = resources.filter(|(_, one)| one.hosts.is_none());
    let Some((first, one)) = anywhere.next() else {
        return;
    };
    for (other, another) in anywhere {
        for prefix in [one, another]
            .iter()
            .flat_map(|either| either.routes.keys())
        {
            if at(&one.routes, top, prefix) == at(&another.routes, top, prefix) {
                continue;
            }
            object.fail::<()>(
                "resources",
                format!(
                    "{} and {} differ in enforcement at {}: who names the one in shadow could reach the other unverified; make them alike, or give them hosts",
                    quoted(first),
                    quoted(other),
                    quoted(prefix)
                ),
            );
            return;
        }
    }
}

/// In Gateway mode the upstream gets a credential of the STS or nothing. What was refused
/// has none, and the mandate itself is never forwarded.
fn check_gateway(object: &Object<'_, '_, '_>, protected: &Protected, top: Enforcement) {
    const WHY: &str = "shadow is not possible in Gateway mode: what is refused has no credential for the upstream, and an exchange uses the mandate up; remove the key";
    if top.is_shadow() {
        object.fail::<()>("enforcement", WHY);
    }
    // Others than those of resources are an error there.
    for (id, resource) in &protected.resources {
        for (prefix, route) in &resource.routes {
            if route.enforcement == Some(Enforcement::Shadow) {
                let (id, prefix) = (quoted(id), quoted(prefix));
                let path = format!("resources[{id}].routes[{prefix}].enforcement");
                object.fail::<()>(&path, WHY);
            }
        }
    }
}

/// What is in force for a path that is one of the prefixes.
fn at(routes: &BTreeMap<String, RouteOverrides>, top: Enforcement, path: &str) -> Enforcement {
    let path = path.trim_end_matches('/');
    let is_over = |prefix: &str| {
        let rest = path.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut found = (0, top);
    for (prefix, route) in routes {
        let prefix = prefix.trim_end_matches('/');
        if is_over(prefix) && prefix.len() >= found.0 {
            found = (prefix.len(), route.enforcement.unwrap_or(top));
        }
    }
    found.1
}
