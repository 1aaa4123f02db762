//! The published MCP packages, Python's and TypeScript's, clients and servers, unchanged, with
//! a real Envoy between them: in each version that they speak. Needs a Python and a Node.js;
//! where `REQUIRE_ORACLE` is set, as in CI, there must be both.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::configuration;
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::Client;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// The versions that both packages speak.
const OLDER: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
const NEWEST: &str = "2026-07-28";
const PYTHON: Package = Package {
    client: "client.py",
    server: "server.py",
};
const TYPESCRIPT: Package = Package {
    client: "client.mjs",
    server: "server.mjs",
};

#[derive(Clone, Copy)]
struct Package {
    client: &'static str,
    server: &'static str,
}

mod discovery;

/// A process that is stopped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A script of this suite.
struct Script {
    running: Running,
    input: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(name: &str) -> Self {
        let run = caracal_tests::root().join("tests/conformance/oracle/run.py");
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = Command::new(python)
            .arg(run)
            .args(["mcp", name])
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        Script {
            running,
            input,
            said,
        }
    }

    /// The next line; none at the end.
    fn next(&mut self) -> Option<Value> {
        let line = self.said.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")))
    }

    /// Whether it ended because the machine has no Python or no Node.js for it.
    fn is_skipped(&mut self) -> bool {
        let status = self.running.0.wait().unwrap();
        let skipped = status.code() == Some(3) && std::env::var_os("REQUIRE_ORACLE").is_none();
        assert!(skipped, "{status}");
        println!("skipped: no Python or no Node.js for the MCP packages");
        true
    }
}

/// A server, with what was called there.
struct Server {
    address: SocketAddr,
    called: Arc<Mutex<Vec<String>>>,
    _running: Running,
    _input: ChildStdin,
}

impl Server {
    fn start(package: Package) -> Option<Self> {
        let mut script = Script::start(package.server);
        let Some(first) = script.next() else {
            script.is_skipped();
            return None;
        };
        let port = u16::try_from(first["port"].as_u64().unwrap()).unwrap();
        let Script {
            running,
            input,
            said,
        } = script;
        let called: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&called);
        // It ends with the server.
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(tool) = line["called"].as_str() {
                    noted.lock().unwrap().push(tool.to_owned());
                }
            }
        });
        Some(Server {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            called,
            _running: running,
            _input: input,
        })
    }

    fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }
}

struct Scene {
    around: Around,
    redis: Redis,
    server: Server,
    envoy: Envoy,
    _companion: Companion,
}

impl Scene {
    /// The first listener reads messages, and the second goes by the headers.
    fn start(package: Package) -> Option<Self> {
        let server = Server::start(package)?;
        let (redis, around) = (Redis::default(), Around::default());
        let companion = Companion::of(&redis.url()).started();
        let edge = |body: bool| {
            configuration(json!({
                "revocation": {"upstream": "feed", "max_staleness_s": 30, "poll_interval_ms": 200},
                "required_scopes": ["mcp:use"],
                "routes": {"/mcp": {"mcp": {
                    "tools": {"search": {}, "watch": {}, "delete_all": {"required_scopes": ["mcp:delete"]}},
                    "body": body,
                }}},
            }))
        };
        let envoy = around
            .setup_of(Setup::new([edge(true), edge(false)]))
            .cluster("upstream", server.address)
            .cluster("feed", companion.address)
            .shows_body()
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        let scene = Scene {
            around,
            redis,
            server,
            envoy,
            _companion: companion,
        };
        until("the edge is warm", SOON, || {
            [0, 1].iter().all(|listener| {
                let token = scene.token("warm", "mcp:use");
                let ask = |_| {
                    let mut client = Client::connect(scene.envoy.listener(*listener));
                    client.get("/elsewhere", Some(&token), &[]).status != 503
                };
                (0..8).all(ask)
            })
        });
        Some(scene)
    }

    fn token(&self, sid: &str, scope: &str) -> String {
        let claims = json!({"sid": sid, "root_sid": sid, "scope": scope});
        self.around.mandate(claims)
    }

