//! What a reader may do to a path, step by step. A step looks for the next place that it
//! changes, and copies everything between two places as a whole.

use super::budget::{InvalidPath, Work};
use super::scan::Traits;

/// A step, and the condition for it to change something.
pub(super) struct Step {
    pub(super) applies: Traits,
    /// All other steps remove bytes, if they change anything.
    pub(super) keeps_length: bool,
    find: fn(&[u8]) -> Option<usize>,
    put: fn(&mut Vec<u8>, &[u8]) -> usize,
}

const fn step(
    applies: Traits,
    find: fn(&[u8]) -> Option<usize>,
    put: fn(&mut Vec<u8>, &[u8]) -> usize,
) -> Step {
    Step {
        applies,
        keeps_length: false,
        find,
        put,
    }
}

/// The steps except decoding and [`WITHOUT_AUTHORITY`]. Each of them can happen more than once.
pub(super) const STEPS: [Step; 9] = [
    Step {
        keeps_length: true,
        ..step(Traits::BACKSLASH, backslash, slash)
    },
    step(Traits::SEMICOLON, semicolon, parameters),
    step(Traits::SLASHES, slashes, one_slash),
    step(Traits::DOTS, segment_of_dots, resolved),
    step(Traits::DELIMITER, delimiter, |_, rest| rest.len()),
    step(Traits::BLANK, line_break, |_, _| 1),
    step(Traits::BLANK, last_blank, without_blanks),
    step(Traits::DOTS, last_dot, without_dots),
    // Some characters are read as three bytes, which is also their own length.
    Step {
        keeps_length: true,
        ..step(Traits::WIDE, wide, narrow)
    },
];

/// One more step, of a path that begins with two slashes.
pub(super) const WITHOUT_AUTHORITY: Step = step(Traits::SLASHES, authority, without_authority);

impl Step {
    pub(super) fn take(&self, path: &[u8], work: &mut Work) -> Result<Vec<u8>, InvalidPath> {
        work.of_bytes(path.len(), BYTE)?;
        rewrite(
            path,
            self.find,
            &mut |out, rest| (self.put)(out, rest),
            work,
        )
    }
}

/// The work of a step in wasm instructions: in general, for each byte, and for each place
/// that it changes.
const STEP: usize = 800;
const BYTE: usize = 32;
const SPOT: usize = 300;

