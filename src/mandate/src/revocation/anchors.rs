//! The revoked anchors in one VM: a hash table of ids and expiries, 12 bytes for each. A
//! lookup costs the same for no anchor and for a million.
//!
//! The table is cut into shards that grow one by one, so that an insertion never moves
//! more than a small part of it: a callback must not stop a worker. Ids are digests, so
//! they need no further hashing. To pile up anchors in one place, an attacker would have
//! to find prefixes of SHA-256.

use super::AnchorId;

/// Number of shards. An id's top byte chooses the shard.
const SHARDS: usize = 256;
/// A shard grows if more than this share of its slots is in use, in percent.
const FULL_PERCENT: usize = 85;
/// Most anchors for which room is made in advance: their number comes from shared data.
const MOST_ROOM: usize = 1 << 20;
/// Fewest slots of a shard that has any.
const LEAST_SLOTS: usize = 8;

/// What an insertion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The id was not there.
    New,
    /// It was there, and would have expired sooner.
    Extended,
    /// It was there for at least as long.
    Known,
}

/// Ids with the time at which they expire, in seconds of the caller's clock.
#[derive(Debug, Clone)]
pub struct RevokedAnchors {
    shards: Vec<Shard>,
    len: usize,
    /// Where [`RevokedAnchors::sweep`] continues.
    swept: Position,
    /// Slots with which a shard begins.
    first_slots: usize,
}

/// A place in the table, for walks that are done in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    shard: usize,
    slot: usize,
}

#[derive(Debug, Clone, Default)]
struct Shard {
    ids: Vec<u64>,
    /// 0 marks a free slot.
    expires: Vec<u32>,
    used: usize,
}

impl Default for RevokedAnchors {
    fn default() -> Self {
        RevokedAnchors {
            shards: vec![Shard::default(); SHARDS],
            len: 0,
            swept: Position::default(),
            first_slots: LEAST_SLOTS,
        }
    }
}

impl RevokedAnchors {
    /// An empty table with room for about this many anchors; the memory is taken as it
    /// fills. Without it, the table would be moved several times while it grows to a
    /// known size.
    pub fn with_room(anchors: usize) -> Self {
        let slots = (anchors.min(MOST_ROOM) / SHARDS).saturating_mul(125) / 100;
        RevokedAnchors {
            first_slots: slots.max(LEAST_SLOTS),
            ..RevokedAnchors::default()
        }
    }

    /// Number of ids in the table, including expired ones that were not swept yet.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory of the table, in bytes.
    pub fn bytes(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.ids.capacity().saturating_mul(12))
            .fold(0, usize::saturating_add)
    }

    /// Whether an id is revoked at `now_s`.
    pub fn contains(&self, id: AnchorId, now_s: u32) -> bool {
        self.expiry(id).is_some_and(|expires| expires > now_s)
    }

    /// Whether an id is in the table, expired or not.
    pub fn is_known(&self, id: AnchorId) -> bool {
        self.expiry(id).is_some()
    }

    /// Whether inserting would change anything.
    pub fn would_change(&self, id: AnchorId, expires_s: u32) -> bool {
        self.expiry(id).is_none_or(|known| known < expires_s)
    }

    fn expiry(&self, id: AnchorId) -> Option<u32> {
        let shard = self.shards.get(shard_of(id))?;
        let slot = shard.find(id.0)?;
        shard.expires.get(slot).copied().filter(|e| *e != 0)
    }

    /// Adds an id until `expires_s`. If it is there for longer already, it stays for
    /// longer.
    pub fn insert(&mut self, id: AnchorId, expires_s: u32) -> Inserted {
        let Some(shard) = self.shards.get_mut(shard_of(id)) else {
            return Inserted::Known;
        };
        let inserted = shard.insert(id.0, expires_s.max(1), self.first_slots);
        if inserted == Inserted::New {
            self.len = self.len.saturating_add(1);
        }
        inserted
    }

    /// Removes expired ids among the next `slots` slots.
    pub fn sweep(&mut self, now_s: u32, slots: usize) {
        let mut left = slots;
        while left > 0 {
            let Some(shard) = self.shards.get_mut(self.swept.shard) else {
                self.swept = Position::default();
                return;
            };
            let Some(expires) = shard.expires.get(self.swept.slot).copied() else {
                self.swept = Position {
                    shard: self.swept.shard.wrapping_add(1),
                    slot: 0,
                };
                // An empty shard counts as a step, so that the loop ends.
                left = left.saturating_sub(1);
                continue;
            };
            if expires != 0 && expires <= now_s {
                shard.remove(self.swept.slot);
                self.len = self.len.saturating_sub(1);
                // Another id may be in that slot now, so look at it again.
            } else {
                self.swept.slot = self.swept.slot.wrapping_add(1);
            }
            left = left.saturating_sub(1);
        }
    }

    /// The ids from a position on that have not expired, at most about `max`, and the
    /// position to continue from; `None` at the end. The table must not change meanwhile.
    pub fn walk(
        &self,
        from: Position,
        now_s: u32,
        max: usize,
    ) -> (Vec<(AnchorId, u32)>, Option<Position>) {
        let mut found = Vec::with_capacity(max);
        let mut at = from;
        while let Some(shard) = self.shards.get(at.shard) {
            let slots = shard.ids.iter().zip(&shard.expires).skip(at.slot);
            for (id, expires) in slots {
                if found.len() >= max {
                    return (found, Some(at));
                }
                if *expires > now_s {
                    found.push((AnchorId(*id), *expires));
                }
                at.slot = at.slot.wrapping_add(1);
            }
            at = Position {
                shard: at.shard.wrapping_add(1),
                slot: 0,
            };
        }
        (found, None)
    }
}

