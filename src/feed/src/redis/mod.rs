//! Keeps a companion in touch with Redis.
//!
//! `target` finds it: one server, the master that Sentinels name, or a Cluster.
//! `connection` and `node` reach a server. `witness` asks who is the master, `testimony`
//! decides what follows from the answers, and `slots` are those of a Cluster. `tail`
//! gives this companion its own complete view of the streams, and `account` counts their
//! messages. `writer` and `scan` reconcile that view with the shared `store`. The store
//! takes `command`s, and each of its servers is a `shard`. `group` does what must happen
//! once among all companions. `script` has what Redis does in one step, `reply` reads its
//! answers, `errors` tells failures apart, and `health` shows how all this is going.
//! `tasks` is what the tasks have in common. Each task has its own connection,
//! and starts again after any failure.

pub mod account;
pub mod command;
pub mod connection;
mod errors;
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
mod tasks;
pub mod testimony;
pub mod witness;
pub mod writer;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::event::Stream;
pub use command::{EPOCH_INFIX, KEY_PREFIX};
use health::Health;
pub use tasks::Consumer;
use tasks::Tasks;

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
