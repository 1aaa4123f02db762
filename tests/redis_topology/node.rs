//! One Redis server or Sentinel of a topology.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::WHOLE;
use super::network::{Network, Site, Wire, ip};
use crate::processes::{Process, folder, program, until};

const START: Duration = Duration::from_secs(20);

/// Who may speak to a server, and how. Each part can be left out.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The default user's password.
    pub password: Option<String>,
    /// An ACL user besides, with a password.
    pub user: Option<(String, String)>,
    /// A certificate's files: it listens with TLS too.
    pub tls: Option<Certificate>,
}

/// A certificate that is its own authority.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Default for Certificate {
    fn default() -> Self {
        let mut names = vec!["localhost".to_owned()];
        names.extend((0..32).map(|site| ip(site).to_string()));
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = folder("tls");
        let all = Certificate {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        fs::write(&all.certificate, made.cert.pem()).unwrap();
        fs::write(&all.key, made.signing_key.serialize_pem()).unwrap();
        all
    }
}

impl Certificate {
    pub fn authority(&self) -> &str {
        self.certificate.to_str().unwrap()
    }
}

/// A port of a site that nobody listens on.
pub fn free_port(site: Site) -> u16 {
    let listener = TcpListener::bind((ip(site), 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A server with its wires. Tests speak to it directly, nodes and companions
/// through a wire.
pub struct Node {
    pub site: Site,
    /// Without TLS, and without a wire.
    pub direct: SocketAddr,
    /// The same through a wire.
    pub plain: Wire,
    /// With TLS, through a wire.
    pub tls: Option<Wire>,
    /// A cluster's bus.
    pub bus: Option<Wire>,
    /// By how many seconds its wall clock is wrong, from its next start.
    pub skew_s: i64,
    pub folder: PathBuf,
    access: Access,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Node {
    /// A server that is not started yet.
    pub fn new(network: &Network, site: Site, access: &Access) -> Self {
        let direct = SocketAddr::from((ip(site), free_port(site)));
        let mut node = Node {
            site,
            direct,
            plain: network.wire(site, direct),
            tls: None,
            bus: None,
            skew_s: 0,
            folder: folder("node"),
            access: access.clone(),
            arguments: Vec::new(),
            process: None,
        };
        node.say(&[
            "--bind",
            &ip(site).to_string(),
            "--bind-source-addr",
            &ip(site).to_string(),
        ]);
        node.say(&["--port", &direct.port().to_string()]);
        node.say(&["--protected-mode", "no"]);
        let dir = node.folder.to_str().unwrap().to_owned();
        node.say(&["--dir", &dir]);
        if let Some(certificate) = &access.tls {
            let port = free_port(site);
            let address = SocketAddr::from((ip(site), port));
            node.tls = Some(network.wire(site, address));
            let (pem, key) = (
                certificate.authority().to_owned(),
                certificate.key.to_str().unwrap().to_owned(),
            );
            node.say(&["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
            node.say(&["--tls-cert-file", &pem, "--tls-key-file", &key]);
            node.say(&["--tls-ca-cert-file", &pem]);
        }
        node
    }

    /// Adds arguments.
    pub fn say(&mut self, words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_owned());
        self.arguments.extend(words);
    }

    /// What a server of data needs to be found under its wire's name, and to find
    /// a master.
    pub fn as_replicated(&mut self) {
        let wire = self.announced();
        let (host, port) = (wire.ip().to_string(), wire.port().to_string());
        self.say(&[
            "--replica-announce-ip",
            &host,
            "--replica-announce-port",
            &port,
        ]);
        self.say(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]);
        self.say(&["--repl-timeout", "5", "--repl-ping-replica-period", "1"]);
        self.with_passwords();
        if self.tls.is_some() {
            self.say(&["--tls-replication", "yes"]);
        }
    }

    /// Its passwords, and those it uses to reach a master.
    pub fn with_passwords(&mut self) {
        if let Some(password) = self.access.password.clone() {
            self.say(&["--requirepass", &password, "--masterauth", &password]);
        }
        if let Some((user, password)) = self.access.user.clone() {
            let password = format!(">{password}");
            self.say(&["--user", &user, "on", &password, "~*", "&*", "+@all"]);
        }
    }

    /// Where other nodes and companions reach it.
    pub fn announced(&self) -> SocketAddr {
        self.tls.as_ref().unwrap_or(&self.plain).address
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it, or starts it again with what its disk holds.
    pub fn start(&mut self) {
        self.kill();
        let mut command = Command::new(program("redis-server"));
        command.args(["--save", "", "--enable-debug-command", "yes"]);
        command.args(&self.arguments);
        if self.skew_s != 0 {
            command.env("LD_PRELOAD", crate::envoy::clock_shim());
            command.env("CARACAL_CLOCK_OFF_BY", self.skew_s.to_string());
            // The thread with which it frees memory sleeps until a time of the wall clock.
            // With a wrong one it would never sleep, and take a whole processor.
            command.args(["--jemalloc-bg-thread", "no"]);
        }
        self.started(&mut command);
    }

    fn started(&mut self, command: &mut Command) {
        self.process = Some(Process::start(command, &self.log_file()));
        until("Redis answers", START, || self.try_connection().is_some());
    }

    /// Starts it as a Sentinel, whose file it writes to.
    pub fn start_sentinel(&mut self, file: &Path) {
        self.kill();
        let mut command = Command::new(program("redis-server"));
        command.arg(file).arg("--sentinel").args(&self.arguments);
        self.started(&mut command);
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("redis.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    pub fn pause(&self) {
        self.process.as_ref().unwrap().signal("-STOP");
    }

    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal("-CONT");
    }

    pub fn try_connection(&self) -> Option<redis::Connection> {
        let password = self.access.password.as_ref();
        let login = password.map_or(String::new(), |password| format!("default:{password}@"));
        let client = redis::Client::open(format!("redis://{login}{}", self.direct)).ok()?;
        let mut connection = client
            .get_connection_with_timeout(Duration::from_secs(2))
            .ok()?;
        for set in [
            redis::Connection::set_read_timeout,
            redis::Connection::set_write_timeout,
        ] {
            set(&connection, Some(Duration::from_secs(5))).ok()?;
        }
        match redis::cmd("PING").query::<String>(&mut connection) {
            Ok(_) => Some(connection),
            // It answers, and that is all that is asked here.
            Err(error) if error.code() == Some("LOADING") => None,
            Err(error) if error.code() == Some("MASTERDOWN") => Some(connection),
            Err(_) => None,
        }
    }

    /// One command on a connection of its own.
    pub fn try_ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self
            .try_connection()
            .ok_or_else(|| std::io::Error::other("no connection"))?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection)
    }

    /// The same. A node of a Cluster refuses commands until it has heard of an election's
    /// end: that is waited for.
    #[track_caller]
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        once_up(|| self.try_ask(words)).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn is_master(&self) -> bool {
        self.is_running()
            && self
                .try_ask::<String>(&["INFO", "replication"])
                .is_ok_and(|info| info.contains("role:master"))
    }

    /// A replica that is in touch with its master.
    pub fn is_synced(&self) -> bool {
        self.try_ask::<String>(&["INFO", "replication"])
            .is_ok_and(|info| info.contains("master_link_status:up"))
    }

    /// A replica that holds as much as its master: the link's state alone may be
    /// that of a connection which is about to end.
    pub fn has_all_of(&self, master: &Node) -> bool {
        let length = |node: &Node| node.try_ask::<u64>(&["XLEN", "caracal.sessions.revoke"]);
        let (ours, theirs) = (length(self), length(master));
        self.is_synced() && ours.is_ok() && ours.ok() == theirs.ok()
    }

    pub fn follow(&self, master: &Node) {
        let at = master.announced();
        let () = self.ask(&["REPLICAOF", &at.ip().to_string(), &at.port().to_string()]);
    }

    /// Revokes a session; when it was acknowledged.
    pub fn try_revoke(&self, sid: &str) -> Option<Instant> {
        self.try_ask::<String>(&revocation(sid))
            .ok()
            .map(|_| Instant::now())
    }

    #[track_caller]
    pub fn revoke(&self, sid: &str) -> Instant {
        let _: String = self.ask(&revocation(sid));
        Instant::now()
    }
}

/// The command that revokes a session.
fn revocation(sid: &str) -> [&str; 10] {
    let [stream, most] = ["caracal.sessions.revoke", "100000"];
    [
        "XADD",
        stream,
        "MAXLEN",
        "~",
        most,
        "*",
        "zone_id",
        "z",
        "session_id",
        sid,
    ]
}

/// Asks again while a node says that its Cluster is down.
fn once_up<T>(mut ask: impl FnMut() -> redis::RedisResult<T>) -> redis::RedisResult<T> {
    let since = Instant::now();
    loop {
        match ask() {
            Err(error) if error.code() == Some("CLUSTERDOWN") && since.elapsed() < WHOLE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(8);
            eprintln!(
                "node {} ({}): {}",
                self.site,
                self.direct,
                lines[last..].join("\n")
            );
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
