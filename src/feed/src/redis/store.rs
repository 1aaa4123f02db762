//! The shared store, which every connector reads: revoked anchors and epochs as
//! keys that expire. Many commands go out together, and each has its own answer: one
//! key of a wrong kind must not keep the others from being written.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, RedisError, RedisResult, Value};

use super::reply::{items, number};
use super::script::RAISE_EPOCH;
use super::target::Node;
use super::{EPOCH_INFIX, KEY_PREFIX, is_data_error};
use crate::state::Entry;

/// Commands under way at once in a cluster.
const AT_ONCE: usize = 256;

/// A connection to the shared store.
pub enum Store {
    /// One server.
    Server(Box<Node>),
    /// A cluster.
    Cluster(ClusterConnection),
}

/// Sets an anchor's key.
pub fn set_anchor(anchor: &str, ttl: Duration) -> Cmd {
    let mut command = redis::cmd("SET");
    command
        .arg(format!("{KEY_PREFIX}{anchor}"))
        .arg("1")
        .arg("PX")
        .arg(millis(ttl));
    command
}

/// Raises a zone's epoch.
pub fn raise_epoch(zone: &str, epoch: u64, ttl: Duration) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command
        .arg(RAISE_EPOCH)
        .arg(1)
        .arg(format!("{KEY_PREFIX}{EPOCH_INFIX}{zone}"))
        .arg(epoch)
        .arg(millis(ttl));
    command
}

/// Writes what is held: a key that is absent is made, and one that ends sooner lives
/// longer. The store keeps its keys for `shortened` more than they are held here. Not
/// an anchor whose key would be a zone's epoch: writing it would lower that.
pub fn keep_all(entries: &[Entry], shortened: Duration) -> Vec<Cmd> {
    let mut commands = Vec::new();
    for entry in entries {
        match entry {
            Entry::Anchor { anchor, .. } if anchor.starts_with(EPOCH_INFIX) => {}
            Entry::Anchor { anchor, ttl_s, .. } => {
                let ttl = Duration::from_secs(*ttl_s).saturating_add(shortened);
                let mut made = set_anchor(anchor, ttl);
                made.arg("NX");
                let mut longer = redis::cmd("PEXPIRE");
                longer
                    .arg(format!("{KEY_PREFIX}{anchor}"))
                    .arg(millis(ttl))
                    .arg("GT");
                commands.extend([made, longer]);
            }
            Entry::Epoch {
                zone, epoch, ttl_s, ..
            } => commands.push(raise_epoch(zone, *epoch, Duration::from_secs(*ttl_s))),
        }
    }
    commands
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Store {
    /// Sends commands together; the answer of each, in order. An error in the data of
    /// one is that one's answer.
    ///
    /// # Errors
    /// Whatever else is wrong: none of them counts as done.
    pub async fn many(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        self.tolerating(commands, is_data_error).await
    }

    /// The same, where other errors too are one command's own.
    ///
    /// # Errors
    /// Whatever else is wrong: none of them counts as done.
    pub async fn tolerating(
        &mut self,
        commands: Vec<Cmd>,
        own: fn(&RedisError) -> bool,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<RedisResult<Value>> = match self {
            Store::Server(node) => {
                let mut pipeline = redis::pipe();
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.ignore_errors();
                pipeline.query_async(&mut node.connection).await?
            }
            Store::Cluster(cluster) => {
                let asked = commands.into_iter().map(|command| {
                    let mut cluster = cluster.clone();
                    async move { command.query_async::<Value>(&mut cluster).await }
                });
                stream::iter(asked).buffered(AT_ONCE).collect().await
            }
        };
        for answer in &answers {
            if let Err(error) = answer
                && !own(error)
            {
                return Err(error.clone());
            }
        }
        Ok(answers)
    }

    /// Whether this is still a master, and named as one. A cluster's masters are asked
    /// one by one with what is read of them.
    ///
    /// # Errors
    /// It is not.
    pub async fn assure(&mut self) -> RedisResult<()> {
        let Store::Server(node) = self else {
            return Ok(());
        };
        node.named_at()?;
        let info: Value = redis::cmd("INFO")
            .arg("replication")
            .query_async(&mut node.connection)
            .await?;
        is_master(info)
    }

    /// A slot of each master that has to be asked for its own keys; none when one
    /// server has them all.
    ///
    /// # Errors
    /// Whatever keeps the cluster from answering.
    pub async fn masters(&mut self) -> RedisResult<Vec<Option<u16>>> {
        let Store::Cluster(cluster) = self else {
            return Ok(vec![None]);
        };
        let ranges: Value = redis::cmd("CLUSTER")
            .arg("SLOTS")
            .query_async(cluster)
            .await?;
        let (mut known, mut masters) = (Vec::new(), Vec::new());
        for range in items(ranges) {
            // First slot, last slot, master, replicas.
            let mut range = items(range).into_iter();
            let (Some(slot), Some(_), Some(master)) = (range.next(), range.next(), range.next())
            else {
                continue;
            };
            let slot = number(&slot).and_then(|slot| u16::try_from(slot).ok());
            if slot.is_some() && !known.contains(&master) {
                known.push(master);
                masters.push(slot);
            }
        }
        Ok(masters)
    }

    /// Asks one of [`Store::masters`]; in a cluster it says first that it is one.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ask(&mut self, at: Option<u16>, command: Cmd) -> RedisResult<Value> {
        match (self, at) {
            (Store::Cluster(cluster), Some(slot)) => {
                let node = || {
                    let route = Route::new(slot, SlotAddr::Master);
                    RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route))
                };
                let mut info = redis::cmd("INFO");
                info.arg("replication");
                is_master(cluster.route_command(info, node()).await?)?;
                cluster.route_command(command, node()).await
            }
            (Store::Cluster(cluster), None) => command.query_async(cluster).await,
            (Store::Server(node), _) => command.query_async(&mut node.connection).await,
        }
    }
}

fn is_master(info: Value) -> Result<(), RedisError> {
    let text = super::reply::text(info).unwrap_or_default();
    if text.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    Err(super::not_a_master())
}
