//! Kong Gateway's declarative configuration: services and routes that no filter chain
//! guards.

use serde_json::Value;

use super::tree::{called, is, is_ours, items, text};

/// Plugins that answer, or send a request on, before any filter runs.
const ANSWER_FIRST: [&str; 8] = [
    "aws-lambda",
    "azure-functions",
    "forward-proxy",
    "mocking",
    "openwhisk",
    "proxy-cache",
    "proxy-cache-advanced",
    "request-termination",
];
/// Protocols whose connections no filter sees.
const STREAMS: [&str; 4] = ["tcp", "tls", "tls_passthrough", "udp"];

pub(super) fn unguarded(tree: &Value) -> Vec<String> {
    let mut said = Vec::new();
    switched_off(tree, 0, &mut said);
    let is_kong = tree.get("_format_version").is_some() || tree.get("services").is_some();
    let is_apisix =
        items(tree, "routes").any(|route| route.get("plugins").is_some_and(Value::is_object));
    if !is_kong || is_apisix {
        return said;
    }
    let services: Vec<Service<'_>> = items(tree, "services")
        .map(|service| Service::of(tree, service))
        .collect();
    let guards =
        |service: &&Service<'_>| service.is_guarded || service.routes.iter().any(|r| r.is_guarded);
    let guarded: Vec<String> = services
        .iter()
        .filter(guards)
        .filter_map(|s| place(s.tree))
        .collect();
    for service in &services {
        service.look(tree, &guarded, &mut said);
    }
    said
}

/// Chains and filters that are there and do nothing.
fn switched_off(tree: &Value, depth: usize, said: &mut Vec<String>) {
    // What is read is no deeper than this.
    if depth > 64 {
        return;
    }
    match tree {
        Value::Array(all) => {
            for one in all {
                switched_off(one, depth.saturating_add(1), said);
            }
        }
        Value::Object(members) => {
            let ours = || items(tree, "filters").filter(|f| text(f, "name").is_some_and(is_ours));
            if ours().count() > 0 && is(tree, "enabled", false) {
                said.push(format!(
                    "{} is disabled: it guards nothing",
                    called("filter chain", tree)
                ));
            }
            for filter in ours().filter(|filter| is(filter, "enabled", false)) {
                said.push(format!(
                    "{} in {} is disabled: it guards nothing",
                    called("filter", filter),
                    called("filter chain", tree)
                ));
            }
            for value in members.values() {
                switched_off(value, depth.saturating_add(1), said);
            }
        }
        _ => {}
    }
}

/// Whether the chain runs our filter; none where it has no such filter.
fn guards(chain: &Value) -> Option<bool> {
    let mut ours = items(chain, "filters").filter(|f| text(f, "name").is_some_and(is_ours));
    let filter = ours.next()?;
    Some(!is(chain, "enabled", false) && !is(filter, "enabled", false))
}

/// Whether something refers to an object, by its name or its id.
fn refers(tree: &Value, name: &str, to: &Value) -> bool {
    let Some(reference) = tree.get(name) else {
        return false;
    };
    let same = |a: Option<&str>, b: Option<&str>| a.is_some() && a == b;
    let known = [text(to, "name"), text(to, "id")];
    let said = [
        reference.as_str(),
        text(reference, "name"),
        text(reference, "id"),
    ];
    said.iter()
        .any(|said| known.iter().any(|known| same(*said, *known)))
}

fn chain_of(tree: &Value, owner: &Value, kind: &str) -> Option<bool> {
    let own = items(owner, "filter_chains");
    let apart = items(tree, "filter_chains").filter(|chain| refers(chain, kind, owner));
    own.chain(apart).find_map(guards)
}

/// `host:port` of a service.
fn place(service: &Value) -> Option<String> {
    let (scheme, rest) = match text(service, "url") {
        Some(url) => url.split_once("://")?,
        None => (
            text(service, "protocol").unwrap_or("http"),
            text(service, "host")?,
        ),
    };
    let authority = rest.split('/').next()?.to_ascii_lowercase();
    if authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        return Some(authority);
    }
    let secure = ["https", "grpcs", "tls"].contains(&scheme);
    let default = if secure { 443 } else { 80 };
    let port = service
        .get("port")
        .and_then(Value::as_u64)
        .unwrap_or(default);
    Some(format!("{authority}:{port}"))
}

struct Route<'t> {
    tree: &'t Value,
    is_guarded: bool,
}

struct Service<'t> {
    tree: &'t Value,
    is_guarded: bool,
    routes: Vec<Route<'t>>,
}

impl<'t> Service<'t> {
    fn of(all: &'t Value, tree: &'t Value) -> Self {
        let own = chain_of(all, tree, "service");
        let apart = items(all, "routes").filter(|route| refers(route, "service", tree));
        let routes = items(tree, "routes").chain(apart);
        let routes = routes.map(|route| Route {
            tree: route,
            // A route's own filter takes the place of the service's.
            is_guarded: chain_of(all, route, "route").or(own).unwrap_or(false),
        });
        Service {
            tree,
            is_guarded: own.unwrap_or(false),
            routes: routes.collect(),
        }
    }

