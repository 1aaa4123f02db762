//! Real programs around the edge: Redis, the companion, and a wire between them
//! that can be cut. Each is stopped by its process id when dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::{self, Client, Response};

/// Longest wait for a program to be there.
const START: Duration = Duration::from_secs(20);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An address on loopback that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A new folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let path = std::env::temp_dir().join(format!("caracal-{name}-{}-{count}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// The filter with the hooks of `test-hooks` in it, which `make hooks` builds. It is not
/// beside the usual one, where somebody could take it for that.
pub fn filter_with_hooks() -> PathBuf {
    let path = crate::root().join("run/hooks/caracal_filter_hooks.wasm");
    assert!(
        path.is_file(),
        "{} is missing: run `make test`",
        path.display()
    );
    path
}

/// How long a server may be too busy for a connection.
const BUSY: Duration = Duration::from_secs(30);

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program on PATH.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
        .unwrap_or_else(|| panic!("{name} is missing: run `make redis`"))
}

/// A program that was started, with its output in a file.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let other = log.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(other).stderr(log);
        Process {
            child: command.process_group(0).spawn().unwrap(),
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// At once, as the kernel would.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Resident memory, in bytes.
    fn resident(&self) -> u64 {
        resident(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

/// A Redis server that writes everything to its disk before it answers.
pub struct Redis {
    process: Option<Process>,
    pub address: SocketAddr,
    pub folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
}

impl Default for Redis {
    fn default() -> Self {
        Redis::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }
}

impl Redis {
    pub fn start(arguments: &[&str]) -> Self {
        Redis::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], environment: &[(&str, PathBuf)]) -> Self {
        let environment = environment.iter();
        let mut redis = Redis {
            environment: environment
                .map(|(n, v)| ((*n).to_owned(), v.clone()))
                .collect(),
            process: None,
            address: free_address(),
            folder: folder("redis"),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        };
        redis.restart();
        redis
    }

    /// A Sentinel that watches a master under the name `caracal`.
    pub fn start_sentinel(master: SocketAddr) -> Self {
        let file = folder("sentinel").join("sentinel.conf");
        let watch = format!("sentinel monitor caracal 127.0.0.1 {} 1\n", master.port());
        fs::write(&file, watch).unwrap();
        Redis::start(&[file.to_str().unwrap(), "--sentinel"])
    }

    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(program("redis-server"));
        // A configuration file comes first.
        let (file, options): (Vec<&String>, Vec<&String>) = self
            .arguments
            .iter()
            .partition(|argument| argument.ends_with(".conf"));
        if file.is_empty() {
            command.args(["--save", "", "--enable-debug-command", "yes"]);
        }
        let mut all: Vec<String> = file.into_iter().cloned().collect();
        for word in ["--bind", "127.0.0.1", "--port"] {
            all.push(word.to_owned());
        }
        all.push(self.address.port().to_string());
        all.push("--dir".to_owned());
        all.push(self.folder.to_str().unwrap().to_owned());
        all.extend(options.into_iter().cloned());
        let saving: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut command = Command::new(program("redis-server"));
        command.args(all).args(saving);
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        self.process = Some(Process::start(&mut command, &self.folder.join("redis.log")));
        until("Redis answers", START, || self.try_connect().is_some());
    }

    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn try_connect(&self) -> Option<redis::Connection> {
        let client = redis::Client::open(self.url()).ok()?;
        let mut connection = client
            .get_connection_with_timeout(Duration::from_secs(2))
            .ok()?;
        // A server that demands a password is there too.
        match redis::cmd("PING").query::<String>(&mut connection) {
            Ok(_) => Some(connection),
            Err(error) if error.code() == Some("NOAUTH") => Some(connection),
            Err(_) => None,
        }
    }

    /// Waits for a server that is busy: with 2 GB of messages one may be for seconds.
    pub fn connection(&self) -> redis::Connection {
        let since = Instant::now();
        loop {
            if let Some(connection) = self.try_connect() {
                return connection;
            }
            assert!(since.elapsed() < BUSY, "Redis is there");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One command on a connection of its own.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut self.connection()).unwrap()
    }
}

/// `caracal-edge feed`.
pub struct Companion {
    process: Option<Process>,
    pub address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    files: Option<String>,
}

impl Companion {
    pub fn new(arguments: &[&str]) -> Self {
        Companion {
            process: None,
            address: free_address(),
            folder: folder("companion"),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment: Vec::new(),
            files: None,
        }
    }

    /// Starts with so many open files allowed, and may raise that to the second
    /// number.
    pub fn files(mut self, soft: u32, hard: u32) -> Self {
        self.files = Some(format!("--nofile={soft}:{hard}"));
        self
    }

    /// With more arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.add(arguments);
        self
    }

    /// Adds arguments.
    pub fn add(&mut self, arguments: &[&str]) {
        let arguments = arguments.iter().map(|word| (*word).to_owned());
        self.arguments.extend(arguments);
    }

    pub fn of(redis_url: &str) -> Self {
        Companion::new(&["--redis-url", redis_url])
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, or starts it again at the same address, and waits until it
    /// answers.
    pub fn start(&mut self) {
        self.spawn();
        until("the companion answers", START, || {
            self.try_get("/healthz").is_some()
        });
    }

    /// The same, and until it has read everything.
    pub fn started(mut self) -> Self {
        self.start();
        until("the companion is ready", START, || self.is_ready());
        self
    }

    fn spawn(&mut self) {
        self.kill();
        let program = crate::root().join("dist/caracal-edge");
        let mut command = match &self.files {
            None => Command::new(program),
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(limit).arg(program);
                command
            }
        };
        command
            .args(["feed", "--listen", &self.address.to_string()])
            .args(&self.arguments)
            .env_remove("REDIS_URL")
            .env_remove("STREAMS_HMAC_KEY")
            .env_remove("CARACAL_FEED_TOKEN")
            .envs(self.environment.iter().map(|(n, v)| (n, v)));
        self.process = Some(Process::start(&mut command, &self.log_file()));
    }

    /// The same, of one that does not speak plain HTTP.
    pub fn listening(mut self) -> Self {
        self.spawn();
        until("the companion listens", START, || {
            self.log().contains("listening on")
        });
        self
    }

    /// Its exit status, when it does not even start.
    pub fn fails(mut self) -> (Option<i32>, String) {
        self.spawn();
        let process = self.process.as_mut().unwrap();
        let since = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            assert!(since.elapsed() < START, "it runs: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As the kernel would (`kill -9`).
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// SIGSTOP: it stands still until it is resumed.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal("-STOP");
    }

    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal("-CONT");
    }

    /// SIGHUP: it reads its certificate again.
    pub fn hang_up(&self) {
        self.process.as_ref().unwrap().signal("-HUP");
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// SIGTERM; its exit status.
    pub fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        process.signal("-TERM");
        let since = Instant::now();
        loop {
            if let Some(status) = process.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(since.elapsed() < START, "it does not stop: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn resident(&self) -> u64 {
        self.process.as_ref().unwrap().resident()
    }

    pub fn try_get(&self, path: &str) -> Option<Response> {
        let request = servers::request("GET", path, &[("connection", "close")]);
        Client::try_connect(self.address)
            .ok()?
            .exchange(&request)
            .ok()
    }

    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).expect("the companion answers")
    }

    pub fn is_ready(&self) -> bool {
        self.try_get("/readyz")
            .is_some_and(|answer| answer.status == 200)
    }

    pub fn post(&self, path: &str, body: &Value, token: Option<&str>) -> Response {
        let body = body.to_string();
        let (size, bearer) = (
            body.len().to_string(),
            format!("Bearer {}", token.unwrap_or("none")),
        );
        let headers = [
            ("content-type", "application/json"),
            ("content-length", size.as_str()),
            ("authorization", bearer.as_str()),
        ];
        let mut bytes = servers::request("POST", path, &headers);
        bytes.extend_from_slice(body.as_bytes());
        Client::connect(self.address).exchange(&bytes).unwrap()
    }

    /// Whether an anchor is revoked, as the companion says.
    pub fn has_revoked(&self, anchor: &str) -> bool {
        let answer = self.post("/v1/check", &serde_json::json!({"anchors": [anchor]}), None);
        answer.status == 200
            && answer.json()["revoked"]
                .as_array()
                .is_some_and(|r| !r.is_empty())
    }

    /// A sample of its metrics, 0 when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            .unwrap_or(0.0)
    }
}

