//! A page of the companion's feed or snapshot: `{"generation", "head",
//! "confirmed_age_ms", "entries": [{"seq", "anchor", "ttl_s"} or {"seq", "zone", "epoch",
//! "ttl_s"}], "more", "zone"}`. `zone` is there if the companion keeps the epochs of that
//! zone only. A page of a snapshot has `"next"` instead of `"more"`: the cursor of the next
//! page. Unknown members are ignored, so that a newer companion can add some.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};

use super::AnchorId;
use crate::zone::{ZoneIndex, Zones};

/// Largest page, in bytes.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// Most entries of a page.
pub const MAX_ENTRIES: usize = 1000;
/// Longest generation or snapshot cursor, in bytes.
pub const MAX_CURSOR_BYTES: usize = 64;
/// Longest lifetime of an entry that is accepted, in seconds: a year.
const MAX_TTL_S: u64 = 31_536_000;

/// The companion's name for one unbroken log. Another companion has another name, and so
/// does the same one after it lost its state. At most 64 bytes of `A-Z a-z 0-9 - _ .`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    bytes: [u8; MAX_CURSOR_BYTES],
    len: usize,
}

impl Default for Cursor {
    fn default() -> Self {
        Cursor {
            bytes: [0; MAX_CURSOR_BYTES],
            len: 0,
        }
    }
}

impl Cursor {
    /// `None` for a text that is too long or needs escapes in a query.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !text.bytes().all(fits) {
            return None;
        }
        let mut cursor = Cursor::default();
        cursor
            .bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        cursor.len = text.len();
        Some(cursor)
    }

    /// The text. The default has an empty one.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or(&[]);
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A page that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The log that the page is from.
    pub generation: Cursor,
    /// Number of the newest entry when the page was made.
    pub head: u64,
    /// Time between the page and the moment when the companion last knew that it had
    /// everything, in milliseconds.
    pub confirmed_age_ms: u64,
    /// Anchors, with the number of seconds for which they stay revoked.
    pub anchors: Vec<(AnchorId, u32)>,
    /// Epochs of the zones that are accepted, each with its lifetime in seconds, in order.
    pub epochs: Vec<(ZoneIndex, u64, u32)>,
    /// Number of the last entry, if there is any.
    pub last: Option<u64>,
    /// There are more entries after these.
    pub more: bool,
    /// Where a snapshot continues. Empty at its end, and in a feed.
    pub next: Cursor,
}

/// Why bytes are not a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPage {
    /// Over [`MAX_PAGE_BYTES`].
    TooLarge,
    /// Not JSON, or not with these members.
    Shape,
    /// Over [`MAX_ENTRIES`].
    TooMany,
    /// There is no generation, or it cannot be sent back.
    Generation,
    /// Entries out of order, at or before the cursor, or beyond the head.
    Order,
    /// The page says that there is more, but has no entries.
    NoProgress,
    /// The companion keeps the epochs of one zone only, and another one is accepted here.
    OtherZone,
}

impl fmt::Display for InvalidPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPage::TooLarge => "the page is over 1 MiB",
            InvalidPage::Shape => "the answer is not a page of a feed",
            InvalidPage::TooMany => "the page has over 1000 entries",
            InvalidPage::Generation => "the page has no usable generation",
            InvalidPage::Order => "the page's entries are out of order",
            InvalidPage::NoProgress => "the page is empty and says that there is more",
            InvalidPage::OtherZone => {
                "the companion keeps the delegation epochs of one zone only (--zone), and this edge accepts another one"
            }
        })
    }
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(borrow)]
    generation: Cow<'a, str>,
    head: u64,
    confirmed_age_ms: u64,
    #[serde(borrow)]
    entries: Vec<Object<WireEntry<'a>>>,
    #[serde(default)]
    more: bool,
    #[serde(borrow, default)]
    next: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    zone: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct WireEntry<'a> {
    seq: u64,
    #[serde(borrow, default)]
    anchor: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    zone: Option<Cow<'a, str>>,
    #[serde(default)]
    epoch: Option<u64>,
    ttl_s: u64,
}

/// Accepts a struct only as an object. serde would also accept an array of its members'
/// values.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

impl Page {
    /// Reads a page. Every entry must come after `after`. Epochs of zones that
    /// are not among `zones` are left out.
    ///
    /// # Errors See [`InvalidPage`].
    pub fn parse(bytes: &[u8], after: u64, zones: &Zones) -> Result<Self, InvalidPage> {
        if bytes.len() > MAX_PAGE_BYTES {
            return Err(InvalidPage::TooLarge);
        }
        let Object(wire): Object<WirePage<'_>> =
            serde_json::from_slice(bytes).map_err(|_| InvalidPage::Shape)?;
        if wire.entries.len() > MAX_ENTRIES {
            return Err(InvalidPage::TooMany);
        }
        let generation = Cursor::new(&wire.generation)
            .filter(|generation| !generation.is_empty())
            .ok_or(InvalidPage::Generation)?;
        // Otherwise a stale delegation of that zone would be admitted.
        if let Some(only) = &wire.zone
            && zones.iter().any(|(_, zone)| zone.id != *only)
        {
            return Err(InvalidPage::OtherZone);
        }
        let next =
            Cursor::new(wire.next.as_deref().unwrap_or_default()).ok_or(InvalidPage::Generation)?;
        let mut page = Page {
            generation,
            head: wire.head,
            confirmed_age_ms: wire.confirmed_age_ms,
            anchors: Vec::with_capacity(wire.entries.len()),
            epochs: Vec::new(),
            last: None,
            more: wire.more || !next.is_empty(),
            next,
        };
        for Object(entry) in &wire.entries {
            if entry.seq <= page.last.unwrap_or(after) || entry.seq > wire.head {
                return Err(InvalidPage::Order);
            }
            page.last = Some(entry.seq);
            page.take(entry, zones)?;
        }
        if page.more && page.last.is_none() {
            return Err(InvalidPage::NoProgress);
        }
        Ok(page)
    }

    fn take(&mut self, entry: &WireEntry<'_>, zones: &Zones) -> Result<(), InvalidPage> {
        let ttl_s = u32::try_from(entry.ttl_s.min(MAX_TTL_S)).unwrap_or(u32::MAX);
        match (&entry.anchor, &entry.zone, entry.epoch) {
            (Some(anchor), None, None) if !anchor.is_empty() => {
                self.anchors.push((AnchorId::of(anchor), ttl_s));
            }
            (None, Some(of), Some(epoch)) if i64::try_from(epoch).is_ok() => {
                let zone = zones.find(of);
                self.epochs.extend(zone.map(|zone| (zone, epoch, ttl_s)));
            }
            _ => return Err(InvalidPage::Shape),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
}
