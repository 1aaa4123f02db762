//! Envoy's bootstrap for a test, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Setup;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const UPSTREAM_TLS: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const GRPC_WEB: &str = "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
const ACCESS_LOG: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

fn all(setup: &Setup, folder: &Path) -> Vec<Value> {
    let all = setup.configurations.iter().enumerate();
    all.map(|(number, configuration)| listener(setup, folder, number, configuration))
        .collect()
}

/// The listeners, as the file for LDS has them.
pub(super) fn listeners(setup: &Setup, folder: &Path) -> Value {
    let mut all = all(setup, folder);
    for one in &mut all {
        one["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    }
    json!({ "resources": all })
}

pub(super) fn bootstrap(setup: &Setup, folder: &Path) -> Value {
    let (listeners, dynamic) = match setup.reloadable {
        false => (all(setup, folder), json!({})),
        true => {
            let file = folder.join("listeners.json");
            let source = json!({"path_config_source": {"path": file}});
            (Vec::new(), json!({"lds_config": source}))
        }
    };
    // One that is named several times has so many endpoints, which are asked in turn.
    let mut endpoints: BTreeMap<&str, Vec<SocketAddr>> = BTreeMap::new();
    for (name, address) in &setup.clusters {
        endpoints.entry(name).or_default().push(*address);
    }
    let clusters: Vec<Value> = endpoints
        .iter()
        .map(|(name, addresses)| cluster(setup, name, addresses))
        .collect();
    json!({
        "node": {"id": "edge", "cluster": "edge"},
        "dynamic_resources": dynamic,
        "admin": {"address": socket(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "stats_config": {"stats_tags": stats_tags()},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// What envoy.yaml makes labels of: each line of it is one object.
fn stats_tags() -> Value {
    let text = std::fs::read_to_string(crate::root().join("envoy.yaml")).unwrap();
    let tags = text.lines().filter_map(|line| {
        let (name, regex) = line
            .trim()
            .strip_prefix("- { tag_name: ")?
            .split_once(", regex: ")?;
        let regex: String = serde_json::from_str(regex.strip_suffix(" }")?).unwrap();
        Some(json!({"tag_name": name, "regex": regex}))
    });
    let tags: Vec<Value> = tags.collect();
    assert!(tags.len() > 4, "the tags of envoy.yaml look otherwise");
    tags.into()
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn cluster(setup: &Setup, name: &str, addresses: &[SocketAddr]) -> Value {
    let endpoints = addresses.iter();
    let endpoints = endpoints.map(|address| json!({"endpoint": {"address": socket(*address)}}));
    let endpoints: Vec<Value> = endpoints.collect();
    let mut cluster = json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [
            {"lb_endpoints": endpoints}
        ]},
    });
    if setup.warming.iter().any(|known| known == name) {
        cluster["health_checks"] = json!([{
            "timeout": "10s", "interval": "10s",
            "unhealthy_threshold": 1, "healthy_threshold": 1,
            "http_health_check": {"path": "/healthz"},
        }]);
    }
    if setup.http2.iter().any(|known| known == name) {
        cluster["typed_extension_protocol_options"] = json!({HTTP_OPTIONS: {
            "@type": format!("type.googleapis.com/{HTTP_OPTIONS}"),
            "explicit_http_config": {"http2_protocol_options": {}},
        }});
    }
    if let Some((_, ca)) = setup.trusted.iter().find(|(trusted, _)| trusted == name) {
        cluster["transport_socket"] = json!({"name": "tls", "typed_config": {
            "@type": UPSTREAM_TLS,
            "sni": "localhost",
            "common_tls_context": {"validation_context": {
                "trusted_ca": {"filename": ca},
                "match_typed_subject_alt_names": [
                    {"san_type": "DNS", "matcher": {"exact": "localhost"}}
                ],
            }},
        }});
    }
    cluster
}

fn listener(setup: &Setup, folder: &Path, number: usize, configuration: &str) -> Value {
    let all = json!([{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}
    ]}]);
    let virtual_hosts = setup.virtual_hosts.clone().unwrap_or(all);
    let mut manager = json!({
        "@type": MANAGER,
        "stat_prefix": "edge",
        "access_log": [access_log(folder)],
        "route_config": {"virtual_hosts": virtual_hosts},
        // envoy.yaml has the first.
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT-UDP"}],
        // As envoy.yaml has it.
        "delayed_close_timeout": "0.1s",
        // WebSockets over HTTP/2.
        "http2_protocol_options": {"allow_connect": true},
        "http_filters": [
            {"name": "caracal", "typed_config": filter(setup, number, configuration)},
            {"name": "router", "typed_config": {"@type": ROUTER}},
        ],
    });
    if setup.grpc_web
        && let Some(filters) = manager["http_filters"].as_array_mut()
    {
        let grpc_web = json!({"name": "grpc_web", "typed_config": {"@type": GRPC_WEB}});
        filters.insert(1, grpc_web);
    }
    if setup.use_remote_address {
        manager["use_remote_address"] = json!(true);
        manager["preserve_external_request_id"] = json!(true);
    }
    if let Some(paths) = setup.paths.get(number) {
        manager["normalize_path"] = json!(paths.normalize_path);
        manager["merge_slashes"] = json!(paths.merge_slashes);
        manager["path_with_escaped_slashes_action"] = json!(paths.escaped_slashes);
    }
    json!({
        "name": number.to_string(),
        "address": socket(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    })
}

fn filter(setup: &Setup, number: usize, configuration: &str) -> Value {
    let environment: Map<String, Value> = setup
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let wasm = setup.wasm_of_each.get(number).or(setup.wasm.as_ref());
    let wasm = wasm.cloned().unwrap_or_else(crate::filter_wasm);
    let from_host: Vec<&String> = setup.host_environment.iter().map(|(n, _)| n).collect();
    let mut filter = json!({
        "@type": WASM,
        "config": {
            "name": format!("caracal-{number}"),
            "failure_policy": "FAIL_RELOAD",
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration,
            },
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "vm_id": setup.vm_id.as_deref().unwrap_or("caracal"),
                "code": {"local": {"filename": wasm}},
                "environment_variables": {"key_values": environment, "host_env_keys": from_host},
            },
        },
    });
    if setup.shows_body {
        filter["config"]["allow_on_headers_stop_iteration"] = json!(true);
    }
    filter
}

fn access_log(folder: &Path) -> Value {
    let mut fields = Map::new();
    fields.insert("path".to_owned(), json!("%REQ(:PATH)%"));
    fields.insert("status".to_owned(), json!("%RESPONSE_CODE%"));
    fields.insert("details".to_owned(), json!("%RESPONSE_CODE_DETAILS%"));
    for name in [
        "caracal_decision",
        "caracal_error",
        "caracal_reason",
        "caracal_subject_fingerprint",
        "caracal_client_id",
        "caracal_jti",
    ] {
        fields.insert(
            name.to_owned(),
            json!(format!("%FILTER_STATE(wasm.{name}:PLAIN)%")),
        );
    }
    json!({
        "name": "file",
        "typed_config": {
            "@type": ACCESS_LOG,
            "path": folder.join("access.log"),
            "log_format": {"json_format": fields},
        },
    })
}
