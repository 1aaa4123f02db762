//! APISIX's routes: what runs without the filter, or without what holds when the filter is
//! not there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::apisix_places::{id, places, plugins, with_id};
use super::lua;
use super::tree::{called, is, is_ours, items, text};

pub(super) const BEHIND: &str = "serverless-post-function";
const BEFORE: &str = "serverless-pre-function";
/// Lists of what a request may be somebody's of.
const CONSUMERS: [&str; 2] = ["consumers", "consumer_groups"];
/// The gate, as config.yaml declares it, and what it is until the filter opens it.
pub(super) const GATE: &str = "caracal_gate";
pub(super) const SHUT: &str = "deny";

pub(super) fn unguarded(tree: &Value) -> Vec<String> {
    let mut said = Vec::new();
    let routes = routes(tree);
    let has_ours =
        |holder: &Value| plugins(holder).is_some_and(|all| all.keys().any(|name| is_ours(name)));
    let consumers = || CONSUMERS.iter().flat_map(|list| items(tree, list));
    let lists = ["services", "plugin_configs", "global_rules"];
    let holders = lists.iter().flat_map(|list| items(tree, list));
    let holders: Vec<&Value> = routes
        .iter()
        .copied()
        .chain(holders)
        .chain(consumers())
        .collect();
    if !holders.iter().any(|holder| has_ours(holder)) {
        return said;
    }
    for holder in &holders {
        switched_off(holder, &mut said);
    }
    for consumer in consumers() {
        replaced(consumer, &mut said);
    }
    let routes: Vec<Route<'_>> = routes.iter().map(|route| Route::of(tree, route)).collect();
    let guarded: BTreeSet<String> = routes
        .iter()
        .filter(|route| route.is_guarded())
        .flat_map(|route| route.places.iter().cloned())
        .collect();
    for route in &routes {
        route.look(&guarded, &mut said);
    }
    for stream in items(tree, "stream_routes") {
        if places(tree, stream)
            .iter()
            .any(|place| guarded.contains(place))
        {
            said.push(format!(
                "{} leads where a guarded route does, and no filter sees it",
                called("stream route", stream)
            ));
        }
    }
    said
}

/// Those of the file, or the one that it is: the Admin API takes a route by itself.
pub(super) fn routes(tree: &Value) -> Vec<&Value> {
    let mut routes: Vec<&Value> = items(tree, "routes").collect();
    if routes.is_empty() && plugins(tree).is_some() {
        routes.push(tree);
    }
    routes
}

pub(super) fn ours(holder: &Value) -> Option<(&String, &Value)> {
    plugins(holder)?.iter().find(|(name, _)| is_ours(name))
}

/// Whether a plugin runs for every request of what it stands on.
fn runs(plugin: &Value) -> bool {
    let meta = plugin.get("_meta").unwrap_or(&Value::Null);
    !is(meta, "disable", true) && meta.get("filter").is_none()
}

/// What stands on a consumer takes the place of the route's plugin of that name.
fn replaced(consumer: &Value, said: &mut Vec<String>) {
    let names = plugins(consumer).into_iter().flat_map(Map::keys);
    for name in names.filter(|name| is_ours(name) || [BEFORE, BEHIND].contains(&name.as_str())) {
        said.push(format!(
            "{}: its {name} replaces the route's: this consumer's requests run without that filter or gate",
            called("consumer or group", consumer)
        ));
    }
}

fn switched_off(holder: &Value, said: &mut Vec<String>) {
    let all = plugins(holder).into_iter().flatten();
    for (name, plugin) in all.filter(|(name, _)| is_ours(name)) {
        let meta = plugin.get("_meta").unwrap_or(&Value::Null);
        let at = format!("{name} on {}", called("route or service", holder));
        if is(meta, "disable", true) {
            said.push(format!("{at}: _meta.disable switches it off"));
        }
        if meta.get("filter").is_some() {
            said.push(format!(
                "{at}: _meta.filter lets through what it does not match"
            ));
        }
        if meta.get("priority").is_some() {
            said.push(format!(
                "{at}: _meta.priority changes before which plugins it runs: leave it at the one in config.yaml"
            ));
        }
    }
}

pub(super) struct Route<'t> {
    tree: &'t Value,
    /// What its plugins stand on: itself first, as it wins.
    holders: Vec<&'t Value>,
    /// What runs for every route besides.
    global: Vec<&'t Value>,
    /// Whose plugins join a route's once they are known.
    consumers: Vec<&'t Value>,
    places: BTreeSet<String>,
}

