//! Where a filter's configuration stands: bare, or in a proxy's file, YAML, JSON or nginx's.
//! Envoy (a `Wasm` filter's `configuration`), Istio and Envoy Gateway, Kong
//! (`filter_chains`, or any object with the filter's `name` and a `config`) and APISIX (a
//! plugin's `conf`), also where such a file is in a ConfigMap.

mod config_map;
mod dump;
mod envoy;
mod mesh;
mod nginx_hosts;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::config_errors;
use crate::guard;
use crate::proxy_file::{NAME, walk, yaml};
use crate::terminal::shown;
use crate::warning::{Warning, inside};

pub(crate) use source::Source;

/// Largest file that is read, in bytes. A dump of a proxy in a mesh has several MiB.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a file, or standard input for `-`.
pub(crate) fn read_file(file: &Path) -> Result<Vec<u8>> {
    let what = || format!("cannot read {}", file.display());
    let mut bytes = Vec::new();
    let most = MAX_FILE_BYTES.saturating_add(1);
    let read = if file.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        let opened = std::fs::File::open(file).with_context(what)?;
        opened.take(most).read_to_end(&mut bytes)
    };
    let read = u64::try_from(read.with_context(what)?)?;
    let name = file.display();
    ensure!(
        read <= MAX_FILE_BYTES,
        "{name} is over {MAX_FILE_BYTES} bytes"
    );
    Ok(bytes)
}

/// What stands in a proxy's file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) sources: Vec<Source>,
    /// What leaves something unguarded although a filter stands there.
    pub(crate) unguarded: Vec<String>,
    /// What is told of the file around the filters.
    pub(crate) warnings: Vec<Warning>,
    /// The names of the file's clusters, where it lists them all.
    pub(crate) clusters: Option<BTreeSet<String>>,
}

/// The configurations in a file: one when it is bare, at least one in any case. With
/// `filter` only the one of that name.
pub(crate) fn read(file: &Path, filter: Option<&str>) -> Result<Vec<Source>> {
    let found = read_all(file, filter)?.sources;
    ensure!(
        !found.is_empty(),
        "{}: no configuration of a filter stands in it",
        file.display()
    );
    Ok(found)
}

/// The same, and what the file leaves unguarded. APISIX's own configuration has no
/// filter's in it.
pub(crate) fn read_all(file: &Path, filter: Option<&str>) -> Result<Found> {
    let all = find(read_file(file)?).with_context(|| file.display().to_string())?;
    let sources = named(file, filter, all.sources)?;
    Ok(Found { sources, ..all })
}

fn named(file: &Path, filter: Option<&str>, found: Vec<Source>) -> Result<Vec<Source>> {
    let Some(filter) = filter else {
        return Ok(found);
    };
    let all: Vec<String> = found.iter().filter_map(|one| one.name.clone()).collect();
    let named: Vec<Source> = found
        .into_iter()
        .filter(|one| one.name.as_deref() == Some(filter))
        .collect();
    ensure!(
        !named.is_empty(),
        "{} has no filter {filter:?}; it has {all:?}",
        file.display()
    );
    Ok(named)
}

/// The one configuration that is meant.
pub(crate) fn read_one(file: &Path, filter: Option<&str>) -> Result<Source> {
    let mut found = read(file, filter)?;
    if found.len() > 1 {
        let all: Vec<String> = found.into_iter().filter_map(|one| one.name).collect();
        bail!(
            "{} has several filters: name one with --filter: {all:?}",
            file.display()
        );
    }
    found.pop().context("there is no configuration")
}

fn find(bytes: Vec<u8>) -> Result<Found> {
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let mut found = Found::default();
    let is_apisix_itself = read_text(text, &mut found)?;
    let is_bare = begins_as_json(text) || config_errors::is_yaml_configuration(text);
    if found.sources.is_empty() && is_bare {
        return Ok(Found {
            sources: vec![Source::bare(bytes)],
            ..Found::default()
        });
    }
    ensure!(
        is_apisix_itself || !found.sources.is_empty(),
        "no Caracal filter stands in it: neither an Envoy Wasm filter, an Istio WasmPlugin nor an Envoy Gateway policy, nor a Kong filter, a proxy_wasm or an APISIX plugin whose name has \"{NAME}\" in it"
    );
    tell_apart(&mut found.sources);
    Ok(found)
}

fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with('{') || text.trim().is_empty()
}

/// Whether APISIX's own configuration is in it, which has no filter's.
fn read_text(text: &str, found: &mut Found) -> Result<bool> {
    if guard::nginx::has_filter(text) {
        let tree = guard::nginx::read(text)?;
        found.sources.extend(nginx_hosts::in_nginx(&tree));
        found.unguarded.extend(guard::of_nginx(&tree));
        return Ok(false);
    }
    let trees = match begins_as_json(text) {
        // What is wrong with it, the filter's own reader says best.
        true => vec![serde_json::from_str(text).unwrap_or_default()],
        false => yaml::documents(text)?,
    };
    let mut is_apisix_itself = false;
    for tree in trees {
        is_apisix_itself |= guard::is_apisix_itself(&tree);
        for (place, text) in config_map::files(&tree) {
            let mut inner = Found::default();
            is_apisix_itself |= read_text(text, &mut inner).with_context(|| place.clone())?;
            found.take(inner, &place);
        }
        look(dump::in_force(tree), found);
    }
    Ok(is_apisix_itself)
}

impl Found {
    /// What was found in a part of the file.
    fn take(&mut self, part: Found, place: &str) {
        let within = |warning: Warning| warning.within(place);
        let sources = part.sources.into_iter().map(|source| Source {
            place: inside(place, &source.place),
            warnings: source.warnings.into_iter().map(within).collect(),
            ..source
        });
        self.sources.extend(sources);
        let unguarded = part.unguarded.iter();
        self.unguarded
            .extend(unguarded.map(|what| format!("{place}: {what}")));
        self.warnings.extend(part.warnings.into_iter().map(within));
        if let Some(clusters) = part.clusters {
            self.clusters.get_or_insert_default().extend(clusters);
        }
    }
}

/// A document's filters, and what it says around them.
fn look(tree: Value, found: &mut Found) {
    let mut sources = Vec::new();
    walk(&tree, &mut |here| {
        if mesh::is_resource(here.object()) {
            sources.extend(mesh::filters(&here, &mut found.unguarded));
            return false;
        }
        let source = envoy::filter(&here).or_else(|| nginx_hosts::filter(&here));
        let is_none = source.is_none();
        sources.extend(source);
        is_none
    });
    let names = sources.iter().filter_map(|one| one.name.as_deref());
    let names: Vec<&str> = names.collect();
    let around = guard::envoy::look(&tree, &names);
    found.unguarded.extend(around.unguarded);
    found.warnings.extend(around.warnings);
    found.unguarded.extend(guard::of_tree(&tree));
    found.warnings.extend(guard::warnings_of_tree(&tree));
    if let Some(clusters) = guard::envoy::clusters(&tree) {
        let own = clusters.into_iter().map(str::to_owned);
        found.clusters.get_or_insert_default().extend(own);
    }
    // Filters and routes that stand apart (ECDS, RDS).
    for source in sources.iter_mut().filter(|one| one.domains.is_none()) {
        let name = source.name.as_deref().unwrap_or_default();
        source.domains = guard::envoy::domains(&tree, name);
    }
    for source in sources.iter_mut().filter(|one| one.place.is_empty()) {
        let name = source.name.as_deref();
        source.place = name.map_or_else(String::new, |name| format!("filter {}", shown(name)));
    }
    found.sources.append(&mut sources);
}

/// Filters of one name get another: with what they stand in, or with a number.
fn tell_apart(sources: &mut [Source]) {
    for with_scope in [true, false] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in sources.iter().filter_map(|one| one.name.clone()) {
            let count = counts.entry(name).or_default();
            *count = count.saturating_add(1);
        }
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        for source in sources.iter_mut() {
            let Some(name) = source.name.as_mut() else {
                continue;
            };
            if counts.get(name).is_none_or(|count| *count < 2) {
                continue;
            }
            match &source.scope {
                Some(scope) if with_scope => *name = format!("{scope}/{name}"),
                _ if with_scope => {}
                _ => {
                    let number = numbers.entry(name.clone()).or_default();
                    *number = number.saturating_add(1);
                    *name = format!("{name}#{number}");
                }
            }
        }
    }
}

#[cfg(test)]
mod mesh_tests;
#[cfg(test)]
mod tests;
