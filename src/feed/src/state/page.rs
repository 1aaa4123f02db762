//! Reads the state: pages of the log, and answers about single anchors.

use std::sync::Arc;
use std::time::Instant;

use serde::{Serialize, Serializer};

use super::position::Position;
use super::{Inner, Item, State};

/// Text in one page, in bytes. Only its last entry may exceed it.
const MAX_PAGE_TEXT: usize = 256 * 1024;

/// An entry of the log, in the form of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    /// An anchor is revoked.
    Anchor {
        /// Its number in the log.
        seq: u64,
        /// The anchor.
        anchor: Arc<str>,
        /// The number of seconds for which it stays revoked, rounded up.
        ttl_s: u64,
    },
    /// A zone's delegation epoch.
    Epoch {
        /// Its number in the log.
        seq: u64,
        /// The zone.
        zone: Arc<str>,
        /// The epoch.
        epoch: u64,
        /// The number of seconds for which it is kept, rounded up.
        ttl_s: u64,
    },
}

impl Entry {
    pub(super) fn text(&self) -> &str {
        match self {
            Entry::Anchor { anchor, .. } => anchor,
            Entry::Epoch { zone, .. } => zone,
        }
    }

    pub(super) fn seq(&self) -> u64 {
        match self {
            Entry::Anchor { seq, .. } | Entry::Epoch { seq, .. } => *seq,
        }
    }
}

/// Entries after a place in the log.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    /// The log's name.
    pub generation: String,
    /// Number of its newest entry.
    pub head: u64,
    /// Milliseconds since the companion last knew that it had everything.
    pub confirmed_age_ms: u64,
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// There are more after these.
    pub more: bool,
    /// The zone whose epochs are kept, if they are not kept of all zones. A filter must
    /// not take the epoch of another zone for one that was never raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Where the reader is then, for whichever companion it asks next. Only if it said
    /// where it was.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub position: Option<Position>,
}

fn as_text<S: Serializer>(position: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    position.as_ref().map(Position::text).serialize(serializer)
}

impl Page {
    /// Whether a page with so many entries and so many bytes of text takes no more.
    pub(super) fn is_full(entries: usize, bytes: usize, max: usize) -> bool {
        entries >= max || bytes > MAX_PAGE_TEXT
    }
}

/// Why the log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPage {
    /// The state was never complete yet, or it is over capacity.
    NotReady(&'static str),
    /// The cursor is from another log, or after the end. This is the log's name now.
    Gone(String),
    /// The reader knows messages that were not read here yet. The next reading shows
    /// whether they exist.
    Behind,
}

impl Inner {
    /// The log's name as text.
    pub(super) fn generation(&self) -> String {
        format!("{:016x}", self.name)
    }

    pub(super) fn readiness(&self) -> Result<u64, NoPage> {
        match (self.not_ready(), self.confirmed_age_ms()) {
            (None, Some(age)) => Ok(age),
            (why, _) => Err(NoPage::NotReady(why.unwrap_or("not ready"))),
        }
    }

    pub(super) fn entry(&self, seq: u64, item: &Item, now: Instant) -> Option<Entry> {
        let ttl = |until: Instant| {
            let left = until.saturating_duration_since(now);
            left.as_secs()
                .saturating_add(u64::from(left.subsec_nanos() > 0))
        };
        Some(match item {
            Item::Anchor(anchor) => Entry::Anchor {
                seq,
                anchor: Arc::clone(anchor),
                ttl_s: ttl(self.anchors.get(anchor)?.until),
            },
            Item::Zone(zone) => {
                let held = self.epochs.get(zone)?;
                Entry::Epoch {
                    seq,
                    zone: Arc::clone(zone),
                    epoch: held.epoch,
                    ttl_s: ttl(held.until),
                }
            }
        })
    }
}