impl<'t> Route<'t> {
    pub(super) fn of(tree: &'t Value, route: &'t Value) -> Self {
        let mut holders = vec![route];
        for (reference, list) in [
            ("plugin_config_id", "plugin_configs"),
            ("service_id", "services"),
        ] {
            holders.extend(with_id(tree, list, id(route, reference)));
        }
        Route {
            tree: route,
            places: places(tree, route),
            holders,
            global: items(tree, "global_rules").collect(),
            consumers: CONSUMERS
                .iter()
                .flat_map(|list| items(tree, list))
                .collect(),
        }
    }

    /// A route's own entry takes the place of its service's; a global rule runs besides.
    pub(super) fn is_guarded(&self) -> bool {
        let entry = self.holders.iter().find_map(|holder| ours(holder));
        let beside = self.global.iter().filter_map(|holder| ours(holder));
        let scripted = self.tree.get("script").is_some();
        !scripted
            && entry
                .into_iter()
                .chain(beside)
                .any(|(_, plugin)| runs(plugin))
    }

    /// The entries of a plugin that APISIX runs: the route's, or its service's where it
    /// has none, and those of global rules.
    fn entries(&self, find: impl Fn(&'t Value) -> Option<&'t Value>) -> Entries<'t> {
        Entries {
            own: self.holders.iter().find_map(|holder| find(holder)),
            global: self
                .global
                .iter()
                .filter_map(|holder| find(holder))
                .collect(),
        }
    }

    /// Everything whose plugins run for its requests.
    pub(super) fn all_holders(&self) -> impl Iterator<Item = &'t Value> {
        let holders = self.holders.iter().chain(&self.global);
        holders.chain(&self.consumers).copied()
    }

    fn has_hidden_template(&self) -> bool {
        let transformers = self
            .all_holders()
            .filter_map(|holder| plugins(holder)?.get("body-transformer"));
        let parts = transformers.flat_map(|one| ["request", "response"].map(|part| one.get(part)));
        parts
            .flatten()
            .any(|part| is(part, "template_is_base64", true))
    }

    /// Lua that runs for its requests, and where it stands.
    fn functions(&self) -> Vec<(String, &'t str)> {
        let mut all = Vec::new();
        if let Some(function) = text(self.tree, "filter_func") {
            all.push(("filter_func".to_owned(), function));
        }
        for holder in self.all_holders() {
            for (name, plugin) in plugins(holder).into_iter().flatten() {
                let meta = plugin.get("_meta").unwrap_or(&Value::Null);
                if let Some(function) = text(meta, "pre_function") {
                    all.push((format!("_meta.pre_function of {name}"), function));
                }
                if name == "body-transformer" {
                    let parts = ["request", "response"].map(|part| plugin.get(part));
                    let templates = parts.into_iter().flatten();
                    let templates = templates.filter_map(|part| text(part, "template"));
                    let blocks = templates.flat_map(lua::of_template);
                    all.extend(blocks.map(|block| (name.clone(), block)));
                }
                if [BEHIND, BEFORE].contains(&name.as_str()) {
                    let functions = items(plugin, "functions").filter_map(Value::as_str);
                    all.extend(functions.map(|function| (name.clone(), function)));
                }
            }
        }
        all
    }

    fn look(&self, guarded: &BTreeSet<String>, said: &mut Vec<String>) {
        let name = called("route", self.tree);
        if !self.is_guarded() {
            if self.tree.get("script").is_some() {
                said.push(format!(
                    "{name}: it has a script, and no plugin runs beside one"
                ));
            }
            if self.places.iter().any(|place| guarded.contains(place)) {
                said.push(format!(
                    "{name}: nothing guards it, and it leads where a guarded route does"
                ));
            }
            return;
        }
        let rewrites = self.entries(|holder| plugins(holder)?.get("proxy-rewrite"));
        let mut rewrites = rewrites.all().filter(|plugin| runs(plugin));
        let is_other_path = |p: &Value| p.get("uri").is_some() || p.get("regex_uri").is_some();
        if rewrites.any(is_other_path) {
            said.push(format!(
                "{name}: proxy-rewrite sends another path than the one that is judged"
            ));
        }
        if self.has_hidden_template() {
            said.push(format!(
                "{name}: a template of body-transformer is in base64: what Lua in it does with the gate cannot be seen: write it as text"
            ));
        }
        for (at, function) in self.functions() {
            if lua::may_change_the_path(function) {
                said.push(format!(
                    "{name}: {at} may send another path than the one that is judged"
                ));
            }
        }
        self.gate(&name, said);
    }

    /// What the filter opens, a plugin behind it has to look at.
    fn gate(&self, name: &str, said: &mut Vec<String>) {
        let filters = self.entries(|holder| ours(holder).map(|(_, plugin)| plugin));
        let behind = self.entries(|holder| plugins(holder)?.get(BEHIND));
        let of_route = filters.own.filter(|plugin| runs(plugin));
        let global = filters.global.into_iter().find(|plugin| runs(plugin));
        let Some(filter) = of_route.or(global) else {
            return;
        };
        let Some(opened) = opened(filter, name, said) else {
            return;
        };
        let looked: Vec<&Value> = behind.all().collect();
        if looked.is_empty() {
            said.push(format!(
                "{name}: nothing looks at the gate ${GATE}: {BEHIND} is missing"
            ));
            return;
        }
        for (at, function) in self.functions() {
            if lua::may_set(function, GATE) {
                said.push(format!(
                    "{name}: {at} sets the gate ${GATE} itself, or may: compare it and use plain names of ngx.var"
                ));
            }
        }
        let faults: Vec<String> = looked
            .iter()
            .filter_map(|plugin| fault(plugin, &opened))
            .collect();
        // One that is right is enough.
        if faults.len() == looked.len() {
            said.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
            return;
        }
        let of_route_is_right = behind.own.is_some_and(|own| fault(own, &opened).is_none());
        if global.is_none() && !of_route_is_right {
            said.push(format!(
                "{name}: {BEHIND} in a global rule looks at the gate before the filter of a route can open it: every request is refused"
            ));
        }
    }
}

