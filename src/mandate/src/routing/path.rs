//! A request's path, as anybody may read it. Nobody can know how the upstream
//! reads a strange path, so a rule is found only when every reading of the path
//! falls under the same one (contract, "Routes").
//!
//! All of this comes before a token is read, so anybody can cause it. The work is
//! counted before it is done, in wasm instructions by estimate, and bounded: no path
//! costs more than twice what a plain refusal costs in the VM (deploy/BOUNDS.md; the
//! `counts` suite measures it).

mod fold;
mod scan;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod work;

use std::borrow::Cow;
use std::fmt;

use fold::fold;
use scan::{Look, Scan, Traits, scan};
use steps::{STEPS, decode};

/// Longest path that is looked at, in bytes without the query.
pub const MAX_PATH_BYTES: usize = 2 * 1024;

/// Why a path has a reading that cannot be made, or readings that disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPath {
    /// The request has no path, or one that does not start with `/`.
    NoPath,
    /// Longer than [`MAX_PATH_BYTES`].
    TooLong,
    /// A `#`, which no request target has (RFC 9112 section 3.2).
    Fragment,
    /// A `%` that is not followed by two hexadecimal digits.
    Encoding,
    /// Decoded, it is not UTF-8: overlong forms of `/` and `.` among them.
    NotUtf8,
    /// A NUL, at which some readers stop.
    Nul,
    /// Encoded more than twice.
    Depth,
    /// There is too much in it to read in more than one way.
    Work,
    /// Two readings fall under different rules.
    Ambiguous,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPath::NoPath => "The request has no path that starts with /",
            InvalidPath::TooLong => "The path is too long",
            InvalidPath::Fragment => "The path has a #",
            InvalidPath::Encoding => "The path has an incomplete percent-encoding",
            InvalidPath::NotUtf8 => "The path is not UTF-8 when decoded",
            InvalidPath::Nul => "The path has a NUL",
            InvalidPath::Depth => "The path is percent-encoded more than twice",
            InvalidPath::Work => "The path can be read in too many ways for its length",
            InvalidPath::Ambiguous => {
                "The path can be read in ways that fall under different rules"
            }
        })
    }
}

/// Most times that a path may be percent-encoded.
const MAX_ENCODINGS: usize = 2;
/// Most readings that a path may have; a path with more is refused.
const MAX_READINGS: usize = 32;

/// What reading one path may take, in wasm instructions: less than a plain refusal takes
/// without it.
const MAX_WORK: usize = 14_800;
/// Of that, what a reading takes whatever its length is,
const EACH: usize = 1_300;
/// what each byte takes that is looked at for being UTF-8, and that is compared with one
/// of another reading,
const VALIDATING: usize = 42;
const COMPARING: usize = 3;
/// and a reading that another one is compared with.
const KNOWN: usize = 18;

/// What is left of the work that a path may cause.
#[derive(Debug, Clone)]
pub struct Work(usize);

impl Work {
    /// As much as there is: where nobody outside decides how much it is.
    pub fn unbounded() -> Self {
        Work(usize::MAX)
    }

    /// Takes some of it, before it is done.
    ///
    /// # Errors
    /// [`InvalidPath::Work`] when there is not that much left.
    pub fn take(&mut self, work: usize) -> Result<(), InvalidPath> {
        self.0 = self.0.checked_sub(work).ok_or(InvalidPath::Work)?;
        Ok(())
    }

    /// Puts back what was taken for bytes that were not looked at after all.
    fn put_back(&mut self, bytes: usize, each: usize) {
        self.0 = self.0.saturating_add(bytes.saturating_mul(each));
    }

    /// As many bytes as can be looked at, and one more.
    fn within<'p>(&self, path: &'p [u8], each: usize) -> &'p [u8] {
        let most = self.0.checked_div(each).unwrap_or(0).saturating_add(1);
        path.get(..most).unwrap_or(path)
    }

    fn of_bytes(&mut self, bytes: usize, each: usize) -> Result<(), InvalidPath> {
        self.take(bytes.saturating_mul(each))
    }
}

/// A way to read a path.
#[derive(Debug, Clone)]
struct Reading<'a> {
    path: Cow<'a, [u8]>,
    traits: Traits,
    /// Where it is known as what it is read when decoded: whether one who decodes less
    /// reads another path.
    decoded: Option<bool>,
}

/// A path without its query, checked for what makes it unreadable.
#[derive(Debug, Clone)]
pub struct RequestPath<'a> {
    /// As it came, or folded.
    raw: Cow<'a, [u8]>,
    traits: Traits,
    /// Where it has an encoding: the path as it came, decoded once, and twice.
    levels: Vec<Reading<'a>>,
    work: Work,
}

impl<'a> RequestPath<'a> {
    /// From a request target in origin form (RFC 9112 section 3.2.1). With `folds` its
    /// readings are short forms of what they are ([`fold`]), which fall under the same
    /// rules where every prefix is visible ASCII.
    ///
    /// # Errors
    /// See [`InvalidPath`]; all but `Ambiguous` come from here.
    pub fn parse(target: Option<&'a [u8]>, folds: bool) -> Result<Self, InvalidPath> {
        RequestPath::parse_within(target, folds, Work(MAX_WORK))
    }

    /// The same for somebody who looks at the readings: whole, and whatever work that is.
    ///
    /// # Errors
    /// As [`RequestPath::parse`].
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

    /// Shows every reading of the path to `look`, the path as it came first.
    ///
    /// A request passes several readers, and each may do any of the steps in any
    /// order: one decodes and then resolves dots, the next one cuts parameters
    /// first. So every path that can be reached by steps is a reading. One where
    /// the path has nothing strange in it.
    ///
    /// # Errors
    /// What `look` says, or [`InvalidPath::Work`] when there are too many to try.
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

/// A path, then what it is when decoded, as long as there is something to decode: twice
/// at most.
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
        // At each level: one who decodes twice may take an overlong form for a dot.
        if next.traits.has(Traits::HIGH) {
            is_utf8(&next.path, work)?;
        }
        all.push(std::mem::replace(&mut last, next));
    }
    all.push(last);
    Ok(all)
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
    /// Adds what it is read as one step further.
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
        Ok(())
    }
}

/// Whether a reading is one of those that are known. Most differ in length, so a list
/// is searched sooner than a tree.
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

/// Whether two paths of one length are the same: eight bytes at a time, which compilers
/// leave undone.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((words, rest), (others, other)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let mut pairs = words.iter().zip(others);
    pairs.all(|(one, other)| word(one) == word(other)) && rest == other
}
