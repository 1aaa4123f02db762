use super::*;

use std::hash::BuildHasher as _;

use serde_json::json;

use crate::jwks::algorithm::Algorithm;
use crate::jwks::key_set::KeySet;
use crate::jwks::signature::PureRust;
use crate::mint::{Key, key_set};
use crate::token::fingerprint::Fingerprint;
use crate::token::jws::{TokenLimits, UnverifiedMandate};
use crate::token::mandate::{self, Sent};

fn mandate() -> Rc<Mandate> {
    let key = Key::new("k1", 1);
    let algorithms = &[Algorithm::Es256];
    let keys = KeySet::parse(key_set(&[&key]).to_string().as_bytes(), algorithms).unwrap();
    let token = key.mandate(1_000, json!({})).into_bytes();
    let limits = TokenLimits {
        max_bytes: 8_192,
        algorithms,
    };
    let unverified = UnverifiedMandate::parse(&token, limits).unwrap();
    let fingerprint = Fingerprint::of(&token);
    Rc::new(mandate::verify(&unverified, fingerprint, &keys, &PureRust).unwrap())
}

/// A text with the length of a token.
fn token(n: u8, bytes: usize) -> Vec<u8> {
    vec![n; bytes]
}

#[test]
fn the_oldest_leaves_first() {
    let (mut cache, mandate) = (MandateCache::new(2), mandate());
    assert!(cache.is_empty());
    for n in 0..3 {
        cache.insert(&token(n, 100), &mandate);
        assert!(!cache.is_empty());
    }
    assert_eq!(cache.len(), 2);
    let known: Vec<bool> = (0..4)
        .map(|n| cache.get(&token(n, 100)).is_some())
        .collect();
    assert_eq!(known, [false, true, true, false]);
    // A token that differs before its hidden end is another one.
    let mut other = token(2, 100);
    other[0] ^= 1;
    assert!(cache.get(&other).is_none());
    // A token that is too short for a hidden end is not remembered.
    cache.insert(b"short", &mandate);
    assert!(cache.get(b"short").is_none());
}

#[test]
fn none_is_remembered_where_none_may_be() {
    let mut cache = MandateCache::new(0);
    cache.insert(&token(1, 100), &mandate());
    assert!(cache.is_empty() && cache.get(&token(1, 100)).is_none());
}

#[test]
fn what_is_kept_of_tokens_is_bounded_in_bytes() {
    let mandate = mandate();
    // The longest token that takes the room of two, without the hidden ends.
    let exact = BYTES_EACH + HIDDEN_BYTES;
    let mut cache = MandateCache::new(2);
    cache.insert(&token(1, exact), &mandate);
    cache.insert(&token(2, exact), &mandate);
    assert_eq!(cache.len(), 2);
    // The same token again takes no more room.
    cache.insert(&token(2, exact), &mandate);
    assert_eq!(cache.len(), 2);
    // One byte more than there is room for, so the oldest leaves.
    cache.insert(&token(3, exact + 1), &mandate);
    assert_eq!(cache.len(), 1);
    assert!(cache.get(&token(3, exact + 1)).is_some());
    // A mandate that has left is not counted any more.
    cache.insert(&token(4, exact - 1), &mandate);
    assert_eq!(cache.len(), 2);
    // A token that is larger than the whole cache is not remembered.
    cache.insert(&token(5, 3 * BYTES_EACH), &mandate);
    assert!(cache.is_empty());
    cache.insert(&token(6, exact), &mandate);
    assert_eq!(cache.len(), 1);
}

#[test]
fn tokens_fall_into_places_of_their_own() {
    let place = |token: &[u8]| {
        let (_, hidden) = HiddenEnd::split(token).unwrap();
        BuildHasherDefault::<FromDigest>::default().hash_one(hidden)
    };
    let first = place(&token(1, 50));
    let digest: [u8; 32] = Sha256::digest(token(1, HIDDEN_BYTES)).into();
    assert_eq!(first.to_le_bytes(), digest[..8]);
    assert_ne!(first, place(&token(2, 50)));
    // Input that is not a number is hashed by every byte.
    let mut hasher = FromDigest::default();
    hasher.write(&[0xf0, 1, 2, 3, 4, 5, 6, 7, 0xff]);
    assert_eq!(hasher.finish(), 0x0102_0304_0506_070f);
}

#[test]
fn a_payload_that_is_kept_takes_room_too() {
    let sent = Sent {
        payload: Some(vec![b'a'; BYTES_EACH].into()),
        ..Sent::default()
    };
    let large = Rc::new(Mandate::clone(&mandate()).with_sent(sent));
    let mut cache = MandateCache::new(4);
    for n in 0..4 {
        cache.insert(&token(n, BYTES_EACH), &large);
    }
    // Each takes the room of two, and gives it back.
    assert_eq!(cache.len(), 2);
    for n in 4..8 {
        cache.insert(&token(n, BYTES_EACH / 2), &mandate());
    }
    assert_eq!(cache.len(), 4);
    assert!(cache.bytes <= 4 * BYTES_EACH);
}
