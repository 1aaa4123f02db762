//! What the Envoys that are measured are started with.

use std::net::SocketAddr;
use std::path::Path;

use caracal_tests::mint::{AUDIENCE, ISSUER};
use serde_json::{Value, json};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// A filter's file and its configuration.
pub fn wasm(file: &Path, configuration: &Value) -> Value {
    json!({"name": "wasm", "typed_config": {
        "@type": format!("{TYPES}.filters.http.wasm.v3.Wasm"),
        "config": {
            "failure_policy": "FAIL_RELOAD",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration.to_string()},
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "vm_id": "bench", "code": {"local": {"filename": file}}},
        },
    }})
}

/// Envoy's own verifier of JWTs.
pub fn jwt_authn(keys: &Value, cached: bool) -> Value {
    let mut provider = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "forward": true,
        "local_jwks": {"inline_string": keys.to_string()},
    });
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 20_000});
    }
    json!({"name": "jwt", "typed_config": {
        "@type": format!("{TYPES}.filters.http.jwt_authn.v3.JwtAuthentication"),
        "providers": {"zone": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "zone"}}],
    }})
}

/// A service, the cluster `connector`, that is asked about every request.
pub fn ext_authz(service: SocketAddr) -> Value {
    json!({"name": "ext_authz", "typed_config": {
        "@type": format!("{TYPES}.filters.http.ext_authz.v3.ExtAuthz"),
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "allowed_headers": {"patterns": [{"exact": "authorization", "ignore_case": true}]},
        "http_service": {"server_uri": {
            "uri": format!("http://{service}"), "cluster": "connector", "timeout": "5s",
        }},
    }})
}

/// An Envoy at an address that answers `/direct` itself and sends the rest to the
/// cluster `upstream`; without clusters it answers everything itself.
pub fn bootstrap(address: SocketAddr, filters: &[Value], clusters: &[(&str, SocketAddr)]) -> Value {
    let mut filters = filters.to_vec();
    filters.push(json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}}));
    let answer = json!({"status": 200, "body": {"inline_string": "ok"}});
    let mut routes = vec![json!({"match": {"prefix": "/direct"}, "direct_response": answer})];
    routes.push(match clusters {
        [] => json!({"match": {"prefix": "/"}, "direct_response": answer}),
        _ => json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}),
    });
    let clusters: Vec<Value> = clusters
        .iter()
        .map(|(name, address)| {
            let endpoint = json!({"endpoint": {"address": socket(*address)}});
            json!({"name": name, "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}})
        })
        .collect();
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge", "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    });
    json!({"static_resources": {
        "listeners": [{"name": "edge", "address": socket(address), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": clusters,
    }})
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