/// A path in which every place that `find` finds is replaced by `put`, which returns how
/// many bytes it replaced.
fn rewrite(
    path: &[u8],
    find: fn(&[u8]) -> Option<usize>,
    put: &mut dyn FnMut(&mut Vec<u8>, &[u8]) -> usize,
    work: &mut Work,
) -> Result<Vec<u8>, InvalidPath> {
    work.take(STEP)?;
    let mut out = Vec::with_capacity(path.len().saturating_add(1));
    let mut rest = path;
    while let Some((before, spot)) = find(rest).and_then(|at| rest.split_at_checked(at)) {
        work.take(SPOT)?;
        out.extend_from_slice(before);
        let bytes = put(&mut out, spot);
        rest = spot.get(bytes..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn backslash(path: &[u8]) -> Option<usize> {
    path.iter().position(|b| *b == b'\\')
}

fn slash(out: &mut Vec<u8>, _: &[u8]) -> usize {
    out.push(b'/');
    1
}

fn semicolon(path: &[u8]) -> Option<usize> {
    path.iter().position(|b| *b == b';')
}

/// Drops the rest of the segment.
fn parameters(_: &mut Vec<u8>, rest: &[u8]) -> usize {
    let end = rest.iter().position(|b| *b == b'/');
    end.unwrap_or(rest.len())
}

fn slashes(path: &[u8]) -> Option<usize> {
    path.windows(2).position(|two| two == b"//")
}

fn one_slash(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    out.push(b'/');
    let end = rest.iter().position(|b| *b != b'/');
    end.unwrap_or(rest.len())
}

fn authority(path: &[u8]) -> Option<usize> {
    path.starts_with(b"//").then_some(0)
}

/// URL parsers take `//host/path` for a host and a path (RFC 3986 section 4.2), and some
/// take more slashes for two (WHATWG URL, section 4.4).
fn without_authority(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    // What follows the host may begin with two slashes again.
    if !out.is_empty() {
        return one_slash(out, rest);
    }
    let host = rest.iter().position(|b| *b != b'/');
    let path = host.and_then(|host| {
        let end = rest.get(host..)?.iter().position(|b| *b == b'/')?;
        host.checked_add(end)
    });
    out.push(b'/');
    path.map_or(rest.len(), |path| path.saturating_add(1))
}

fn segment_of_dots(path: &[u8]) -> Option<usize> {
    path.windows(2).position(|two| two == b"/.")
}

/// RFC 3986 section 5.2.4.
fn resolved(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let bytes = match rest {
        [_, _] | [_, _, b'/', ..] => 2,
        [_, _, b'.'] | [_, _, b'.', b'/', ..] => {
            let parent = out.iter().rposition(|b| *b == b'/');
            out.truncate(parent.unwrap_or(0));
            3
        }
        _ => {
            out.extend_from_slice(b"/.");
            return 2;
        }
    };
    if rest.len() == bytes {
        out.push(b'/');
    }
    bytes
}

/// Somebody decodes first and then parses a URL: a decoded `?` or `#` ends the path, and
/// for some readers a NUL does.
fn delimiter(path: &[u8]) -> Option<usize> {
    path.iter().position(|b| matches!(b, b'?' | b'#' | 0))
}

/// URL parsers drop line breaks and tabs anywhere (WHATWG URL, section 4.4).
fn line_break(path: &[u8]) -> Option<usize> {
    path.iter().position(|b| matches!(b, b'\t' | b'\n' | b'\r'))
}

/// URL parsers drop spaces and control characters at the very end, and some file systems
/// drop spaces at the end of a name.
fn last_blank(path: &[u8]) -> Option<usize> {
    last(path, |b| b <= b' ')
}

/// Some file systems drop dots at the end of a name.
fn last_dot(path: &[u8]) -> Option<usize> {
    last(path, |b| b == b'.')
}

/// The place where a segment ends with such a byte.
fn last(path: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let ends = path
        .windows(2)
        .position(|two| matches!(two, [b, b'/'] if is(*b)));
    let end = path.len().wrapping_sub(1);
    ends.or_else(|| path.last().is_some_and(|b| is(*b)).then_some(end))
}

fn without_blanks(out: &mut Vec<u8>, _: &[u8]) -> usize {
    while out.pop_if(|b| *b <= b' ').is_some() {}
    1
}

/// A segment that has only dots is not a name.
fn without_dots(out: &mut Vec<u8>, _: &[u8]) -> usize {
    match out.iter().rposition(|b| *b != b'.') {
        Some(name) if out.get(name) != Some(&b'/') => out.truncate(name.saturating_add(1)),
        _ => out.push(b'.'),
    }
    1
}

/// Characters that some readers turn into ASCII (Unicode's compatibility forms, and the
/// best fits of old code pages): full-width forms, and characters that look like a
/// separator or like the end of a segment.
fn wide(path: &[u8]) -> Option<usize> {
    path.iter().position(|b| is_wide(*b))
}

/// Whether such a character may begin with this byte, or one that only readers which ignore
/// case turn into ASCII (U+0130 and U+0131).
pub(super) fn is_wide(byte: u8) -> bool {
    matches!(byte, 0xc4 | 0xc5 | 0xcd | 0xe2 | 0xef)
}

fn narrow(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
    let bytes = [byte(0), byte(1), byte(2)];
    let read = match u32::from_be_bytes([0, byte(0), byte(1), byte(2)]) {
        // U+FF01 to U+FF5E.
        0xefbc81..=0xefbcbf => byte(2).wrapping_sub(0x60),
        0xefbd80..=0xefbd9e => byte(2).wrapping_sub(0x20),
        // U+2024, U+FE52; U+2025 and U+FE30 are two dots each.
        0xe280a4 | 0xefb992 => b'.',
        0xe280a5 | 0xefb8b0 => {
            out.push(b'.');
            b'.'
        }
        // U+2044, U+2215, U+29F8.
        0xe28184 | 0xe28895 | 0xe2a7b8 => b'/',
        // U+2216, U+29F5, U+FE68.
        0xe28896 | 0xe2a7b5 | 0xefb9a8 => b'\\',
        // U+2100, U+2101, U+2105, U+2106: a/c, a/s, c/o, c/u.
        0xe28480 | 0xe28481 | 0xe28485 | 0xe28486 => {
            let (first, last) = match byte(2) {
                0x80 => (b'a', b'c'),
                0x81 => (b'a', b's'),
                0x85 => (b'c', b'o'),
                _ => (b'c', b'u'),
            };
            out.extend([first, b'/']);
            last
        }
        // U+FE54, U+FE14; U+FE6A; U+FE5F.
        0xefb994 | 0xefb894 => b';',
        0xefb9aa => b'%',
        0xefb99f => b'#',
        // U+FE56, U+FE16; U+2047 and U+2048 begin with `?`, and U+2049 ends with it.
        0xefb996 | 0xefb896 | 0xe28187 | 0xe28188 => b'?',
        0xe28189 => {
            out.push(b'!');
            b'?'
        }
        // U+212A, the sign for Kelvin.
        0xe284aa => b'K',
        // U+017F, the long s.
        0xc5bf00..=0xc5bfff => {
            out.push(b's');
            return 2;
        }
        // U+037E.
        0xcdbe00..=0xcdbeff => {
            out.push(b';');
            return 2;
        }
        _ => {
            out.push(byte(0));
            return 1;
        }
    };
    out.push(read);
    bytes.len()
}

/// A path with its percent-encodings decoded.
pub(super) struct Decoded {
    pub(super) path: Vec<u8>,
    /// There was a `%` that does not begin an encoding. It stays, because after the first
    /// decoding some readers are that lenient.
    pub(super) is_incomplete: bool,
    /// There were encodings of characters that never need one, and encodings of other
    /// bytes.
    unreserved: bool,
    others: bool,
}

impl Decoded {
    /// Whether there was an encoding of another byte.
    pub(super) fn is_other(&self) -> bool {
        self.unreserved || self.others
    }

    /// Whether somebody who decodes only the characters that never need encoding reads
    /// another path.
    pub(super) fn is_mixed(&self) -> bool {
        self.unreserved && self.others
    }
}

/// The work of decoding, for each byte.
const DECODING: usize = 26;

/// Decodes every encoding, or only those of characters that never need one (RFC 3986
/// section 6.2.2.2). Normalizers do the latter, and leave an encoded `/` alone.
pub(super) fn decode(path: &[u8], all: bool, work: &mut Work) -> Result<Decoded, InvalidPath> {
    work.of_bytes(path.len(), DECODING)?;
    let mut incomplete = false;
    let (mut unreserved, mut others) = (0, 0);
    let percent = |path: &[u8]| path.iter().position(|b| *b == b'%');
    // Decodes all encodings that directly follow each other at once.
    let mut put = |out: &mut Vec<u8>, spot: &[u8]| {
        let mut rest = spot;
        while let [b'%', behind @ ..] = rest {
            rest = behind;
            let Some(decoded) = digits(behind) else {
                incomplete = true;
                out.push(b'%');
                break;
            };
            let after = behind.get(2..).unwrap_or_default();
            let is_plain = class(decoded) & UNRESERVED;
            unreserved |= is_plain;
            others |= is_plain ^ UNRESERVED;
            if all || is_plain != 0 {
                out.push(decoded);
                rest = after;
            } else {
                out.push(b'%');
                break;
            }
        }
        spot.len().saturating_sub(rest.len())
    };
    Ok(Decoded {
        path: rewrite(path, percent, &mut put, work)?,
        is_incomplete: incomplete,
        unreserved: unreserved != 0,
        others: others != 0,
    })
}

/// The value of the two hexadecimal digits at the beginning of `rest`, if there are two.
#[inline(always)]
fn digits(rest: &[u8]) -> Option<u8> {
    let [high, low, ..] = rest else { return None };
    let (high, low) = (class(*high), class(*low));
    ((high | low) & NO_DIGIT == 0).then_some(high << 4 | low & 15)
}

/// The byte that is encoded at the beginning of `rest`.
#[inline(always)]
pub(super) fn encoded(rest: &[u8]) -> Option<u8> {
    match rest {
        [b'%', behind @ ..] => digits(behind),
        _ => None,
    }
}

/// The byte is not a hexadecimal digit.
const NO_DIGIT: u8 = 0x20;
/// The byte never needs to be encoded (RFC 3986 section 2.3).
const UNRESERVED: u8 = 0x40;

/// The kind of a byte, in the constants above, and its value as a digit. It is a table,
/// because it is used three times for each encoding.
#[inline(always)]
fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT)
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the compiler runs it"
)]
const CLASSES: [u8; 256] = {
    let mut all = [NO_DIGIT; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        all[byte as usize] = match byte {
            b'0'..=b'9' => UNRESERVED | (byte - b'0'),
            b'A'..=b'F' => UNRESERVED | (byte - b'A' + 10),
            b'a'..=b'f' => UNRESERVED | (byte - b'a' + 10),
            b'G'..=b'Z' | b'g'..=b'z' | b'-' | b'.' | b'_' | b'~' => UNRESERVED | NO_DIGIT,
            _ => NO_DIGIT,
        };
        byte += 1;
    }
    all
};

#[cfg(test)]
mod tests;
