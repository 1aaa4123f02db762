//! Gateway mode in APISIX: plugins that copy what the upstream gets, its credential with it.

use serde_json::{Map, Value};

use super::apisix::{Route, conf, ours, routes};
use super::apisix_places::{plugins, with_id};
use super::tree::{called, is, text};
use crate::warning::{CREDENTIAL_COPIED, Warning};

/// Loggers whose names do not say it.
const LOGGERS: [&str; 3] = ["syslog", "loggly", "tencent-cloud-cls"];

pub(super) fn warnings(tree: &Value) -> Vec<Warning> {
    let mut all = Vec::new();
    for route in routes(tree) {
        let read = Route::of(tree, route);
        if !read.is_guarded() {
            continue;
        }
        let filters = read.all_holders().filter_map(ours);
        let mut modes = filters.map(|(_, filter)| conf(filter));
        if !modes.any(|one| text(&one, "mode") == Some("gateway")) {
            continue;
        }
        let beside = read.all_holders().filter_map(plugins).flatten();
        let copying = beside.filter(|(name, plugin)| copies(tree, name, plugin));
        let names: Vec<&str> = copying.map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            all.push(Warning::found(
                &CREDENTIAL_COPIED,
                &called("route", route),
                &names.join(", "),
            ));
        }
    }
    all
}

/// Whether a format of a log has a variable that may hold an upstream's credential.
pub(super) fn tells_credential(format: &str) -> bool {
    ["upstream_uri", "http_authorization"]
        .iter()
        .any(|name| format.contains(name))
}

fn copies(tree: &Value, name: &str, plugin: &Value) -> bool {
    let meta = plugin.get("_meta").unwrap_or(&Value::Null);
    if is(meta, "disable", true) {
        return false;
    }
    let is_logger =
        name.ends_with("-logger") || name.ends_with("-logging") || LOGGERS.contains(&name);
    match name {
        "proxy-mirror" | "proxy-cache" => true,
        _ if is_logger => logs_headers(tree, name, plugin),
        _ => false,
    }
}

/// Without a format of its own, or of its metadata, a logger sends every header.
fn logs_headers(tree: &Value, name: &str, plugin: &Value) -> bool {
    let metadata = with_id(tree, "plugin_metadata", Some(name.to_owned()));
    let mut formats = std::iter::once(plugin)
        .chain(metadata)
        .filter_map(|one| one.get("log_format")?.as_object());
    let format = formats.find(|format| !format.is_empty());
    let tells = |format: &Map<String, Value>| {
        let mut values = format.values().filter_map(Value::as_str);
        values.any(tells_credential)
    };
    text(plugin, "meta_format") == Some("origin") || format.is_none_or(tells)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = include_str!("../../../../deploy/apisix/gateway.yaml");

    fn with(plugin: &str, more: &str) -> Vec<Warning> {
        let behind = "      serverless-post-function:\n";
        let file = ROUTES.replacen(behind, &format!("      {plugin}\n{behind}"), 1);
        warnings(&crate::proxy_file::yaml::tree_of(
            &file.replace("#END", more),
        ))
    }

    #[test]
    fn what_copies_the_upstream_s_request_is_named() {
        for (plugin, more) in [
            ("proxy-mirror: {host: 'http://a.example'}", ""),
            ("proxy-cache: {cache_zone: a}", ""),
            ("http-logger: {uri: 'http://a.example'}", ""),
            ("syslog: {host: a, port: 1, log_format: {}}", ""),
            (
                "splunk-hec-logging: {log_format: {a: $http_authorization}}",
                "",
            ),
            ("file-logger: {path: a, log_format: {a: $upstream_uri}}", ""),
            (
                "kafka-logger: {meta_format: origin, log_format: {a: $host}}",
                "",
            ),
            (
                "prometheus: {}",
                "global_rules: [{id: g, plugins: {tcp-logger: {}}}]",
            ),
        ] {
            let found = with(plugin, more);
            assert_eq!(
                found.len(),
                1 + usize::from(!more.is_empty()),
                "{plugin}: {found:?}"
            );
            assert_eq!(found[0].name, "credential_copied");
            assert_eq!(found[0].place, "route \"billing\"");
        }
        for (plugin, more) in [
            ("prometheus: {}", ""),
            (
                "proxy-mirror: {_meta: {disable: true}, host: 'http://a.example'}",
                "",
            ),
            ("http-logger: {log_format: {host: $host}}", ""),
            (
                "http-logger: {uri: 'http://a.example'}",
                "plugin_metadata: [{id: http-logger, log_format: {host: $host}}]",
            ),
        ] {
            assert_eq!(with(plugin, more), [], "{plugin}");
        }
        // In connector mode the upstream gets no credential of its own.
        let connector = ROUTES.replace("\"mode\": \"gateway\",", "").replacen(
            "      serverless-post-function:\n",
            "      http-logger: {}\n      serverless-post-function:\n",
            1,
        );
        assert_eq!(warnings(&crate::proxy_file::yaml::tree_of(&connector)), []);
    }
}
