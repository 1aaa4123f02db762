//! What the endpoints share.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use caracal_feed::exchange::signature::GatewayKey;

use super::clock::now;
use super::policy::Source;
use super::sessions::Sessions;
use super::zone::Zone;

/// How long a nonce is remembered, in seconds: twice the clocks' difference that is
/// allowed.
const NONCE_LIFE_S: u64 = 120;
/// Most nonces; beyond it exchanges are refused.
const MAX_NONCES: usize = 1_000_000;

/// See the module.
pub(super) struct Sts {
    /// Never empty; the first one is the one that is meant when none is named.
    pub(super) zones: Vec<Arc<Zone>>,
    pub(super) policy: Source,
    pub(super) key: GatewayKey,
    nonces: Mutex<HashMap<String, u64>>,
    pub(super) sessions: Sessions,
    /// Exchanges whose signature was good.
    pub(super) exchanges: AtomicU64,
    /// Those that were granted.
    pub(super) granted: AtomicU64,
    /// Those whose signature was not good.
    pub(super) unsigned: AtomicU64,
}

impl Sts {
    pub(super) fn new(zones: Vec<Arc<Zone>>, policy: Source, key: GatewayKey) -> Arc<Self> {
        Arc::new(Sts {
            zones,
            policy,
            key,
            nonces: Mutex::default(),
            sessions: Sessions::default(),
            exchanges: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            unsigned: AtomicU64::new(0),
        })
    }

    pub(super) fn zone(&self, id: &str) -> Option<&Arc<Zone>> {
        self.zones.iter().find(|zone| zone.id() == id)
    }

    /// Whether a nonce is new.
    pub(super) fn is_first(&self, nonce: &str) -> bool {
        let now = now();
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if nonces.len() >= MAX_NONCES {
            nonces.retain(|_, until| *until > now);
        }
        let until = now.saturating_add(NONCE_LIFE_S);
        nonces.len() < MAX_NONCES && nonces.insert(nonce.to_owned(), until).is_none()
    }
}
