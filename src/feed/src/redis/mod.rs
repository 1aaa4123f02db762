//! Keeps a companion in touch with Redis: `target` finds and reaches it, `tail`
//! gives this companion its own complete view of the streams, `scan` of the
//! shared store, and `group` does what must happen once among all companions.
//! Each task has its own connection, and begins again after any failure.

pub mod group;
pub mod publish;
pub mod scan;
pub mod tail;
pub mod target;

use std::time::{Duration, Instant};

use redis::streams::StreamId;
use redis::{RedisError, Value};

use crate::Companion;
use crate::event::{Fields, HmacKey};
use target::Target;

/// Keys of the shared store begin so.
pub const KEY_PREFIX: &str = "caracal:revoked:sessions:";
/// Behind the prefix: a zone's epoch follows. It is no anchor.
pub const EPOCH_INFIX: &str = "delegation-epoch:";
/// First wait after a failure; it doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The same failure is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// What the tasks have in common.
#[derive(Clone)]
pub struct Consumer {
    /// Whose state it is about.
    pub companion: Companion,
    /// Where Redis is.
    pub target: Target,
    /// The key of the streams' signatures; none takes every message.
    pub key: Option<HmacKey>,
    /// The consumer group.
    pub group: String,
    /// This companion's name in it.
    pub consumer: String,
    /// Asks for a reading of the shared store out of turn.
    pub rescan: std::sync::Arc<tokio::sync::Notify>,
}

/// Runs every task until the companion is told to stop; each finishes what it
/// holds first.
pub async fn run(consumer: Consumer) {
    let mut tasks = tokio::task::JoinSet::new();
    for stream in crate::event::Stream::ALL {
        tasks.spawn(tail::run(consumer.clone(), stream));
        tasks.spawn(group::run(consumer.clone(), stream));
    }
    tasks.spawn(scan::run(consumer));
    while tasks.join_next().await.is_some() {}
}

/// Waits longer after each failure in a row, and logs not every one.
struct Backoff {
    task: String,
    wait: Duration,
    logged: Option<Instant>,
}

impl Backoff {
    fn new(task: String) -> Self {
        Backoff {
            task,
            wait: FIRST_BACKOFF,
            logged: None,
        }
    }

    /// All is well: the next failure is the first one.
    fn forget(&mut self) {
        self.wait = FIRST_BACKOFF;
    }

    async fn failed(&mut self, companion: &Companion, error: &RedisError) {
        companion.metrics.reconnect(&self.task);
        if self.logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(task = self.task, error = %error, "lost Redis, trying again");
        }
        // 50 to 100 %, so that companions that lost it together drift apart.
        let wait = self.wait.mul_f64(rand::random_range(0.5..=1.0));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = companion.stopped() => {}
        }
        self.wait = self.wait.saturating_mul(2).min(MAX_BACKOFF);
    }
}

/// A message's fields as bytes. What Redis says that is no text is left empty.
fn fields_of(message: StreamId) -> (String, Fields) {
    let fields = message.map.into_iter().map(|(name, value)| {
        let value = match value {
            Value::BulkString(bytes) => bytes,
            Value::SimpleString(text) => text.into_bytes(),
            Value::Int(number) => number.to_string().into_bytes(),
            _ => Vec::new(),
        };
        (name.into_bytes(), value)
    });
    (message.id, fields.collect())
}
