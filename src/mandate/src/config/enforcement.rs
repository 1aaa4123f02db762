//! Whether refusals are carried out. The doc comments of the type are descriptions in the
//! JSON Schema.

use std::collections::BTreeMap;

use serde::Serialize;

use super::gateway::Mode;
use super::reader::{Object, one_of, quoted};
use super::rules::{Protected, RouteOverrides};

/// Whether a request that is refused gets the refusal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It does.
    #[default]
    Enforce,
    /// It goes on to the service, without a principal. What is decided is counted and
    /// recorded only. Never in Gateway mode.
    Shadow,
}

impl Enforcement {
    /// Every word, as a configuration has it.
    const ALL: [(&'static str, Enforcement); 2] = [
        ("enforce", Enforcement::Enforce),
        ("shadow", Enforcement::Shadow),
    ];

    pub(super) fn is_shadow(self) -> bool {
        self == Enforcement::Shadow
    }
}

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
        let differs =
            |prefix: &&String| at(&one.routes, top, prefix) != at(&another.routes, top, prefix);
        let mut prefixes = one.routes.keys().chain(another.routes.keys());
        if let Some(prefix) = prefixes.find(differs) {
            object.fail::<()>(
                "resources",
                format!(
                    "{} and {} differ in enforcement at {}: who names the one that is in shadow could reach the other unverified; use the same enforcement in both, or give them hosts",
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
    const WHY: &str = "shadow is not possible in Gateway mode: a request that is refused has no credential for the upstream, and an exchange uses its mandate up; remove the key, or use \"enforce\"";
    if top.is_shadow() {
        object.fail::<()>("enforcement", WHY);
    }
    let in_shadow = |(_, route): &(&String, &RouteOverrides)| {
        route.enforcement.is_some_and(Enforcement::is_shadow)
    };
    for (prefix, _) in protected.routes.iter().filter(in_shadow) {
        let path = format!("routes[{}].enforcement", quoted(prefix));
        object.fail::<()>(&path, WHY);
    }
    for (id, resource) in &protected.resources {
        for (prefix, _) in resource.routes.iter().filter(in_shadow) {
            let (id, prefix) = (quoted(id), quoted(prefix));
            object.fail::<()>(
                &format!("resources[{id}].routes[{prefix}].enforcement"),
                WHY,
            );
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
    let over = routes
        .iter()
        .map(|(prefix, route)| (prefix.trim_end_matches('/'), route))
        .filter(|(prefix, _)| is_over(prefix));
    let longest = over.max_by_key(|(prefix, _)| prefix.len());
    longest
        .and_then(|(_, route)| route.enforcement)
        .unwrap_or(top)
}
