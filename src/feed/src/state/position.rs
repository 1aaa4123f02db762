//! How far a reader is, in a form that every companion understands.
//!
//! A position says two things. Both are claims about what the reader *has*, so to know less
//! is always safe:
//!
//! - places in the streams: the reader has the effect of every message up to this id of the
//!   stream that bears this mark. Companions with the same mark read the same messages, so
//!   this is good at each of them.
//! - places in the logs of single companions: the reader has everything in that log up to
//!   this number. This is how it gets what is in no stream, such as keys that were found in
//!   the shared store only, once from each companion.
//!
//! The mark of a stream names its server's reign, the stream's own name in Redis, and the
//! settings that decide what a message means. After a failover, a restart, an emptied or a
//! replaced stream it is another one, and then ids say nothing: everything that is not known
//! to be held is sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::event::Stream;

/// Companions whose logs a position can name. A reader that asks more of them in turn gets
/// some entries again.
pub const MAX_LOGS: usize = 8;
/// Longest text of a position, in bytes. (`MAX_POSITION_BYTES` of the filter.)
pub const MAX_TEXT: usize = 256;
const VERSION: u8 = 1;

/// A stream id: milliseconds of Redis's clock, and a number.
pub type Id = (u64, u64);

/// A message of one stream: the stream's mark, and the message's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// See [`mark`].
    pub mark: u64,
    /// The id.
    pub id: Id,
}

/// Names a stream for as long as its ids mean the same. `None` if Redis names neither its
/// reign nor the stream. `settings` are those that decide what a message means.
pub fn mark(stream: Stream, reign: &str, name: &str, settings: &str) -> Option<u64> {
    if reign.is_empty() || name.is_empty() {
        return None;
    }
    let text = [stream.key(), reign, name, settings].join("\n");
    let digest = Sha256::digest(text);
    let first = digest.first_chunk::<8>()?;
    // 0 means none.
    Some(u64::from_be_bytes(*first).max(1))
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    revocations: Option<Place>,
    delegations: Option<Place>,
    /// Companions and numbers in their logs, the last one asked first.
    logs: Vec<(u64, u64)>,
}

impl Position {
    /// Reads what [`Position::text`] wrote. A text of another version, or anything else,
    /// says nothing: a reader that knows nothing gets everything.
    pub fn read(text: &str) -> Self {
        Position::decode(text).unwrap_or_default()
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (numbers, left) = rest.as_chunks::<8>();
        if *version != VERSION || !left.is_empty() {
            return None;
        }
        let mut numbers = numbers.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let mut place = || {
            let (mark, ms, number) = (numbers.next()?, numbers.next()?, numbers.next()?);
            let id = (ms, number);
            Some((mark != 0).then_some(Place { mark, id }))
        };
        let (revocations, delegations) = (place()?, place()?);
        let mut logs = Vec::new();
        while let Some(log) = numbers.next() {
            logs.push((log, numbers.next()?));
        }
        (logs.len() <= MAX_LOGS).then_some(Position {
            revocations,
            delegations,
            logs,
        })
    }

    /// The position as at most [`MAX_TEXT`] bytes of `A-Z a-z 0-9 - _`.
    pub fn text(&self) -> String {
        let mut bytes = vec![VERSION];
        for place in [self.revocations, self.delegations] {
            let (mark, (ms, number)) = place.map_or((0, (0, 0)), |p| (p.mark, p.id));
            for part in [mark, ms, number] {
                bytes.extend_from_slice(&part.to_be_bytes());
            }
        }
        for (log, seq) in &self.logs {
            bytes.extend_from_slice(&log.to_be_bytes());
            bytes.extend_from_slice(&seq.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place in a stream.
    pub fn place(&self, stream: Stream) -> Option<Place> {
        match stream {
            Stream::Revocations => self.revocations,
            Stream::Delegations => self.delegations,
        }
    }

    /// Sets or forgets the place in a stream.
    pub fn set_place(&mut self, stream: Stream, place: Option<Place>) {
        match stream {
            Stream::Revocations => self.revocations = place,
            Stream::Delegations => self.delegations = place,
        }
    }

    /// The number up to which the reader has a companion's log; `None` if it never asked it.
    pub fn in_log(&self, log: u64) -> Option<u64> {
        let known = self.logs.iter().find(|(known, _)| *known == log);
        known.map(|(_, seq)| *seq)
    }

    /// The reader has that log up to this number.
    pub fn set_log(&mut self, log: u64, seq: u64) {
        self.logs.retain(|(known, _)| *known != log);
        self.logs.insert(0, (log, seq));
        self.logs.truncate(MAX_LOGS);
    }

    /// Whether nothing is known to be held.
    pub fn is_empty(&self) -> bool {
        *self == Position::default()
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small numbers of the test's own"
)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let mut position = Position::default();
        assert_eq!(Position::read(&position.text()), position);
        let place = Place {
            mark: u64::MAX,
            id: (u64::MAX, 7),
        };
        position.set_place(Stream::Delegations, Some(place));
        for log in 1..20 {
            position.set_log(log, log * 10);
        }
        position.set_log(15, u64::MAX);
        let text = position.text();
        assert!(text.len() <= MAX_TEXT, "{}", text.len());
        let read = Position::read(&text);
        assert_eq!(read, position);
        assert_eq!(read.place(Stream::Revocations), None);
        assert_eq!(read.place(Stream::Delegations), Some(place));
        assert_eq!(read.in_log(15), Some(u64::MAX));
        assert_eq!((read.in_log(12), read.in_log(11)), (Some(120), None));
    }

    #[test]
    fn anything_else_says_nothing() {
        let mut position = Position::default();
        position.set_log(1, 1);
        let text = position.text();
        let mut other = URL_SAFE_NO_PAD.decode(&text).unwrap();
        other[0] = 2;
        let other = URL_SAFE_NO_PAD.encode(other);
        let cut = text.get(4..).unwrap();
        for bad in ["", "x", "%", cut, &other, &"A".repeat(400)] {
            assert!(Position::read(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_mark_tells_streams_reigns_names_and_settings_apart() {
        let of = |stream, reign, name, settings| mark(stream, reign, name, settings).unwrap();
        let all = [
            of(Stream::Revocations, "r", "n", ""),
            of(Stream::Delegations, "r", "n", ""),
            of(Stream::Revocations, "s", "n", ""),
            of(Stream::Revocations, "r", "m", ""),
            of(Stream::Revocations, "r", "n", "z"),
        ];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(mark(Stream::Revocations, "", "n", ""), None);
        assert_eq!(mark(Stream::Revocations, "r", "", ""), None);
    }
}
