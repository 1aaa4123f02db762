//! The shared store, which every connector reads: revoked anchors and epochs as keys that
//! expire. Many commands are sent together, and each has its own answer, so that one key
//! with a wrong type does not keep the others from being written.
//!
//! The companion talks to the servers that the witnesses name. It does not follow other
//! servers' redirects as a cluster client does: a master that was cut off from the others
//! still answers and redirects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use redis::{Cmd, RedisError, RedisResult, Value};

pub use super::command::{Command, keep_all, raise_epoch, set_anchor};
use super::connection::{Login, Named, connect};
use super::errors::{is_data_error, is_moving};
use super::node::Node;
use super::reply::text;
use super::shard::{Shard, changed};
use super::slots::{Slots, slot_of};
use super::witness::Witness;

/// Most servers besides the masters to which it connects while slots are moved to them.
const MAX_STRAYS: usize = 8;

/// What is known of a cluster's servers.
struct Cluster {
    login: Login,
    witness: Arc<Witness>,
    slots: Slots,
    shards: BTreeMap<Named, usize>,
    /// Servers without slots to which a master has redirected a command.
    strays: BTreeMap<String, Shard>,
    /// Something was written to such a server.
    elsewhere: bool,
}

/// Who names the servers as masters.
enum By {
    /// One server with its witnesses.
    Server(Box<Node>),
    /// The masters of a cluster.
    Cluster(Cluster),
}

/// Connections to all servers of the shared store.
pub struct Store {
    by: By,
    shards: Vec<Shard>,
}

impl Store {
    /// The store on one server.
    ///
    /// # Errors It is not a master.
    pub async fn of_server(node: Node) -> RedisResult<Self> {
        let shard = Shard::new(node.connection.clone()).await?;
        Ok(Store {
            by: By::Server(Box::new(node)),
            shards: vec![shard],
        })
    }

    /// The store of a cluster, with a connection to each of its masters.
    ///
    /// # Errors Any reason why one of the connections cannot be made.
    pub async fn of_cluster(login: &Login, witness: &Arc<Witness>) -> RedisResult<Self> {
        let slots = witness.fresh_owners().await?.slots;
        let masters: Vec<Named> = slots.masters().into_iter().cloned().collect();
        let made = masters.iter().map(|at| shard_at(login, at));
        let made = futures_util::future::join_all(made).await;
        let shards: Vec<Shard> = made.into_iter().collect::<RedisResult<_>>()?;
        let cluster = Cluster {
            login: login.clone(),
            witness: Arc::clone(witness),
            slots,
            shards: masters.into_iter().zip(0..).collect(),
            strays: BTreeMap::new(),
            elsewhere: false,
        };
        Ok(Store {
            by: By::Cluster(cluster),
            shards,
        })
    }

    /// Number of servers that hold the store.
    pub fn servers(&self) -> usize {
        self.shards.len()
    }

    /// Sends commands together and returns the answer to each, in order. An error in the
    /// data of one command is the answer to that command.
    ///
    /// # Errors Any other error. Then none of the commands counts as done.
    pub async fn many(&mut self, commands: &[Command]) -> RedisResult<Vec<RedisResult<Value>>> {
        self.tolerating(commands, is_data_error).await
    }

    /// The same, but further errors may count as the answer to one command.
    ///
    /// # Errors Any other error. Then none of the commands counts as done.
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
        let asked = asked.filter(|(_, share)| !share.is_empty());
        let asked = asked.map(|(shard, share)| {
            let share = share.iter().filter_map(|n| commands.get(*n));
            shard.ask(share.map(|command| command.cmd.clone()).collect())
        });
        let answered = futures_util::future::join_all(asked).await;
        shares.retain(|share| !share.is_empty());
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
            if let Err(error) = &answer
                && !own(error)
            {
                return Err(error.clone());
            }
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

