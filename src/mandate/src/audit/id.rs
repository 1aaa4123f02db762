//! Ids of events.

use sha2::{Digest as _, Sha256};
use uuid::Builder;

/// Ids that are made from one digest.
const FROM_ONE_DIGEST: u32 = 200;

/// Makes ids in the form of a UUIDv7 (RFC 9562, section 5.7). The filter has no random
/// source. So the random part is a digest, and it grows by one from id to id (section 6.2,
/// method 2). From time to time a new digest takes in what the event is about: two VMs whose
/// seeds are the same soon have other ids all the same.
#[derive(Debug)]
pub struct EventIds {
    /// The last digest, which the next one takes in.
    state: [u8; 32],
    /// The random part: of its first two bytes twelve bits count, of the rest 62.
    head: [u8; 2],
    number: u64,
    left: u32,
}

impl EventIds {
    /// The seed should differ from those of other VMs.
    pub fn new(seed: [u8; 16]) -> Self {
        let state = Sha256::new_with_prefix("audit").chain_update(seed);
        EventIds {
            state: state.finalize().into(),
            head: [0; 2],
            number: 0,
            left: 0,
        }
    }

    /// The next id, 36 bytes of text. `facts` are of the event.
    pub fn next(&mut self, unix_ms: u64, facts: &[&[u8]]) -> [u8; 36] {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.renew(facts),
        }
        self.number = self.number.wrapping_add(1);
        let mut random = [0; 10];
        let (head, tail) = random.split_at_mut(2);
        head.copy_from_slice(&self.head);
        tail.copy_from_slice(&self.number.to_be_bytes());
        let mut text = [0; 36];
        let id = Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid();
        id.hyphenated().encode_lower(&mut text);
        text
    }

    #[cold]
    fn renew(&mut self, facts: &[&[u8]]) {
        let mut digest = Sha256::new_with_prefix(self.state);
        for fact in facts {
            let length = u64::try_from(fact.len()).unwrap_or(u64::MAX);
            digest.update(length.to_le_bytes());
            digest.update(fact);
        }
        self.state = digest.finalize().into();
        let (number, rest) = self.state.split_first_chunk().unwrap_or((&[0; 8], &[]));
        self.number = u64::from_be_bytes(*number);
        self.head = rest.first_chunk().copied().unwrap_or_default();
        self.left = FROM_ONE_DIGEST;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn text(ids: &mut EventIds, unix_ms: u64, facts: &[&[u8]]) -> String {
        String::from_utf8(ids.next(unix_ms, facts).to_vec()).unwrap()
    }

    #[test]
    fn ids_are_of_the_seventh_version_and_carry_their_time() {
        let id = text(&mut EventIds::new([7; 16]), 0x0192_3456_789a, &[b"a"]);
        assert!(id.starts_with("01923456-789a-7"), "{id}");
        let variant = id.as_bytes().get(19).copied().unwrap();
        assert!(b"89ab".contains(&variant), "{id}");
        assert_eq!(text(&mut EventIds::new([7; 16]), u64::MAX, &[]).len(), 36);
    }

    #[test]
    fn no_id_comes_twice() {
        let mut all = BTreeSet::new();
        let mut ids = EventIds::new([7; 16]);
        for _ in 0..1_000 {
            assert!(all.insert(text(&mut ids, 1, &[])));
        }
        // Another VM with the same seed, in the same millisecond, about another request.
        let mut ids = EventIds::new([7; 16]);
        for _ in 0..1_000 {
            assert!(all.insert(text(&mut ids, 1, &[b"another"])));
        }
        // What stands before does not run into what stands behind.
        let first = |facts: &[&[u8]]| text(&mut EventIds::new([7; 16]), 1, facts);
        assert_ne!(first(&[b"a", b"b"]), first(&[b"ab", b""]));
    }
}
