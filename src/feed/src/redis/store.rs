//! The shared store, which every connector reads: revoked anchors and epochs as
//! keys that expire. Many commands go out together, and each has its own answer: one
//! key of a wrong kind must not keep the others from being written.
//!
//! It is spoken to at the servers that the witnesses name, never at whatever server
//! redirects to: a cluster's client follows whoever answers, and a master that was cut
//! off from the others still answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use sha2::{Digest as _, Sha256};

use super::reply::text;
use super::script::RAISE_EPOCH;
use super::slots::{Slots, slot_of};
use super::target::{Login, Node, connect};
use super::witness::{Named, Witness};
use super::{EPOCH_INFIX, KEY_PREFIX, is_data_error, not_a_master};
use crate::state::Entry;

/// A command, and the key that it is about.
pub struct Command {
    /// The key.
    pub key: String,
    /// The command.
    pub cmd: Cmd,
}

/// A server that holds a part of the store, or all of it.
struct Shard {
    connection: MultiplexedConnection,
    /// Its time as a master, as it was when we connected.
    reign: String,
}

/// What is known of a cluster's servers.
struct Cluster {
    witness: Arc<Witness>,
    slots: Slots,
    shards: BTreeMap<Named, usize>,
}

/// Who says that the servers are the masters.
enum By {
    /// One server, and its own witnesses.
    Server(Box<Node>),
    /// The masters of a cluster.
    Cluster(Cluster),
}

/// Connections to all servers of the shared store.
pub struct Store {
    by: By,
    shards: Vec<Shard>,
}

/// Sets an anchor's key.
pub fn set_anchor(anchor: &str, ttl: Duration) -> Command {
    let key = format!("{KEY_PREFIX}{anchor}");
    let mut cmd = redis::cmd("SET");
    cmd.arg(&key).arg("1").arg("PX").arg(millis(ttl));
    Command { key, cmd }
}

/// Raises a zone's epoch.
pub fn raise_epoch(zone: &str, epoch: u64, ttl: Duration) -> Command {
    let key = format!("{KEY_PREFIX}{EPOCH_INFIX}{zone}");
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(RAISE_EPOCH)
        .arg(1)
        .arg(&key)
        .arg(epoch)
        .arg(millis(ttl));
    Command { key, cmd }
}

