//! What is on disk at a start.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tokio::sync::Notify;

use super::cursor::{self, Position};
use super::folder::Folder;
use super::head::Head;
use super::shared::{Segment, Shared, State};
use super::tail::Tail;
use crate::audit::count::Counts;
use crate::audit::product;
use crate::audit::record::{self, Found};

/// Largest segment that is read. None is written that is nearly as large.
const MAX_SEGMENT: u64 = 64 * 1024 * 1024;

/// The queue, opened.
pub(crate) struct Opened {
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    /// Ids and digests of the events on disk, the oldest first; those that were delivered too, as far as
    /// they are still there.
    pub(crate) ids: Vec<(u128, u64)>,
}

/// Opens a folder, of which it uses at most so many bytes, and at most so many ids are told.
///
/// # Errors
/// Another process has it, or it cannot be read or written.
pub(crate) fn open(
    path: &Path,
    max_bytes: u64,
    max_ids: usize,
    counts: Arc<Counts>,
) -> Result<Opened> {
    let folder = Folder::take(path)?;
    let name = path.display();
    let contents = folder
        .contents()
        .with_context(|| format!("cannot read {name}"))?;
    let delivered = cursor::read(&folder).with_context(|| format!("cannot read {name}"))?;
    let newest = contents.segments.last().copied().unwrap_or(0);
    let last = newest.max(contents.corrupt.0).max(delivered.segment);
    let mut state = State {
        next: last.saturating_add(1),
        delivered,
        aside: contents.corrupt.1,
        ..State::default()
    };
    let mut ids = Vec::new();
    for number in contents.segments {
        let read = Reading {
            delivered,
            is_newest: number == newest,
            max_ids,
        };
        let segment = read.segment(&folder, number, &mut state, &mut ids, &counts);
        let segment = segment.with_context(|| format!("cannot read segment {number} in {name}"))?;
        state.segments.insert(number, segment);
    }
    // Delivered, and not removed any more when it stopped.
    let old: Vec<u64> = state
        .segments
        .range(..delivered.segment)
        .map(|(number, _)| *number)
        .collect();
    let shared = Arc::new(Shared {
        folder,
        state: Mutex::new(state),
        counts,
        news: Notify::new(),
        max_bytes,
    });
    for number in old {
        shared.leave(number);
    }
    shared.show(&shared.state());
    // Finds out now whether the folder can be written, and not with the first event.
    cursor::write(&shared.folder, delivered).with_context(|| format!("cannot write in {name}"))?;
    Ok(Opened {
        tail: Tail::new(Arc::clone(&shared)),
        head: Head::new(shared),
        ids,
    })
}

struct Reading {
    delivered: Position,
    is_newest: bool,
    max_ids: usize,
}

impl Reading {
    fn segment(
        &self,
        folder: &Folder,
        number: u64,
        state: &mut State,
        ids: &mut Vec<(u128, u64)>,
        counts: &Counts,
    ) -> io::Result<Segment> {
        let mut file = folder.open(number)?;
        let length = file.metadata()?.len();
        let damaged = |bytes| Segment {
            bytes,
            damaged: true,
            counted: true,
        };
        if length > MAX_SEGMENT {
            counts.corrupt(1);
            tracing::error!(
                number,
                length,
                "a file of audit events is too large to be one"
            );
            // It is passed over at once.
            return Ok(damaged(0));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut at, mut good, mut places) = (0_usize, 0_usize, 0_u64);
        loop {
            match record::read(bytes.get(at..).unwrap_or_default(), true) {
                Found::Record(record, size) => {
                    // Damage between two good records.
                    places = places.saturating_add(u64::from(at != good));
                    let here = Position {
                        segment: number,
                        offset: u64::try_from(at).unwrap_or(u64::MAX),
                    };
                    if here >= self.delivered {
                        state.waiting = state.waiting.saturating_add(1);
                        state.oldest_us.get_or_insert(record.taken_us);
                    }
                    if ids.len() >= self.max_ids.saturating_mul(2) {
                        ids.drain(..self.max_ids.min(ids.len()));
                    }
                    ids.push((record.id, product::digest(record.data)));
                    at = at.saturating_add(size);
                    good = at;
                }
                Found::Damage(size) => at = at.saturating_add(size),
                Found::More => break,
            }
        }
        let (good, torn) = (
            u64::try_from(good).unwrap_or(u64::MAX),
            at.saturating_sub(good),
        );
        let mut end = length;
        if torn > 0 && self.is_newest {
            file.set_len(good)?;
            file.sync_all()?;
            end = good;
            tracing::warn!(
                bytes = torn,
                "the last audit events on disk were cut off by a crash before they were acknowledged, and are removed"
            );
        } else if torn > 0 {
            places = places.saturating_add(1);
        }
        if places == 0 {
            return Ok(Segment {
                bytes: end,
                ..Segment::default()
            });
        }
        counts.corrupt(places);
        tracing::error!(
            number,
            places,
            "audit events on disk are damaged, and passed over"
        );
        Ok(damaged(end))
    }
}