    /// While a slot is being moved, and for a moment after, its old master redirects
    /// commands for missing keys to the new one. This is followed once.
    async fn ask_where_it_moves(
        &mut self,
        error: &RedisError,
        command: &Cmd,
    ) -> RedisResult<RedisResult<Value>> {
        let (By::Cluster(cluster), Some((at, _))) = (&mut self.by, error.redirect_node()) else {
            return Err(error.clone());
        };
        cluster.elsewhere = true;
        let asking = error.code() == Some("ASK");
        let named = cluster
            .shards
            .iter()
            .find(|(named, _)| at == format!("{}:{}", named.host, named.port));
        if let Some(shard) = named.and_then(|(_, shard)| self.shards.get_mut(*shard)) {
            return shard.ask_moved(asking, command).await;
        }
        if !cluster.strays.contains_key(at) {
            let address = at.rsplit_once(':');
            let address = address.and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let Some((host, port)) = address.filter(|_| cluster.strays.len() < MAX_STRAYS) else {
                return Err(error.clone());
            };
            let made = Shard::new(connect(&cluster.login.at(host, port)?).await?).await?;
            cluster.strays.insert(at.to_owned(), made);
        }
        match cluster.strays.get_mut(at) {
            Some(stray) => stray.ask_moved(asking, command).await,
            None => Err(error.clone()),
        }
    }

    /// Whether anything was written to a server other than the slot's master since the
    /// last call.
    pub fn went_elsewhere(&mut self) -> bool {
        match &mut self.by {
            By::Server(_) => false,
            By::Cluster(cluster) => std::mem::take(&mut cluster.elsewhere),
        }
    }

    /// Sends commands to the server that has their keys, and returns the answer to each,
    /// in order. An error in the data of one command is the answer to that command, and
    /// so is the error that its key is moved.
    ///
    /// # Errors Any other error. Then none of the commands counts as answered.
    pub async fn ask(
        &mut self,
        shard: usize,
        commands: Vec<Cmd>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let Some(shard) = self.shards.get_mut(shard) else {
            return Ok(Vec::new());
        };
        let answers = shard.ask(commands).await?;
        for answer in &answers {
            if let Err(error) = answer
                && !is_data_error(error)
                && !is_moving(error)
            {
                return Err(error.clone());
            }
        }
        Ok(answers)
    }

    /// Sends one command to one of the servers.
    ///
    /// # Errors Any reason why it does not answer.
    pub async fn ask_one(&mut self, shard: usize, command: Cmd) -> RedisResult<Value> {
        let answers = self.ask(shard, vec![command]).await?;
        answers.into_iter().next().unwrap_or(Ok(Value::Nil))
    }

    /// Checks that all servers are still the same masters, and are named as masters.
    ///
    /// # Errors They are not.
    pub async fn assure(&mut self) -> RedisResult<()> {
        match &self.by {
            By::Server(node) => drop(node.named_at()?),
            By::Cluster(cluster) => {
                let named = cluster.witness.owners()?;
                cluster.still_has_masters_of(&named.slots)?;
            }
        }
        let all = self.shards.iter_mut().map(|shard| shard.ask(Vec::new()));
        for answer in futures_util::future::join_all(all).await {
            answer?;
        }
        Ok(())
    }

    /// Whether everything that was read from the store between two moments was certainly
    /// seen: no slot was being moved. `before` is the result of this method at the first
    /// moment.
    ///
    /// # Errors Another master has taken over meanwhile, or nobody knows.
    pub async fn was_steady(&mut self, before: bool) -> RedisResult<bool> {
        let By::Cluster(cluster) = &self.by else {
            self.assure().await?;
            return Ok(before);
        };
        let now = cluster.witness.owners_since(Instant::now()).await?;
        cluster.still_has_masters_of(&now.slots)?;
        let same = now.exact && now.slots == cluster.slots;
        Ok(self.is_steady().await? && same && before)
    }

    /// Whether no slot is being moved from one server to another.
    ///
    /// # Errors Any reason why a server does not answer.
    pub async fn is_steady(&mut self) -> RedisResult<bool> {
        if let By::Server(_) = self.by {
            return Ok(true);
        }
        for shard in 0..self.servers() {
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

    /// Names the reigns of all servers together. Empty if one server has the whole store:
    /// if it loses something, it also loses everything that was written later.
    pub fn reigns(&self) -> String {
        if let By::Server(_) = self.by {
            return String::new();
        }
        let mut reigns: Vec<&str> = self.shards.iter().map(|s| s.reign.as_str()).collect();
        reigns.sort_unstable();
        reigns.join("\n")
    }
}

async fn shard_at(login: &Login, at: &Named) -> RedisResult<Shard> {
    let client = login.at(&at.host, at.port)?;
    Shard::new(connect(&client).await?).await
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
