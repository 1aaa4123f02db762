//! A page of the companion's feed or snapshot: `{"generation", "head",
//! "confirmed_age_ms", "entries": [{"seq", "anchor", "ttl_s"} or {"seq", "zone", "epoch",
//! "ttl_s"}], "more", "zone"}`. `zone` is there if the companion keeps the epochs of that
//! zone only. `position` is there if the companion knows positions (text): it is good at
//! every companion. From one that does not, a page of a snapshot has `"next"` instead of
//! `"more"`: the cursor of the next page. Unknown members are ignored, so that a newer
//! companion can add some.

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
/// Longest position, in bytes.
pub const MAX_POSITION_BYTES: usize = 256;
/// Longest lifetime of an entry that is accepted, in seconds: a year.
const MAX_TTL_S: u64 = 31_536_000;

/// The companion's name for one unbroken log. Another companion has another name, and so
/// does the same one after it lost its state. At most 64 bytes.
pub type Cursor = QueryText<MAX_CURSOR_BYTES>;

/// What this edge has already, in a form that companions make and read. At most 256 bytes.
pub type Position = QueryText<MAX_POSITION_BYTES>;

/// A text of at most so many bytes of `A-Z a-z 0-9 - _ .`, which needs no escapes in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryText<const MAX: usize> {
    bytes: [u8; MAX],
    len: usize,
}

impl<const MAX: usize> Default for QueryText<MAX> {
    fn default() -> Self {
        QueryText {
            bytes: [0; MAX],
            len: 0,
        }
    }
}

impl<const MAX: usize> QueryText<MAX> {
    /// `None` for a text that is too long or needs escapes in a query.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !text.bytes().all(fits) {
            return None;
        }
        let mut cursor = QueryText::default();
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
    /// Where a snapshot continues. Empty at its end, in a feed, and if there is a position.
    pub next: Cursor,
    /// What this edge has after this page. Empty if the companion does not know positions.
    pub position: Position,
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
    /// There is no generation, or it or the position cannot be sent back.
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
    #[serde(borrow, default)]
    position: Option<Cow<'a, str>>,
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
    /// Reads a page. Every entry must come after `after`, unless the page has a position:
    /// then its numbers may be those of another companion's log. Epochs of zones that are
    /// not among `zones` are left out.
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
        let position = Position::new(wire.position.as_deref().unwrap_or_default())
            .ok_or(InvalidPage::Generation)?;
        let after = if position.is_empty() { after } else { 0 };
        let mut page = Page {
            generation,
            head: wire.head,
            confirmed_age_ms: wire.confirmed_age_ms,
            anchors: Vec::with_capacity(wire.entries.len()),
            epochs: Vec::new(),
            last: None,
            more: wire.more || !next.is_empty(),
            next,
            position,
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
mod tests;
