//! A request's path, as anybody may read it. Nobody can know how the upstream
//! reads a strange path, so a rule is found only when every reading of the path
//! falls under the same one (contract, "Routes").

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

/// Most readings that a path may have; a path with more is refused.
const MAX_READINGS: usize = 256;
/// Most bytes of all readings of a path together: a long path with much in it to
/// read is a way to keep a worker busy. This much takes as long as a signature.
const MAX_READ_BYTES: usize = 128 * 1024;

type Step = fn(&[u8]) -> Vec<u8>;

/// What a reader may do to a path. Any of it can happen again: each of two readers
/// in a row decodes once.
const STEPS: [Step; 10] = [
    |path| decode(path, |_| true),
    |path| decode(path, is_unreserved),
    backslashes,
    parameters,
    merge_slashes,
    dot_segments,
    until_delimiter,
    without_line_breaks,
    without_trailing_blanks,
    without_trailing_dots,
];

/// A path without its query, checked for what makes it unreadable.
#[derive(Debug, Clone, Copy)]
pub struct RequestPath<'a> {
    raw: &'a [u8],
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
        if !is_decodable(raw) {
            return Err(InvalidPath::Encoding);
        }
        let decoded = raw.contains(&b'%').then(|| decode(raw, |_| true));
        let readable = decoded.as_deref().unwrap_or(raw);
        if readable.contains(&0) {
            return Err(InvalidPath::Nul);
        }
        std::str::from_utf8(readable).map_err(|_| InvalidPath::NotUtf8)?;
        Ok(RequestPath { raw })
    }

    /// Finds the rule that every reading of the path falls under.
    ///
    /// A request passes several readers, and each may do any of the steps in any
    /// order: one decodes and then resolves dots, the next one cuts parameters
    /// first. So every path that can be reached by steps is a reading. One where
    /// the path has nothing strange in it.
    ///
    /// # Errors
    /// [`InvalidPath::Ambiguous`] when two readings fall under different rules, or
    /// when there are too many to try.
    pub fn rule<R: PartialEq>(&self, find: impl Fn(&[u8]) -> R) -> Result<R, InvalidPath> {
        let rule = find(self.raw);
        if !is_strange(self.raw) {
            return Ok(rule);
        }
        let mut readings = vec![self.raw.to_vec()];
        let (mut tried, mut bytes) = (0, 0_usize);
        while let Some(reading) = readings.get(tried).cloned() {
            tried = tried.saturating_add(1);
            bytes = bytes.saturating_add(reading.len());
            let different = find(&reading) != rule;
            if different || bytes > MAX_READ_BYTES {
                return Err(InvalidPath::Ambiguous);
            }
            for next in STEPS.iter().map(|step| step(&reading)) {
                if !readings.contains(&next) {
                    readings.push(next);
                }
            }
            if readings.len() > MAX_READINGS {
                return Err(InvalidPath::Ambiguous);
            }
        }
        Ok(rule)
    }
}

/// Whether any step would change a path.
fn is_strange(path: &[u8]) -> bool {
    path.iter()
        .any(|b| matches!(b, b'%' | b'\\' | b';') || is_line_break(b))
        || path.windows(2).any(|two| two == b"//")
        || path.split(|b| *b == b'/').any(is_strange_segment)
}

fn is_strange_segment(segment: &[u8]) -> bool {
    match segment {
        b"." | b".." | [.., 0..=b' '] => true,
        [.., b'.'] => segment.iter().any(|b| *b != b'.'),
        _ => false,
    }
}

/// The path as one reads it that decodes first and then parses a URL: a decoded
/// `?` or `#` ends it there, and a NUL does for some.
fn until_delimiter(path: &[u8]) -> Vec<u8> {
    let end = |b: &u8| matches!(b, b'?' | b'#' | 0);
    path.split(end).next().unwrap_or_default().to_vec()
}

fn is_line_break(b: &u8) -> bool {
    matches!(b, b'\t' | b'\n' | b'\r')
}

/// URL parsers drop these wherever they stand (WHATWG URL, section 4.4).
fn without_line_breaks(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(|b| !is_line_break(b)).collect()
}

