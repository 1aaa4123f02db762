//! Where a filter's configuration stands: bare, or in a proxy's file, YAML, JSON or nginx's.
//! Envoy (a `Wasm` filter's `configuration`), Kong (`filter_chains`, or any object
//! with the filter's `name` and a `config`) and APISIX (a plugin's `conf`).

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use caracal_mandate::config::Configuration;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::config_errors::{self, ConfigError, Lines};
use crate::guard;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Deepest nesting of a proxy's file that is looked into.
const MAX_DEPTH: usize = 64;
/// Part of the name of the filter, its plugin and its file.
const NAME: &str = "caracal";
/// Type of an Envoy filter that is WebAssembly.
const ENVOY_WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// A configuration as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// The filter's name in the proxy's file; none for a bare configuration.
    pub(crate) name: Option<String>,
    document: Vec<u8>,
    /// What the filter would find in its environment; none where that is the proxy's,
    /// for which this program's own stands.
    environment: Option<BTreeMap<String, String>>,
}

impl Source {
    /// Reads it as the filter would.
    pub(crate) fn configuration(&self) -> Result<Configuration, Vec<ConfigError>> {
        let read = Configuration::from_json(&self.document, &|name| match &self.environment {
            Some(known) => known.get(name).cloned(),
            None => std::env::var(name).ok(),
        });
        read.map_err(|errors| config_errors::in_text(&self.document, self.lines(), errors))
    }

    /// Whose lines an error names. A proxy's object becomes a text of one line.
    fn lines(&self) -> Lines {
        match &self.name {
            None => Lines::OfFile,
            Some(_) if self.document.trim_ascii().contains(&b'\n') => Lines::OfText,
            Some(_) => Lines::Lost,
        }
    }
}

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
    let bare = |document| Source {
        name: None,
        document,
        environment: None,
    };
    if guard::nginx::has_filter(text) {
        let tree = guard::nginx::read(text)?;
        let sources = in_nginx(&tree);
        ensure!(
            !sources.is_empty(),
            "no Caracal filter stands in it: no proxy_wasm whose filter has \"{NAME}\" in its name"
        );
        return Ok(Found {
            sources,
            unguarded: guard::of_nginx(&tree),
        });
    }
    let begins_as_json = text.trim_start().starts_with('{') || text.trim().is_empty();
    if begins_as_json {
        // What is wrong with it, the filter's own reader says best.
        let tree: Value = serde_json::from_str(text).unwrap_or_default();
        let sources = search(&tree);
        return Ok(match sources.is_empty() {
            true => Found {
                sources: vec![bare(bytes)],
                unguarded: Vec::new(),
            },
            false => Found {
                sources,
                unguarded: guard::of_tree(&tree),
            },
        });
    }
    if config_errors::is_yaml_configuration(text) {
        return Ok(Found {
            sources: vec![bare(bytes)],
            unguarded: Vec::new(),
        });
    }
    let mut found = Found::default();
    let mut is_apisix_itself = false;
    for document in Yaml::load_from_str(text).context("is neither JSON nor YAML")? {
        let tree = to_json(&document, 0)?;
        is_apisix_itself |= guard::is_apisix_itself(&tree);
        found.sources.extend(search(&tree));
        found.unguarded.extend(guard::of_tree(&tree));
    }
    ensure!(
        is_apisix_itself || !found.sources.is_empty(),
        "no Caracal filter stands in it: neither an Envoy Wasm filter, nor a Kong filter or an APISIX plugin whose name has \"{NAME}\" in it"
    );
    Ok(found)
}

/// The filters of nginx's own configuration, each with its line where there are several.
fn in_nginx(tree: &[guard::nginx::Directive]) -> Vec<Source> {
    let every = guard::nginx::every(tree);
    let ours = every
        .iter()
        .filter(|(_, d)| d.name == "proxy_wasm" && is_ours(d.argument(0)));
    let ours: Vec<_> = ours.map(|(_, d)| d).collect();
    let name = |d: &guard::nginx::Directive| match ours.len() {
        1 => d.argument(0).to_owned(),
        _ => format!("{} (line {})", d.argument(0), d.line),
    };
    let source = |d: &&&guard::nginx::Directive| Source {
        name: Some(name(d)),
        document: d.argument(1).as_bytes().to_vec(),
        environment: None,
    };
    ours.iter().map(source).collect()
}

