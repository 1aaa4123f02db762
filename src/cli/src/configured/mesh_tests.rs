//! Istio's and Envoy Gateway's resources.

use super::*;

const DOCUMENT: &str = r#"{"issuer":"https://sts.example.test","zone_id":"z","audience":"a","jwks":{"upstream":"u"},"revocation":"disabled"}"#;

fn find_in(text: &str) -> Found {
    find(text.as_bytes().to_vec()).unwrap()
}

fn resource(group: &str, kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: {group}\nkind: {kind}\nmetadata: {{name: edge, namespace: shop}}\nspec: {spec}\n---\nkind: Other\n"
    )
}

fn plugin(more: &str) -> String {
    let spec = format!("{{url: 'oci://x/y', pluginConfig: {DOCUMENT}{more}}}");
    resource("extensions.istio.io/v1alpha1", "WasmPlugin", &spec)
}

fn policy(more: &str) -> String {
    let wasm = format!("{{name: mandates, config: {DOCUMENT}{more}}}");
    let spec = format!(
        "{{targetRefs: [{{kind: HTTPRoute}}], wasm: [{{name: other, config: {{}}}}, {wasm}]}}"
    );
    resource(
        "gateway.envoyproxy.io/v1alpha1",
        "EnvoyExtensionPolicy",
        &spec,
    )
}

fn extension(more: &str) -> String {
    let spec = format!("{{wasm: {{url: 'oci://x/y', pluginConfig: {DOCUMENT}{more}}}}}");
    resource("extensions.istio.io/v1alpha1", "TrafficExtension", &spec)
}

#[test]
fn each_resource_holds_a_configuration() {
    for (text, name) in [
        (plugin(""), "edge"),
        (extension(""), "edge"),
        (policy(""), "mandates"),
    ] {
        let found = find_in(&text);
        assert_eq!(found.sources.len(), 1, "{text}");
        assert_eq!(found.sources[0].name.as_deref(), Some(name));
        assert!(found.sources[0].configuration().is_ok(), "{text}");
        assert_eq!(found.unguarded, [""; 0]);
        assert_eq!(found.sources[0].warnings, []);
        assert!(found.sources[0].place.contains("\"shop/edge\""), "{text}");
    }
    // A text is JSON too, and no object.
    let text = policy("").replace(DOCUMENT, &format!("'{DOCUMENT}'"));
    let text = text.replace("mandates", "caracal");
    assert!(find_in(&text).sources[0].configuration().is_err());
    let without = plugin("").replace("pluginConfig", "pluginConfiguration");
    assert!(find(without.into_bytes()).is_err());
}

#[test]
fn what_lets_requests_pass_is_found() {
    let warned = |text: &str| -> Vec<&str> {
        let all = &find_in(text).sources[0].warnings;
        all.iter().map(|one| one.name).collect()
    };
    let modes = |kind: &str, mode: &str| {
        plugin(&format!(
            ", targetRefs: [{{kind: {kind}}}], match: [{{mode: {mode}}}]"
        ))
    };
    for (text, expected) in [
        (plugin(", failStrategy: FAIL_OPEN"), vec!["fail_open"]),
        (plugin(", failStrategy: FAIL_RELOAD"), vec![]),
        (extension(", failStrategy: FAIL_OPEN"), vec!["fail_open"]),
        (policy(", failOpen: true"), vec!["fail_open"]),
        (policy(", failOpen: false"), vec![]),
        (modes("Gateway", "SERVER"), vec!["match_mode"]),
        (modes("Service", "CLIENT"), vec!["match_mode"]),
        (modes("Gateway", "CLIENT"), vec![]),
        (plugin(", match: [{mode: SERVER}]"), vec![]),
    ] {
        assert_eq!(warned(&text), expected, "{text}");
    }
    let network = find_in(&plugin(", type: NETWORK"));
    assert!(network.unguarded[0].contains("NETWORK"), "{network:?}");
}

#[test]
fn the_environment_is_what_the_resource_gives() {
    let bare = |text: String| text.replace(r#""zone_id":"z","#, "");
    let zone = |text: &str| {
        let read = find_in(text).sources[0].configuration();
        read.ok()?.zone_id
    };
    let set = bare(plugin(
        ", vmConfig: {env: [{name: CARACAL_ZONE_ID, value: given}]}",
    ));
    assert_eq!(zone(&set).as_deref(), Some("given"));
    assert_eq!(zone(&bare(plugin(""))), None);
    // Of the proxy's environment the file says nothing: this program's own stands for it.
    let own = bare(policy(", env: {hostKeys: [CARACAL_ZONE_ID]}"));
    assert_eq!(zone(&own), std::env::var("CARACAL_ZONE_ID").ok());
}

/// They hold a part of Envoy's own configuration.
#[test]
fn patches_of_envoy_s_configuration_are_read_as_such() {
    let filter = format!(
        r#"{{"name":"caracal","typed_config":{{"@type":"type.googleapis.com/udpa.type.v1.TypedStruct","type_url":"type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm","value":{{"config":{{"failure_policy":"FAIL_OPEN","configuration":{{"@type":"type.googleapis.com/google.protobuf.StringValue","value":{DOCUMENT:?}}}}}}}}}}}"#
    );
    let istio = format!(
        "{{configPatches: [{{applyTo: HTTP_FILTER, patch: {{operation: INSERT_BEFORE, value: {filter}}}}}]}}"
    );
    let gateway = format!(
        "{{type: JSONPatch, jsonPatches: [{{type: x, operation: {{op: add, path: '/a', value: {filter}}}}}]}}"
    );
    for (kind, spec) in [("EnvoyFilter", istio), ("EnvoyPatchPolicy", gateway)] {
        let found = find_in(&resource("x.example/v1", kind, &spec));
        let source = &found.sources[0];
        assert_eq!(source.name.as_deref(), Some("caracal"));
        assert!(source.configuration().is_ok());
        assert_eq!(source.warnings.len(), 1);
        assert_eq!(
            source.place,
            format!("{kind} \"shop/edge\", filter \"caracal\"")
        );
    }
}