/// What a wire does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes it on.
    Pass,
    /// Keeps the connections and passes nothing on: a network that is cut.
    Cut,
    /// Passes everything on but acknowledgements, and nothing after one.
    SwallowAcknowledgements,
}

/// A TCP wire to a server, under the test's control.
pub struct Wire {
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Wire {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(AtomicU8::new(0)),
            open: Arc::default(),
        };
        let (mode, open) = (Arc::clone(&wire.mode), Arc::clone(&wire.open));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.lock().unwrap().push(from.try_clone().unwrap());
                    let mode = Arc::clone(&mode);
                    std::thread::spawn(move || pass(&from, &to, &mode));
                }
            }
        });
        wire
    }

    /// A change of mode; connections that swallowed something are of no use any
    /// more and end.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Pass {
            for connection in self.open.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, mode: &AtomicU8) {
    let mut buffer = vec![0; 64 * 1024];
    let mut dumb = false;
    while let Ok(size) = from.read(&mut buffer) {
        if size == 0 {
            break;
        }
        let bytes = &buffer[..size];
        let mode = mode.load(Ordering::SeqCst);
        let acknowledges = bytes.windows(4).any(|word| word == b"XACK");
        dumb |= mode == Mode::Cut as u8;
        dumb |= mode == Mode::SwallowAcknowledgements as u8 && acknowledges;
        if !dumb && to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
