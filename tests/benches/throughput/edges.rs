//! The Envoys that are measured, one for each filter, and what they need.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::edge::{flood, flooded};
use caracal_tests::mint::{Key, configuration, key_set};
use caracal_tests::processes::{Companion, Redis, folder, free_address, until};
use caracal_tests::servers::{Client, Reply, Server, request};
use serde_json::{Value, json};

use super::bootstrap::{bootstrap, ext_authz, jwt_authn, wasm};
use super::connector::Connector;
use super::loads::mandate;

/// A session that is revoked.
pub const REVOKED: &str = "revoked-session";
const TOKEN: &str = "feed-token";
/// Sessions that are revoked for `caracal_1M`.
const MANY: usize = 1_000_000;
/// Connections on which an edge has to admit before it is measured: each worker
/// has some.
const CONNECTIONS: usize = 8;
const START: Duration = Duration::from_secs(300);

/// Cores of one worker, and of two.
const ONE: &str = "0";
const BOTH: &str = "0,1";

/// An Envoy with one worker on core 0, or with two on both cores.
pub struct Edge {
    pub name: &'static str,
    pub address: SocketAddr,
    /// What it was started with.
    pub bootstrap: Value,
    cores: &'static str,
    process: Child,
}

impl Edge {
    /// Processor time that its process has had, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let spent = tasks.map(|task| {
            let file = task.unwrap().path().join("schedstat");
            // The first number is nanoseconds on a processor.
            let text = std::fs::read_to_string(file).unwrap();
            let spent = text.split(' ').next().unwrap();
            spent.parse::<f64>().unwrap() / 1_000.0
        });
        spent.sum()
    }

    /// The cores that its clients run on: the other one, while there is one.
    pub fn clients(&self) -> &'static str {
        if self.cores == ONE { "1" } else { BOTH }
    }

    /// Whether a good mandate is admitted on every one of some new connections.
    fn admits(&self, token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        let bytes = request("GET", "/direct", &[("authorization", &bearer)]);
        (0..CONNECTIONS).all(|_| {
            let answer =
                Client::try_connect(self.address).and_then(|mut client| client.exchange(&bytes));
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Redis and a companion that reads it.
struct Revocations {
    companion: Companion,
    redis: Redis,
}

impl Revocations {
    fn start() -> Self {
        let redis = Redis::start(&[]);
        let companion = Companion::of(&redis.url()).started();
        Revocations { companion, redis }
    }

    fn few() -> Self {
        let few = Revocations::start();
        let _: String = few.redis.ask(&[
            "XADD",
            "caracal.sessions.revoke",
            "*",
            "session_id",
            REVOKED,
        ]);
        until("the companion knows", START, || {
            few.companion.has_revoked(REVOKED)
        });
        few
    }

    /// A companion that takes audit events to its disk and to Redis.
    fn audited() -> Self {
        let redis = Redis::start(&[]);
        let companion = Companion::of(&redis.url())
            .with(&["--audit-dir", folder("audit").to_str().unwrap()])
            .environment("AUDIT_HMAC_KEY", &"5a".repeat(32))
            .token(TOKEN)
            .started();
        Revocations { companion, redis }
    }

    fn many() -> Self {
        let many = Revocations::start();
        flood(&many.redis, MANY);
        until("the companion holds them all", START, || {
            many.companion.metric("caracal_feed_anchors") >= MANY as f64
        });
        many
    }
}

/// All of them, and the servers around.
pub struct Edges {
    pub key: Key,
    edges: Vec<Edge>,
    upstream: Edge,
    _sts: Server,
    _revocations: Vec<Revocations>,
    _connector: Option<Connector>,
}

/// The filter's file; `CARACAL_WASM` names another.
pub fn filter() -> PathBuf {
    std::env::var_os("CARACAL_WASM").map_or_else(caracal_tests::filter_wasm, PathBuf::from)
}

/// Other builds of the filter to measure beside it, `NAME=FILE` with commas between,
/// in `BENCH_BUILDS`: they get what `caracal` gets.
pub fn builds() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let list: &'static str = std::env::var("BENCH_BUILDS").unwrap_or_default().leak();
    list.split(',')
        .filter_map(|build| build.split_once('='))
        .map(|(name, file)| (name, file.into()))
}

impl Edges {
    pub fn start(chosen: impl Fn(&str) -> bool) -> Self {
        let key = Key::new("k1", 1);
        let keys = key_set(&[&key]);
        let document = keys.clone();
        let sts = Server::start(move |_| Reply::json(&document));
        let token = mandate(&key, json!({}));
        let few = Revocations::few();
        let upstream = Edge::start("upstream", "1", &[], &[]);
        let mut clusters = vec![
            ("upstream", upstream.address),
            ("sts", sts.address()),
            ("feed", few.companion.address),
        ];
        all_headers_arrive(&token, &clusters);

        let feed = json!({"upstream": "feed"});
        let nothing = caracal_tests::root().join("dist/noop.wasm");
        let noop = wasm(&nothing, &Value::Null);
        let caracal = |changes: Value| wasm(&filter(), &configuration(changes));
        let usual = caracal(json!({"revocation": feed}));
        let bare =
            caracal(json!({"revocation": feed, "forward": {"headers": {}}, "filter_state": false}));
        let cached = jwt_authn(&keys, true);
        let audited = Revocations::audited();
        clusters.push(("feed_audit", audited.companion.address));
        let with_audit = caracal(json!({
            "revocation": {"upstream": "feed_audit", "token": TOKEN},
            "audit": {"upstream": "feed_audit", "token": TOKEN},
        }));
        let mut filters = vec![
            ("none", ONE, vec![]),
            ("noop", ONE, vec![noop.clone()]),
            ("calls_only", ONE, vec![wasm(&nothing, &json!("calls"))]),
            ("jwt_authn", ONE, vec![cached.clone()]),
            ("jwt_authn_uncached", ONE, vec![jwt_authn(&keys, false)]),
            ("caracal", ONE, vec![usual.clone()]),
            ("caracal_bare", ONE, vec![bare]),
            ("caracal_audit", ONE, vec![with_audit]),
            ("none+2w", BOTH, vec![]),
            ("noop+2w", BOTH, vec![noop]),
            ("jwt_authn+2w", BOTH, vec![cached]),
            ("caracal+2w", BOTH, vec![usual]),
        ];
        filters.extend(builds().map(|(name, file)| {
            let filter = wasm(&file, &configuration(json!({"revocation": feed})));
            (name, ONE, vec![filter])
        }));
        let mut revocations = vec![few, audited];
        if chosen("caracal_1M") {
            let many = Revocations::many();
            clusters.push(("feed_1M", many.companion.address));
            revocations.push(many);
            let changes =
                json!({"revocation": {"upstream": "feed_1M"}, "limits": {"max_anchors": 2 * MANY}});
            filters.push(("caracal_1M", ONE, vec![caracal(changes)]));
        }
        let connector = chosen("ext_authz")
            .then(|| Connector::start(&keys, &token))
            .flatten();
        match &connector {
            Some(connector) => {
                clusters.push(("connector", connector.address));
                filters.push(("ext_authz", ONE, vec![ext_authz(connector.address)]));
            }
            None if chosen("ext_authz") => {
                println!("ext_authz: skipped, there is no Python 3.12 or later");
            }
            None => {}
        }
        let edges: Vec<Edge> = filters
            .into_iter()
            .filter(|(name, ..)| chosen(name) || builds().any(|(build, _)| build == *name))
            .map(|(name, cores, filters)| Edge::start(name, cores, &filters, &clusters))
            .collect();
        // Key sets and revocations are there before anything is measured: the filter
        // admits nobody until it has read them all.
        for edge in &edges {
            until(edge.name, START, || edge.admits(&token));
            if edge.name == "caracal_1M" {
                let last = mandate(&key, json!({"sid": flooded(MANY - 1)}));
                assert!(!edge.admits(&last), "the last of a million is revoked");
            }
        }
        Edges {
            key,
            edges,
            upstream,
            _sts: sts,
            _revocations: revocations,
            _connector: connector,
        }
    }

    pub fn all(&self) -> &[Edge] {
        &self.edges
    }

    /// What each Envoy was started with. The only key in there is the public key set.
    pub fn configurations(&self) -> Value {
        let all = self.edges.iter().chain([&self.upstream]);
        all.map(|edge| (edge.name.to_owned(), edge.bootstrap.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The filter does all its work on this mandate: an upstream gets every header
/// that is sent by default.
fn all_headers_arrive(token: &str, clusters: &[(&'static str, SocketAddr)]) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = Arc::clone(&seen);
    let echo = Server::start(move |request| {
        let names = request.headers.iter().map(|(name, _)| name.clone());
        *record.lock().unwrap() = names
            .filter(|name| name.starts_with("x-caracal-"))
            .collect();
        Reply::new(200, "reached")
    });
    let mut clusters = clusters.to_vec();
    clusters[0].1 = echo.address();
    let filter = wasm(
        &filter(),
        &configuration(json!({"revocation": {"upstream": "feed"}})),
    );
    let edge = Edge::start("echo", ONE, &[filter], &clusters);
    until("the filter is ready", START, || edge.admits(token));
    let answer = Client::connect(edge.address).get("/", Some(token), &[]);
    assert_eq!(answer.status, 200);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 11, "the upstream got {seen:?}");
}

impl Edge {
    /// Starts an Envoy with a worker for each of its cores and waits until it
    /// listens.
    fn start(
        name: &'static str,
        cores: &'static str,
        filters: &[Value],
        clusters: &[(&str, SocketAddr)],
    ) -> Self {
        let address = free_address();
        let bootstrap = bootstrap(address, filters, clusters);
        let workers = cores.split(',').count().to_string();
        let process = Command::new("taskset")
            .args(["-c", cores])
            .arg(caracal_tests::envoy::binary())
            .args(["--concurrency", &workers, "--use-dynamic-base-id"])
            .args(["--log-level", "error"])
            .args(["--config-yaml", &bootstrap.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("taskset");
        let edge = Edge {
            name,
            address,
            bootstrap,
            cores,
            process,
        };
        until("an Envoy listens", Duration::from_secs(30), || {
            Client::try_connect(address).is_ok()
        });
        edge
    }
}
