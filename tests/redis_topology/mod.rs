//! Redis as it is really run: a master with replicas, three Sentinels around
//! them, and a Cluster of six; each with passwords and TLS if wanted. All on
//! loopback, and stopped by process id when dropped.

pub mod cluster;
pub mod network;
pub mod node;
pub mod sentinels;

pub use cluster::Cluster;
pub use network::{Network, OUTSIDE, Site};
pub use node::{Access, Certificate, Node};
pub use sentinels::Sentinels;

use std::time::Duration;

use crate::processes::until;

/// How long a topology may take to be whole.
const WHOLE: Duration = Duration::from_secs(40);

/// A master (the first) with replicas.
pub fn replicated(network: &Network, access: &Access, nodes: u8) -> Vec<Node> {
    let mut all: Vec<Node> = (1..=nodes)
        .map(|site| {
            let mut node = Node::new(network, site, access);
            node.as_replicated();
            node.start();
            node
        })
        .collect();
    let (master, replicas) = all.split_first_mut().unwrap();
    for replica in replicas.iter() {
        replica.follow(master);
    }
    for replica in replicas.iter() {
        until("it is in sync", WHOLE, || replica.is_synced());
    }
    all
}

/// The URL of one or more addresses.
pub fn url(access: &Access, addresses: &[std::net::SocketAddr], database: u8) -> String {
    let scheme = if access.tls.is_some() {
        "rediss"
    } else {
        "redis"
    };
    let login = match (&access.user, &access.password) {
        (Some((user, password)), _) => format!("{user}:{password}@"),
        (None, Some(password)) => format!("default:{password}@"),
        (None, None) => String::new(),
    };
    let path = if database == 0 {
        String::new()
    } else {
        format!("/{database}")
    };
    let all: Vec<String> = addresses
        .iter()
        .map(|address| format!("{scheme}://{login}{address}{path}"))
        .collect();
    all.join(",")
}
