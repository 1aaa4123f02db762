//! Serves a reader that may have asked other companions before, and may ask others next.
//!
//! What the reader gets is everything in the log but what its position says that it has.
//! Nobody has to know what the other companions have told it.

use std::time::{Duration, Instant};

use super::page::{Entry, NoPage, Page};
use super::position::{Id, Place, Position};
use super::{Inner, Item, State};
use crate::RETENTION;
use crate::event::Stream;

/// Entries of the log that are examined before others may have the lock.
const EXAMINED_AT_ONCE: usize = 10_000;

/// How far a stream was read here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The stream's end at that time. Everything up to it is in the state.
    place: Place,
    /// When Redis was asked for it.
    at: Instant,
}

/// Where a stream was seen to end, read or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen(Place);

/// What of the position counts here: the messages that the reader has, and the streams of
/// which it names messages that do not exist.
#[derive(Debug, Default)]
struct Sight {
    floors: [Option<Place>; 2],
    foreign: [bool; 2],
}

impl Sight {
    fn holds(&self, item: &Item, source: Option<Place>) -> bool {
        let [revocations, delegations] = self.floors;
        let floor = match item {
            Item::Anchor(_) => revocations,
            Item::Zone(_) => delegations,
        };
        match (source, floor) {
            (Some(source), Some(floor)) => source.mark == floor.mark && source.id <= floor.id,
            _ => false,
        }
    }
}

/// How much longer the shared store may keep an anchor than its message says: whoever writes
/// the key may be late.
const LATE: Duration = Duration::from_secs(60);

impl Inner {
    /// Whether the store keeps an anchor, for `ttl` from now, longer than its message says. A
    /// companion that has read an old message keeps it for longer itself, and would not
    /// notice. Then no reader is taken to have it that long.
    pub(super) fn is_kept_longer(&self, message: Place, ttl: Duration) -> bool {
        let Some((time_ms, at)) = self.told_time else {
            return true;
        };
        let since = super::clock::now().saturating_duration_since(at);
        let until = Duration::from_millis(time_ms).saturating_add(since);
        let said = Duration::from_millis(message.id.0).saturating_add(RETENTION);
        until.saturating_add(ttl) > said.saturating_add(LATE)
    }

    /// What counts of a position that came at `asked`.
    fn sight(&self, position: &Position, asked: Instant) -> Result<Sight, NoPage> {
        let mut sight = Sight::default();
        let parts = sight.floors.iter_mut().zip(&mut sight.foreign);
        for (stream, (floor, foreign)) in Stream::ALL.into_iter().zip(parts) {
            // While a stream is read again, its ids say nothing yet.
            let Some(reached) = self.reached.get(&stream) else {
                continue;
            };
            let claimed = position.place(stream);
            let Some(claimed) = claimed.filter(|claimed| claimed.mark == reached.place.mark) else {
                continue;
            };
            if claimed.id > reached.place.id {
                // The reader has messages that were not read here. If the stream ends before
                // them, it went backwards, and nothing is known of what the reader has.
                if reached.at > asked {
                    *foreign = true;
                    continue;
                }
                let seen = self.seen.get(&stream);
                let exists =
                    seen.is_some_and(|Seen(end)| end.mark == claimed.mark && end.id >= claimed.id);
                if !exists {
                    return Err(NoPage::Behind);
                }
            }
            *floor = Some(claimed);
        }
        Ok(sight)
    }

    /// The position of a reader that has got everything up to `seq` of this log, and the
    /// whole log if `whole`.
    fn after(&self, given: &Position, sight: &Sight, seq: u64, whole: bool) -> Position {
        let mut position = given.clone();
        position.set_log(self.name, seq);
        for (stream, foreign) in Stream::ALL.into_iter().zip(sight.foreign) {
            if foreign {
                position.set_place(stream, None);
            }
            let Some(reached) = self.reached.get(&stream).filter(|_| whole) else {
                continue;
            };
            let is_further = position.place(stream).is_some_and(|known| {
                known.mark == reached.place.mark && known.id > reached.place.id
            });
            if !is_further {
                position.set_place(stream, Some(reached.place));
            }
        }
        position
    }
}

