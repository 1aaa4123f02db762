//! The Envoys that are measured, one for each filter, and what they need.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use caracal_tests::mint::{AUDIENCE, ISSUER, Key, configuration, key_set};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::{Reply, Server};
use serde_json::{Value, json};

/// A session that is revoked.
pub const REVOKED: &str = "revoked-session";

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// An Envoy with one worker on core 0.
pub struct Edge {
    pub name: &'static str,
    pub address: SocketAddr,
    process: Child,
}

impl Edge {
    /// Processor time that its process has had, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        // utime and stime, in hundredths of a second.
        [11, 12]
            .map(|n| fields[n].parse::<f64>().unwrap())
            .iter()
            .sum::<f64>()
            * 10_000.0
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All of them, and the servers around.
pub struct Edges {
    pub key: Key,
    edges: Vec<Edge>,
    _upstream: Edge,
    _sts: Server,
    _companion: Companion,
    _redis: Redis,
}

/// The filter's file; `CARACAL_WASM` names another.
pub fn filter() -> PathBuf {
    std::env::var_os("CARACAL_WASM").map_or_else(caracal_tests::filter_wasm, PathBuf::from)
}

impl Edges {
    pub fn start(chosen: impl Fn(&str) -> bool) -> Self {
        let key = Key::new("k1", 1);
        let keys = key_set(&[&key]);
        let document = keys.clone();
        let sts = Server::start(move |_| Reply::json(&document));
        let redis = Redis::start(&[]);
        let companion = Companion::of(&redis.url()).started();
        let _: String = redis::cmd("XADD")
            .arg(&["caracal.sessions.revoke", "*", "session_id", REVOKED])
            .query(&mut redis.connection())
            .unwrap();
        let upstream = envoy("upstream", "1", &[], &[]);
        let clusters = [
            ("upstream", upstream.address),
            ("sts", sts.address()),
            ("feed", companion.address),
        ];
        let feed = json!({"upstream": "feed"});
        let noop = caracal_tests::root().join("dist/noop.wasm");
        let filters = [
            ("none", vec![]),
            ("noop", vec![wasm(noop, &Value::Null)]),
            ("jwt_authn", vec![jwt_authn(&keys, true)]),
            ("jwt_authn_uncached", vec![jwt_authn(&keys, false)]),
            (
                "caracal",
                vec![wasm(filter(), &configuration(json!({"revocation": feed})))],
            ),
            (
                "caracal_bare",
                vec![wasm(
                    filter(),
                    &configuration(json!({"revocation": feed, "forward": {"headers": {}}})),
                )],
            ),
        ];
        let edges = filters
            .into_iter()
            .filter(|(name, _)| chosen(name))
            .map(|(name, filters)| envoy(name, "0", &filters, &clusters))
            .collect();
        // Key sets and revocations are there before anything is measured.
        std::thread::sleep(Duration::from_secs(2));
        Edges {
            key,
            edges,
            _upstream: upstream,
            _sts: sts,
            _companion: companion,
            _redis: redis,
        }
    }

    pub fn all(&self) -> &[Edge] {
        &self.edges
    }
}

fn wasm(file: PathBuf, configuration: &Value) -> Value {
    json!({"name": "wasm", "typed_config": {
        "@type": format!("{TYPES}.filters.http.wasm.v3.Wasm"),
        "config": {
            "failure_policy": "FAIL_RELOAD",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration.to_string()},
            "vm_config": {"runtime": "envoy.wasm.runtime.v8", "vm_id": "bench", "code": {"local": {"filename": file}}},
        },
    }})
}

fn jwt_authn(keys: &Value, cached: bool) -> Value {
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

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// Starts an Envoy on one core and waits until it listens.
fn envoy(
    name: &'static str,
    core: &str,
    filters: &[Value],
    clusters: &[(&str, SocketAddr)],
) -> Edge {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
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
    let bootstrap = json!({"static_resources": {
        "listeners": [{"name": "edge", "address": socket(address), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
        "clusters": clusters,
    }});
    let process = Command::new("taskset")
        .args(["-c", core])
        .arg(caracal_tests::envoy::binary())
        .args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--log-level",
            "error",
            "--config-yaml",
            &bootstrap.to_string(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let edge = Edge {
        name,
        address,
        process,
    };
    until("an Envoy listens", Duration::from_secs(30), || {
        TcpStream::connect(address).is_ok()
    });
    edge
}
