//! Mandates that were verified before, so that a repeated one costs no
//! cryptography. Bounded; the oldest leaves first. What can change (time, route,
//! revocation, the key set) is no part of it and is judged on every request.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::keys::KeySet;
use crate::mandate::Mandate;

/// SHA-256 of the whole token, signature included: a token is never kept, and
/// one with another signature is another token.
type TokenDigest = [u8; 32];

/// A bounded map from token to verified mandate.
#[derive(Debug, Default)]
pub struct MandateCache {
    capacity: usize,
    // Ordered, not hashed: no random source in the filter to seed a hash with.
    mandates: BTreeMap<TokenDigest, Rc<Mandate>>,
    oldest_first: VecDeque<TokenDigest>,
}

impl MandateCache {
    /// An empty cache for at most `capacity` mandates; 0 remembers none.
    pub fn new(capacity: usize) -> Self {
        MandateCache {
            capacity,
            ..MandateCache::default()
        }
    }

    /// The mandate of a token that verified before, if the key that verified it
    /// is still in the key set under the same `kid`.
    pub(crate) fn get(&self, token: &[u8], keys: &KeySet) -> Option<Rc<Mandate>> {
        if self.mandates.is_empty() {
            return None;
        }
        let digest: TokenDigest = Sha256::digest(token).into();
        self.mandates
            .get(&digest)
            .filter(|mandate| mandate.key_is_in(keys))
            .cloned()
    }

    pub(crate) fn insert(&mut self, token: &[u8], mandate: &Rc<Mandate>) {
        if self.capacity == 0 {
            return;
        }
        let digest: TokenDigest = Sha256::digest(token).into();
        if self.mandates.insert(digest, Rc::clone(mandate)).is_some() {
            return;
        }
        self.oldest_first.push_back(digest);
        while self.mandates.len() > self.capacity {
            match self.oldest_first.pop_front() {
                Some(oldest) => drop(self.mandates.remove(&oldest)),
                None => self.mandates.clear(),
            }
        }
    }

    /// How many mandates are remembered.
    pub fn len(&self) -> usize {
        self.mandates.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.mandates.is_empty()
    }
}
