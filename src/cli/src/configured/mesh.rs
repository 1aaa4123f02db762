//! Filters in Istio's and Envoy Gateway's own resources. An EnvoyFilter and an
//! EnvoyPatchPolicy hold Envoy's configuration, and are read as such.

use std::collections::BTreeMap;

use caracal_mandate::config::ProxyKind;
use serde_json::{Map, Value};

use super::envoy::from_own;
use super::source::Source;
use crate::proxy_file::{Here, is_our_configuration, is_ours};
use crate::terminal::shown;
use crate::warning::{FAIL_OPEN, MATCH_MODE, Warning, inside};

/// Whether an object is such a resource. What it holds is found by `filters` alone.
pub(super) fn is_resource(object: &Map<String, Value>) -> bool {
    kind(object).is_some()
}

enum Kind {
    WasmPlugin,
    TrafficExtension,
    ExtensionPolicy,
}

fn kind(object: &Map<String, Value>) -> Option<Kind> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let (group, _) = text("apiVersion")?.split_once('/')?;
    match (group, text("kind")?) {
        ("extensions.istio.io", "WasmPlugin") => Some(Kind::WasmPlugin),
        ("extensions.istio.io", "TrafficExtension") => Some(Kind::TrafficExtension),
        ("gateway.envoyproxy.io", "EnvoyExtensionPolicy") => Some(Kind::ExtensionPolicy),
        _ => None,
    }
}

/// The filters of ours in it, and what it leaves unguarded.
pub(super) fn filters(here: &Here<'_, '_>, unguarded: &mut Vec<String>) -> Vec<Source> {
    let object = here.object();
    let (Some(kind), Some(spec)) = (kind(object), object.get("spec")) else {
        return Vec::new();
    };
    let name = object
        .get("metadata")
        .and_then(|metadata| metadata.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or("unnamed");
    let place = here.place();
    let istio_plugin = match kind {
        Kind::WasmPlugin => Some(spec),
        Kind::TrafficExtension => spec.get("wasm"),
        Kind::ExtensionPolicy => None,
    };
    if let Some(plugin) = istio_plugin {
        return istio(name, &place, spec, plugin, unguarded)
            .into_iter()
            .collect();
    }
    let all = spec.get("wasm").and_then(Value::as_array);
    let own = all.into_iter().flatten();
    own.filter_map(|wasm| gateway(name, &place, wasm)).collect()
}

fn text<'t>(tree: &'t Value, name: &str) -> Option<&'t str> {
    tree.get(name).and_then(Value::as_str)
}

/// What the filter gets: the value as JSON, also where it is a text.
fn document(value: Option<&Value>) -> Vec<u8> {
    let value = value.filter(|value| !value.is_null());
    value.map(Value::to_string).unwrap_or_default().into_bytes()
}

fn is_known(names: &[Option<&str>], document: &[u8]) -> bool {
    names.iter().flatten().any(|name| is_ours(name)) || is_our_configuration(document)
}

fn istio(
    name: &str,
    place: &str,
    spec: &Value,
    plugin: &Value,
    unguarded: &mut Vec<String>,
) -> Option<Source> {
    let document = document(plugin.get("pluginConfig"));
    let names = [Some(name), text(plugin, "url"), text(plugin, "pluginName")];
    if !is_known(&names, &document) {
        return None;
    }
    if text(plugin, "type") == Some("NETWORK") {
        unguarded.push(format!(
            "{place}: type is NETWORK, and a filter sees requests only where it is HTTP"
        ));
    }
    let mut warnings = Vec::new();
    if text(plugin, "failStrategy") == Some("FAIL_OPEN") {
        warnings.push(Warning::new(&FAIL_OPEN, place));
    }
    warnings.extend(modes(spec, place));
    let mut environment = BTreeMap::new();
    let all = plugin.pointer("/vmConfig/env").and_then(Value::as_array);
    for variable in all.into_iter().flatten() {
        let Some(name) = text(variable, "name") else {
            continue;
        };
        match text(variable, "valueFrom") {
            Some("HOST") => environment.extend(from_own(std::iter::once(name))),
            _ => {
                let value = text(variable, "value").unwrap_or_default();
                environment.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    Some(Source {
        place: place.to_owned(),
        environment: Some(environment),
        warnings,
        ..Source::of(name, Ok(document), ProxyKind::Envoy)
    })
}

/// Modes that install no filter at what the resource is for.
fn modes(spec: &Value, place: &str) -> Vec<Warning> {
    let items = |name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let targets: Vec<&str> = items("targetRefs")
        .chain(spec.get("targetRef"))
        .filter_map(|target| text(target, "kind"))
        .collect();
    let useless = |mode: &str| {
        let unserved: &[&str] = match mode {
            "SERVER" => &["Gateway", "GatewayClass"],
            "CLIENT" => &["Service", "ServiceEntry"],
            _ => &[],
        };
        targets.iter().find(|target| unserved.contains(target))
    };
    let wrong = items("match").zip(1..).filter_map(|(one, number)| {
        let mode = text(one, "mode")?;
        let target = useless(mode)?;
        let place = inside(place, &format!("match {number}"));
        let found = format!("mode is {mode} and a target is a {}", shown(target));
        Some(Warning::found(&MATCH_MODE, &place, &found))
    });
    wrong.collect()
}

fn gateway(policy: &str, place: &str, wasm: &Value) -> Option<Source> {
    let document = document(wasm.get("config"));
    let name = text(wasm, "name");
    let at = |pointer: &str| wasm.pointer(pointer).and_then(Value::as_str);
    let names = [name, at("/code/image/url"), at("/code/http/url")];
    if !is_known(&names, &document) {
        return None;
    }
    let name = name.unwrap_or(policy);
    let place = inside(place, &format!("filter {}", shown(name)));
    let is_open = wasm.get("failOpen") == Some(&Value::Bool(true));
    let warnings = is_open.then(|| Warning::new(&FAIL_OPEN, &place));
    let keys = wasm.pointer("/env/hostKeys").and_then(Value::as_array);
    Some(Source {
        place,
        scope: Some(policy.to_owned()),
        environment: Some(from_own(
            keys.into_iter().flatten().filter_map(Value::as_str),
        )),
        warnings: warnings.into_iter().collect(),
        ..Source::of(name, Ok(document), ProxyKind::Envoy)
    })
}
