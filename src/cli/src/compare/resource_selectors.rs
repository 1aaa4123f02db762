//! The ways to name a resource in a request, as far as two configurations tell them
//! apart.

use std::collections::BTreeMap;

use caracal_mandate::routing::authority::HostName;
use caracal_mandate::routing::resources::Resources;
use serde::Serialize;

/// A way to name a resource.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Choice {
    pub(crate) header: Named,
    pub(crate) host: At,
}

/// `X-Caracal-Resource`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Named {
    Absent,
    Is(String),
    /// A resource that neither configuration has.
    Unknown,
    /// More than one resource.
    Several,
}

/// The host of the request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum At {
    /// Neither configuration checks the host.
    Any,
    Is(String),
    /// Almost this host: with a port that neither configuration has, with a final dot, or
    /// in another spelling.
    Near(String),
    /// A host that neither configuration has.
    Other,
    /// It is missing, or cannot be read as a host.
    Unreadable,
}

/// The resource that each configuration chooses, as an index; none for a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chosen {
    pub(super) before: Option<usize>,
    pub(super) now: Option<usize>,
}

/// All ways to name a resource, grouped by the two resources that they choose. If neither
/// configuration checks, there is one result and no way to name.
pub(super) fn all(before: &Resources, now: &Resources) -> Vec<(Chosen, Vec<Choice>)> {
    let both = [before, now];
    let chosen = |authority: Option<&[u8]>, names: &[&[u8]]| {
        let place = |of: &Resources| {
            let id = of.choose(authority, names).ok()?;
            let one = of.get(id)?;
            of.all().iter().position(|known| known.id == one.id)
        };
        Chosen {
            before: place(before),
            now: place(now),
        }
    };
    if !both.iter().any(|of| of.are_named()) {
        return vec![(chosen(None, &[]), Vec::new())];
    }
    let mut grouped: BTreeMap<Chosen, Vec<Choice>> = BTreeMap::new();
    for (host, authority) in hosts(both) {
        for (header, names) in headers(both) {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            let outcome = chosen(authority.as_deref(), &names);
            if outcome.now.is_some() {
                grouped.entry(outcome).or_default().push(Choice {
                    header: header.clone(),
                    host: host.clone(),
                });
            }
        }
    }
    grouped.into_iter().collect()
}

fn hosts(both: [&Resources; 2]) -> Vec<(At, Option<Vec<u8>>)> {
    let mut names: Vec<&HostName> = both
        .iter()
        .flat_map(|of| of.all())
        .flat_map(|resource| &resource.hosts)
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return vec![(At::Any, None)];
    }
    let mut all: Vec<(At, Option<Vec<u8>>)> = names
        .iter()
        .map(|name| {
            let text = name.text().to_owned();
            (At::Is(text.clone()), Some(text.into_bytes()))
        })
        .collect();
    let mut other = "other".to_owned();
    for name in &names {
        let (host, port) = name.split();
        let mut near = format!("{host}:{port}0");
        while names.iter().any(|name| name.text() == near) {
            near.push('0');
        }
        all.push((At::Near(name.text().to_owned()), Some(near.into_bytes())));
    }
    // The name must not be almost one of the configured names.
    while names.iter().any(|name| name.text().starts_with(&other)) {
        other.push('r');
    }
    all.push((At::Other, Some(other.into_bytes())));
    all.push((At::Unreadable, None));
    all
}

fn headers(both: [&Resources; 2]) -> Vec<(Named, Vec<String>)> {
    let mut ids: Vec<&str> = both
        .iter()
        .filter(|of| of.are_named())
        .flat_map(|of| of.all())
        .map(|resource| resource.id.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut unknown = "unknown".to_owned();
    while ids.contains(&unknown.as_str()) {
        unknown.push('n');
    }
    let mut all = vec![
        (Named::Absent, Vec::new()),
        (Named::Several, vec![unknown.clone(), unknown.clone()]),
        (Named::Unknown, vec![unknown]),
    ];
    all.extend(
        ids.into_iter()
            .map(|id| (Named::Is(id.to_owned()), vec![id.to_owned()])),
    );
    all
}
