//! The possible readings of a request's path. Nobody can know how the upstream reads an
//! unusual path. So a path has a rule only if all its readings fall under the same one
//! (contract, "Routes").
//!
//! All of this comes before a token is read, so anybody can cause it. The work is
//! estimated in wasm instructions before it is done, and it is bounded: no path costs
//! more than twice what a plain refusal costs in the VM (deploy/BOUNDS.md; the suite
//! `counts` measures it).

mod budget;
mod fold;
mod scan;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod work;

use std::borrow::Cow;

use budget::MAX_WORK;
pub use budget::{InvalidPath, MAX_PATH_BYTES, Work};
use fold::fold;
use scan::{Look, Scan, Traits, scan};
use steps::{STEPS, WITHOUT_AUTHORITY, decode};

/// Most times that a path may be percent-encoded.
const MAX_ENCODINGS: usize = 2;
/// Most readings that a path may have; a path with more is refused.
const MAX_READINGS: usize = 32;

/// The work of each reading, independent of its length.
const EACH: usize = 1_300;
/// The work of each byte that is checked for UTF-8, and of each byte that is compared
/// with another reading.
const VALIDATING: usize = 42;
const COMPARING: usize = 3;
/// The work of each reading that another one is compared with.
const KNOWN: usize = 18;

/// One reading of a path.
#[derive(Debug, Clone)]
struct Reading<'a> {
    path: Cow<'a, [u8]>,
    traits: Traits,
    /// If the decoded path is a known reading: whether somebody who decodes less reads
    /// another path.
    decoded: Option<bool>,
}

/// A path without its query. Paths that cannot be read are refused before.
#[derive(Debug, Clone)]
pub struct RequestPath<'a> {
    /// The path as it came, or folded.
    raw: Cow<'a, [u8]>,
    traits: Traits,
    /// If it has an encoding: the path as it came, decoded once, and decoded twice.
    levels: Vec<Reading<'a>>,
    work: Work,
}

impl<'a> RequestPath<'a> {
    /// Reads a request target in origin form (RFC 9112 section 3.2.1). With `folds` its
    /// readings are shortened ([`fold`]). The short forms fall under the same rules if
    /// every prefix is visible ASCII.
    ///
    /// # Errors See [`InvalidPath`]; all but `Ambiguous` come from here.
    pub fn parse(target: Option<&'a [u8]>, folds: bool) -> Result<Self, InvalidPath> {
        RequestPath::parse_within(target, folds, Work(MAX_WORK))
    }

    /// The same for showing the readings: complete, and without a limit for the work.
    ///
    /// # Errors As [`RequestPath::parse`].
    pub fn parse_to_show(target: Option<&'a [u8]>) -> Result<Self, InvalidPath> {
        RequestPath::parse_within(target, false, Work::unbounded())
    }

    fn parse_within(
        target: Option<&'a [u8]>,
        folds: bool,
        mut work: Work,
    ) -> Result<Self, InvalidPath> {
        let target = target.ok_or(InvalidPath::NoPath)?;
        if target.first() != Some(&b'/') {
            return Err(InvalidPath::NoPath);
        }
        let longest = MAX_PATH_BYTES.saturating_add(1);
        let target = target.get(..longest).unwrap_or(target);
        let how = if folds { Look::ToFold } else { Look::ToQuery };
        let Scan {
            mut traits,
            mut len,
            plain,
        } = scan(target, how, &mut work)?;
        let mut raw = Cow::Borrowed(target.get(..len).unwrap_or_default());
        if folds && traits.has(Traits::FOLDABLE) {
            let folded = fold(target, plain, &mut work)?;
            traits = scan(&folded.path, Look::Whole, &mut work)?.traits;
            (raw, len) = (folded.path.into(), folded.len);
        }
        if len > MAX_PATH_BYTES {
            return Err(InvalidPath::TooLong);
        }
        if traits.has(Traits::DELIMITER) {
            return Err(match raw.contains(&b'#') {
                true => InvalidPath::Fragment,
                false => InvalidPath::Nul,
            });
        }
        let levels = levels(&raw, traits, &mut work)?;
        let once = levels.get(1);
        let (readable, seen) = once.map_or((&*raw, traits), |one| (&*one.path, one.traits));
        if seen.has(Traits::DELIMITER) && readable.contains(&0) {
            return Err(InvalidPath::Nul);
        }
        if !folds && once.is_none() && seen.has(Traits::HIGH) {
            is_utf8(readable, &mut work)?;
        }
        Ok(RequestPath {
            raw,
            traits,
            levels,
            work,
        })
    }

    /// Shows every reading of the path to `look`, first the path as it came.
    ///
    /// A request passes several readers, and each of them may take any of the steps in
    /// any order: one decodes and then resolves dots, the next one cuts parameters first.
    /// So every path that can be reached by steps is a reading. If there is nothing
    /// unusual in the path, there is only one.
    ///
    /// # Errors What `look` returns, or [`InvalidPath::Work`] if there are too many
    /// readings.
    pub fn readings(
        self,
        mut look: impl FnMut(&[u8], &mut Work) -> Result<(), InvalidPath>,
    ) -> Result<(), InvalidPath> {
        let mut work = self.work;
        let mut all = self.levels;
        look(&self.raw, &mut work)?;
        if self.traits.are_plain() {
            return Ok(());
        }
        for level in all.iter().skip(1) {
            work.take(EACH)?;
            look(&level.path, &mut work)?;
        }
        let mut tried = 0_usize;
        let mut next = Vec::new();
        while let Some(reading) = all.get(tried) {
            tried = tried.saturating_add(1);
            reading.next(&mut next, &mut work)?;
            for path in next.drain(..) {
                if is_known(&all, &path, &mut work)? {
                    continue;
                }
                work.take(EACH)?;
                look(&path, &mut work)?;
                all.push(Reading {
                    traits: scan(&path, Look::Whole, &mut work)?.traits,
                    path: path.into(),
                    decoded: None,
                });
                if all.len() > MAX_READINGS {
                    return Err(InvalidPath::Work);
                }
            }
        }
        Ok(())
    }
}

