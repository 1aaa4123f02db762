//! gate.conf: default deny on plain nginx, as nginx itself reads and runs it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::processes::{folder, until};
use caracal_tests::servers::Incoming;

use super::gate_in_nginx::{Nginx, started_service};
use super::nginx::Directive;
use super::*;

/// Directives of ngx_wasm_module in gate.conf; those after the first two stand in the
/// first one's block.
pub(super) const OF_THE_MODULE: [&str; 8] = [
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
pub(super) const LARGEST_PARAMETER: usize = 4096;

pub(super) fn gate_conf() -> Vec<Directive> {
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
pub(super) fn with_subrequests(asked: SocketAddr, copied: SocketAddr) -> Vec<Directive> {
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
    let (service, seen) = started_service();
    let (asked, was_asked) = started_service();
    let (copied, was_copied) = started_service();
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
    let (service, seen) = started_service();
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
