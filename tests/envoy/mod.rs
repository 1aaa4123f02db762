//! A real Envoy that loads the real wasm file, on its own ports.
//!
//! This module finds, configures, starts, asks and stops it.

mod bootstrap;
mod clock;
mod paths;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use clock::{Clock, clock_shim};
pub use paths::Paths;

use crate::servers::{self, Response};

/// Time for Envoy to start. Many listeners on a busy machine take a while.
const START: Duration = Duration::from_secs(90);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What an Envoy is started with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The configuration of each listener's filter, byte for byte.
    pub configurations: Vec<String>,
    /// Cluster name to address, the protected upstream's (`upstream`) among them.
    pub clusters: Vec<(String, SocketAddr)>,
    /// Clusters, by name, that exist only after a health check. Until then Envoy accepts
    /// no call to them.
    pub warming: Vec<String>,
    /// Clusters, by name, that are called over HTTP/2 without TLS.
    pub http2: Vec<String>,
    /// Envoy turns gRPC-Web into gRPC behind the filter.
    pub grpc_web: bool,
    /// The VM's environment.
    pub environment: Vec<(String, String)>,
    /// The process's environment that the VM may read (`host_env_keys`).
    pub host_environment: Vec<(String, String)>,
    /// Clusters that are called over TLS as `localhost`, with the CA of each.
    pub trusted: Vec<(String, PathBuf)>,
    /// What each listener does to paths before the filter sees them. If this is empty, no
    /// listener does anything.
    pub paths: Vec<Paths>,
    /// The virtual hosts of every listener. Without any, all requests go to `upstream`.
    pub virtual_hosts: Option<Value>,
    /// A client's address is the one that connects, whatever it says in `x-forwarded-for`,
    /// and its request id is kept.
    pub use_remote_address: bool,
    /// Listeners come from a file that can be changed ([`Envoy::reconfigure`]).
    pub reloadable: bool,
    /// The wall clock in seconds, if it stands still.
    pub frozen_at: Option<u64>,
    /// The file that says how far the wall clock is off.
    pub clock: Option<PathBuf>,
    /// The filter's file, instead of the usual one.
    pub wasm: Option<PathBuf>,
    /// Files of the listeners' filters, in their order, instead of `wasm`.
    pub wasm_of_each: Vec<PathBuf>,
    /// The `vm_id` of every filter, instead of the usual one.
    pub vm_id: Option<String>,
    /// How long Envoy keeps connections that a new configuration has replaced, in seconds; 1
    /// if it is not said.
    pub drain_s: Option<u32>,
    /// While a filter holds a request's headers, Envoy shows it the body
    /// (`allow_on_headers_stop_iteration`).
    pub shows_body: bool,
}

impl Setup {
    pub fn new(configurations: impl IntoIterator<Item = Value>) -> Self {
        Setup {
            configurations: configurations.into_iter().map(|c| c.to_string()).collect(),
            ..Setup::default()
        }
    }

    pub fn cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.clusters.push((name.to_owned(), address));
        self
    }

    /// A cluster that needs a health check first.
    pub fn warming(mut self, name: &str, address: SocketAddr) -> Self {
        self.warming.push(name.to_owned());
        self.cluster(name, address)
    }

    /// A cluster that is called over HTTP/2.
    pub fn http2_cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.http2.push(name.to_owned());
        self.cluster(name, address)
    }

    pub fn paths(mut self, paths: impl IntoIterator<Item = Paths>) -> Self {
        self.paths = paths.into_iter().collect();
        self
    }

    pub fn virtual_hosts(mut self, virtual_hosts: Value) -> Self {
        self.virtual_hosts = Some(virtual_hosts);
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn host_environment(mut self, name: &str, value: &str) -> Self {
        self.host_environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn trusted(mut self, cluster: &str, ca: PathBuf) -> Self {
        self.trusted.push((cluster.to_owned(), ca));
        self
    }

    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.file.clone());
        self
    }

    pub fn shows_body(mut self) -> Self {
        self.shows_body = true;
        self
    }

    pub fn wasm(mut self, file: PathBuf) -> Self {
        self.wasm = Some(file);
        self
    }

    /// Starts it with two workers. If Envoy exits instead of serving, the error is its
    /// log.
    pub fn start(&self) -> Result<Envoy, String> {
        Envoy::start(self)
    }
}

