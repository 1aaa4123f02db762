use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::zone::Zone;

fn zones(ids: &[&str]) -> Zones {
    let zone = |id: &&str| Zone {
        id: (*id).to_owned(),
        issuer: String::new(),
    };
    Zones::several(zone(&ids[0]), ids[1..].iter().map(zone).collect())
}

fn parse(value: Value, after: u64) -> Result<Page, InvalidPage> {
    Page::parse(value.to_string().as_bytes(), after, &zones(&["z"]))
}

fn page(entries: Value, more: bool) -> Value {
    json!({"generation": "g-1", "head": 9, "confirmed_age_ms": 5, "entries": entries, "more": more, "x": 1})
}

#[test]
fn a_page_is_read() {
    let entries = json!([
        {"seq": 3, "anchor": "a\u{e9}\"", "ttl_s": 10},
        {"seq": 5, "zone": "other", "epoch": 99, "ttl_s": 10},
        {"seq": 6, "zone": "z", "epoch": 7, "ttl_s": 11},
        {"seq": 7, "zone": "z", "epoch": 5, "ttl_s": 12},
        {"seq": 9, "anchor": "b", "ttl_s": 99_999_999_999_u64},
    ]);
    let page = parse(page(entries, true), 2).unwrap();
    assert_eq!(page.generation.as_str(), "g-1");
    let ids = [
        (AnchorId::of("a\u{e9}\""), 10),
        (AnchorId::of("b"), 31_536_000),
    ];
    assert_eq!(page.anchors, ids);
    let zone = ZoneIndex::FIRST;
    assert_eq!(page.epochs, [(zone, 7, 11), (zone, 5, 12)]);
    assert_eq!((page.head, page.last, page.more), (9, Some(9), true));
}

#[test]
fn epochs_are_those_of_the_zones_that_are_accepted() {
    let entry = |seq: u64, zone: &str, epoch: u64| json!({"seq": seq, "zone": zone, "epoch": epoch, "ttl_s": 60});
    let entries = json!([
        entry(1, "b", 7),
        entry(2, "c", 1),
        entry(3, "b", 6),
        entry(4, "other", 9),
        entry(5, "a", 2),
    ]);
    let all = zones(&["a", "b", "c"]);
    let read = Page::parse(page(entries, false).to_string().as_bytes(), 0, &all).unwrap();
    let of = |id: &str, epoch| (all.find(id).unwrap(), epoch, 60);
    assert_eq!(
        read.epochs,
        [of("b", 7), of("c", 1), of("b", 6), of("a", 2)]
    );
}

#[test]
fn a_companion_that_leaves_out_a_zone_s_epochs_is_no_use() {
    let limited = |only: Value, accepted: &[&str]| {
        let mut limited = page(json!([]), false);
        limited["zone"] = only;
        Page::parse(limited.to_string().as_bytes(), 0, &zones(accepted)).map(drop)
    };
    assert_eq!(limited(json!(null), &["a", "b"]), Ok(()));
    assert_eq!(limited(json!("a"), &["a"]), Ok(()));
    for accepted in [&["b"][..], &["a", "b"], &["a", "b", "c"]] {
        let refused = limited(json!("a"), accepted);
        assert_eq!(refused, Err(InvalidPage::OtherZone), "{accepted:?}");
    }
    assert_eq!(limited(json!(7), &["a"]), Err(InvalidPage::Shape));
}

#[test]
fn a_snapshot_says_where_it_goes_on() {
    let entry = json!([{"seq": 1, "anchor": "a", "ttl_s": 1}]);
    let mut last = page(entry.clone(), false);
    last["next"] = json!("s-1");
    let read = parse(last, 0).unwrap();
    assert!(read.more);
    assert_eq!(read.next.as_str(), "s-1");
}

#[test]
fn what_is_no_page_is_refused() {
    let anchor = |seq: u64| json!({"seq": seq, "anchor": "a", "ttl_s": 1});
    for (entries, why) in [
        (json!([anchor(2)]), InvalidPage::Order),
        (json!([anchor(4), anchor(3)]), InvalidPage::Order),
        (json!([anchor(4), anchor(4)]), InvalidPage::Order),
        (json!([anchor(10)]), InvalidPage::Order),
        (
            json!([{"seq": 3, "anchor": "", "ttl_s": 1}]),
            InvalidPage::Shape,
        ),
        (json!([{"seq": 3, "anchor": "a"}]), InvalidPage::Shape),
        (json!([{"seq": 3, "ttl_s": 1}]), InvalidPage::Shape),
        (
            json!([{"seq": 3, "anchor": "a", "zone": "z", "epoch": 1, "ttl_s": 1}]),
            InvalidPage::Shape,
        ),
        (
            json!([{"seq": 3, "zone": "z", "epoch": 1_u64 << 63, "ttl_s": 1}]),
            InvalidPage::Shape,
        ),
        (
            json!([{"seq": -3, "anchor": "a", "ttl_s": 1}]),
            InvalidPage::Shape,
        ),
        (json!({}), InvalidPage::Shape),
        // The values of the members without their names.
        (json!([[3, "a", null, null, 1]]), InvalidPage::Shape),
    ] {
        assert_eq!(
            parse(page(entries.clone(), false), 2),
            Err(why),
            "{entries}"
        );
    }
    assert_eq!(
        parse(page(json!([]), true), 0),
        Err(InvalidPage::NoProgress)
    );
    let many: Vec<Value> = (1..=1001).map(anchor).collect();
    let mut many = page(json!(many), false);
    many["head"] = json!(2000);
    assert_eq!(parse(many.clone(), 0), Err(InvalidPage::TooMany));
    many["entries"].as_array_mut().unwrap().pop();
    assert_eq!(parse(many, 0).unwrap().anchors.len(), MAX_ENTRIES);
    let mut longest = page(json!([]), false).to_string().into_bytes();
    longest.resize(MAX_PAGE_BYTES, b' ');
    assert!(Page::parse(&longest, 0, &zones(&["z"])).is_ok());
    for generation in [json!(""), json!("a b"), json!("a&b"), json!("x".repeat(65))] {
        let mut bad = page(json!([]), false);
        bad["generation"] = generation;
        assert_eq!(parse(bad, 0), Err(InvalidPage::Generation));
    }
    assert_eq!(
        Page::parse(&vec![b' '; MAX_PAGE_BYTES + 1], 0, &zones(&["z"])),
        Err(InvalidPage::TooLarge)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Page::parse(&bytes, 0, &zones(&["z"]));
    }
}