/// Segments without the blanks at their ends: URL parsers drop spaces and control
/// characters at the very end, some file systems spaces anywhere.
fn without_trailing_blanks(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| without_suffix(segment, |b| b <= b' '))
}

/// Segments without the dots at their ends, as some file systems name files. A
/// segment of nothing but dots is no name.
fn without_trailing_dots(path: &[u8]) -> Vec<u8> {
    each_segment(path, |segment| {
        match without_suffix(segment, |b| b == b'.') {
            [] => segment,
            name => name,
        }
    })
}

fn each_segment(path: &[u8], change: fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let segments = path.split(|b| *b == b'/').map(change);
    segments.collect::<Vec<_>>().join(&b'/')
}

fn without_suffix(segment: &[u8], of: fn(u8) -> bool) -> &[u8] {
    let last = segment.iter().rposition(|b| !of(*b));
    let len = last.map_or(0, |last| last.saturating_add(1));
    segment.get(..len).unwrap_or_default()
}

/// Decodes the percent-encoded bytes that `which` names. What is no encoding
/// stays: after the first decoding there are readers that are as lenient.
fn decode(path: &[u8], which: fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, behind)) = rest.split_first() {
        let (byte, after) = match encoded(rest) {
            Some((decoded, after)) if which(decoded) => (decoded, after),
            _ => (*byte, behind),
        };
        out.push(byte);
        rest = after;
    }
    out
}

/// The byte that an encoding at the start stands for, and what is behind it.
fn encoded(path: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = path else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    Some((byte, rest))
}

/// What never needed encoding (RFC 3986 section 6.2.2.2): normalisers decode that
/// and leave an encoded `/` alone.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whether every `%` begins an encoding.
fn is_decodable(path: &[u8]) -> bool {
    let mut parts = path.split(|b| *b == b'%');
    parts.next();
    parts.all(|part| matches!(part, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
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

    /// Each reads as /admin to some chain of readers: dots by RFC 3986 with an
    /// encoded slash kept, parameters cut before decoding, dots resolved twice.
    #[test]
    fn steps_in_any_order_are_readings() {
        for path in [
            "/pub/a%2fb/%2e%2e/%2e%2e/admin",
            "/pub/%2e%2e;%2fpub/admin",
            "/pub/a%2fb/../%2e%2e/admin",
            "/pub/\\..;\\pub/admin",
            "/pub//%2e%2e//a//../pub/./.",
            "/pub/%252e%252e/admin",
            "/pub/%2525252e./admin",
            "/pub%255c..%25admin/../admin",
            "/pub%252f..%252fadmin",
            "/pub/..%3f/pub/x",
            "/pub/..%23",
            "/pub/..%2500/pub",
            "/pub/.%09./admin",
            "/pub/%2e%0d%0a%2e/admin",
            "/pub/..%20/admin",
            "/pub./x",
            "/pub/..%09./../admin",
            "/x/..%20./pub",
        ] {
            let parsed = RequestPath::parse(Some(path.as_bytes())).unwrap();
            let is_public = |path: &[u8]| path == b"/pub" || path.starts_with(b"/pub/");
            assert_eq!(
                parsed.rule(is_public),
                Err(InvalidPath::Ambiguous),
                "{path}"
            );
        }
    }

    #[test]
    fn too_much_to_read_is_refused() {
        let many = "/a;b/%2e\\//".repeat(40);
        let long = format!("/a{}//b", "/a".repeat(16_000));
        let rule = |path: &str| {
            RequestPath::parse(Some(path.as_bytes()))
                .unwrap()
                .rule(|_| 0)
        };
        assert_eq!(rule(&long), Ok(0), "long, and two readings");
        let longer = format!("{}/%61;b//c/./%62", "/a".repeat(15_000));
        assert_eq!(rule(&longer), Err(InvalidPath::Ambiguous));
        let _ = rule(&many);
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
        // Each of two readers decodes once.
        assert!(readings("/a/%252e%252e/b").contains(&"/b".to_owned()));
        // What is no encoding is left as it is.
        assert_eq!(readings("/100%25"), ["/100%", "/100%25"]);
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