    fn look(&self, all: &Value, guarded: &[String], said: &mut Vec<String>) {
        let name = called("service", self.tree);
        let place = place(self.tree);
        let leads_there = place.as_ref().is_some_and(|place| guarded.contains(place));
        if !leads_there {
            return;
        }
        if self.routes.is_empty() && !self.is_guarded {
            said.push(format!(
                "{name}: nothing guards it, and it leads to {} as a guarded one does",
                place.unwrap_or_default()
            ));
        }
        for route in self.routes.iter().filter(|route| !route.is_guarded) {
            said.push(format!(
                "{} of {name}: nothing guards it, and it leads where a guarded one does",
                called("route", route.tree)
            ));
        }
        let streams = |tree: &Value| {
            let one = text(tree, "protocol");
            items(tree, "protocols")
                .filter_map(Value::as_str)
                .chain(one)
                .any(|p| STREAMS.contains(&p))
        };
        let routes = self.routes.iter().map(|route| route.tree);
        if streams(self.tree) || routes.clone().any(streams) {
            said.push(format!(
                "{name}: a filter sees HTTP alone, and no connection of its other protocols"
            ));
        }
        let path = |url: &str| {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            rest.split_once('/')
                .is_some_and(|(_, path)| !path.is_empty())
        };
        let own_path = text(self.tree, "path").is_some_and(|path| path != "/");
        if own_path || text(self.tree, "url").is_some_and(path) {
            said.push(format!(
                "{name}: its path is put before the one that is judged: the service gets another"
            ));
        }
        for route in routes.clone() {
            let mut paths = items(route, "paths").filter_map(Value::as_str);
            if paths.any(|path| path != "/") && !is(route, "strip_path", false) {
                said.push(format!(
                    "{} of {name}: strip_path is not false: the service gets another path than the one that is judged",
                    called("route", route)
                ));
            }
        }
        let of_routes = routes.flat_map(|route| items(route, "plugins"));
        let plugins = items(self.tree, "plugins")
            .chain(items(all, "plugins"))
            .chain(of_routes);
        for plugin in plugins.filter(|plugin| !is(plugin, "enabled", false)) {
            about_plugin(plugin, &name, said);
        }
    }
}

fn about_plugin(plugin: &Value, service: &str, said: &mut Vec<String>) {
    let Some(name) = text(plugin, "name") else {
        return;
    };
    let plugin_name = called("plugin", plugin);
    if ANSWER_FIRST.contains(&name) {
        said.push(format!(
            "{plugin_name} at {service} answers before the filter: what it says is not verified"
        ));
    }
    let replaces = plugin
        .pointer("/config/replace/uri")
        .is_some_and(|uri| !uri.is_null());
    if name.starts_with("request-transformer") && replaces {
        said.push(format!(
            "{plugin_name} at {service} sends another path than the one that is judged"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(yaml: &str) -> Vec<String> {
        unguarded(&crate::proxy_file::yaml::tree_of(yaml))
    }

    const GUARDED: &str = "
    filter_chains:
      - name: chain
        filters: [{name: caracal_filter, config: {}}]";

    fn one(more: &str) -> String {
        format!(
            "_format_version: '3.0'
services:
  - name: billing
    url: http://127.0.0.1:7702{GUARDED}
    routes: [{{name: all, paths: [/], strip_path: false}}]
{more}"
        )
    }

    #[test]
    fn the_file_as_it_is_shipped_leaves_nothing_open() {
        assert_eq!(
            said(include_str!("../../../../deploy/kong/kong.yaml")),
            [""; 0]
        );
        assert_eq!(said(&one("")), [""; 0]);
        // What leads elsewhere is somebody else's affair.
        let other = "  - {name: site, url: 'http://127.0.0.1:8080', routes: [{paths: [/site]}]}";
        assert_eq!(said(&one(other)), [""; 0]);
    }

    #[test]
    fn each_way_past_the_filter_is_found() {
        let changed = |from: &str, to: &str| {
            let file = one("");
            assert!(file.contains(from), "{from}");
            file.replace(from, to)
        };
        let on_route = "_format_version: '3.0'
services:
  - name: billing
    host: 127.0.0.1
    port: 7702
    routes:
      - name: guarded
        paths: [/]
        filter_chains: [{filters: [{name: caracal_filter, config: {}}]}]
      - {name: open, paths: [/], methods: [POST]}
";
        let apart = format!(
            "{}routes: [{{name: apart, paths: [/], service: {{name: other}}}}]\n",
            one("  - {name: other, host: 127.0.0.1, port: 7702}\n")
        );
        let overridden = changed(
            "strip_path: false}",
            "strip_path: false, filter_chains: [{filters: [{name: caracal_filter, enabled: false, config: {}}]}]}",
        );
        for (file, expected) in [
            (
                changed("- name: chain", "- name: chain\n        enabled: false"),
                "is disabled",
            ),
            (
                changed("config: {}", "enabled: false, config: {}"),
                "is disabled",
            ),
            (
                overridden,
                "route \"all\" of service \"billing\": nothing guards it",
            ),
            (
                on_route.to_owned(),
                "route \"open\" of service \"billing\": nothing guards it",
            ),
            (
                one("  - {name: second, url: 'http://127.0.0.1:7702'}"),
                "service \"second\": nothing guards it",
            ),
            (
                apart,
                "route \"apart\" of service \"other\": nothing guards it",
            ),
            (
                changed("paths: [/], strip_path: false", "paths: [/v1]"),
                "strip_path",
            ),
            (changed(":7702", ":7702/v1"), "its path is put before"),
            (
                changed("strip_path: false}", "strip_path: false, protocols: [tcp]}"),
                "HTTP alone",
            ),
            (
                one("plugins: [{name: proxy-cache, config: {}}]"),
                "answers before the filter",
            ),
            (
                one("plugins: [{name: request-transformer, config: {replace: {uri: /x}}}]"),
                "another path",
            ),
        ] {
            let said = said(&file);
            assert!(
                said.iter().any(|one| one.contains(expected)),
                "{expected}: {said:?}\n{file}"
            );
        }
    }
}
