//! Where APISIX sends requests: the addresses that a route leads to.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::tree::{items, text};

pub(super) fn plugins(holder: &Value) -> Option<&Map<String, Value>> {
    holder.get("plugins").and_then(Value::as_object)
}

/// APISIX compares ids as texts: 7 is "7".
pub(super) fn id(tree: &Value, name: &str) -> Option<String> {
    match tree.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The items of a list that have an id.
pub(super) fn with_id<'t>(
    tree: &'t Value,
    list: &'t str,
    wanted: Option<String>,
) -> impl Iterator<Item = &'t Value> {
    items(tree, list).filter(move |one| wanted.is_some() && id(one, "id") == wanted)
}

/// Addresses that something leads to, by itself, by what it refers to, or by a plugin that
/// sends requests, or copies of them, elsewhere.
pub(super) fn places(tree: &Value, holder: &Value) -> BTreeSet<String> {
    let mut all = referred(tree, holder);
    for service in with_id(tree, "services", id(holder, "service_id")) {
        all.extend(referred(tree, service));
        all.extend(by_plugins(tree, service));
    }
    for shared in with_id(tree, "plugin_configs", id(holder, "plugin_config_id")) {
        all.extend(by_plugins(tree, shared));
    }
    all.extend(by_plugins(tree, holder));
    all
}

/// Those of an upstream that stands there, or that is named.
fn referred(tree: &Value, holder: &Value) -> BTreeSet<String> {
    let mut all = holder.get("upstream").map(nodes).unwrap_or_default();
    for reference in ["upstream_id", "service_id"] {
        all.extend(id(holder, reference).map(|id| format!("{reference} {id}")));
    }
    for upstream in with_id(tree, "upstreams", id(holder, "upstream_id")) {
        all.extend(nodes(upstream));
    }
    all
}

fn by_plugins(tree: &Value, holder: &Value) -> BTreeSet<String> {
    let plugin = |name: &str| plugins(holder).and_then(|all| all.get(name));
    let mut all = BTreeSet::new();
    let rules = plugin("traffic-split").into_iter();
    for rule in rules.flat_map(|split| items(split, "rules")) {
        for weighted in items(rule, "weighted_upstreams") {
            all.extend(referred(tree, weighted));
        }
    }
    if let Some(host) = plugin("proxy-mirror").and_then(|mirror| text(mirror, "host")) {
        let (scheme, host) = host.split_once("://").unwrap_or(("http", host));
        let port = if scheme.ends_with('s') { 443 } else { 80 };
        all.insert(address(host.trim_end_matches('/'), port));
    }
    all
}

/// Host and port, in one spelling.
fn address(host: &str, port: u64) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host = host.to_ascii_lowercase();
    if has_port {
        host
    } else {
        format!("{host}:{port}")
    }
}

fn nodes(upstream: &Value) -> BTreeSet<String> {
    let usual = match text(upstream, "scheme") {
        Some("https" | "grpcs") => 443,
        _ => 80,
    };
    let of_list = items(upstream, "nodes").filter_map(|node| {
        let port = node.get("port").and_then(Value::as_u64).unwrap_or(usual);
        Some(address(text(node, "host")?, port))
    });
    let of_map = upstream.get("nodes").and_then(Value::as_object);
    let of_map = of_map.into_iter().flat_map(|nodes| nodes.keys());
    let of_map = of_map.map(|name| address(name, usual));
    let discovered = text(upstream, "service_name").map(|name| {
        let by = text(upstream, "discovery_type").unwrap_or_default();
        format!("service {by} {name}")
    });
    of_list.chain(of_map).chain(discovered).collect()
}
