//! The end that events are delivered from.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::{self, Position};
use super::shared::Shared;
use crate::audit::record::{self, Found, MAX_RECORD};

/// Bytes that are read at once; any record fits.
const CHUNK: usize = 4 * MAX_RECORD;
/// Most events that are delivered together, and about how many bytes.
const TOGETHER: (usize, usize) = (500, 192 * 1024);
/// How often it is noted what was delivered. A crash in between has it delivered twice,
/// byte for byte the same.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// A file that cannot be read so often in a row is set aside.
const MAX_FAILURES: u32 = 5;

/// Events that come next.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Each event and its signature, which may be empty.
    pub(crate) events: Vec<(Vec<u8>, Vec<u8>)>,
    upto: Position,
    last_us: u64,
}

/// See the module.
pub(crate) struct Head {
    pub(super) shared: Arc<Shared>,
    noted: (Position, Instant),
    failures: u32,
}

impl Head {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let noted = shared.state().delivered;
        Head {
            shared,
            noted: (noted, Instant::now()),
            failures: 0,
        }
    }

    /// Waits until something was appended.
    pub(crate) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// The oldest events that are not delivered; none if all are.
    ///
    /// # Errors
    /// The disk does not give them.
    pub(crate) fn next(&mut self) -> io::Result<Batch> {
        loop {
            let Some((at, end, sealed)) = self.place() else {
                return Ok(Batch::default());
            };
            if at.offset >= end {
                if !sealed {
                    return Ok(Batch::default());
                }
                self.pass(at.segment);
                continue;
            }
            let batch = match self.read(at, end) {
                Ok(batch) => batch,
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    if error.kind() != io::ErrorKind::NotFound && self.failures < MAX_FAILURES {
                        return Err(error);
                    }
                    self.give_up(at.segment, &error);
                    continue;
                }
            };
            self.failures = 0;
            if batch.events.is_empty() {
                // Nothing but damage.
                self.shared.state().delivered = batch.upto;
                continue;
            }
            return Ok(batch);
        }
    }

    /// Where the next record is, where its segment ends, and whether that segment will not
    /// grow. `None` if nothing is there.
    fn place(&self) -> Option<(Position, u64, bool)> {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let mut following = state.segments.range(state.delivered.segment..);
        let first = following
            .next()
            .map(|(number, segment)| (*number, segment.bytes));
        let (number, end) = first.unwrap_or((state.delivered.segment, 0));
        if number != state.delivered.segment {
            state.delivered = Position {
                segment: number,
                offset: 0,
            };
        }
        if state.delivered.offset >= end && following.next().is_none() {
            // Damaged ones count as waiting until here, because nobody knows how many they were.
            (state.waiting, state.oldest_us) = (0, None);
            self.shared.show(state);
        }
        first?;
        let sealed = number.saturating_add(1) < state.next;
        Some((state.delivered, end, sealed))
    }

    fn pass(&self, number: u64) {
        self.shared.state().delivered = Position {
            segment: number.saturating_add(1),
            offset: 0,
        };
        self.shared.leave(number);
    }

    /// Goes on behind a segment that cannot be read.
    fn give_up(&mut self, number: u64, error: &io::Error) {
        tracing::error!(%error, "a file of audit events cannot be read: what was in it is not delivered");
        self.failures = 0;
        if let Some(segment) = self.shared.state().segments.get_mut(&number) {
            segment.damaged = true;
        }
        self.shared.counts.corrupt(1);
        self.pass(number);
    }

    fn read(&self, at: Position, end: u64) -> io::Result<Batch> {
        let file = self.shared.folder.open(at.segment)?;
        let left = usize::try_from(end.saturating_sub(at.offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(CHUNK)];
        let mut got = 0_usize;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            let offset = at
                .offset
                .saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
            match file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(more) => got = got.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Somebody has cut the file.
        let cut = got < bytes.len();
        bytes.truncate(got);
        let mut batch = Batch::default();
        let damage = batch.fill(&bytes, cut || got == left);
        let mut read = u64::try_from(damage.read).unwrap_or(u64::MAX);
        if cut && damage.read == got {
            read = end.saturating_sub(at.offset);
        }
        batch.upto = Position {
            segment: at.segment,
            offset: at.offset.saturating_add(read),
        };
        let cut_here = u64::from(cut && damage.read == got);
        self.note_damage(at.segment, damage.places.max(cut_here));
        Ok(batch)
    }

    fn note_damage(&self, number: u64, places: u64) {
        let mut state = self.shared.state();
        let Some(segment) = state.segments.get_mut(&number).filter(|_| places > 0) else {
            return;
        };
        segment.damaged = true;
        if !segment.counted {
            self.shared.counts.corrupt(places);
            tracing::error!(places, "audit events on disk are damaged, and passed over");
        }
    }

    /// These events are delivered.
    pub(crate) fn delivered(&mut self, batch: &Batch) {
        let count = u64::try_from(batch.events.len()).unwrap_or(u64::MAX);
        let mut state = self.shared.state();
        state.delivered = batch.upto;
        state.waiting = state.waiting.saturating_sub(count);
        // The next one is younger than the last of these.
        state.oldest_us = Some(batch.last_us).filter(|_| state.waiting > 0);
        self.shared.counts.delivered(count);
        self.shared.show(&state);
        drop(state);
        if self.noted.1.elapsed() >= NOTE_EVERY {
            self.note();
        }
    }

    /// Notes on disk what was delivered.
    pub(crate) fn note(&mut self) {
        let delivered = self.shared.state().delivered;
        if delivered == self.noted.0 {
            return;
        }
        if let Err(error) = cursor::write(&self.shared.folder, delivered) {
            tracing::warn!(%error, "it cannot be noted which audit events were delivered");
        }
        self.noted = (delivered, Instant::now());
    }
}

struct Damage {
    /// Bytes that were read.
    read: usize,
    /// Places that are damaged.
    places: u64,
}

impl Batch {
    /// Takes the events at the beginning of some bytes; `all` says that no more follow.
    fn fill(&mut self, bytes: &[u8], all: bool) -> Damage {
        let (mut read, mut size, mut places) = (0_usize, 0_usize, 0_u64);
        let mut was_damaged = false;
        while self.events.len() < TOGETHER.0 && size < TOGETHER.1 {
            match record::read(bytes.get(read..).unwrap_or_default(), all) {
                Found::Record(record, length) => {
                    self.events
                        .push((record.data.to_vec(), record.sig.to_vec()));
                    self.last_us = record.taken_us;
                    read = read.saturating_add(length);
                    size = size.saturating_add(length);
                    was_damaged = false;
                }
                Found::Damage(length) => {
                    read = read.saturating_add(length);
                    places = places.saturating_add(u64::from(!was_damaged));
                    was_damaged = true;
                }
                Found::More => break,
            }
        }
        Damage { read, places }
    }
}
