//! gate.conf: default deny on plain nginx, as nginx itself reads and runs it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::processes::{folder, free_address, until};
use caracal_tests::servers::{Client, Incoming, Reply, Server, request};

use super::nginx::Directive;
use super::*;

/// Directives of ngx_wasm_module in gate.conf; those after the first two stand in the
/// first one's block.
const OF_THE_MODULE: [&str; 8] = [
    "wasm",
    "proxy_wasm",
    "module",
    "shm_kv",
    "resolver",
    "tls_trusted_certificate",
    "tls_verify_cert",
    "tls_verify_host",
];
/// Bytes that nginx reads into one parameter (`NGX_CONF_BUFFER`).
const LARGEST_PARAMETER: usize = 4096;

fn gate_conf() -> Vec<Directive> {
    nginx::read(&text("kong/gate.conf"))
}

/// The filter's configuration in gate.conf.
pub(super) fn gate_configuration() -> String {
    let gate = gate_conf();
    let every = nginx::every(&gate);
    let mut filters = every.iter().filter(|(_, d)| d.name == "proxy_wasm");
    let (around, filter) = filters.next().unwrap();
    assert_eq!(around, &["http", "server", "location"]);
    assert!(filters.next().is_none());
    assert_eq!(filter.arguments[0], FILTER);
    assert_eq!(filter.arguments.len(), 2);
    filter.arguments[1].clone()
}

#[test]
fn the_gate_s_configuration_is_taken_by_the_filter() {
    let written = gate_configuration();
    let parameter = written.len() + 2;
    assert!(parameter < LARGEST_PARAMETER, "{parameter} bytes");
    let said = checked(&file("kong/gate.conf"));
    assert_eq!(said["filter"], FILTER);
    has_the_example_s_rules(&said);
    let bare = folder("gate").join("filter.json");
    fs::write(&bare, written).unwrap();
    let said = checked(&bare);
    assert_eq!(said["configuration"]["host"], "kong");
    has_the_example_s_rules(&said);
}

/// What the filter sets, nginx declares and sends; and what clients may forge, it replaces.
#[test]
fn the_gate_s_variables_are_declared_and_sent() {
    let gate = gate_conf();
    let every = nginx::every(&gate);
    let at = |name: &str, place: &[&str]| -> Vec<&[String]> {
        let named = every.iter().filter(|(_, d)| d.name == name);
        let found: Vec<_> = named.collect();
        assert!(found.iter().all(|(around, _)| around == place), "{name}");
        found.iter().map(|(_, d)| d.arguments.as_slice()).collect()
    };
    let server = ["http", "server"];
    let location = ["http", "server", "location"];
    let declared: BTreeMap<&str, &str> = at("set", &server)
        .into_iter()
        .map(|set| (set[0].strip_prefix('$').unwrap(), set[1].as_str()))
        .collect();
    let sent: BTreeMap<&str, &str> = at("proxy_set_header", &location)
        .into_iter()
        .map(|set| (set[0].as_str(), set[1].as_str()))
        .collect();
    assert_eq!(at("underscores_in_headers", &["http"]), [["off"]]);

    let written: Value = serde_json::from_str(&gate_configuration()).unwrap();
    let variables = written["forward"]["variables"].as_object().unwrap();
    let defaults = schema()["properties"]["forward"]["default"]["headers"].clone();
    let defaults = defaults.as_object().unwrap();
    assert_eq!(variables.len(), defaults.len());
    for (header, claim) in defaults {
        let carrier = variables.iter().find(|(_, carried)| *carried == claim);
        let (variable, _) = carrier.unwrap_or_else(|| panic!("{claim} is in no variable"));
        assert_eq!(declared.get(variable.as_str()), Some(&""), "{variable}");
        let value = format!("${variable}");
        assert_eq!(sent.get(header.as_str()), Some(&value.as_str()), "{header}");
    }
    let opening = &written["forward"]["gate"];
    let variable = opening["variable"].as_str().unwrap();
    assert_eq!(declared.get(variable), Some(&"deny"));
    assert_eq!(declared.len(), variables.len() + 1);
    assert_eq!(sent.len(), defaults.len() + 3);
    let upstreams = at("upstream", &["http"]);
    assert_eq!(upstreams, [[opening["upstream"].as_str().unwrap()]]);
    let passes = at("proxy_pass", &location);
    assert_eq!(passes, [[format!("http://${variable}")]]);
}