/// What stands on a route by itself, and what global rules run besides.
struct Entries<'t> {
    own: Option<&'t Value>,
    global: Vec<&'t Value>,
}

impl<'t> Entries<'t> {
    fn all(&self) -> impl Iterator<Item = &'t Value> {
        self.own.into_iter().chain(self.global.iter().copied())
    }
}

/// The filter's configuration in its plugin.
pub(super) fn conf(filter: &Value) -> Value {
    match filter.get("conf") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(conf) => conf.clone(),
        None => Value::Null,
    }
}

/// What a filter sets the gate to when it opens it; says why it opens none.
fn opened(filter: &Value, name: &str, said: &mut Vec<String>) -> Option<String> {
    let configuration = conf(filter);
    let part = |part: &str| {
        let at = configuration.pointer(&format!("/forward/gate/{part}"));
        at.and_then(Value::as_str).map(str::to_owned)
    };
    let (Some(variable), Some(opened)) = (part("variable"), part("upstream")) else {
        said.push(format!(
            "{name}: forward.gate is missing: it is served without a mandate whenever the filter is not there"
        ));
        return None;
    };
    if variable != GATE {
        said.push(format!(
            "{name}: forward.gate.variable is {}, and config.yaml declares the gate ${GATE}",
            crate::terminal::shown(&variable)
        ));
        return None;
    }
    if opened == SHUT {
        said.push(format!(
            "{name}: forward.gate.upstream is \"{SHUT}\", which the gate is from the start"
        ));
        return None;
    }
    Some(opened)
}

/// Why a plugin does not hold what the gate is shut for.
fn fault(behind: &Value, opened: &str) -> Option<String> {
    if !runs(behind) {
        return Some(format!(
            "_meta switches off {BEHIND}, which looks at the gate"
        ));
    }
    // Without a phase it is this one.
    if text(behind, "phase").is_some_and(|phase| phase != "access") {
        return Some(format!(
            "{BEHIND} looks at the gate in another phase than access: before the filter, or after the service has the request"
        ));
    }
    let holds = items(behind, "functions")
        .filter_map(Value::as_str)
        .any(|function| lua::holds(function, GATE, opened));
    (!holds).then(|| {
        format!(
            "{BEHIND} does not compare ngx.var.{GATE} with \"{opened}\", as the first thing, to answer 503 where it differs"
        )
    })
}

#[cfg(test)]
mod tests;