fn shard_of(id: AnchorId) -> usize {
    usize::from(id.0.to_be_bytes()[0])
}

impl Shard {
    /// Where the search for an id begins. It uses bits that do not choose the shard,
    /// scaled to the number of slots, which need not be a power of two.
    fn home(&self, id: u64) -> usize {
        let bits = (id >> 16) & u64::from(u32::MAX);
        let slots = u64::try_from(self.ids.len()).unwrap_or(0);
        usize::try_from(bits.wrapping_mul(slots) >> 32).unwrap_or(0)
    }

    fn after(&self, slot: usize) -> usize {
        let next = slot.wrapping_add(1);
        if next >= self.ids.len() { 0 } else { next }
    }

    /// The slot of an id, or the free slot where it belongs. `None` only in a shard
    /// without slots: a shard is never full.
    fn find(&self, id: u64) -> Option<usize> {
        let mut slot = self.home(id);
        loop {
            if *self.expires.get(slot)? == 0 || *self.ids.get(slot)? == id {
                return Some(slot);
            }
            slot = self.after(slot);
        }
    }

    fn insert(&mut self, id: u64, expires: u32, first_slots: usize) -> Inserted {
        if self.used.saturating_mul(100) >= self.ids.len().saturating_mul(FULL_PERCENT) {
            self.grow(first_slots);
        }
        let Some(slot) = self.find(id) else {
            return Inserted::Known;
        };
        let (Some(to_id), Some(to_expires)) = (self.ids.get_mut(slot), self.expires.get_mut(slot))
        else {
            return Inserted::Known;
        };
        let known = *to_expires;
        if known >= expires {
            return Inserted::Known;
        }
        *to_id = id;
        *to_expires = expires;
        if known == 0 {
            self.used = self.used.saturating_add(1);
            return Inserted::New;
        }
        Inserted::Extended
    }

    /// Adds a quarter more slots: between 14 and 18 bytes for each id.
    fn grow(&mut self, first_slots: usize) {
        let slots = self.ids.len();
        let slots = match slots.saturating_add(slots / 4).saturating_add(1) {
            1 => first_slots,
            more => more.max(LEAST_SLOTS),
        };
        let grown = Shard {
            ids: vec![0; slots],
            expires: vec![0; slots],
            used: 0,
        };
        let old = std::mem::replace(self, grown);
        for (id, expires) in old.ids.into_iter().zip(old.expires) {
            if expires == 0 {
                continue;
            }
            if let Some(slot) = self.find(id)
                && let Some(to_id) = self.ids.get_mut(slot)
                && let Some(to_expires) = self.expires.get_mut(slot)
            {
                *to_id = id;
                *to_expires = expires;
                self.used = self.used.saturating_add(1);
            }
        }
    }

    /// Frees a slot. Ids in the following slots that were pushed on because of it are
    /// moved back, because a search ends at the first free slot.
    fn remove(&mut self, slot: usize) {
        let slots = self.ids.len();
        let distance = |from: usize, to: usize| {
            let behind = to.checked_sub(from);
            behind.unwrap_or_else(|| to.wrapping_add(slots).wrapping_sub(from))
        };
        let mut free = slot;
        let mut next = self.after(slot);
        while let (Some(id), Some(expires)) =
            (self.ids.get(next).copied(), self.expires.get(next).copied())
        {
            if expires == 0 || next == slot {
                break;
            }
            // It may move back unless its home is after the free slot.
            if distance(self.home(id), next) >= distance(free, next) {
                if let (Some(to_id), Some(to_expires)) =
                    (self.ids.get_mut(free), self.expires.get_mut(free))
                {
                    *to_id = id;
                    *to_expires = expires;
                }
                free = next;
            }
            next = self.after(next);
        }
        if let Some(expires) = self.expires.get_mut(free) {
            *expires = 0;
        }
        self.used = self.used.saturating_sub(1);
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
