//! A Cluster of three masters, each with a replica.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{Access, Network, Node, WHOLE, url};
use crate::processes::{Companion, until};

/// Slots of each master.
const RANGES: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

pub struct Cluster {
    pub network: Network,
    /// Three masters as it began, then the replica of each.
    pub nodes: Vec<Node>,
    access: Access,
    slots: Mutex<BTreeMap<String, u16>>,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster::start(&Access::default())
    }
}

impl Cluster {
    pub fn start(access: &Access) -> Self {
        let network = Network::default();
        let nodes = (21..27)
            .map(|site| {
                let mut node = Node::new(&network, site, access);
                node.with_passwords();
                node.with_bus(&network);
                node.say(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]);
                node.start();
                node
            })
            .collect();
        let cluster = Cluster {
            network,
            nodes,
            access: access.clone(),
            slots: Mutex::default(),
        };
        for (node, (first, last)) in cluster.nodes.iter().zip(RANGES) {
            let (first, last) = (first.to_string(), last.to_string());
            let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        let (first, others) = cluster.nodes.split_first().unwrap();
        for (n, node) in cluster.nodes.iter().enumerate() {
            let () = node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        for node in others {
            let (port, bus) = (node.announced().port(), node.bus.as_ref().unwrap().address);
            let words = ["CLUSTER", "MEET", "127.0.0.1"];
            let numbers = [port.to_string(), bus.port().to_string()];
            let () = first.ask(&[&words[..], &[&numbers[0], &numbers[1]]].concat());
        }
        until("each knows all", WHOLE, || {
            cluster.nodes.iter().all(|node| node.known_nodes() == 6)
        });
        for n in 0..3 {
            let id: String = cluster.nodes[n].ask(&["CLUSTER", "MYID"]);
            let replica = &cluster.nodes[n + 3];
            until("it follows", WHOLE, || {
                let asked: redis::RedisResult<()> = replica.try_ask(&["CLUSTER", "REPLICATE", &id]);
                asked.is_ok()
            });
        }
        cluster.is_whole();
        cluster
    }

    /// Waits until every node says so, and every replica is in sync.
    #[track_caller]
    pub fn is_whole(&self) {
        until("the cluster is whole", WHOLE, || self.is_settled());
    }

    /// Every node says that the cluster is whole, and every replica is in sync.
    pub fn is_settled(&self) -> bool {
        self.nodes.iter().all(|node| {
            let info: String = node.try_ask(&["CLUSTER", "INFO"]).unwrap_or_default();
            info.contains("cluster_state:ok") && (node.is_master() || node.is_synced())
        })
    }

    /// The nodes that say themselves that they take a key's writes.
    pub fn owners(&self, key: &str) -> impl Iterator<Item = usize> {
        let slot = self.slot(key);
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(move |(_, node)| node.is_master() && node.owns(slot))
            .map(|(n, _)| n)
    }

    /// What a companion is told: every node, through its wire.
    pub fn companion(&self) -> Companion {
        let addresses: Vec<_> = self.nodes.iter().map(Node::announced).collect();
        let urls = url(&self.access, &addresses, 0);
        let mut words = vec!["--redis-url", &urls, "--redis-cluster"];
        if let Some(certificate) = &self.access.tls {
            words.extend(["--redis-ca-file", certificate.authority()]);
        }
        Companion::new(&words)
    }

    /// The node that takes a key's writes, as most of the running nodes say.
    pub fn owner(&self, key: &str) -> Option<usize> {
        let slot = self.slot(key);
        self.nodes.iter().position(|node| {
            node.is_master() && node.owns(slot) && {
                let others = self.nodes.iter().filter(|other| other.is_running());
                let id: String = node.try_ask(&["CLUSTER", "MYID"]).unwrap_or_default();
                others.filter(|other| other.names(slot, &id)).count() >= 4
            }
        })
    }

    /// A key's slot, from any node that answers: one may stand still.
    pub fn slot(&self, key: &str) -> u16 {
        if let Some(slot) = self.slots.lock().unwrap().get(key) {
            return *slot;
        }
        let running = self.nodes.iter().filter(|node| node.is_running());
        let mut answers =
            running.filter_map(|node| node.try_ask(&["CLUSTER", "KEYSLOT", key]).ok());
        let slot = answers.next().expect("a node answers");
        self.slots.lock().unwrap().insert(key.to_owned(), slot);
        slot
    }

    #[track_caller]
    pub fn other_owner(&self, key: &str, old: usize) -> usize {
        let mut found = None;
        until("another owner", WHOLE, || {
            found = self.owner(key).filter(|owner| *owner != old);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Node {
    /// Listens for a cluster, and is known by its wires.
    fn with_bus(&mut self, network: &Network) {
        let bus = super::node::free_port(self.site);
        let wire = network.wire(
            self.site,
            std::net::SocketAddr::from((super::network::ip(self.site), bus)),
        );
        self.say(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]);
        self.say(&[
            "--cluster-port",
            &bus.to_string(),
            "--cluster-announce-ip",
            "127.0.0.1",
        ]);
        let plain = self.plain.address.port().to_string();
        self.say(&["--cluster-announce-port", &plain]);
        self.say(&[
            "--cluster-announce-bus-port",
            &wire.address.port().to_string(),
        ]);
        if let Some(tls) = &self.tls {
            let port = tls.address.port().to_string();
            self.say(&[
                "--tls-cluster",
                "yes",
                "--tls-replication",
                "yes",
                "--cluster-announce-tls-port",
                &port,
            ]);
        }
        self.bus = Some(wire);
    }

    fn known_nodes(&self) -> usize {
        let nodes: String = self.try_ask(&["CLUSTER", "NODES"]).unwrap_or_default();
        let handshakes = nodes.contains("handshake");
        if handshakes { 0 } else { nodes.lines().count() }
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let nodes: String = self.try_ask(&["CLUSTER", "NODES"]).unwrap_or_default();
        let lines = nodes.lines();
        lines
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .collect()
    }

    /// Whether it says that a node has a slot.
    fn names(&self, slot: u16, id: &str) -> bool {
        self.lines()
            .iter()
            .any(|line| line[0] == id && has(&line[8..], slot))
    }

    fn owns(&self, slot: u16) -> bool {
        let lines = self.lines();
        lines
            .iter()
            .any(|line| line[2].contains("myself") && has(&line[8..], slot))
    }

    /// `CLUSTER FAILOVER`, on a replica.
    pub fn take_over(&self) {
        until("it is asked", Duration::from_secs(10), || {
            let asked: redis::RedisResult<()> = self.try_ask(&["CLUSTER", "FAILOVER"]);
            asked.is_ok()
        });
    }
}

fn has(ranges: &[String], slot: u16) -> bool {
    ranges.iter().any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&slot),
            _ => false,
        }
    })
}
