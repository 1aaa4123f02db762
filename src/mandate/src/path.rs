//! A request's path, as anybody may read it. Nobody can know how the upstream
//! reads a strange path, so a rule is found only when every reading of the path
//! falls under the same one (contract, "Routes").

use std::borrow::Cow;
use std::fmt;

/// Longest path that is looked at, in bytes without the query.
pub const MAX_PATH_BYTES: usize = 32 * 1024;

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
            InvalidPath::Ambiguous => {
                "The path can be read in ways that fall under different rules"
            }
        })
    }
}

/// One thing that a reader may do to a path, in the order in which readers do it.
const STEPS: [Step; 4] = [
    Step {
        does: backslashes,
        when: |path| path.contains(&b'\\'),
    },
    Step {
        does: parameters,
        when: |path| path.contains(&b';'),
    },
    Step {
        does: merge_slashes,
        when: |path| path.windows(2).any(|two| two == b"//"),
    },
    Step {
        does: dot_segments,
        when: has_dot_segment,
    },
];

struct Step {
    does: fn(&[u8]) -> Vec<u8>,
    when: fn(&[u8]) -> bool,
}

/// A path without its query, checked for what makes it unreadable.
#[derive(Debug, Clone)]
pub struct RequestPath<'a> {
    raw: &'a [u8],
    decoded: Option<Vec<u8>>,
}

impl<'a> RequestPath<'a> {
    /// From a request target in origin form (RFC 9112 section 3.2.1).
    ///
    /// # Errors
    /// See [`InvalidPath`]; all but `Ambiguous` come from here.
    pub fn parse(target: Option<&'a [u8]>) -> Result<Self, InvalidPath> {
        let target = target.ok_or(InvalidPath::NoPath)?;
        let raw = target.split(|b| *b == b'?').next().unwrap_or_default();
        if raw.first() != Some(&b'/') {
            return Err(InvalidPath::NoPath);
        }
        if raw.len() > MAX_PATH_BYTES {
            return Err(InvalidPath::TooLong);
        }
        if raw.contains(&b'#') {
            return Err(InvalidPath::Fragment);
        }
        let decoded = if raw.contains(&b'%') {
            Some(percent_decode(raw)?)
        } else {
            None
        };
        let readable = decoded.as_deref().unwrap_or(raw);
        if readable.contains(&0) {
            return Err(InvalidPath::Nul);
        }
        std::str::from_utf8(readable).map_err(|_| InvalidPath::NotUtf8)?;
        Ok(RequestPath { raw, decoded })
    }

    /// Finds the rule that every reading of the path falls under.
    ///
    /// Readers combine: a server may decode, then cut parameters, then resolve
    /// dots, or do any part of that. So every subset of the steps is tried, at
    /// most 32 readings, and one where the path has nothing strange in it.
    ///
    /// # Errors
    /// [`InvalidPath::Ambiguous`] when two readings fall under different rules.
    pub fn rule<R: PartialEq>(&self, find: impl Fn(&[u8]) -> R) -> Result<R, InvalidPath> {
        let rule = find(self.raw);
        let decoded = self.decoded.as_deref();
        for start in [Some(self.raw), decoded].into_iter().flatten() {
            if !agree(Cow::Borrowed(start), &STEPS, &rule, &find) {
                return Err(InvalidPath::Ambiguous);
            }
        }
        Ok(rule)
    }
}

/// Whether the path, with each subset of `steps` done to it, falls under `rule`.
fn agree<R: PartialEq>(
    path: Cow<'_, [u8]>,
    steps: &[Step],
    rule: &R,
    find: &impl Fn(&[u8]) -> R,
) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return find(&path) == *rule;
    };
    if (step.when)(&path) && !agree(Cow::Owned((step.does)(&path)), rest, rule, find) {
        return false;
    }
    agree(path, rest, rule, find)
}

fn percent_decode(path: &[u8]) -> Result<Vec<u8>, InvalidPath> {
    let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(InvalidPath::Encoding);
        };
        out.push(u8::try_from(high << 4 | low).map_err(|_| InvalidPath::Encoding)?);
    }
    Ok(out)
}

