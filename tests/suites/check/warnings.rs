//! Each warning, in words and as JSON, with and without `--strict`. That every setting is
//! looked at is tested beside the code, in `src/cli/src/guard/envoy`.

use std::collections::BTreeSet;

use super::*;

/// envoy.yaml with one text in place of another.
fn envoy(from: &str, to: &str) -> String {
    let file = fs::read_to_string(root().join("envoy.yaml")).unwrap();
    assert!(file.contains(from), "{from}");
    file.replacen(from, to, 1)
}

/// APISIX's own configuration with one text in place of another.
fn apisix_own(from: &str, to: &str) -> String {
    let file = fs::read_to_string(root().join("deploy/apisix/config.yaml")).unwrap();
    assert!(file.contains(from), "{from}");
    file.replacen(from, to, 1)
}

fn istio(more: &str) -> String {
    let document = configuration(json!({"required_scopes": ["a"]}));
    format!(
        "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: mandates}}\nspec: {{pluginConfig: {document}{more}}}\n"
    )
}

fn gateway(more: &str) -> String {
    let document = configuration(json!({"required_scopes": ["a"]}));
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {{name: mandates}}\nspec: {{wasm: [{{name: caracal, config: {document}{more}}}]}}\n"
    )
}

/// A file, the one warning that it gets, and where.
fn cases() -> Vec<(String, &'static str, &'static str)> {
    let audience = "\"audience\": \"resource://billing-api\",";
    let with_hosts = envoy(
        audience,
        "\"resources\": {\"resource://billing-api\": {\"hosts\": [\"a.example\", \"b.example:8443\"]}},",
    );
    let (start, rest) = with_hosts.split_once("\"routes\": {").unwrap();
    let (_, end) = rest.split_once("\"exclude\": [\"/healthz\"]").unwrap();
    let with_hosts = format!("{start}\"clock_skew_s\": 60{end}");
    let with_hosts = with_hosts.replace("domains: [\"*\"]", "domains: [\"*\", \"a.example\"]");
    let nginx = fs::read_to_string(root().join("deploy/kong/gate.conf")).unwrap();
    let scopes = "\"required_scopes\": [\"billing:read\"],";
    assert!(nginx.contains(scopes));
    let gateway_mode = fs::read_to_string(root().join("deploy/envoy/gateway.yaml")).unwrap();
    let apisix_routes = fs::read_to_string(root().join("deploy/apisix/gateway.yaml")).unwrap();
    let edge = "listener \"edge\", filter chain 1";
    vec![
        (
            envoy("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN"),
            "fail_open",
            "listener \"edge\", filter chain 1, filter \"caracal\"",
        ),
        (
            envoy("failure_policy: FAIL_RELOAD", "fail_open: true"),
            "fail_open",
            "listener \"edge\", filter chain 1, filter \"caracal\"",
        ),
        (
            envoy(
                "- name: caracal\n",
                "- name: caracal\n                    is_optional: true\n",
            ),
            "fail_open",
            "listener \"edge\", filter chain 1, filter \"caracal\"",
        ),
        (
            istio(", failStrategy: FAIL_OPEN"),
            "fail_open",
            "WasmPlugin \"mandates\"",
        ),
        (
            gateway(", failOpen: true"),
            "fail_open",
            "EnvoyExtensionPolicy \"mandates\", filter \"caracal\"",
        ),
        (
            istio(", targetRefs: [{kind: Gateway}], match: [{mode: SERVER}]"),
            "match_mode",
            "WasmPlugin \"mandates\", match 1",
        ),
        (envoy("normalize_path: true", ""), "normalize_path", edge),
        (envoy("merge_slashes: true", ""), "merge_slashes", edge),
        (
            envoy("action: REJECT_REQUEST", "action: KEEP_UNCHANGED"),
            "escaped_slashes",
            edge,
        ),
        (
            envoy("headers_with_underscores_action: REJECT_REQUEST", ""),
            "underscores",
            edge,
        ),
        (
            envoy("stream_idle_timeout: 60s", "stream_idle_timeout: 0s"),
            "timeout_zero",
            edge,
        ),
        (
            envoy("cluster: upstream }", "cluster: upstream, timeout: 0s }"),
            "timeout_zero",
            "listener \"edge\", filter chain 1, virtual host \"service\", route 1",
        ),
        (
            envoy("cluster: upstream }", "cluster: nobody }"),
            "unknown_cluster",
            "listener \"edge\", filter chain 1, virtual host \"service\", route 1",
        ),
        (
            envoy("\"upstream\": \"caracal_feed\"", "\"upstream\": \"nobody\""),
            "unknown_cluster",
            "listener \"edge\", filter chain 1, filter \"caracal\", revocation.upstream",
        ),
        (
            with_hosts,
            "hosts_without_domain",
            "listener \"edge\", filter chain 1, filter \"caracal\", resource \"resource://billing-api\"",
        ),
        (
            envoy(
                "\"require_delegation\": true",
                "\"require_delegation\": true, \"mcp\": {\"tools\": {}, \"body\": true}",
            ),
            "body_not_shown",
            "listener \"edge\", filter chain 1, filter \"caracal\"",
        ),
        (
            gateway_mode.replace("domains: [\"crm.internal\"]", "domains: [\"x.internal\"]"),
            "upstream_without_domain",
            "listener \"edge\", filter chain 1, filter \"caracal\", resource \"resource://crm-api\"",
        ),
        (
            apisix_own("    proxy_ssl_verify on;\n", ""),
            "upstream_unverified",
            "nginx_config",
        ),
        (
            apisix_own("proxy_ssl_verify on", "proxy_ssl_verify off"),
            "upstream_unverified",
            "nginx_config",
        ),
        (
            apisix_own("    access_log_format: '", "    other: '"),
            "upstream_uri_logged",
            "nginx_config.http.access_log_format",
        ),
        (
            apisix_own("$upstream_scheme://$upstream_host", "$upstream_uri"),
            "upstream_uri_logged",
            "nginx_config.http.access_log_format",
        ),
        (
            apisix_routes.replacen(
                "      serverless-post-function:\n",
                "      http-logger: {uri: 'http://logs.internal'}\n      serverless-post-function:\n",
                1,
            ),
            "credential_copied",
            "route \"billing\"",
        ),
        (configuration(json!({})).to_string(), "nothing_required", ""),
        (
            configuration(
                json!({"required_scopes": ["a"], "routes": {"/x": {"required_scopes": []}}}),
            )
            .to_string(),
            "nothing_required",
            "",
        ),
        (nginx.replace(scopes, ""), "nothing_required", "line "),
        (forwarding(json!({"baggage": "keep"})), "baggage_kept", ""),
        (
            forwarding(json!({"baggage": "verified"})),
            "baggage_excluded",
            "",
        ),
        (
            forwarding(json!({"unsendable": "omit"})),
            "claims_omitted",
            "",
        ),
        (
            configuration(json!({"audience": null, "required_scopes": ["a"], "resources": {
                "a": {"hosts": ["a.test"], "metadata": {"resource": "https://a.test:8443/mcp"}},
                "b": {"hosts": ["b.test"], "metadata": {"resource": "https://B.test/mcp"}},
            }}))
            .to_string(),
            "metadata_host",
            "resource \"a\"",
        ),
        (
            configuration(json!({"required_scopes": ["a"], "exclude": ["/v1", "/v1.0"]}))
                .to_string(),
            "shadowed_prefix",
            "prefix \"/v1.0\"",
        ),
        (
            configuration(json!({"required_scopes": ["a"],
                "routes": {"/mcp": {"mcp": {"tools": {}}}, "/MCP": {}}}))
            .to_string(),
            "shadowed_prefix",
            "prefix \"/MCP\"",
        ),
        (
            configuration(json!({"required_scopes": ["a"], "enforcement": "shadow"})).to_string(),
            "shadow",
            "",
        ),
        (
            configuration(json!({"required_scopes": ["a"],
                "routes": {"/x": {"enforcement": "shadow"}}}))
            .to_string(),
            "shadow",
            "",
        ),
        (
            forwarding(json!({"authorization": false})),
            "authorization_excluded",
            "",
        ),
    ]
}

