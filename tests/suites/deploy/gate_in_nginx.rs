//! gate.conf in a real nginx, without the module.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::processes::{folder, free_address, until};
use caracal_tests::servers::{Client, Incoming, Reply, Server, request};

use super::gate::{OF_THE_MODULE, gate_conf};
use super::nginx::Directive;
use super::*;

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

pub(super) fn nginx_with(folder: &Path, file: &Path) -> Command {
    let mut command = Command::new(nginx_program());
    command.arg("-p").arg(folder).arg("-c").arg(file);
    command.args(["-e", "error.log"]);
    command
}

/// An nginx of the test's own, stopped when dropped.
pub(super) struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    pub(super) fn start(gate: &[Directive], upstream: SocketAddr) -> Self {
        let folder = folder("nginx");
        let address = free_address();
        let file = plain(gate, &folder, address, upstream);
        let tested = nginx_with(&folder, &file).arg("-t").output().unwrap();
        let said = String::from_utf8_lossy(&tested.stderr).into_owned();
        assert!(tested.status.success(), "{said}");
        Nginx::of_file(&folder, &file, address)
    }

    /// One with a file that listens there.
    pub(super) fn of_file(folder: &Path, file: &Path, address: SocketAddr) -> Self {
        let mut command = nginx_with(folder, file);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let nginx = Nginx { child, address };
        until("nginx listens", Duration::from_secs(20), || {
            Client::try_connect(address).is_ok()
        });
        nginx
    }

    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
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
pub(super) fn started_service() -> (Server, Arc<Mutex<Vec<Incoming>>>) {
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
    let (service, seen) = started_service();
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
    let (service, seen) = started_service();
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