/// Envoy reads the file again when another one takes its place.
fn write_listeners(setup: &Setup, folder: &std::path::Path) {
    let file = folder.join("listeners.json");
    let new = folder.join("listeners.new");
    fs::write(&new, bootstrap::listeners(setup, folder).to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

/// A running Envoy; it is stopped when dropped.
pub struct Envoy {
    child: Child,
    folder: PathBuf,
    admin: SocketAddr,
    listeners: Vec<SocketAddr>,
}

impl Envoy {
    fn start(setup: &Setup) -> Result<Self, String> {
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let folder =
            std::env::temp_dir().join(format!("caracal-envoy-{}-{count}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("envoy.json");
        let text = bootstrap::bootstrap(setup, &folder).to_string();
        fs::write(&config, text).unwrap();
        if setup.reloadable {
            write_listeners(setup, &folder);
        }
        let log = fs::File::create(folder.join("envoy.log")).unwrap();
        let mut command = Command::new(binary());
        command
            .arg("-c")
            .arg(config)
            .args(["--concurrency", "2", "--use-dynamic-base-id"])
            .args(["-l", "warning", "--component-log-level", "wasm:debug"])
            .args(["--drain-time-s", &setup.drain_s.unwrap_or(1).to_string()])
            .arg("--admin-address-path")
            .arg(folder.join("admin"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command.envs(setup.host_environment.iter().map(|(n, v)| (n, v)));
        if let Some(at) = setup.frozen_at {
            command
                .env("LD_PRELOAD", clock_shim())
                .env("CARACAL_FROZEN_AT", at.to_string());
        }
        if let Some(file) = &setup.clock {
            command
                .env("LD_PRELOAD", clock_shim())
                .env("CARACAL_CLOCK_FILE", file);
        }
        let mut envoy = Envoy {
            child: command.spawn().unwrap(),
            folder,
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listeners: Vec::new(),
        };
        let since = Instant::now();
        while !envoy.is_ready(setup.configurations.len()) {
            if envoy.child.try_wait().unwrap().is_some() {
                return Err(envoy.log());
            }
            assert!(
                since.elapsed() < START,
                "Envoy did not start: {}",
                envoy.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(envoy)
    }

    /// Gives the listeners another configuration, as a control plane does (LDS). The setup
    /// is `reloadable`.
    pub fn reconfigure(&self, setup: &Setup) {
        write_listeners(setup, &self.folder);
    }

    fn is_ready(&mut self, listeners: usize) -> bool {
        let admin = fs::read_to_string(self.folder.join("admin")).unwrap_or_default();
        let Ok(admin) = admin.trim().parse() else {
            return false;
        };
        self.admin = admin;
        if self.ask("/ready").status != 200 {
            return false;
        }
        let known = self.ask("/listeners?format=json").json();
        let mut found: Vec<(usize, SocketAddr)> = known["listener_statuses"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|listener| {
                let number = listener["name"].as_str()?.parse().ok()?;
                let port = listener["local_address"]["socket_address"]["port_value"].as_u64()?;
                Some((
                    number,
                    SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)),
                ))
            })
            .collect();
        found.sort_unstable();
        self.listeners = found.into_iter().map(|(_, address)| address).collect();
        self.listeners.len() == listeners
    }

    /// The address of the listener with this configuration.
    pub fn listener(&self, number: usize) -> SocketAddr {
        self.listeners[number]
    }

    /// The address of the admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    fn ask(&self, path: &str) -> Response {
        let request = servers::request("GET", path, &[("connection", "close")]);
        let gone = Response {
            status: 0,
            headers: Vec::new(),
            body: Vec::new(),
        };
        let client = servers::Client::try_connect(self.admin);
        client
            .and_then(|mut client| client.exchange(&request))
            .unwrap_or(gone)
    }

    /// A counter or gauge of the filter by its flat name, 0 when it was never defined.
    pub fn metric(&self, name: &str) -> u64 {
        assert!(!name.contains('{'), "{name} is its name for Prometheus");
        let stats = self.ask("/stats?usedonly&filter=caracal_");
        let text = String::from_utf8_lossy(&stats.body).into_owned();
        let wanted = format!("wasmcustom.{name}: ");
        text.lines()
            .find_map(|line| line.strip_prefix(&wanted)?.parse().ok())
            .unwrap_or(0)
    }

    /// Envoy's own counters and gauges whose names contain this, a line for each.
    pub fn stats(&self, filter: &str) -> String {
        let stats = self.ask(&format!("/stats?filter={filter}"));
        String::from_utf8_lossy(&stats.body).into_owned()
    }

    /// The filter's metrics as Prometheus gets them, a line for each.
    pub fn prometheus(&self) -> Vec<String> {
        let stats = self.ask("/stats/prometheus?usedonly&filter=caracal_");
        let text = String::from_utf8_lossy(&stats.body).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// All of them, also those that have counted nothing.
    pub fn every_metric(&self) -> String {
        let stats = self.ask("/stats/prometheus?filter=caracal_");
        String::from_utf8_lossy(&stats.body).into_owned()
    }

    /// The configuration that everybody who reaches the admin port can read.
    pub fn config_dump(&self) -> String {
        String::from_utf8(self.ask("/config_dump").body).unwrap()
    }

    /// What Envoy and the filter have logged, at every level.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("envoy.log")).unwrap_or_default()
    }

    /// How many lines of the log contain a text.
    pub fn logged(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    /// The access log, an object for each request. A line that is still being written
    /// does not count yet.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        let written = text.rfind('\n').map_or("", |end| &text[..end]);
        written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        crate::processes::resident(self.child.id())
    }

    /// Processor time that its threads have taken so far.
    pub fn processor_time(&self) -> Duration {
        crate::processes::processor_time(self.child.id())
    }

    /// SIGSTOP: it stops until it is resumed.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// `ENVOY`, or the one that the Makefile installs.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("ENVOY").map_or_else(
        || crate::root().join(".tools/envoy/envoy/_bin/envoy"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is missing: run `make envoy`, or say with ENVOY= where one is",
        path.display()
    );
    path
}
