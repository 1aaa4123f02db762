use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Ids in two shards with few homes, so that they collide.
fn id() -> impl Strategy<Value = AnchorId> {
    (0_u64..2, 0_u64..40).prop_map(|(shard, n)| AnchorId(shard << 56 | n << 44 | n))
}

proptest! {
    #[test]
    fn it_is_a_map_with_expiry(
        steps in proptest::collection::vec((id(), 1_u32..50, any::<bool>()), 0..300),
    ) {
        let mut table = RevokedAnchors::default();
        let mut model: BTreeMap<AnchorId, u32> = BTreeMap::new();
        let mut now = 0;
        for (id, ttl, sweep) in steps {
            let expires = now + ttl;
            let change = model.get(&id).is_none_or(|known| *known < expires);
            prop_assert_eq!(table.would_change(id, expires), change);
            let known = model.entry(id).or_insert(0);
            let expected = match (*known, change) {
                (0, _) => Inserted::New,
                (_, true) => Inserted::Extended,
                (_, false) => Inserted::Known,
            };
            *known = (*known).max(expires);
            prop_assert_eq!(table.insert(id, expires), expected);
            if sweep {
                now += 1;
                table.sweep(now, 1_000);
                table.sweep(now, 1_000);
                model.retain(|_, expires| *expires > now);
                prop_assert_eq!(table.len(), model.len());
            }
            for (id, expires) in &model {
                prop_assert_eq!(table.contains(*id, now), *expires > now);
            }
            let walked: BTreeMap<AnchorId, u32> = walk_all(&table, now, 7).into_iter().collect();
            let live: BTreeMap<AnchorId, u32> =
                model.iter().filter(|(_, e)| **e > now).map(|(i, e)| (*i, *e)).collect();
            prop_assert_eq!(walked, live);
        }
    }
}

fn walk_all(table: &RevokedAnchors, now: u32, max: usize) -> Vec<(AnchorId, u32)> {
    let (mut all, mut at) = (Vec::new(), Some(Position::default()));
    while let Some(from) = at {
        let (found, next) = table.walk(from, now, max);
        all.extend(found);
        at = next;
    }
    all
}

#[test]
fn a_hundred_thousand_take_at_most_eighteen_bytes_each() {
    let mut table = RevokedAnchors::default();
    for n in 0..100_000 {
        table.insert(AnchorId::of(&format!("anchor-{n}")), 1);
    }
    assert_eq!(table.len(), 100_000);
    let bytes = table.bytes() / table.len();
    assert!((14..=18).contains(&bytes), "{bytes}");
    assert!(!table.contains(AnchorId::of("anchor-5"), 1), "expired");
    assert!(table.contains(AnchorId::of("anchor-5"), 0));
    assert!(!table.contains(AnchorId::of("anchor-x"), 0));
    table.sweep(1, 1_000_000);
    assert_eq!(table.len(), 0);
}

/// The slots of a table after one anchor was added to each of some shards.
fn slots(table: &mut RevokedAnchors, shards: u64) -> usize {
    for shard in 0..shards {
        table.insert(AnchorId(shard << 56), 1);
    }
    table.bytes() / 12
}

#[test]
fn room_is_made_for_as_many_as_are_expected_and_not_for_any_number() {
    assert_eq!(slots(&mut RevokedAnchors::default(), 1), LEAST_SLOTS);
    assert_eq!(slots(&mut RevokedAnchors::with_room(10), 1), LEAST_SLOTS);
    // 80 in each shard, and a quarter more.
    assert_eq!(slots(&mut RevokedAnchors::with_room(80 * SHARDS), 1), 100);
    assert_eq!(
        slots(&mut RevokedAnchors::with_room(80 * SHARDS), 256),
        100 * SHARDS
    );
    let most = (1 << 20) / SHARDS * 5 / 4;
    assert_eq!(slots(&mut RevokedAnchors::with_room(usize::MAX), 1), most);
    // A full shard grows, and no other shard does.
    let mut table = RevokedAnchors::with_room(0);
    for n in 0..8 {
        table.insert(AnchorId(n), 1);
    }
    assert_eq!(table.bytes() / 12, LEAST_SLOTS + LEAST_SLOTS / 4 + 1);
}

#[test]
fn an_id_is_known_until_it_is_swept() {
    let mut table = RevokedAnchors::default();
    let ids = [1, 2 << 56, 3 << 56].map(AnchorId);
    assert!(table.is_empty() && !table.is_known(ids[0]));
    for id in ids {
        table.insert(id, 5);
    }
    assert!(!table.is_empty() && table.is_known(ids[0]));
    // One part of a sweep takes exactly its number of steps.
    table.sweep(5, 1);
    assert!(table.len() >= 2, "{}", table.len());
    assert!(ids.iter().any(|id| table.is_known(*id)));
    table.sweep(5, 1_000);
    assert!(table.is_empty() && !ids.iter().any(|id| table.is_known(*id)));
}

#[test]
fn ids_are_spread_over_the_slots_of_a_shard() {
    let shard = Shard {
        ids: vec![0; 100],
        ..Shard::default()
    };
    let home = |bits: u64| shard.home(bits << 16);
    assert_eq!(
        [home(0), home(1 << 31), home(u64::from(u32::MAX))],
        [0, 50, 99]
    );
    // Other bits choose the shard.
    assert_eq!(shard.home(u64::MAX ^ (u64::from(u32::MAX) << 16)), 0);
    assert_eq!(shard_of(AnchorId(0xab << 56 | 0xffff)), 0xab);
}