/// A YAML text as the tree that a proxy makes of it, for tests.
#[cfg(test)]
pub(crate) fn tree_of(text: &str) -> Value {
    let mut documents = Yaml::load_from_str(text).unwrap();
    to_json(&documents.pop().unwrap(), 0).unwrap()
}

/// YAML as the tree of JSON that a proxy makes of it.
fn to_json(node: &Yaml<'_>, depth: usize) -> Result<Value> {
    ensure!(depth < MAX_DEPTH, "nested deeper than {MAX_DEPTH}");
    let below = depth.saturating_add(1);
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Representation(text, ..) => json!(text),
        Yaml::Sequence(items) => {
            let items: Result<_> = items.iter().map(|item| to_json(item, below)).collect();
            Value::Array(items?)
        }
        Yaml::Mapping(members) => {
            let mut object = Map::new();
            for (key, value) in members {
                let key = match to_json(key, below)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                object.insert(key, to_json(value, below)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(_, node) => to_json(node, below)?,
        Yaml::Alias(_) | Yaml::BadValue => bail!("has a value that cannot be read"),
    })
}

fn search(tree: &Value) -> Vec<Source> {
    let mut found = Vec::new();
    search_into(tree, "", None, &mut found);
    found
}

/// `key` is the one that the tree stands under, `around` the name of the object around.
fn search_into(tree: &Value, key: &str, around: Option<&str>, found: &mut Vec<Source>) {
    match tree {
        Value::Array(items) => {
            for item in items {
                search_into(item, "", around, found);
            }
        }
        Value::Object(members) => {
            let own = members.get("name").and_then(Value::as_str);
            // An Envoy filter's name stands around its configuration, a Kong filter's in
            // it, and an APISIX plugin's is its key.
            let source = envoy(members, around.or(own));
            if let Some(source) = source.or_else(|| other(members, own.unwrap_or(key))) {
                found.push(source);
                return;
            }
            for (key, value) in members {
                search_into(value, key, own, found);
            }
        }
        _ => {}
    }
}

fn is_ours(name: &str) -> bool {
    name.to_ascii_lowercase().contains(NAME)
}

/// An Envoy filter of type `Wasm`: ours by its name, its code's file, or what it is
/// configured with.
fn envoy(members: &Map<String, Value>, name: Option<&str>) -> Option<Source> {
    let kind = members.get("@type").and_then(Value::as_str)?;
    if kind.rsplit('/').next() != Some(ENVOY_WASM) {
        return None;
    }
    let config = members.get("config")?;
    let configuration = config.get("configuration").unwrap_or(&Value::Null);
    // A `StringValue` or a `Struct`: both have a `value`.
    let value = configuration.get("value").unwrap_or(configuration);
    let document = document(value);
    let code = config.pointer("/vm_config/code").map(Value::to_string);
    let configured: Value = serde_json::from_slice(&document).unwrap_or_default();
    let known = name.is_some_and(is_ours)
        || code.as_deref().is_some_and(is_ours)
        || (configured.get("jwks").is_some() && configured.get("revocation").is_some());
    known.then(|| Source {
        name: Some(name.unwrap_or("unnamed").to_owned()),
        document,
        environment: Some(environment(config)),
    })
}

/// What Envoy gives the VM: pairs, and names that it takes from its own environment.
fn environment(config: &Value) -> BTreeMap<String, String> {
    let at = |part: &str| config.pointer(&format!("/vm_config/environment_variables/{part}"));
    let mut all = BTreeMap::new();
    for name in at("host_env_keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(name) = name.as_str()
            && let Ok(value) = std::env::var(name)
        {
            all.insert(name.to_owned(), value);
        }
    }
    for (name, value) in at("key_values")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        all.insert(name.clone(), text);
    }
    all
}

/// A Kong filter (`config`) or an APISIX plugin (`conf`) by the filter's name.
fn other(members: &Map<String, Value>, name: &str) -> Option<Source> {
    let value = members.get("conf").or_else(|| members.get("config"))?;
    if !is_ours(name) {
        return None;
    }
    // An Envoy filter has a `config` of its own kind.
    if value.get("vm_config").is_some() {
        return None;
    }
    Some(Source {
        name: Some(name.to_owned()),
        document: document(value),
        environment: None,
    })
}

/// The configuration's bytes: a text is JSON already, an object becomes it.
fn document(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests;
