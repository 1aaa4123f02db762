use super::*;
use crate::proxy_file::yaml::tree_of;

const SHIPPED: &str = include_str!("../../../../../envoy.yaml");

fn changed(from: &str, to: &str) -> String {
    assert!(SHIPPED.contains(from), "{from}");
    SHIPPED.replacen(from, to, 1)
}

fn said(text: &str) -> (Vec<String>, Vec<String>) {
    let around = look(&tree_of(text), &["caracal"]);
    let warnings = around.warnings.iter().map(|one| format!("{one}"));
    (around.unguarded, warnings.collect())
}

#[test]
fn the_file_as_it_is_shipped_is_as_the_documentation_says() {
    assert_eq!(said(SHIPPED), (vec![], vec![]));
}

#[test]
fn each_setting_that_is_left_out_or_wrong_is_found() {
    for (from, to, expected) in [
        ("normalize_path: true", "", "normalize_path"),
        (
            "normalize_path: true",
            "normalize_path: false",
            "normalize_path",
        ),
        ("merge_slashes: true", "", "merge_slashes"),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "",
            "escaped_slashes",
        ),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "path_with_escaped_slashes_action: KEEP_UNCHANGED",
            "escaped_slashes",
        ),
        (
            "headers_with_underscores_action: REJECT_REQUEST",
            "",
            "underscores",
        ),
        (
            "headers_with_underscores_action: REJECT_REQUEST",
            "headers_with_underscores_action: 0",
            "underscores",
        ),
        ("idle_timeout: 300s", "idle_timeout: 0s", "timeout_zero"),
        (
            "stream_idle_timeout: 60s",
            "stream_idle_timeout: 0s",
            "timeout_zero",
        ),
        (
            "request_headers_timeout: 10s",
            "requestHeadersTimeout: 0.000s",
            "timeout_zero",
        ),
        (
            "route: { cluster: upstream }",
            "route: { cluster: upstream, timeout: 0s }",
            "timeout_zero",
        ),
        (
            "route: { cluster: upstream }",
            "route: { cluster: elsewhere }",
            "unknown_cluster",
        ),
        (
            "route: { cluster: upstream }",
            "route: { weighted_clusters: { clusters: [{ name: upstream }, { name: elsewhere }] } }",
            "unknown_cluster",
        ),
    ] {
        let (unguarded, warnings) = said(&changed(from, to));
        assert_eq!(unguarded, [""; 0], "{to}");
        assert_eq!(warnings.len(), 1, "{to}: {warnings:?}");
        let start = format!("{expected} at listener \"edge\", filter chain 1");
        assert!(warnings[0].starts_with(&start), "{to}: {warnings:?}");
    }
}

#[test]
fn other_good_values_and_spellings_are_taken() {
    for (from, to) in [
        ("normalize_path: true", "normalizePath: true"),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT",
        ),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "pathWithEscapedSlashesAction: 4",
        ),
        (
            "headers_with_underscores_action: REJECT_REQUEST",
            "headersWithUnderscoresAction: DROP_HEADER",
        ),
        ("request_headers_timeout: 10s", ""),
        ("stream_idle_timeout: 60s", "stream_idle_timeout: 0.5s"),
        (
            "route: { cluster: upstream }",
            "route: { cluster_header: x-cluster }",
        ),
        // Clusters that come at run time are not known.
        (
            "route: { cluster: upstream }",
            "route: { cluster: elsewhere }\ndynamic_resources: { cds_config: { ads: {} } }",
        ),
    ] {
        let text = match to.split_once('\n') {
            Some((to, rest)) => format!("{}\n{rest}\n", changed(from, to)),
            None => changed(from, to),
        };
        assert_eq!(said(&text), (vec![], vec![]), "{to}");
    }
}

#[test]
fn a_manager_without_the_filter_is_no_affair_of_ours_unless_it_leads_to_the_same_place() {
    let other = |cluster: &str| {
        let kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let routes = format!(
            "{{virtual_hosts: [{{name: all, domains: ['*'], routes: [{{match: {{prefix: /}}, route: {{cluster: {cluster}}}}}]}}]}}"
        );
        let manager = format!("{{\"@type\": {kind}, route_config: {routes}, http_filters: []}}");
        changed(
            "\n  clusters:\n",
            &format!(
                "\n    - name: side\n      filter_chains: [{{filters: [{{name: http, typed_config: {manager}}}]}}]\n\n  clusters:\n"
            ),
        )
    };
    assert_eq!(said(&other("site")), (vec![], vec![]), "another service");
    let (unguarded, _) = said(&other("upstream"));
    assert_eq!(unguarded.len(), 1, "{unguarded:?}");
    assert!(
        unguarded[0].starts_with("listener \"side\""),
        "{unguarded:?}"
    );
}

#[test]
fn a_filter_that_is_switched_off_is_found() {
    let disabled = changed(
        "- name: caracal\n",
        "- name: caracal\n                    disabled: true\n",
    );
    let switch = |value: &str| {
        format!(
            "route: {{ cluster: upstream }}\n                          typed_per_filter_config: {{ caracal: {value} }}"
        )
    };
    let kind = "type.googleapis.com/envoy.config.route.v3.FilterConfig";
    let off = switch(&format!("{{ \"@type\": {kind}, disabled: true }}"));
    let on = switch(&format!("{{ \"@type\": {kind}, config: {{}} }}"));
    let route = "route: { cluster: upstream }";
    for (text, expected) in [
        (disabled.clone(), Some("is disabled")),
        (
            changed(route, &off),
            Some("route 1: it switches the filter"),
        ),
        (disabled.replace(route, &on), None),
    ] {
        let (unguarded, warnings) = said(&text);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(
            unguarded.len(),
            usize::from(expected.is_some()),
            "{unguarded:?}"
        );
        if let Some(expected) = expected {
            assert!(unguarded[0].contains(expected), "{unguarded:?}");
        }
    }
}

/// A matcher may skip the filter, as `_meta.filter` does on APISIX.
#[test]
fn a_filter_within_another_is_found() {
    let wasm = "{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: { name: caracal } }";
    let matcher = format!(
        "- name: mandates\n                    typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher, extension_config: {{ name: inner, typed_config: {wasm} }} }}\n                  - name: caracal\n"
    );
    let (unguarded, warnings) = said(&changed("- name: caracal\n", &matcher));
    assert_eq!(warnings, [""; 0]);
    assert_eq!(unguarded.len(), 1, "{unguarded:?}");
    assert!(
        unguarded[0].contains("within \"mandates\""),
        "{unguarded:?}"
    );
}

#[test]
fn a_bare_connection_to_a_guarded_cluster_is_found() {
    let proxy = |cluster: &str| {
        let kind = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let proxy = format!("{{\"@type\": {kind}, stat_prefix: side, cluster: {cluster}}}");
        changed(
            "\n  clusters:\n",
            &format!(
                "\n    - name: side\n      filter_chains: [{{filters: [{{name: tcp, typed_config: {proxy}}}]}}]\n\n  clusters:\n"
            ),
        )
    };
    assert_eq!(said(&proxy("caracal_feed")), (vec![], vec![]));
    let (unguarded, _) = said(&proxy("upstream"));
    assert_eq!(unguarded.len(), 1, "{unguarded:?}");
    assert!(
        unguarded[0].starts_with("listener \"side\""),
        "{unguarded:?}"
    );
}
