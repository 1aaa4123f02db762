//! Mandates that were verified before. A repeated mandate costs one short digest and no
//! other cryptography. The cache is bounded, and the oldest mandate leaves first. It does
//! not hold anything that can change (time, route, revocation, key set): that is judged
//! on every request.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::bytes::is_same;
use crate::token::mandate::Mandate;

/// The last characters of a token are kept only as a digest. They are half of the
/// signature (`s` of ES256, `S` of EdDSA): about 250 bits that nobody can guess, and one
/// block of SHA-256.
const HIDDEN_BYTES: usize = 43;

/// SHA-256 of the hidden end of a token.
///
/// Two tokens are the same if this digest and all bytes before the hidden end are equal.
/// That costs a tenth of a digest over the whole token. What is kept cannot be used as a
/// credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HiddenEnd([u8; 32]);

impl HiddenEnd {
    /// Splits a token into the part that may be kept and the digest of the rest. `None`
    /// if it is shorter than the hidden end.
    fn split(token: &[u8]) -> Option<(&[u8], Self)> {
        let at = token.len().checked_sub(HIDDEN_BYTES)?;
        let (open, hidden) = token.split_at_checked(at)?;
        Some((open, HiddenEnd(Sha256::digest(hidden).into())))
    }
}

impl std::hash::Hash for HiddenEnd {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)));
    }
}

/// Uses the given number as the hash. Only digests of verified signatures are inserted,
/// and a mandate has two of them (`s` and its negative), so nobody can choose where many
/// of them fall. A lookup inserts nothing. The filter has no random source to seed
/// another hash with.
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

struct Known {
    open: Box<[u8]>,
    mandate: Rc<Mandate>,
}

impl Known {
    /// Bytes of the token that are kept, once or twice.
    fn bytes(&self) -> usize {
        let payload = self.mandate.sent().payload.as_deref();
        self.open
            .len()
            .saturating_add(payload.map_or(0, <[u8]>::len))
    }
}

/// Bytes of token that are kept per mandate. A larger token takes the room of several.
const BYTES_EACH: usize = 1_024;

/// A map from token to verified mandate, bounded in number and bytes.
#[derive(Default)]
pub struct MandateCache {
    capacity: usize,
    /// Bytes of all tokens that are kept.
    bytes: usize,
    known: HashMap<HiddenEnd, Known, BuildHasherDefault<FromDigest>>,
    oldest_first: VecDeque<HiddenEnd>,
}

impl MandateCache {
    /// An empty cache for at most `capacity` mandates. With 0 it remembers none.
    pub fn new(capacity: usize) -> Self {
        MandateCache {
            capacity,
            ..MandateCache::default()
        }
    }

    /// The mandate of a token that was verified before. The caller has to ask whether the
    /// key that verified it is still in the zone's key set.
    pub(crate) fn get(&self, token: &[u8]) -> Option<&Rc<Mandate>> {
        let (open, hidden) = HiddenEnd::split(token)?;
        let known = self.known.get(&hidden)?;
        is_same(&known.open, open).then_some(&known.mandate)
    }

    pub(crate) fn insert(&mut self, token: &[u8], mandate: &Rc<Mandate>) {
        let Some((open, hidden)) = HiddenEnd::split(token).filter(|_| self.capacity != 0) else {
            return;
        };
        let known = Known {
            open: open.into(),
            mandate: Rc::clone(mandate),
        };
        self.bytes = self.bytes.saturating_add(known.bytes());
        match self.known.insert(hidden, known) {
            Some(before) => self.bytes = self.bytes.saturating_sub(before.bytes()),
            None => self.oldest_first.push_back(hidden),
        }
        let most = self.capacity.saturating_mul(BYTES_EACH);
        while self.known.len() > self.capacity || self.bytes > most {
            let Some(oldest) = self.oldest_first.pop_front() else {
                break;
            };
            if let Some(gone) = self.known.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(gone.bytes());
            }
        }
    }

    /// How many mandates are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no mandate is remembered.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests;
