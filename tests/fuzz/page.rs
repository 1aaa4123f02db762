//! Input: a cursor, then a page of the companion's. What is taken in is what the
//! page says by another reading of its JSON, and every anchor of it is revoked
//! afterwards.

use std::sync::LazyLock;

use caracal_mandate::revocation::AnchorId;
use caracal_mandate::revocation::anchors::RevokedAnchors;
use caracal_mandate::revocation::page::{MAX_ENTRIES, Page};
use caracal_mandate::zone::{Zone, Zones};
use serde_json::Value;

use crate::byte;

const ZONE: &str = "zone-1";
const NOW_S: u32 = 1_000_000;

static ZONES: LazyLock<Zones> = LazyLock::new(|| {
    Zones::one(Zone {
        id: ZONE.to_owned(),
        issuer: String::new(),
    })
});

pub fn check(data: &[u8]) {
    let mut data = data;
    let after = u64::from(byte(&mut data));
    let Ok(page) = Page::parse(data, after, &ZONES) else {
        return;
    };
    assert!(page.anchors.len() <= MAX_ENTRIES);
    assert!(!page.generation.is_empty() && page.generation.as_str().len() <= 64);
    // What a page has that no reader of numbers can hold is nothing that counts.
    let Ok(json) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    assert_eq!(json["generation"], page.generation.as_str());
    assert_eq!(json["head"].as_u64(), Some(page.head));
    assert_eq!(
        json["confirmed_age_ms"].as_u64(),
        Some(page.confirmed_age_ms)
    );
    let entries = json["entries"].as_array().unwrap();
    let mut last = after;
    let (mut anchors, mut epochs) = (Vec::new(), Vec::new());
    for entry in entries {
        let seq = entry["seq"].as_u64().unwrap();
        assert!(seq > last && seq <= page.head);
        last = seq;
        let ttl = entry["ttl_s"].as_u64().unwrap().min(365 * 86_400) as u32;
        match entry["anchor"].as_str() {
            Some(anchor) => {
                assert!(!anchor.is_empty());
                anchors.push((AnchorId::of(anchor), ttl));
            }
            None if entry["zone"] == ZONE => {
                epochs.push((entry["epoch"].as_u64().unwrap(), ttl));
            }
            None => assert!(entry["zone"].is_string() && entry["epoch"].is_u64()),
        }
    }
    assert_eq!(page.anchors, anchors);
    let read = page.epochs.iter().map(|(_, epoch, ttl_s)| (*epoch, *ttl_s));
    assert_eq!(read.collect::<Vec<_>>(), epochs);
    assert_eq!(page.last, (!entries.is_empty()).then_some(last));
    assert!(!page.more || page.last.is_some());

    let mut revoked = RevokedAnchors::default();
    for (id, ttl) in &page.anchors {
        revoked.insert(*id, NOW_S + ttl);
    }
    for (id, ttl) in &page.anchors {
        assert!(*ttl == 0 || revoked.contains(*id, NOW_S));
    }
    revoked.sweep(NOW_S, usize::MAX >> 8);
    assert!(revoked.len() <= page.anchors.len());
}
