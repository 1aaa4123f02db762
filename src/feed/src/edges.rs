//! Who asks the companion: the addresses of proxies, and when each last asked for what. Only
//! requests that may use `/v1` are noted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::Method;

/// Most addresses that are remembered. Another one takes the place of the one that has been
/// silent for longest.
pub const MAX_EDGES: usize = 256;

/// Longest name that one gives itself, in bytes.
const MAX_AGENT: usize = 64;

/// Where a request came from; the server notes it among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What an edge asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What is revoked (`/v1/feed`, `/v1/snapshot`).
    Revocations,
    /// Whether one mandate is revoked (`/v1/check`).
    Check,
    /// An exchange (`/v1/exchange`).
    Exchange,
    /// To keep audit events (`POST /v1/audit`).
    Audit,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Kind; 4] = [Kind::Revocations, Kind::Check, Kind::Exchange, Kind::Audit];

    /// What a request of `/v1` asks for, if an edge asks for it.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        match path {
            "/v1/feed" | "/v1/snapshot" => Some(Kind::Revocations),
            "/v1/check" => Some(Kind::Check),
            "/v1/exchange" => Some(Kind::Exchange),
            "/v1/audit" if *method == Method::POST => Some(Kind::Audit),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    at: BTreeMap<Kind, Instant>,
    agent: String,
    under_way: u32,
}

impl Seen {
    fn last(&self) -> Option<Instant> {
        self.at.values().max().copied()
    }
}

#[derive(Debug, Default)]
struct Inner {
    seen: BTreeMap<IpAddr, Seen>,
    forgotten: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Edges(Mutex<Inner>);

/// One address.
pub struct Edge {
    /// Where it asks from.
    pub address: IpAddr,
    /// How long ago it asked for each kind; none for what it never asked for.
    pub ago: BTreeMap<Kind, Duration>,
    /// What it last called itself (`user-agent`), cut; empty if it never did.
    pub agent: String,
    /// Requests of it that are being answered, or wait for news.
    pub under_way: u32,
}

impl Edges {
    /// Notes a request, until what this returns is dropped.
    pub(crate) fn visit(self: &Arc<Self>, address: IpAddr, kind: Kind, agent: &str) -> Visit {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.seen.len() >= MAX_EDGES && !inner.seen.contains_key(&address) {
            // One that waits for news is not silent.
            let silent = inner.seen.iter();
            let silent = silent.min_by_key(|(_, seen)| (seen.under_way > 0, seen.last()));
            if let Some(silent) = silent.map(|(address, _)| *address) {
                inner.seen.remove(&silent);
                inner.forgotten = inner.forgotten.saturating_add(1);
            }
        }
        let seen = inner.seen.entry(address).or_default();
        seen.at.insert(kind, Instant::now());
        seen.under_way = seen.under_way.saturating_add(1);
        if !agent.is_empty() {
            let cut = agent.get(..agent.floor_char_boundary(MAX_AGENT));
            cut.unwrap_or_default().clone_into(&mut seen.agent);
        }
        Visit {
            edges: Arc::clone(self),
            address,
            kind,
        }
    }

    /// The addresses in their order, and how many others were forgotten for them.
    pub fn list(&self) -> (Vec<Edge>, u64) {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let edge = |(address, seen): (&IpAddr, &Seen)| Edge {
            address: *address,
            ago: seen.at.iter().map(|(k, at)| (*k, at.elapsed())).collect(),
            agent: seen.agent.clone(),
            under_way: seen.under_way,
        };
        (inner.seen.iter().map(edge).collect(), inner.forgotten)
    }
}

/// A request that is under way.
pub(crate) struct Visit {
    edges: Arc<Edges>,
    address: IpAddr,
    kind: Kind,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut inner = self.edges.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = inner.seen.get_mut(&self.address) {
            seen.at.insert(self.kind, Instant::now());
            seen.under_way = seen.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn each_address_has_what_it_asked_for() {
        let edges = Arc::new(Edges::default());
        let waits = edges.visit(address(1), Kind::Revocations, "a/1");
        drop(edges.visit(address(1), Kind::Audit, ""));
        drop(edges.visit(address(2), Kind::Check, &"é".repeat(500)));
        let (list, forgotten) = edges.list();
        let shape = |edge: &Edge| {
            let kinds: Vec<Kind> = edge.ago.keys().copied().collect();
            (edge.address, kinds, edge.under_way)
        };
        assert_eq!(
            list.iter().map(shape).collect::<Vec<_>>(),
            [
                (address(1), vec![Kind::Revocations, Kind::Audit], 1),
                (address(2), vec![Kind::Check], 0),
            ]
        );
        assert_eq!(forgotten, 0);
        assert_eq!((list[0].agent.as_str(), list[1].agent.len()), ("a/1", 64));
        drop(waits);
        assert_eq!(edges.list().0[0].under_way, 0);
    }

    #[test]
    fn the_one_that_was_silent_for_longest_is_forgotten() {
        let edges = Arc::new(Edges::default());
        let most = u32::try_from(MAX_EDGES).unwrap();
        let waits = edges.visit(address(0), Kind::Revocations, "");
        for n in 1..=most {
            drop(edges.visit(address(n), Kind::Check, ""));
        }
        let (list, forgotten) = edges.list();
        assert_eq!((list.len(), forgotten), (MAX_EDGES, 1));
        let has = |n| list.iter().any(|edge| edge.address == address(n));
        assert!(has(0) && !has(1) && has(2) && has(most));
        drop(waits);
    }

    #[test]
    fn only_what_edges_ask_for_is_noted() {
        assert_eq!(Kind::of(&Method::POST, "/v1/audit"), Some(Kind::Audit));
        assert_eq!(Kind::of(&Method::GET, "/v1/feed"), Some(Kind::Revocations));
        for path in ["/v1/audit", "/v1/audit/recent", "/v1/revocations", "/"] {
            assert_eq!(Kind::of(&Method::GET, path), None, "{path}");
        }
    }
}