fn forwarding(forward: Value) -> String {
    let all = json!({"required_scopes": ["a"], "exclude": ["/h"], "forward": forward});
    configuration(all).to_string()
}

#[test]
fn each_warning_names_its_place_and_fails_under_strict() {
    let folder = folder("warnings");
    let mut seen = BTreeSet::new();
    for (number, (text, name, place)) in cases().into_iter().enumerate() {
        let file = folder.join(format!("{number}-{name}"));
        fs::write(&file, &text).unwrap();
        let file = file.to_str().unwrap();
        let (words, json) = (call(&[file]), call(&[file, "--json"]));
        let (strict, both) = (
            call(&[file, "--strict"]),
            call(&[file, "--strict", "--json"]),
        );
        let codes = [&words, &json, &strict, &both].map(|done| done.status.code().unwrap());
        let errors = String::from_utf8_lossy(&words.stderr).into_owned();
        assert_eq!(codes, [0, 0, 1, 1], "{name}: {errors}\n{text}");
        let said: Value = serde_json::from_slice(&json.stdout).unwrap();
        let warnings = said["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        let one = &warnings[0];
        assert_eq!(one["name"], name);
        assert!(one["where"].as_str().unwrap().starts_with(place), "{one}");
        for part in ["why", "fix"] {
            assert!(!one[part].as_str().unwrap().is_empty(), "{one}");
        }
        let words = String::from_utf8(words.stdout).unwrap();
        assert_eq!(words.matches("WARNING   ").count(), 1, "{words}");
        assert!(words.contains(&format!("WARNING   {name}")), "{words}");
        let both: Value = serde_json::from_slice(&both.stdout).unwrap();
        assert_eq!((&said["ok"], &both["ok"]), (&json!(true), &json!(false)));
        seen.insert(name.to_owned());
    }
    let _ = fs::remove_dir_all(&folder);
    let listed = call(&["--list-warnings"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let listed = listed
        .iter()
        .map(|one| one["name"].as_str().unwrap().to_owned());
    assert_eq!(listed.collect::<BTreeSet<String>>(), seen);
}

/// What the repository offers to start from follows its own advice.
#[test]
fn the_files_here_pass_under_strict() {
    for file in [
        "envoy.yaml",
        "deploy/envoy/gateway.yaml",
        "deploy/kong/kong.yaml",
        "deploy/kong/gate.conf",
        "deploy/apisix/apisix.yaml",
        "deploy/apisix/gateway.yaml",
        "deploy/apisix/config.yaml",
    ] {
        let path = root().join(file);
        let done = call(&[path.to_str().unwrap(), "--strict"]);
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(0), "{file}: {said}");
    }
}

#[test]
fn a_host_that_is_not_the_file_s_is_an_error() {
    let folder = folder("host");
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    for (file, from, to, expected) in [
        (
            "envoy.yaml",
            "\"zone_id\"",
            "\"host\": \"kong\", \"zone_id\"",
            "the file is for \"envoy\", found \"kong\"",
        ),
        (
            "deploy/kong/kong.yaml",
            "host: kong",
            "",
            "the file is for \"kong\", found no host",
        ),
        (
            "deploy/apisix/apisix.yaml",
            "\"host\": \"apisix\"",
            "\"host\": \"kong\"",
            "the file is for \"apisix\", found \"kong\"",
        ),
    ] {
        let text = read(file);
        assert!(text.contains(from), "{file}");
        let changed = folder.join("changed.yaml");
        fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        let done = call(&[changed.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{file}");
        assert!(errors.contains(&format!("host: {expected}")), "{errors}");
    }
    let _ = fs::remove_dir_all(&folder);
}