fn backslashes(path: &[u8]) -> Vec<u8> {
    path.iter()
        .map(|b| if *b == b'\\' { b'/' } else { *b })
        .collect()
}

fn parameters(path: &[u8]) -> Vec<u8> {
    let mut cut = false;
    let keep = |b: &u8| {
        match b {
            b'/' => cut = false,
            b';' => cut = true,
            _ => {}
        }
        !cut
    };
    path.iter().copied().filter(keep).collect()
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|b| *b == b'/')
        .any(|segment| matches!(segment, b"." | b".."))
}

/// RFC 3986 section 5.2.4, for a path that starts with `/`.
fn dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|b| *b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            name => {
                kept.push(name);
                continue;
            }
        }
        if last {
            kept.push(b"");
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let seen = std::cell::RefCell::new(Vec::new());
        let parsed = RequestPath::parse(Some(path.as_bytes())).unwrap();
        parsed
            .rule(|reading| {
                seen.borrow_mut()
                    .push(String::from_utf8(reading.to_vec()).unwrap())
            })
            .unwrap();
        let mut seen = seen.into_inner();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn an_ordinary_path_has_one_reading() {
        for path in ["/", "/payouts/1", "/a.b/c..d/...", "/a/", "/é"] {
            assert_eq!(readings(path), [path]);
        }
        assert_eq!(readings("/a?b=/../c;#%zz"), ["/a"]);
    }

    #[test]
    fn readings_combine() {
        assert_eq!(readings("/a/%2e%2e/b"), ["/a/%2e%2e/b", "/a/../b", "/b"]);
        assert_eq!(readings("/a//../b"), ["/a/../b", "/a//../b", "/a/b", "/b"]);
        assert!(readings("/a\\..;x\\b").contains(&"/b".to_owned()));
        assert!(readings("/a%5c..%3bx%5cb").contains(&"/b".to_owned()));
        // Decoded once only.
        assert!(!readings("/a/%252e%252e/b").contains(&"/b".to_owned()));
    }

    #[test]
    fn dot_segments_are_resolved_as_rfc_3986_does() {
        for (path, resolved) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/..", "/"),
            ("/../x", "/x"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
        ] {
            assert_eq!(dot_segments(path.as_bytes()), resolved.as_bytes(), "{path}");
        }
    }

    #[test]
    fn unreadable_paths() {
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        let cases: &[(Option<&[u8]>, InvalidPath)] = &[
            (None, InvalidPath::NoPath),
            (Some(b""), InvalidPath::NoPath),
            (Some(b"*"), InvalidPath::NoPath),
            (Some(b"payouts"), InvalidPath::NoPath),
            (Some(b"http://x/payouts"), InvalidPath::NoPath),
            (Some(b"/a#b"), InvalidPath::Fragment),
            (Some(b"/%"), InvalidPath::Encoding),
            (Some(b"/%4"), InvalidPath::Encoding),
            (Some(b"/%zz"), InvalidPath::Encoding),
            (Some(b"/%+1"), InvalidPath::Encoding),
            (Some(b"/%c0%af"), InvalidPath::NotUtf8),
            (Some(b"/\xff"), InvalidPath::NotUtf8),
            (Some(b"/%00"), InvalidPath::Nul),
            (Some(long.as_bytes()), InvalidPath::TooLong),
        ];
        for (path, why) in cases {
            assert_eq!(RequestPath::parse(*path).err(), Some(*why));
        }
    }

    #[test]
    fn disagreeing_readings_find_no_rule() {
        let find = |reading: &[u8]| reading.starts_with(b"/open");
        let rule = |path: &str| {
            RequestPath::parse(Some(path.as_bytes()))
                .unwrap()
                .rule(find)
        };
        assert_eq!(rule("/open/x"), Ok(true));
        assert_eq!(rule("/open/%78"), Ok(true));
        assert_eq!(rule("/x;y"), Ok(false));
        for path in [
            "/open/../x",
            "/open%2f..%2fx",
            "/%6fpen",
            "//open",
            "/x/..\\open",
        ] {
            assert_eq!(rule(path), Err(InvalidPath::Ambiguous), "{path}");
        }
    }
}
