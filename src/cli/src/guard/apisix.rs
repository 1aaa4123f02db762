//! APISIX's routes, and its own configuration: what runs without the filter, or without
//! what holds when the filter is not there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{called, is, is_ours, items, text};

const BEHIND: &str = "serverless-post-function";

pub(super) fn unguarded(tree: &Value) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(own) = own(tree) {
        own_configuration(tree, own, &mut said);
    }
    let mut routes: Vec<&Value> = items(tree, "routes").collect();
    // The Admin API takes one route by itself.
    if routes.is_empty() && plugins(tree).is_some() {
        routes.push(tree);
    }
    let has_ours =
        |holder: &Value| plugins(holder).is_some_and(|all| all.keys().any(|name| is_ours(name)));
    let lists = ["services", "plugin_configs", "global_rules", "consumers"];
    let holders = lists.iter().flat_map(|list| items(tree, list));
    let holders: Vec<&Value> = routes.iter().copied().chain(holders).collect();
    if !holders.iter().any(|holder| has_ours(holder)) {
        return said;
    }
    for holder in &holders {
        switched_off(holder, &mut said);
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

fn plugins(holder: &Value) -> Option<&Map<String, Value>> {
    holder.get("plugins").and_then(Value::as_object)
}

fn ours(holder: &Value) -> Option<(&String, &Value)> {
    plugins(holder)?.iter().find(|(name, _)| is_ours(name))
}

/// Whether a plugin runs for every request of what it stands on.
fn runs(plugin: &Value) -> bool {
    let meta = plugin.get("_meta").unwrap_or(&Value::Null);
    !is(meta, "disable", true) && meta.get("filter").is_none()
}

fn switched_off(holder: &Value, said: &mut Vec<String>) {
    let Some((name, plugin)) = ours(holder) else {
        return;
    };
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

/// Addresses that something leads to, by itself or by what it refers to.
fn places(tree: &Value, holder: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if let Some(upstream) = holder.get("upstream") {
        all.extend(nodes(upstream));
    }
    for (reference, list) in [("upstream_id", "upstreams"), ("service_id", "services")] {
        let Some(id) = holder.get(reference) else {
            continue;
        };
        all.insert(format!("{reference} {id}"));
        for found in items(tree, list).filter(|one| one.get("id") == Some(id)) {
            all.extend(nodes(found));
            all.extend(found.get("upstream").map(nodes).unwrap_or_default());
            if let Some(id) = found.get("upstream_id") {
                all.insert(format!("upstream_id {id}"));
                let upstreams = items(tree, "upstreams").filter(|one| one.get("id") == Some(id));
                all.extend(upstreams.flat_map(nodes));
            }
        }
    }
    all
}

fn nodes(upstream: &Value) -> BTreeSet<String> {
    let of_list = items(upstream, "nodes").filter_map(|node| {
        let port = node.get("port").and_then(Value::as_u64).unwrap_or(80);
        Some(format!("{}:{port}", text(node, "host")?))
    });
    let of_map = upstream.get("nodes").and_then(Value::as_object);
    let of_map = of_map.into_iter().flat_map(|nodes| nodes.keys().cloned());
    of_list.chain(of_map).collect()
}

struct Route<'t> {
    tree: &'t Value,
    /// What its plugins stand on: itself first, as it wins.
    holders: Vec<&'t Value>,
    /// What runs for every route besides.
    global: Vec<&'t Value>,
    places: BTreeSet<String>,
}

impl<'t> Route<'t> {
    fn of(tree: &'t Value, route: &'t Value) -> Self {
        let mut holders = vec![route];
        for (reference, list) in [
            ("plugin_config_id", "plugin_configs"),
            ("service_id", "services"),
        ] {
            let id = route.get(reference);
            holders.extend(items(tree, list).filter(|one| id.is_some() && one.get("id") == id));
        }
        Route {
            tree: route,
            places: places(tree, route),
            holders,
            global: items(tree, "global_rules").collect(),
        }
    }

    /// A route's own entry takes the place of its service's; a global rule runs besides.
    fn is_guarded(&self) -> bool {
        let entry = self.holders.iter().find_map(|holder| ours(holder));
        let beside = self.global.iter().filter_map(|holder| ours(holder));
        let scripted = self.tree.get("script").is_some();
        !scripted
            && entry
                .into_iter()
                .chain(beside)
                .any(|(_, plugin)| runs(plugin))
    }

    fn plugin(&self, name: &str) -> Option<&'t Value> {
        let all = self.holders.iter().chain(&self.global);
        all.into_iter()
            .find_map(|holder| plugins(holder)?.get(name))
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
        let rewrite = self.plugin("proxy-rewrite").filter(|plugin| runs(plugin));
        if rewrite.is_some_and(|p| p.get("uri").is_some() || p.get("regex_uri").is_some()) {
            said.push(format!(
                "{name}: proxy-rewrite sends another path than the one that is judged"
            ));
        }
        self.gate(&name, said);
    }

    /// What the filter opens, a plugin behind it has to look at.
    fn gate(&self, name: &str, said: &mut Vec<String>) {
        let all = self.holders.iter().chain(&self.global);
        let Some((_, plugin)) = all.into_iter().find_map(|holder| ours(holder)) else {
            return;
        };
        let configuration = match plugin.get("conf") {
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
            Some(conf) => conf.clone(),
            None => return,
        };
        let part = |part: &str| {
            let at = configuration.pointer(&format!("/forward/gate/{part}"));
            at.and_then(Value::as_str).map(str::to_owned)
        };
        let (Some(variable), Some(opened)) = (part("variable"), part("upstream")) else {
            return;
        };
        let Some(behind) = self.plugin(BEHIND) else {
            said.push(format!(
                "{name}: nothing looks at the gate ${variable}: {BEHIND} is missing"
            ));
            return;
        };
        if !runs(behind) {
            said.push(format!(
                "{name}: _meta switches off {BEHIND}, which looks at the gate"
            ));
        }
        if text(behind, "phase") != Some("access") {
            said.push(format!(
                "{name}: {BEHIND} looks at the gate in another phase than access: before the filter, or after the service has the request"
            ));
        }
        let looks = |function: &str| {
            function.contains(&format!("ngx.var.{variable}"))
                && function.contains(&format!("\"{opened}\""))
        };
        if !items(behind, "functions")
            .filter_map(Value::as_str)
            .any(looks)
        {
            said.push(format!(
                "{name}: {BEHIND} does not compare ngx.var.{variable} with \"{opened}\""
            ));
        }
    }
}