/// The module reads `worker_processes` while it parses `wasm {}`, and the filter is named
/// only after that block has loaded it.
#[test]
fn the_directives_of_gate_conf_stand_in_the_order_that_the_module_needs() {
    let gate = gate_conf();
    let place = |name: &str| {
        let mut all = gate.iter().enumerate().filter(|(_, d)| d.name == name);
        let found = all.next().unwrap_or_else(|| panic!("no {name}")).0;
        assert!(all.next().is_none(), "{name} stands twice");
        found
    };
    assert!(place("worker_processes") < place("wasm"));
    assert!(place("wasm") < place("http"));
    let every = nginx::every(&gate);
    let first = |name: &str| every.iter().position(|(_, d)| d.name == name).unwrap();
    assert!(
        first("set") < first("location"),
        "declared before they are used"
    );
    assert!(first("upstream") < first("server") || first("upstream") < first("proxy_pass"));
}

/// gate.conf with its example for `auth_request` and `mirror`, which go to these.
fn with_subrequests(asked: SocketAddr, copied: SocketAddr) -> Vec<Directive> {
    let written = text("kong/gate.conf");
    let without = written.replace("        set $gate deny;\n", "");
    assert_ne!(written, without);
    let example = without
        .replace("#~ ", "")
        .replace("127.0.0.1:7703", &asked.to_string())
        .replace("127.0.0.1:7704", &copied.to_string());
    nginx::read(&example)
}

/// What the module sends before a refusal goes nowhere for a refused request, and does not
/// shut the gate for an admitted one.
#[test]
fn subrequests_go_by_the_gate() {
    let (service, seen) = service();
    let (asked, was_asked) = self::service();
    let (copied, was_copied) = self::service();
    let shut = with_subrequests(asked.address(), copied.address());
    let nginx = Nginx::start(&shut, service.address());
    assert_eq!(nginx.get("/", &[]), 502);
    // An inner request from outside is no way in.
    assert_eq!(nginx.get("/ask", &[]), 404);
    drop(nginx);
    let nobody =
        |all: [&Arc<Mutex<Vec<Incoming>>>; 3]| all.iter().all(|one| one.lock().unwrap().is_empty());
    assert!(nobody([&seen, &was_asked, &was_copied]));
    // The filter's part by hand: in the location, after the server's own lines.
    let mut open = shut;
    nginx::change(&mut open, "location", &mut |location| {
        if location.arguments == ["/"] {
            let block = location.block.as_mut().unwrap();
            block.insert(0, nginx::line("set", &["$gate", "billing"]));
        }
    });
    let nginx = Nginx::start(&open, service.address());
    assert_eq!(nginx.get("/", &[]), 200);
    until("the copy arrives", Duration::from_secs(20), || {
        !was_copied.lock().unwrap().is_empty()
    });
    for all in [&seen, &was_asked, &was_copied] {
        assert_eq!(all.lock().unwrap().len(), 1);
    }
}

/// An upgrade to WebSocket is passed on, and nobody else's connection is one.
#[test]
fn an_upgrade_is_passed_on() {
    let (service, seen) = service();
    let mut open = gate_conf();
    nginx::change(&mut open, "set", &mut |set| {
        if set.arguments[0] == "$gate" {
            set.arguments[1] = "billing".to_owned();
        }
    });
    let nginx = Nginx::start(&open, service.address());
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    assert_eq!(nginx.get("/", &upgrade), 200);
    assert_eq!(nginx.get("/", &[]), 200);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].all("upgrade"), ["websocket"]);
    assert_eq!(seen[0].all("connection"), ["upgrade"]);
    assert_eq!(seen[1].all("upgrade"), [""; 0]);
    assert_eq!(seen[1].all("connection"), [""; 0]);
}

