//! What the tasks have in common: their settings, how far they are, and how long they wait
//! after a failure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::RedisError;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::health::Health;
use super::store::Store;
use super::target::Target;
use crate::Companion;
use crate::event::{HmacKey, Stream};

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
pub(super) struct Tasks {
    pub(super) settings: Arc<Consumer>,
    pub(super) health: Arc<Health>,
    pub(super) progress: Arc<Progress>,
    /// Requests an extra reading of the shared store.
    pub(super) rescan: Arc<Notify>,
    /// Tells the group that a stream has new messages.
    pub(super) news: Arc<BTreeMap<Stream, Notify>>,
}

impl Tasks {
    /// A tag of the store's masters and the stream key. A note about the store is valid
    /// only while this tag is the same: another master may have lost writes, and a
    /// companion with another key refuses other messages.
    pub(super) fn tag(&self, store: &Store) -> String {
        let reigns = store.reigns();
        let key = self.key.as_ref().map(HmacKey::name);
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
pub(super) struct Progress {
    tails: Mutex<BTreeMap<Stream, Read>>,
    scan: Mutex<Option<Scanned>>,
}

/// The whole shared store was read, and it has everything that was held.
#[derive(Debug, Clone)]
pub(super) struct Scanned {
    /// When the reading began.
    pub(super) began: Instant,
    /// See [`Tasks::tag`].
    pub(super) reigns: String,
}

/// A stream was read to its end.
#[derive(Debug, Clone)]
pub(super) struct Read {
    /// Number of messages that had ever been added.
    pub(super) counted: u64,
    /// Number of the last entry in the state's log.
    pub(super) seq: u64,
    /// No message was missed.
    pub(super) complete: bool,
    /// The reign of the server in which they were counted.
    pub(super) reign: String,
}

impl Progress {
    pub(super) fn set(&self, stream: Stream, read: Read) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.insert(stream, read);
    }

    pub(super) fn get(&self) -> BTreeMap<Stream, Read> {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.clone()
    }

    pub(super) fn scanned(&self, scan: Scanned) {
        *self.scan.lock().unwrap_or_else(PoisonError::into_inner) = Some(scan);
    }

    pub(super) fn last_scan(&self) -> Option<Scanned> {
        let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
        scan.clone()
    }
}

/// Waits longer after each consecutive failure.
pub(super) struct Backoff {
    task: String,
    wait: Duration,
}

impl Backoff {
    pub(super) fn new(task: String) -> Self {
        Backoff {
            task,
            wait: FIRST_BACKOFF,
        }
    }

    /// Everything works, so the next failure counts as the first one.
    pub(super) fn forget(&mut self, tasks: &Tasks) {
        self.wait = FIRST_BACKOFF;
        tasks.health.well(&self.task);
    }

    pub(super) async fn failed(&mut self, tasks: &Tasks, error: &RedisError) {
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