    /// A client's work. While a call streams, its session is revoked.
    fn work(
        &self,
        package: Package,
        listener: usize,
        version: &str,
        sid: &str,
        scope: &str,
    ) -> Option<Vec<Value>> {
        let mut client = Script::start(package.client);
        let task = json!({
            "url": format!("http://{}/mcp", self.envoy.listener(listener)),
            "token": self.token(sid, scope), "version": version, "watch": true,
        });
        // It may have ended before it reads.
        let _ = writeln!(client.input, "{task}");
        let mut all = Vec::new();
        while let Some(said) = client.next() {
            if said["streaming"] == "begun" {
                let mut connection = self.redis.connection();
                let add = &["caracal.sessions.revoke", "*", "session_id", sid];
                let _: String = redis::cmd("XADD").arg(add).query(&mut connection).unwrap();
            }
            all.push(said);
        }
        if all.is_empty() && client.is_skipped() {
            return None;
        }
        Some(all)
    }
}

const ALL: &[&str] = &["delete_all", "search", "unlisted", "watch"];

/// What a client gets that may call all but `delete_all`: its tools, one result, two
/// refusals, and a stream that ends with the session.
#[track_caller]
fn is_as_configured(scene: &Scene, said: &[Value], version: &str) {
    let [first, streaming, last] = said else {
        panic!("{version}: {said:?}");
    };
    assert_eq!(first["version"], version, "{first}");
    assert_eq!(first["tools"], json!(ALL), "{version}");
    assert_eq!(first["search"]["text"], "found é", "{version} {first}");
    assert_eq!(
        first["search"]["statuses"],
        json!([200]),
        "{version} {first}"
    );
    for tool in ["delete_all", "unlisted"] {
        assert_eq!(first[tool]["statuses"], json!([403]), "{version} {first}");
        assert!(first[tool]["text"].is_null(), "{version} {first}");
    }
    assert_eq!(streaming["streaming"], "begun");
    // The call had begun well, and does not end well.
    assert!(last["watch"]["error"].is_string(), "{version} {last}");
    assert_eq!(last["watch"]["statuses"][0], 200, "{version} {last}");
    assert_eq!(scene.server.called(), ["search", "watch"], "{version}");
}

fn by_message(client: Package, server: Package, versions: &[&str]) {
    let Some(scene) = Scene::start(server) else {
        return;
    };
    for version in versions {
        let Some(said) = scene.work(client, 0, version, version, "mcp:use") else {
            return;
        };
        is_as_configured(&scene, &said, version);
    }
    let name = "caracal_streams_cut_total.reason=session_revoked";
    let cut = u64::try_from(versions.len()).unwrap();
    until("the streams are cut", SOON, || {
        scene.envoy.metric(name) >= cut
    });
}

#[test]
fn python_to_python() {
    by_message(PYTHON, PYTHON, &[&OLDER[..], &[NEWEST]].concat());
}

#[test]
fn python_to_typescript() {
    by_message(PYTHON, TYPESCRIPT, &OLDER);
}

#[test]
fn typescript_to_python() {
    by_message(TYPESCRIPT, PYTHON, &OLDER);
}

#[test]
fn typescript_to_typescript() {
    by_message(TYPESCRIPT, TYPESCRIPT, &OLDER);
}

#[test]
fn headers_decide_in_the_version_that_has_them() {
    let Some(scene) = Scene::start(PYTHON) else {
        return;
    };
    if let Some(said) = scene.work(PYTHON, 1, NEWEST, "newest", "mcp:use") {
        is_as_configured(&scene, &said, NEWEST);
    }
    // Who speaks an older one is refused before anything reaches the server.
    for package in [PYTHON, TYPESCRIPT] {
        for version in OLDER {
            let Some(said) = scene.work(package, 1, version, version, "mcp:use mcp:delete") else {
                return;
            };
            let [only] = said.as_slice() else {
                panic!("{said:?}");
            };
            assert!(only["failed"].is_string(), "{only}");
            assert_eq!(only["statuses"][0], 400, "{only}");
        }
    }
    assert_eq!(scene.server.called(), [""; 0]);
}