/// Writes what is held: a key that is absent is made, and one that ends sooner lives
/// longer. The store keeps its keys for `shortened` more than they are held here. Not
/// an anchor whose key would be a zone's epoch: writing it would lower that.
pub fn keep_all(entries: &[Entry], shortened: Duration) -> Vec<Command> {
    let mut commands = Vec::new();
    for entry in entries {
        match entry {
            Entry::Anchor { anchor, .. } if anchor.starts_with(EPOCH_INFIX) => {}
            Entry::Anchor { anchor, ttl_s, .. } => {
                let ttl = Duration::from_secs(*ttl_s).saturating_add(shortened);
                let mut made = set_anchor(anchor, ttl);
                made.cmd.arg("NX");
                let mut longer = redis::cmd("PEXPIRE");
                longer.arg(&made.key).arg(millis(ttl)).arg("GT");
                let longer = Command {
                    key: made.key.clone(),
                    cmd: longer,
                };
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

fn changed(why: &'static str) -> RedisError {
    (ErrorKind::Client, why).into()
}

impl Shard {
    async fn new(mut connection: MultiplexedConnection) -> RedisResult<Self> {
        let info: Value = replication().query_async(&mut connection).await?;
        let reign = reign_of(info)?;
        Ok(Shard { connection, reign })
    }

    /// Sends commands together, behind a question whether this is the master that it
    /// was; the answer of each, in order.
    async fn ask<'a>(
        &mut self,
        commands: impl IntoIterator<Item = &'a Cmd>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(replication());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        pipeline.ignore_errors();
        let answers: Vec<RedisResult<Value>> = pipeline.query_async(&mut self.connection).await?;
        let mut answers = answers.into_iter();
        let info = answers.next().unwrap_or(Ok(Value::Nil))?;
        if reign_of(info)? != self.reign {
            return Err(changed("this server's time as a master began anew"));
        }
        Ok(answers.collect())
    }

    /// A command about a key that is being moved here.
    async fn ask_moved(&mut self, command: &Cmd) -> RedisResult<RedisResult<Value>> {
        let asking = redis::cmd("ASKING");
        let mut answers = self.ask([&asking, command]).await?.into_iter().skip(1);
        Ok(answers.next().unwrap_or(Ok(Value::Nil)))
    }
}

fn replication() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("replication");
    info
}

/// The server's time as a master.
///
/// # Errors
/// It is none.
fn reign_of(info: Value) -> RedisResult<String> {
    let info = text(info).unwrap_or_default();
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    if of("role:").as_deref() != Some("master") {
        return Err(not_a_master());
    }
    Ok(of("master_replid:").unwrap_or_default())
}

impl Store {
    /// The store at one server.
    ///
    /// # Errors
    /// It is no master.
    pub async fn of_server(node: Node) -> RedisResult<Self> {
        let shard = Shard::new(node.connection.clone()).await?;
        Ok(Store {
            by: By::Server(Box::new(node)),
            shards: vec![shard],
        })
    }

    /// The store of a cluster: a connection to each of its masters.
    ///
    /// # Errors
    /// Whatever keeps one of them from being made.
    pub async fn of_cluster(login: &Login, witness: &Arc<Witness>) -> RedisResult<Self> {
        let slots = witness.fresh_owners().await?.slots;
        let masters: Vec<Named> = slots.masters().into_iter().cloned().collect();
        let made = masters.iter().map(async |at| {
            let client = login.at(&at.host, at.port)?;
            Shard::new(connect(&client).await?).await
        });
        let made = futures_util::future::join_all(made).await;
        let shards: Vec<Shard> = made.into_iter().collect::<RedisResult<_>>()?;
        let cluster = Cluster {
            witness: Arc::clone(witness),
            slots,
            shards: masters.into_iter().zip(0..).collect(),
        };
        Ok(Store {
            by: By::Cluster(cluster),
            shards,
        })
    }

    /// How many servers hold it.
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// Sends commands together; the answer of each, in order. An error in the data of
    /// one is that one's answer.
    ///
    /// # Errors
    /// Whatever else is wrong: none of them counts as done.
    pub async fn many(&mut self, commands: &[Command]) -> RedisResult<Vec<RedisResult<Value>>> {
        self.tolerating(commands, is_data_error).await
    }

    /// The same, where other errors too are one command's own.
    ///
    /// # Errors
    /// Whatever else is wrong: none of them counts as done.
    pub async fn tolerating(
        &mut self,
        commands: &[Command],
        own: fn(&RedisError) -> bool,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut shares: Vec<Vec<usize>> = self.shards.iter().map(|_| Vec::new()).collect();
        for (n, command) in commands.iter().enumerate() {
            let shard = self.shard_of(&command.key)?;
            if let Some(share) = shares.get_mut(shard) {
                share.push(n);
            }
        }
        let asked = self.shards.iter_mut().zip(&shares);
        let asked = asked.map(async |(shard, share)| {
            if share.is_empty() {
                return Ok(Vec::new());
            }
            let commands = share.iter().filter_map(|n| commands.get(*n));
            shard.ask(commands.map(|command| &command.cmd)).await
        });
        let answered = futures_util::future::join_all(asked).await;
        let mut answers: BTreeMap<usize, RedisResult<Value>> = BTreeMap::new();
        for (share, answered) in shares.iter().zip(answered) {
            answers.extend(share.iter().copied().zip(answered?));
        }
        for (n, command) in commands.iter().enumerate() {
            let Some(Err(error)) = answers.get(&n) else {
                continue;
            };
            if own(error) {
                continue;
            }
            let error = error.clone();
            let answer = self.ask_where_it_moves(&error, &command.cmd).await?;
            answers.insert(n, answer);
        }
        Ok(answers.into_values().collect())
    }

    fn shard_of(&self, key: &str) -> RedisResult<usize> {
        let By::Cluster(cluster) = &self.by else {
            return Ok(0);
        };
        let master = cluster.slots.master_of(slot_of(key));
        let shard = master.and_then(|master| cluster.shards.get(master));
        shard
            .copied()
            .ok_or_else(|| changed("a slot of the cluster has no master"))
    }

    /// While a slot is being moved, its old master sends what it lacks to the new one.
    /// That has to be one of those that the witnesses name.
    async fn ask_where_it_moves(
        &mut self,
        error: &RedisError,
        command: &Cmd,
    ) -> RedisResult<RedisResult<Value>> {
        let there = match (&self.by, error.redirect_node()) {
            (By::Cluster(cluster), Some((at, _))) if error.code() == Some("ASK") => cluster
                .shards
                .iter()
                .find(|(named, _)| at == format!("{}:{}", named.host, named.port))
                .map(|(_, shard)| *shard),
            _ => None,
        };
        match there.and_then(|shard| self.shards.get_mut(shard)) {
            Some(shard) => match shard.ask_moved(command).await? {
                Err(error) if !is_data_error(&error) => Err(error),
                answer => Ok(answer),
            },
            None => Err(error.clone()),
        }
    }

    /// Sends commands about its own keys to one of the servers; the answer of each, in
    /// order. An error in the data of one is that one's answer.
    ///
    /// # Errors
    /// Whatever else is wrong: none of them counts as answered.
    pub async fn ask(
        &mut self,
        shard: usize,
        commands: &[Cmd],
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let Some(shard) = self.shards.get_mut(shard) else {
            return Ok(Vec::new());
        };
        let answers = shard.ask(commands).await?;
        for answer in &answers {
            if let Err(error) = answer
                && !is_data_error(error)
            {
                return Err(error.clone());
            }
        }
        Ok(answers)
    }

    /// Sends one command to one of the servers.
    ///
    /// # Errors
    /// Whatever keeps it from answering.
    pub async fn ask_one(&mut self, shard: usize, command: Cmd) -> RedisResult<Value> {
        let answers = self.ask(shard, &[command]).await?;
        answers.into_iter().next().unwrap_or(Ok(Value::Nil))
    }

    /// Whether all servers are the masters that they were, and named as such.
    ///
    /// # Errors
    /// They are not.
    pub async fn assure(&mut self) -> RedisResult<()> {
        match &self.by {
            By::Server(node) => drop(node.named_at()?),
            By::Cluster(cluster) => {
                let named = cluster.witness.owners()?;
                cluster.still_has_masters_of(&named.slots)?;
            }
        }
        let all = self.shards.iter_mut().map(|shard| shard.ask([]));
        for answer in futures_util::future::join_all(all).await {
            answer?;
        }
        Ok(())
    }

    /// Whether everything that was read of the store between two moments can have been
    /// seen: no slot was on its way from one server to another. `before` is what this
    /// said at the first moment.
    ///
    /// # Errors
    /// Another master has taken over meanwhile, or nobody knows.
    pub async fn was_steady(&mut self, before: bool) -> RedisResult<bool> {
        let By::Cluster(cluster) = &self.by else {
            self.assure().await?;
            return Ok(before);
        };
        let now = cluster.witness.owners_since(Instant::now()).await?;
        cluster.still_has_masters_of(&now.slots)?;
        let same = now.slots == cluster.slots;
        Ok(self.is_steady().await? && same && before)
    }

    /// Whether no slot is on its way from one server to another.
    ///
    /// # Errors
    /// Whatever keeps a server from answering.
    pub async fn is_steady(&mut self) -> RedisResult<bool> {
        if let By::Server(_) = self.by {
            return Ok(true);
        }
        for shard in 0..self.len() {
            let mut nodes = redis::cmd("CLUSTER");
            nodes.arg("NODES");
            let nodes = text(self.ask_one(shard, nodes).await?).unwrap_or_default();
            let own = nodes.lines().find(|line| line.contains("myself"));
            // `[slot->-node]` and `[slot-<-node]`.
            if own.is_none_or(|own| own.contains('[')) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Names the times as masters of all servers together. Empty where one server has
    /// the whole store: whatever it loses, it loses with all that was written later.
    pub fn reigns(&self) -> String {
        if let By::Server(_) = self.by {
            return String::new();
        }
        let mut reigns: Vec<&str> = self.shards.iter().map(|s| s.reign.as_str()).collect();
        reigns.sort_unstable();
        let mut digest = Sha256::digest(reigns.join("\n")).to_vec();
        digest.truncate(8);
        hex::encode(digest)
    }
}

impl Cluster {
    fn still_has_masters_of(&self, slots: &Slots) -> RedisResult<()> {
        let named = slots.masters().into_iter();
        if named.eq(self.shards.keys()) {
            return Ok(());
        }
        Err(changed("the cluster has other masters now"))
    }
}
