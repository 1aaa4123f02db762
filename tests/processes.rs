//! Real programs around the edge: Redis, the companion, and a wire between them
//! that can be cut. Each is stopped by its process id when dropped.

mod companion;
mod sts;
mod wire;

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use companion::Companion;
pub use sts::{GATEWAY_KEY, Sts, form};
pub use wire::{Mode, Wire};

use crate::servers::{self, Client, Response};

/// Longest wait for a program to be there.
const START: Duration = Duration::from_secs(20);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An address on loopback that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A port that nobody listens on, on any address of this machine.
pub fn free_port_everywhere() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A new folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let path = std::env::temp_dir().join(format!("caracal-{name}-{}-{count}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    // As its files have to be: a companion uses no folder that others can write.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .unwrap();
    path
}

/// The filter with the hooks of `test-hooks` in it, which `make hooks` builds. It is not
/// beside the usual one, where somebody could take it for that.
pub fn filter_with_hooks() -> PathBuf {
    hook("caracal_filter_hooks.wasm")
}

/// A filter that reads and writes shared data as a request tells it.
pub fn other_plugin() -> PathBuf {
    hook("other_plugin.wasm")
}

fn hook(file: &str) -> PathBuf {
    let path = crate::root().join("run/hooks").join(file);
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

/// Processor time that the threads of a process have taken so far.
pub fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |thread: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    // A thread may end while it is read.
    Duration::from_nanos(threads.filter_map(of_thread).sum())
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
