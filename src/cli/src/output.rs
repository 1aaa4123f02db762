//! The only place that prints. A terminal that is gone is no error of ours.

use std::io::Write as _;

/// A line of the result, on standard output.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// What went wrong or deserves attention, on standard error.
pub(crate) fn problem(text: &str) {
    let _ = writeln!(std::io::stderr(), "caracal-edge: {text}");
}

/// Longest text of somebody else's that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Somebody else's text between quotes, cut, and without anything that a terminal or a
/// reader would take for something else: control characters, marks that turn the
/// direction of writing, and blanks that look like none.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::from('"');
    for (n, c) in text.chars().enumerate() {
        if n == MAX_SHOWN {
            out.push_str("\" (cut)");
            return out;
        }
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => out.extend(c.escape_unicode()),
        }
    }
    out.push('"');
    out
}

/// The same of bytes, which may be no text.
pub(crate) fn shown_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => shown(text),
        Err(_) => shown(&bytes.escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_cannot_write_to_a_terminal() {
        assert_eq!(shown("a \"b\" é"), r#""a \"b\" é""#);
        assert_eq!(
            shown("\u{1b}[2J\n\u{202e}\u{a0}\u{200b}"),
            r#""\u{1b}[2J\u{a}\u{202e}\u{a0}\u{200b}""#
        );
        assert_eq!(shown_bytes(b"/\xff\x1b"), r#""/\\xff\\x1b""#);
        let long = shown(&"x".repeat(10_000));
        assert!(long.len() < 300 && long.ends_with("(cut)"), "{long}");
    }
}