#[test]
fn nothing_in_gate_conf_goes_past_a_refusal() {
    let gate = gate_conf();
    for (_, directive) in nginx::every(&gate) {
        let never = [
            "return",
            "rewrite",
            "try_files",
            "error_page",
            "mirror",
            "if",
        ];
        assert!(!never.contains(&directive.name.as_str()), "{directive:?}");
    }
}

#[test]
fn the_module_s_directives_in_gate_conf_are_the_known_ones() {
    let gate = gate_conf();
    let every = nginx::every(&gate);
    for name in OF_THE_MODULE {
        assert!(every.iter().any(|(_, d)| d.name == name), "no {name}");
    }
    let inside = every.iter().filter(|(around, _)| around == &["wasm"]);
    let mut inside: Vec<&str> = inside.map(|(_, d)| d.name.as_str()).collect();
    inside.sort_unstable();
    let mut expected = OF_THE_MODULE[2..].to_vec();
    expected.sort_unstable();
    assert_eq!(inside, expected);
    for (name, value) in [("tls_verify_cert", "on"), ("tls_verify_host", "on")] {
        let found = every.iter().find(|(_, d)| d.name == name).unwrap();
        assert_eq!(found.1.arguments, [value]);
    }
    let module = every.iter().find(|(_, d)| d.name == "module").unwrap();
    assert_eq!(module.1.arguments[0], FILTER);
    let environment = every.iter().filter(|(_, d)| d.name == "env");
    let environment: Vec<&str> = environment.map(|(_, d)| d.arguments[0].as_str()).collect();
    assert_eq!(environment, ENVIRONMENT);
}

/// Debian keeps it where a user's PATH may not look.
fn nginx_program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join("nginx"));
    let found = programs.find(|program| program.is_file());
    found.expect("nginx is missing: run `make nginx`")
}