impl State {
    /// The entries after `after`, if the log has this name.
    ///
    /// # Errors See [`NoPage`].
    pub fn page(&self, generation: &str, after: u64, max: usize) -> Result<Page, NoPage> {
        let inner = self.lock();
        let age = inner.readiness()?;
        if generation != inner.generation() || after > inner.seq {
            return Err(NoPage::Gone(inner.generation()));
        }
        Ok(self.read(&inner, after, max, age))
    }

    /// The log, whatever its name, from its beginning or after `after`.
    ///
    /// # Errors See [`NoPage`].
    pub fn snapshot(&self, after: u64, max: usize) -> Result<Page, NoPage> {
        let inner = self.lock();
        let age = inner.readiness()?;
        Ok(self.read(&inner, after, max, age))
    }

    fn read(&self, inner: &Inner, after: u64, max: usize, age: u64) -> Page {
        let now = super::clock::now();
        let mut entries = Vec::new();
        let (mut bytes, mut more) = (0_usize, false);
        for (seq, logged) in inner.log.range(after.saturating_add(1)..) {
            if Page::is_full(entries.len(), bytes, max) {
                more = true;
                break;
            }
            if let Some(entry) = inner.entry(*seq, &logged.item, now) {
                bytes = bytes.saturating_add(entry.text().len());
                entries.push(entry);
            }
        }
        self.made(inner, entries, more, age)
    }

    pub(super) fn made(&self, inner: &Inner, entries: Vec<Entry>, more: bool, age: u64) -> Page {
        Page {
            generation: inner.generation(),
            head: inner.seq,
            confirmed_age_ms: age,
            entries,
            more,
            zone: self.only_zone().map(str::to_owned),
            position: None,
        }
    }

    /// Which of these anchors are revoked, and the zone's epoch, with the age of that
    /// knowledge.
    ///
    /// # Errors See [`NoPage`].
    pub fn check<'a>(
        &self,
        anchors: &'a [String],
        zone: &str,
    ) -> Result<(Vec<&'a str>, u64, u64), NoPage> {
        let now = super::clock::now();
        let inner = self.lock();
        let age = inner.readiness()?;
        let revoked = anchors
            .iter()
            .map(String::as_str)
            .filter(|anchor| inner.anchors.get(*anchor).is_some_and(|h| h.until > now));
        let epoch = inner.epochs.get(zone).filter(|held| held.until > now);
        Ok((revoked.collect(), epoch.map_or(0, |held| held.epoch), age))
    }

    /// Among this many entries of the log after `after`, those that are `wanted`, by the
    /// number of the reading that found them and by their expiry.
    pub(super) fn pick(
        &self,
        after: u64,
        among: usize,
        wanted: impl Fn(u64, Instant) -> bool,
    ) -> (Vec<Entry>, u64) {
        let inner = self.lock();
        let (mut entries, mut last) = (Vec::new(), after);
        let now = super::clock::now();
        for (seq, logged) in inner.log.range(after.saturating_add(1)..).take(among) {
            let item = &logged.item;
            last = *seq;
            let held = match item {
                Item::Anchor(anchor) => inner.anchors.get(anchor).map(|h| (h.scan, h.until)),
                Item::Zone(zone) => inner.epochs.get(zone).map(|h| (h.scan, h.until)),
            };
            let is_wanted = held.is_some_and(|(scan, until)| until > now && wanted(scan, until));
            if is_wanted && let Some(entry) = inner.entry(*seq, item, now) {
                entries.push(entry);
            }
        }
        (entries, last)
    }

    /// All entries with their remaining lifetime, for the state file.
    pub fn everything(&self) -> Vec<Entry> {
        let inner = self.lock();
        self.read_all(&inner)
    }

    fn read_all(&self, inner: &Inner) -> Vec<Entry> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.read(inner, after, 10_000, 0);
            let Some(last) = page.entries.last().map(Entry::seq) else {
                return all;
            };
            after = last;
            all.extend(page.entries);
            if !page.more {
                return all;
            }
        }
    }
}
