//! Mandates that were verified before, so that a repeated one costs no
//! cryptography. Bounded; the oldest leaves first. What can change (time, route,
//! revocation, the key set) is no part of it and is judged on every request.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::mandate::{Fingerprint, Mandate};

/// SHA-256 of the whole token, signature included: a token is never kept, and
/// one with another signature is another token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(token: &[u8]) -> Self {
        TokenDigest(Sha256::digest(token).into())
    }

    /// The token's fingerprint, which is the digest's beginning.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_digest(&self.0)
    }
}

impl std::hash::Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)));
    }
}

/// Takes the number it is given: keys are digests of tokens that the zone signed,
/// so nobody can choose where they fall, and the filter has no random source to
/// seed another hash with.
#[derive(Debug, Default)]
struct FromDigest(u64);

impl Hasher for FromDigest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A bounded map from token to verified mandate.
#[derive(Default)]
pub struct MandateCache {
    capacity: usize,
    mandates: HashMap<TokenDigest, Rc<Mandate>, BuildHasherDefault<FromDigest>>,
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

    /// The mandate of a token that verified before. Whether the key that verified
    /// it is still the zone's is the caller's to ask.
    pub(crate) fn get(&self, token: &TokenDigest) -> Option<&Rc<Mandate>> {
        self.mandates.get(token)
    }

    pub(crate) fn insert(&mut self, token: TokenDigest, mandate: &Rc<Mandate>) {
        if self.capacity == 0 {
            return;
        }
        if self.mandates.insert(token, Rc::clone(mandate)).is_some() {
            return;
        }
        self.oldest_first.push_back(token);
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