impl State {
    /// A stream was read to its end, which was `place` when Redis was asked at `at`. No
    /// message of it is missing here. A stream without a place has no name that others
    /// know.
    pub fn reached(&self, stream: Stream, place: Option<Place>, at: Instant) {
        let mut inner = self.lock();
        match place {
            Some(place) => drop(inner.reached.insert(stream, Reached { place, at })),
            None => drop(inner.reached.remove(&stream)),
        }
        drop(inner);
        self.turns.send_modify(|turn| *turn = turn.wrapping_add(1));
    }

    /// A stream goes at least up to this id, whether it was read so far or not. Redis's clock
    /// says `time_ms`.
    pub fn seen(&self, stream: Stream, mark: Option<u64>, id: Id, time_ms: u64) {
        let mut inner = self.lock();
        inner.told_time = Some((time_ms, super::clock::now()));
        match mark {
            Some(mark) => drop(inner.seen.insert(stream, Seen(Place { mark, id }))),
            None => drop(inner.seen.remove(&stream)),
        }
    }

    /// A stream is read again from its beginning. Until that is done, no ids count.
    pub fn reads_again(&self, stream: Stream) {
        let mut inner = self.lock();
        inner.reached.remove(&stream);
        inner.seen.remove(&stream);
    }

    /// The entries of the log that a reader at `position`, who asked at `asked`, may lack.
    ///
    /// # Errors See [`NoPage`]. [`NoPage::Behind`] passes when the streams are read next.
    pub fn follow(&self, position: &Position, asked: Instant, max: usize) -> Result<Page, NoPage> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let (mut log, mut from) = (0, 0);
        loop {
            let inner = self.lock();
            if log != inner.name {
                // It is the first look, or the log has got another name since.
                (log, from) = (inner.name, position.in_log(inner.name).unwrap_or(0));
                entries.clear();
                bytes = 0;
            }
            let age = inner.readiness()?;
            let sight = inner.sight(position, asked)?;
            if from > inner.seq {
                // No such number was ever given.
                from = 0;
            }
            let now = super::clock::now();
            let (mut more, mut examined) = (false, 0_usize);
            for (seq, logged) in inner.log.range(from.saturating_add(1)..) {
                if Page::is_full(entries.len(), bytes, max) {
                    more = true;
                    break;
                }
                if examined >= EXAMINED_AT_ONCE {
                    break;
                }
                (examined, from) = (examined.saturating_add(1), *seq);
                if sight.holds(&logged.item, logged.source) {
                    continue;
                }
                if let Some(entry) = inner.entry(*seq, &logged.item, now) {
                    bytes = bytes.saturating_add(entry.text().len());
                    entries.push(entry);
                }
            }
            if !more && examined >= EXAMINED_AT_ONCE {
                continue;
            }
            let seq = if more { from } else { inner.seq };
            let position = inner.after(position, &sight, seq, !more);
            let mut page = self.made(&inner, entries, more, age);
            page.position = Some(position);
            return Ok(page);
        }
    }

    /// The position of a reader that has this companion's log up to `after`, if that is its
    /// log's name.
    pub fn position_in(&self, generation: &str, after: u64) -> Option<Position> {
        let inner = self.lock();
        (generation == inner.generation() && after <= inner.seq).then(|| {
            let mut position = Position::default();
            position.set_log(inner.name, after);
            position
        })
    }

    /// Whether a position names a place in this companion's log.
    pub fn is_here(&self, position: &Position) -> bool {
        position.in_log(self.lock().name).is_some()
    }
}

/// The largest number of a page's entries; none if it has none.
pub fn last(entries: &[Entry]) -> Option<u64> {
    entries.last().map(Entry::seq)
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests;
