//! The Redis that things befall: Sentinels around three servers, or a Cluster of six.

use caracal_tests::processes::Companion;
use caracal_tests::redis_topology::{Cluster, Network, Node, Sentinels, Site};

const SESSIONS: &str = "caracal.sessions.revoke";

pub enum Redis {
    Sentinels(Sentinels),
    Cluster(Cluster),
}

impl Redis {
    pub fn network(&self) -> &Network {
        match self {
            Redis::Sentinels(all) => &all.network,
            Redis::Cluster(all) => &all.network,
        }
    }

    /// The servers of data.
    pub fn servers(&self) -> &[Node] {
        match self {
            Redis::Sentinels(all) => &all.servers,
            Redis::Cluster(all) => &all.nodes,
        }
    }

    pub fn servers_mut(&mut self) -> &mut [Node] {
        match self {
            Redis::Sentinels(all) => &mut all.servers,
            Redis::Cluster(all) => &mut all.nodes,
        }
    }

    /// Those who have a voice and none of the streams' data.
    pub fn sentinels(&self) -> &[Node] {
        match self {
            Redis::Sentinels(all) => &all.sentinels,
            Redis::Cluster(_) => &[],
        }
    }

    pub fn sentinel_mut(&mut self, n: usize) -> Option<&mut Node> {
        match self {
            Redis::Sentinels(all) => all.sentinels.get_mut(n),
            Redis::Cluster(_) => None,
        }
    }

    pub fn restart_sentinels(&mut self) {
        if let Redis::Sentinels(all) = self {
            all.restart_sentinels();
        }
    }

    pub fn companion(&self) -> Companion {
        match self {
            Redis::Sentinels(all) => all.companion(0),
            Redis::Cluster(all) => all.companion(),
        }
    }

    /// The master of the stream of sessions, as a majority says.
    pub fn master(&self) -> Option<usize> {
        match self {
            Redis::Sentinels(all) => all.master(),
            Redis::Cluster(all) => all.owner(SESSIONS),
        }
    }

    /// Whoever takes the stream's writes now, as it says itself.
    pub fn master_now(&self) -> Option<usize> {
        match self {
            Redis::Sentinels(all) => all.servers.iter().position(Node::is_master),
            Redis::Cluster(all) => all.owners(SESSIONS).next(),
        }
    }

    /// Another server that has the stream, or in a Cluster any other at all.
    pub fn another(&self, master: usize, any: usize) -> usize {
        let count = self.servers().len();
        (master + 1 + any % (count - 1)) % count
    }

    /// Every server is there, and the replicas are in sync.
    pub fn is_settled(&self) -> bool {
        match self {
            Redis::Sentinels(all) => all.servers.iter().filter(|s| s.is_synced()).count() == 2,
            Redis::Cluster(all) => all.is_settled(),
        }
    }

    /// A failover that nothing forces.
    pub fn plans_a_failover(&self, master: usize, any: usize) {
        let _: redis::RedisResult<()> = match self {
            Redis::Sentinels(all) => {
                all.sentinels[any % 3].try_ask(&["SENTINEL", "FAILOVER", "caracal"])
            }
            // Of the stream's servers, or of others.
            Redis::Cluster(all) => {
                let replica = if any % 2 == 0 { master + 3 } else { any };
                all.nodes[replica % 6].try_ask(&["CLUSTER", "FAILOVER"])
            }
        };
    }

    /// Where a voice stands that goes with the master in a split.
    pub fn voice(&self, master: usize, any: usize) -> Site {
        match self {
            Redis::Sentinels(all) => all.sentinels[any % 3].site,
            Redis::Cluster(_) => self.servers()[self.another(master, any)].site,
        }
    }
}
