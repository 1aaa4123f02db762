//! Shortens the parts of a path that everybody reads in the same way, before the path is
//! read in several ways. Most unusual paths that people send have names in other scripts
//! than Latin, or spaces. If they were read again and again, they would use all the work
//! that one path may cause.
//!
//! A part is folded if no step changes it, no prefix contains it, and no step removes it
//! alone:
//! - a character beyond ASCII, encoded or not, except those that some readers turn into
//!   ASCII;
//! - spaces, encoded or not, before such a character, a letter or a digit. Spaces at the
//!   end of a name are not folded, because some readers drop them.

use super::budget::{InvalidPath, Work};
use super::scan::{HIGHEST, eight, zeros};
use super::steps::{encoded, is_wide};

/// Replaces what was folded. No prefix contains it, because a prefix has no control
/// characters. No step changes it. For some readers a prefix before it is complete, just
/// as before the folded part.
const FOLDED: u8 = 0x7f;

/// The work of folding in wasm instructions: in general, and for each byte; for each
/// plain stretch, and for each of its bytes; for each byte or encoding beyond ASCII, and
/// for each other one.
const FOLD: usize = 900;
const COPY: usize = 2;
const STRETCH: usize = 285;
const BYTE: usize = 8;
const BEYOND: usize = 128;
const ITEM: usize = 170;
/// The work of each folded part.
const RUN: usize = 200;

/// The first byte of a character beyond ASCII is at least this; its other bytes are
/// lower.
const FIRST: u8 = 0xc0;

/// A path, folded.
pub(super) struct Fold {
    pub(super) path: Vec<u8>,
    /// Bytes before the query.
    pub(super) len: usize,
}

/// Folds a request target up to its query. The first `known` bytes are known to have
/// nothing that must be examined.
///
/// # Errors [`InvalidPath::NotUtf8`] for the path when it is decoded once,
/// [`InvalidPath::Encoding`] and [`InvalidPath::Work`].
pub(super) fn fold(target: &[u8], known: usize, work: &mut Work) -> Result<Fold, InvalidPath> {
    // Each byte is copied.
    work.take(FOLD)?;
    work.of_bytes(target.len(), COPY)?;
    let mut folding = Folding {
        out: Vec::with_capacity(target.len()),
        kept: target,
    };
    // All characters beyond ASCII, without what is between them.
    let mut beyond = Vec::with_capacity(target.len());
    // The rest of the path from the first of the last spaces on.
    let mut blanks = None;
    let mut rest = target.get(known..).unwrap_or_default();
    while let [first, ..] = rest {
        let (characters, taken) = (rest, beyond.len());
        rest = take_characters(rest, &mut beyond, work)?;
        if let Some(first) = beyond.get(taken) {
            // A character with something in its middle must not become whole.
            if *first < FIRST {
                return Err(InvalidPath::NotUtf8);
            }
            work.take(RUN)?;
            folding.fold(blanks.take().unwrap_or(characters), rest);
            continue;
        }
        if is_item(*first) {
            work.take(ITEM)?;
            if *first == b'?' {
                break;
            }
            let (byte, len) = match first {
                b'%' => (encoded(rest).ok_or(InvalidPath::Encoding)?, 3),
                _ => (*first, 1),
            };
            let item = rest;
            if byte < 0x80 {
                rest = rest.get(len..).unwrap_or_default();
                blanks = match byte {
                    b' ' => blanks.or(Some(item)),
                    _ => None,
                };
                continue;
            }
            blanks = None;
            while let Some((byte, behind)) = beyond_ascii(rest) {
                // The next character begins.
                if byte >= FIRST && rest.len() < item.len() {
                    break;
                }
                work.take(BEYOND)?;
                beyond.push(byte);
                rest = behind;
            }
        } else {
            work.take(STRETCH)?;
            let len = plain(work.within(rest, BYTE));
            work.of_bytes(len, BYTE)?;
            match blanks.take() {
                Some(blanks) if first.is_ascii_alphanumeric() => {
                    work.take(RUN)?;
                    folding.fold(blanks, rest);
                }
                _ => {}
            }
            rest = rest.get(len..).unwrap_or_default();
        }
    }
    // The work of this is part of BEYOND.
    if std::str::from_utf8(&beyond).is_err() {
        return Err(InvalidPath::NotUtf8);
    }
    folding.keep(rest);
    Ok(Fold {
        path: folding.out,
        len: target.len().saturating_sub(rest.len()),
    })
}

/// Takes the characters beyond ASCII at the beginning of `rest`, except those that stay,
/// and returns what follows them. It is a function of its own, because most of the work
/// is here.
#[inline(never)]
fn take_characters<'r>(
    mut rest: &'r [u8],
    beyond: &mut Vec<u8>,
    work: &mut Work,
) -> Result<&'r [u8], InvalidPath> {
    while let Some((byte, behind)) = beyond_ascii(rest) {
        if is_wide(byte) {
            break;
        }
        work.take(BEYOND)?;
        beyond.push(byte);
        rest = behind;
    }
    Ok(rest)
}

struct Folding<'a> {
    out: Vec<u8>,
    /// What is not in `out` yet, and everything after it.
    kept: &'a [u8],
}

impl<'a> Folding<'a> {
    /// Folds what is between two places. Each place is given as the rest of the path from
    /// there.
    fn fold(&mut self, from: &[u8], to: &'a [u8]) {
        self.keep(from);
        if self.out.last() != Some(&FOLDED) {
            self.out.push(FOLDED);
        }
        self.kept = to;
    }

    /// Copies what is before a place.
    fn keep(&mut self, to: &[u8]) {
        let len = self.kept.len().saturating_sub(to.len());
        let kept = self.kept.get(..len).unwrap_or_default();
        self.out.extend_from_slice(kept);
    }
}

/// The byte beyond ASCII at the beginning of `rest`, encoded or not, and what follows it.
#[inline(always)]
fn beyond_ascii(rest: &[u8]) -> Option<(u8, &[u8])> {
    match rest {
        [byte, behind @ ..] if *byte >= 0x80 => Some((*byte, behind)),
        [b'%', _, _, behind @ ..] => {
            let byte = encoded(rest)?;
            (byte >= 0x80).then_some((byte, behind))
        }
        _ => None,
    }
}

/// Whether a byte must be examined by itself.
fn is_item(byte: u8) -> bool {
    matches!(byte, b'%' | b' ' | b'?' | 0x80..)
}

/// The bytes before the first one that must be examined.
fn plain(path: &[u8]) -> usize {
    let (words, tail) = path.as_chunks::<8>();
    let mut left = words.iter();
    while let Some(word) = left.next() {
        if let Some(bytes) = first_item(*word) {
            let behind = left.len().saturating_add(1).saturating_mul(8);
            let before = path.len().saturating_sub(behind.saturating_add(tail.len()));
            return before.saturating_add(bytes);
        }
    }
    let mut last = [b'a'; 8];
    for (place, byte) in last.iter_mut().zip(tail) {
        *place = *byte;
    }
    let before = path.len().saturating_sub(tail.len());
    first_item(last).map_or(path.len(), |bytes| before.saturating_add(bytes))
}

/// The bytes before the first one that must be examined.
#[inline(always)]
fn first_item(word: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    let is = |byte| zeros(word ^ eight(byte));
    let marked = is(b'%') | is(b' ') | is(b'?') | word & HIGHEST;
    match marked {
        0 => None,
        // The first marked byte is really one.
        _ => usize::try_from(marked.trailing_zeros() >> 3).ok(),
    }
}