/// gate.conf without what Debian's nginx does not know, listening elsewhere, with all
/// files in a folder of its own.
fn plain(gate: &[Directive], folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> PathBuf {
    let mut tree = gate.to_vec();
    nginx::without(&mut tree, &OF_THE_MODULE[..2]);
    let set = |to: String| move |directive: &mut Directive| directive.arguments = vec![to.clone()];
    nginx::change(&mut tree, "listen", &mut set(listen.to_string()));
    nginx::change(&mut tree, "upstream", &mut |group| {
        let block = group.block.as_mut().unwrap();
        nginx::change(block, "server", &mut set(upstream.to_string()));
    });
    nginx::change(&mut tree, "http", &mut |http| {
        let block = http.block.as_mut().unwrap();
        block.push(nginx::line("access_log", &["off"]));
        for name in ["client_body_temp_path", "proxy_temp_path"] {
            block.push(nginx::line(name, &[name]));
        }
    });
    for (name, value) in [("daemon", "off"), ("master_process", "off"), ("pid", "pid")] {
        tree.push(nginx::line(name, &[value]));
    }
    let written = folder.join("nginx.conf");
    fs::write(&written, nginx::write(&tree)).unwrap();
    written
}

fn nginx_with(folder: &Path, file: &Path) -> Command {
    let mut command = Command::new(nginx_program());
    command.arg("-p").arg(folder).arg("-c").arg(file);
    command.args(["-e", "error.log"]);
    command
}

/// An nginx of the test's own, stopped when dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(gate: &[Directive], upstream: SocketAddr) -> Self {
        let folder = folder("nginx");
        let address = free_address();
        let file = plain(gate, &folder, address, upstream);
        let tested = nginx_with(&folder, &file).arg("-t").output().unwrap();
        let said = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(tested.status.success(), "{said}");
        let mut command = nginx_with(&folder, &file);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { child, address };
        until("nginx listens", Duration::from_secs(20), || {
            Client::try_connect(address).is_ok()
        });
        nginx
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut client = Client::connect(self.address);
        let bytes = request("GET", path, headers);
        client.exchange(&bytes).unwrap().status
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service behind the edge, and what reached it.
fn service() -> (Server, Arc<Mutex<Vec<Incoming>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::clone(&seen);
    let server = Server::start(move |incoming| {
        known.lock().unwrap().push(incoming.clone());
        Reply::new(200, "the service")
    });
    (server, seen)
}

#[test]
fn nginx_reads_gate_conf() {
    let folder = folder("nginx");
    let nowhere = free_address();
    let file = plain(&gate_conf(), &folder, free_address(), nowhere);
    let tested = nginx_with(&folder, &file).arg("-t").output().unwrap();
    let said = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(tested.status.success(), "{said}");
    // The test would see a directive that nginx does not know.
    let mut wrong = gate_conf();
    wrong.push(nginx::line("no_such_directive", &["on"]));
    let file = plain(&wrong, &folder, free_address(), nowhere);
    let tested = nginx_with(&folder, &file).arg("-t").output().unwrap();
    assert!(!tested.status.success());
}

/// Where the filter did not run, nothing reaches the service, and nothing that a location
/// does instead changes that.
#[test]
fn the_gate_is_shut_without_the_filter() {
    let (service, seen) = service();
    let mut bypassed = gate_conf();
    nginx::change(&mut bypassed, "server", &mut |server| {
        let Some(block) = &mut server.block else {
            return;
        };
        let location = block.iter().find(|d| d.name == "location");
        let location = location.unwrap().clone();
        let mut named = location.clone();
        named.arguments = vec!["@named".to_owned()];
        let mut internal = location.clone();
        internal.arguments = vec!["/internal".to_owned()];
        for (path, line) in [
            ("/files", nginx::line("try_files", &["/none", "@named"])),
            (
                "/rewritten",
                nginx::line("rewrite", &["^", "/internal", "last"]),
            ),
        ] {
            let mut location = location.clone();
            location.arguments = vec![path.to_owned()];
            location.block.as_mut().unwrap().insert(0, line);
            block.push(location);
        }
        block.extend([named, internal]);
    });
    for gate in [gate_conf(), bypassed] {
        let nginx = Nginx::start(&gate, service.address());
        let all = [
            "/",
            "/healthz",
            "/payouts/1",
            "/files",
            "/rewritten",
            "/internal",
        ];
        for path in all {
            assert_eq!(nginx.get(path, &[]), 502, "{path}");
            let forged = [("x-caracal-sub", "admin"), ("gate", "billing")];
            assert_eq!(nginx.get(path, &forged), 502, "{path}");
        }
        assert_eq!(nginx.get("/?gate=billing", &[]), 502);
    }
    assert!(seen.lock().unwrap().is_empty());
}

/// The filter's part played by hand: what it would set is what the service gets, and
/// nothing that the client sent under the same names.
#[test]
fn an_open_gate_sends_what_the_variables_hold_and_nothing_of_the_client_s() {
    let (service, seen) = service();
    let mut open = gate_conf();
    nginx::change(&mut open, "set", &mut |set| {
        let value = match set.arguments[0].as_str() {
            "$gate" => "billing",
            "$caracal_sub" => "user-1",
            "$caracal_scope" => "a b",
            _ => return,
        };
        set.arguments[1] = value.to_owned();
    });
    let nginx = Nginx::start(&open, service.address());
    let forged = [
        ("X-Caracal-Sub", "admin"),
        ("x-caracal-sub", "root"),
        ("x_caracal_sub", "root"),
        ("x-caracal-client-id", "forged"),
        ("x-caracal-hop-count", "0"),
        ("x-other", "kept"),
    ];
    assert_eq!(nginx.get("/a%2Fb/./c?d", &forged), 200);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    let got = &seen[0];
    assert_eq!(got.target, "/a%2Fb/./c?d");
    assert_eq!(got.all("host"), ["edge.test"]);
    assert_eq!(got.all("x-caracal-sub"), ["user-1"]);
    assert_eq!(got.all("x-caracal-scope"), ["a b"]);
    assert_eq!(got.all("x-other"), ["kept"]);
    let ours = got
        .headers
        .iter()
        .filter(|(name, _)| name.contains("caracal"));
    assert_eq!(ours.count(), 2, "{:?}", got.headers);
}
