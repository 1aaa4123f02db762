//! Filters in Envoy's configuration: a bootstrap, a resource, a dump of the admin port, or
//! a manifest with a part of one.

use std::collections::BTreeMap;

use caracal_mandate::config::ProxyKind;
use serde_json::{Map, Value};

use super::source::Source;
use crate::guard::envoy::Manager;
use crate::proxy_file::{Here, Wasm, member};
use crate::warning::{FAIL_OPEN, Warning, inside};

/// The filter that an object is.
pub(super) fn filter(here: &Here<'_, '_>) -> Option<Source> {
    let parent = here.around.last();
    let wasm = Wasm::of(here.object(), parent.and_then(|level| level.name()))?;
    let mut place = here.place();
    if !place.contains("filter \"") {
        place = inside(
            &place,
            &format!("filter {}", crate::terminal::shown(wasm.name)),
        );
    }
    let levels = here.around.iter();
    let listener = levels.rev().find(|level| {
        let is_listener = level.key == "listeners" || level.key == "listener";
        is_listener || level.object.contains_key("apiVersion")
    });
    let scope = listener.and_then(|level| {
        let metadata = level.object.get("metadata");
        let named = metadata.and_then(|metadata| metadata.get("name"));
        level.name().or_else(|| named.and_then(Value::as_str))
    });
    let optional = parent.and_then(|level| member(level.object, "is_optional"));
    let is_open = wasm.fails_open() || optional == Some(&Value::Bool(true));
    let warnings = is_open.then(|| Warning::new(&FAIL_OPEN, &place));
    Some(Source {
        scope: scope.map(str::to_owned),
        environment: Some(environment(wasm.config)),
        shows_body: Some(wasm.shows_body()),
        warnings: warnings.into_iter().collect(),
        domains: Manager::around(here).and_then(|manager| manager.domains()),
        place,
        ..Source::of(wasm.name, wasm.document, ProxyKind::Envoy)
    })
}

/// What Envoy gives the VM: pairs, and names that it takes from its own environment.
fn environment(config: &Map<String, Value>) -> BTreeMap<String, String> {
    let vm = member(config, "vm_config").and_then(Value::as_object);
    let variables = vm.and_then(|vm| member(vm, "environment_variables"));
    let part = |name: &str| variables.and_then(|all| member(all.as_object()?, name));
    let names = part("host_env_keys").and_then(Value::as_array);
    let mut all = from_own(names.into_iter().flatten().filter_map(Value::as_str));
    let pairs = part("key_values").and_then(Value::as_object);
    for (name, value) in pairs.into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        all.insert(name.clone(), text);
    }
    all
}

/// Variables of the proxy's environment, for which this program's own stands.
pub(super) fn from_own<'t>(names: impl Iterator<Item = &'t str>) -> BTreeMap<String, String> {
    let found = names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    found.collect()
}