/// A path, and what it becomes when it is decoded, as long as there is something to
/// decode, at most twice.
fn levels<'a>(
    raw: &Cow<'a, [u8]>,
    traits: Traits,
    work: &mut Work,
) -> Result<Vec<Reading<'a>>, InvalidPath> {
    if traits.are_plain() {
        return Ok(Vec::new());
    }
    work.take(EACH)?;
    let mut all = Vec::with_capacity(4);
    let mut last = Reading {
        path: raw.clone(),
        traits,
        decoded: None,
    };
    for level in 0..=MAX_ENCODINGS {
        if !last.traits.has(Traits::PERCENT) {
            break;
        }
        let decoded = decode(&last.path, true, work)?;
        if level == 0 && decoded.is_incomplete {
            return Err(InvalidPath::Encoding);
        }
        last.decoded = Some(decoded.is_mixed());
        if !decoded.is_other() {
            break;
        }
        if level == MAX_ENCODINGS {
            return Err(InvalidPath::Depth);
        }
        let next = Reading {
            traits: scan(&decoded.path, Look::Whole, work)?.traits,
            path: decoded.path.into(),
            decoded: None,
        };
        // At each level, because somebody who decodes twice may take an overlong form for
        // a dot.
        if next.traits.has(Traits::HIGH) {
            is_utf8(&next.path, work)?;
        }
        all.push(std::mem::replace(&mut last, next));
    }
    all.push(last);
    Ok(all)
}

/// Reads a path of which others decide by the whole of it, as the STS does in Gateway mode:
/// there is no prefix that all readings could fall under, so there may be one reading only.
/// That is the path decoded once, and decoding must add no `/`.
///
/// # Errors
/// See [`InvalidPath`]; [`InvalidPath::Ambiguous`] for a path with another reading.
pub(crate) fn only_reading(target: Option<&[u8]>) -> Result<(), InvalidPath> {
    let path = RequestPath::parse(target, false)?;
    let raw = path.raw.to_vec();
    let decoded = match path.levels.get(1) {
        Some(decoded) => decoded.path.to_vec(),
        None => raw.clone(),
    };
    let slashes = |path: &[u8]| path.iter().filter(|b| **b == b'/').count();
    // What the STS is asked is text, and a control character is read by few alike.
    if decoded.iter().any(u8::is_ascii_control) || slashes(&raw) != slashes(&decoded) {
        return Err(InvalidPath::Ambiguous);
    }
    path.readings(|reading, _| match reading == raw || reading == decoded {
        true => Ok(()),
        false => Err(InvalidPath::Ambiguous),
    })
}

/// Whether there is one way to read a path.
pub(crate) fn is_plain(path: &[u8]) -> bool {
    RequestPath::parse(Some(path), false).is_ok_and(|path| path.traits.are_plain())
}

fn is_utf8(path: &[u8], work: &mut Work) -> Result<(), InvalidPath> {
    work.of_bytes(path.len(), VALIDATING)?;
    let text = std::str::from_utf8(path).map_err(|_| InvalidPath::NotUtf8);
    text.map(drop)
}

impl Reading<'_> {
    /// Adds the readings that are one step further.
    fn next(&self, all: &mut Vec<Vec<u8>>, work: &mut Work) -> Result<(), InvalidPath> {
        if self.traits.has(Traits::PERCENT) {
            let mut is_mixed = self.decoded;
            if is_mixed.is_none() {
                let decoded = decode(&self.path, true, work)?;
                is_mixed = Some(decoded.is_mixed());
                if decoded.is_other() {
                    all.push(decoded.path);
                }
            }
            if is_mixed == Some(true) {
                all.push(decode(&self.path, false, work)?.path);
            }
        }
        for step in &STEPS {
            if self.traits.has(step.applies) {
                let path = step.take(&self.path, work)?;
                if path.len() < self.path.len() || step.keeps_length {
                    all.push(path);
                }
            }
        }
        if self.path.starts_with(b"//") {
            all.push(WITHOUT_AUTHORITY.take(&self.path, work)?);
        }
        Ok(())
    }
}

/// Whether a reading is already known. Most readings differ in length, so searching a
/// list is faster than searching a tree.
fn is_known(all: &[Reading], path: &[u8], work: &mut Work) -> Result<bool, InvalidPath> {
    work.take(all.len().saturating_mul(KNOWN))?;
    for one in all {
        if one.path.len() == path.len() {
            work.of_bytes(path.len(), COMPARING)?;
            if is_same(&one.path, path) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Compares two paths of one length eight bytes at a time. Compilers do not do this by
/// themselves.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (others, other)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let mut pairs = words.iter().zip(others);
    pairs.all(|(one, other)| word(one) == word(other)) && rest == other
}
