//! Keeps a companion in touch with Redis.
//!
//! `target` finds it: one server, the master that Sentinels name, or a Cluster.
//! `connection` and `node` reach a server. `witness` asks who is the master, `testimony`
//! decides what follows from the answers, and `slots` are those of a Cluster. `tail`
//! gives this companion its own complete view of the streams, and `account` counts their
//! messages. `writer` and `scan` reconcile that view with the shared `store`. The store
//! takes `command`s, and each of its servers is a `shard`. `group` does what must happen
//! once among all companions. `script` has what Redis does in one step, `reply` reads its
//! answers, and `health` shows how all this is going. Each task has its own connection,
//! and starts again after any failure.

pub mod account;
pub mod command;
pub mod connection;
pub mod group;
pub mod health;
pub mod node;
pub mod publish;
pub mod reply;
pub mod scan;
pub mod script;
pub mod shard;
pub mod slots;
pub mod store;
pub mod tail;
pub mod target;
pub mod testimony;
pub mod witness;
pub mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use crate::Companion;
use crate::event::{HmacKey, Stream};
use health::Health;
use target::Target;

/// The keys of the shared store begin with this.
pub const KEY_PREFIX: &str = "caracal:revoked:sessions:";
/// Comes after the prefix in the key of a zone's epoch. Such a key is not an anchor.
pub const EPOCH_INFIX: &str = "delegation-epoch:";
/// Wait after the first failure. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// The settings for Redis.
#[derive(Clone)]
pub struct Consumer {
    /// The companion that they are for.
    pub companion: Companion,
    /// Where Redis is.
    pub target: Target,
    /// The key of the streams' signatures. Without one, every message is accepted.
    pub key: Option<HmacKey>,
    /// The consumer group.
    pub group: String,
    /// This companion's name in it.
    pub consumer: String,
    /// The longest time that a mandate is valid. After that, a missed revocation concerns
    /// nobody.
    pub lifetime: Duration,
}

/// What the tasks have in common.
#[derive(Clone)]
struct Tasks {
    settings: Arc<Consumer>,
    health: Arc<Health>,
    progress: Arc<Progress>,
    /// Requests an extra reading of the shared store.
    rescan: Arc<Notify>,
    /// Tells the group that a stream has new messages.
    news: Arc<BTreeMap<Stream, Notify>>,
}

impl Tasks {
    /// Names what a note about the store depends on: the reigns of its masters, and the
    /// key of the streams, because a companion with another key refuses other messages.
    fn tag(&self, store: &store::Store) -> String {
        let reigns = store.reigns();
        let key = self.key.as_ref().map(crate::event::HmacKey::name);
        if reigns.is_empty() && key.is_none() {
            return String::new();
        }
        let parts = [reigns, key.unwrap_or_default()];
        let mut digest = Sha256::digest(parts.join("\n")).to_vec();
        digest.truncate(8);
        hex::encode(digest)
    }
}

impl std::ops::Deref for Tasks {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        &self.settings
    }
}

/// How far the tails have read, and when the shared store was last read, for the tasks
/// that note it.
#[derive(Debug, Default)]
struct Progress {
    tails: Mutex<BTreeMap<Stream, Read>>,
    scan: Mutex<Option<Scanned>>,
}

/// The whole shared store was read, and it has everything that was held.
#[derive(Debug, Clone)]
struct Scanned {
    /// When the reading began.
    began: Instant,
    /// See [`Tasks::tag`].
    reigns: String,
}

/// A stream was read to its end.
#[derive(Debug, Clone)]
struct Read {
    /// Number of messages that had ever been added.
    counted: u64,
    /// Number of the last entry in the state's log.
    seq: u64,
    /// No message was missed.
    complete: bool,
    /// The reign of the server in which they were counted.
    reign: String,
}

impl Progress {
    fn set(&self, stream: Stream, read: Read) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.insert(stream, read);
    }

    fn get(&self) -> BTreeMap<Stream, Read> {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.clone()
    }

    fn scanned(&self, scan: Scanned) {
        *self.scan.lock().unwrap_or_else(PoisonError::into_inner) = Some(scan);
    }

    fn last_scan(&self) -> Option<Scanned> {
        let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.clone()
    }
}

/// Runs every task until the companion is told to stop. Each task finishes what it holds
/// first.
pub async fn run(consumer: Consumer) {
    let companion = consumer.companion.clone();
    let tasks = Tasks {
        health: Arc::new(Health::new(companion.clone(), consumer.target.name())),
        settings: Arc::new(consumer),
        progress: Arc::default(),
        rescan: Arc::default(),
        news: Arc::new(Stream::ALL.map(|stream| (stream, Notify::new())).into()),
    };
    let mut running = tokio::task::JoinSet::new();
    if let Some(witness) = tasks.target.witness() {
        running.spawn(Arc::clone(witness).run(companion));
    }
    for stream in Stream::ALL {
        running.spawn(tail::run(tasks.clone(), stream));
        running.spawn(group::run(tasks.clone(), stream));
    }
    running.spawn(scan::run(tasks.clone()));
    running.spawn(writer::run(tasks.clone()));
    running.spawn(Arc::clone(&tasks.health).run());
    while running.join_next().await.is_some() {}
    // This comes last, because a tail's reading names the consumer too.
    for stream in Stream::ALL {
        group::leave(&tasks, stream).await;
    }
}

/// Waits longer after each consecutive failure.
struct Backoff {
    task: String,
    wait: Duration,
}

impl Backoff {
    fn new(task: String) -> Self {
        Backoff {
            task,
            wait: FIRST_BACKOFF,
        }
    }

    /// Everything works, so the next failure counts as the first one.
    fn forget(&mut self, tasks: &Tasks) {
        self.wait = FIRST_BACKOFF;
        tasks.health.well(&self.task);
    }

    async fn failed(&mut self, tasks: &Tasks, error: &RedisError) {
        tasks.health.failed(&self.task, error);
        // 50 to 100 %, so that companions that lost Redis together drift apart.
        let wait = self.wait.mul_f64(rand::random_range(0.5..=1.0));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = tasks.companion.stopped() => {}
        }
        self.wait = self.wait.saturating_mul(2).min(MAX_BACKOFF);
    }
}

/// A key is being moved to another server.
fn is_moving(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN"))
}

/// Only one key or message has a wrong type; everything else works.
fn is_data_error(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

fn not_a_master() -> RedisError {
    (
        ErrorKind::Client,
        "this server is a replica, and a replica cannot confirm the state",
    )
        .into()
}