/// The entry of the filter in APISIX's own config.yaml.
pub(super) fn own(tree: &Value) -> Option<&Value> {
    let wasm = tree.get("wasm")?;
    items(wasm, "plugins").find(|plugin| text(plugin, "name").is_some_and(is_ours))
}

fn own_configuration(tree: &Value, plugin: &Value, said: &mut Vec<String>) {
    let name = text(plugin, "name").unwrap_or_default();
    let nginx = tree.get("nginx_config").unwrap_or(&Value::Null);
    let snippet = text(nginx, "http_server_configuration_snippet").unwrap_or_default();
    let lines = snippet
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let lines: Vec<&str> = lines.collect();
    let asks = |line: &&str| line.contains("apisix.plugin") && line.contains(name);
    let is_guard = lines
        .iter()
        .any(|line| line.contains("rewrite_by_lua_block"))
        && lines.iter().any(asks)
        && lines.iter().any(|line| line.contains("503"));
    if !is_guard {
        said.push(format!(
            "nginx_config.http_server_configuration_snippet does not answer 503 while {name} is not loaded: with etcd its routes are served without it"
        ));
    }
    let sets = lines.iter().find_map(|line| line.strip_prefix("set $"));
    let value = sets.and_then(|set| set.split_whitespace().nth(1));
    match value.map(|value| value.trim_matches([';', '"', '\''])) {
        None => said.push(
            "nginx_config.http_server_configuration_snippet declares no gate: `set $caracal_gate \"deny\";`".to_owned(),
        ),
        Some("open") => said.push("the gate is open from the start: set it to deny".to_owned()),
        Some(_) => {}
    }
    let http = nginx.get("http").unwrap_or(&Value::Null);
    if text(http, "underscores_in_headers") != Some("off") {
        said.push(
            "nginx_config.http.underscores_in_headers is not off: a service may read x_caracal_sub as x-caracal-sub".to_owned(),
        );
    }
    let apisix = tree.get("apisix").unwrap_or(&Value::Null);
    for key in ["normalize_uri_like_servlet", "delete_uri_tail_slash"] {
        if is(apisix, key, true) {
            said.push(format!(
                "apisix.{key}: routes go by another path than the one that is judged"
            ));
        }
    }
    let phase = text(plugin, "http_request_phase");
    if phase.is_some_and(|phase| phase != "access") {
        said.push(format!(
            "wasm.plugins: {name} does not run in the access phase: what looks at the gate would come after other plugins"
        ));
    }
    let listed = tree.get("plugins").and_then(Value::as_array);
    if listed.is_some_and(|all| !all.iter().any(|one| one.as_str() == Some(BEHIND))) {
        said.push(format!(
            "plugins: {BEHIND} is not listed: nothing looks at the gate"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = include_str!("../../../../deploy/apisix/apisix.yaml");
    const OWN: &str = include_str!("../../../../deploy/apisix/config.yaml");

    fn said(yaml: &str) -> Vec<String> {
        unguarded(&crate::configured::tree_of(yaml))
    }

    #[test]
    fn the_files_as_they_are_shipped_leave_nothing_open() {
        assert_eq!(said(ROUTES), [""; 0]);
        assert_eq!(said(OWN), [""; 0]);
        let other = "  - {id: site, uri: /site, upstream: {nodes: {'127.0.0.1:8080': 1}}}\n#END";
        assert_eq!(said(&ROUTES.replace("#END", other)), [""; 0]);
    }

    #[test]
    fn each_way_past_the_plugin_is_found() {
        let filter = "      caracal_filter:\n";
        let with =
            |meta: &str| ROUTES.replace(filter, &format!("{filter}        _meta: {{{meta}}}\n"));
        let beside = |more: &str| ROUTES.replace("#END", more);
        let changed = |from: &str, to: &str| {
            assert!(ROUTES.contains(from), "{from}");
            ROUTES.replace(from, to)
        };
        let behind = "      serverless-post-function:\n";
        let of_service = "
services:
  - id: s
    plugins: {caracal_filter: {conf: '{}'}}
    upstream_id: 7
upstreams: [{id: 7, nodes: [{host: a.example, port: 80, weight: 1}]}]
routes:
  - {id: guarded, uri: /a, service_id: s}
  - {id: overridden, uri: /b, service_id: s, plugins: {caracal_filter: {_meta: {disable: true}, conf: '{}'}}}
  - {id: direct, uri: /c, upstream: {nodes: {'a.example:80': 1}}}
";
        for (file, expected) in [
            (with("disable: true"), "_meta.disable"),
            (with("filter: [[uri, '==', /a]]"), "_meta.filter"),
            (with("priority: -3000"), "_meta.priority"),
            (
                of_service.to_owned(),
                "route \"overridden\": nothing guards it",
            ),
            (of_service.to_owned(), "route \"direct\": nothing guards it"),
            (
                beside("  - {id: second, uri: /x, upstream: {nodes: {'127.0.0.1:7702': 1}}}\n#END"),
                "route \"second\": nothing guards it",
            ),
            (
                beside(
                    "  - {id: s, uri: /x, script: 'x', upstream: {nodes: {'127.0.0.1:7702': 1}}}\n#END",
                ),
                "it has a script",
            ),
            (
                beside("stream_routes: [{id: l4, upstream: {nodes: {'127.0.0.1:7702': 1}}}]\n#END"),
                "no filter sees it",
            ),
            (
                changed(
                    behind,
                    "      proxy-rewrite: {uri: /x}\n      serverless-post-function:\n",
                ),
                "proxy-rewrite",
            ),
            (
                changed(behind, "      another-plugin:\n"),
                "nothing looks at the gate",
            ),
            (
                changed(
                    behind,
                    "      serverless-post-function:\n        _meta: {disable: true}\n",
                ),
                "switches off",
            ),
            (changed("phase: access", "phase: log"), "another phase"),
            (changed("~= \"open\"", "~= \"shut\""), "does not compare"),
        ] {
            let said = said(&file);
            assert!(
                said.iter().any(|one| one.contains(expected)),
                "{expected}: {said:?}"
            );
        }
    }

    #[test]
    fn what_its_own_configuration_leaves_open_is_found() {
        let changed = |from: &str, to: &str| {
            assert!(OWN.contains(from), "{from}");
            OWN.replace(from, to)
        };
        for (file, expected) in [
            (
                changed("rewrite_by_lua_block", "access_by_lua_block"),
                "is not loaded",
            ),
            (changed("ngx.exit(503)", "ngx.exit(200)"), "is not loaded"),
            (
                changed("set $caracal_gate \"deny\";", "# none"),
                "declares no gate",
            ),
            (
                changed("$caracal_gate \"deny\"", "$caracal_gate \"open\""),
                "open from the start",
            ),
            (
                changed("underscores_in_headers: \"off\"", "x: 1"),
                "underscores_in_headers",
            ),
            (
                changed(
                    "normalize_uri_like_servlet: false",
                    "normalize_uri_like_servlet: true",
                ),
                "another path",
            ),
            (
                changed(
                    "delete_uri_tail_slash: false",
                    "delete_uri_tail_slash: true",
                ),
                "another path",
            ),
            (
                changed("http_request_phase: access", "http_request_phase: rewrite"),
                "access phase",
            ),
            (format!("{OWN}\nplugins: [limit-count]\n"), "is not listed"),
        ] {
            let said = said(&file);
            assert!(
                said.iter().any(|one| one.contains(expected)),
                "{expected}: {said:?}"
            );
        }
    }
}
