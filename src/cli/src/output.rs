//! The only place that prints. If the terminal is gone, that is not an error.

use std::io::Write as _;

/// A line of the result, on standard output.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// An error or a warning, on standard error.
pub(crate) fn problem(text: &str) {
    let _ = writeln!(std::io::stderr(), "caracal-edge: {text}");
}

/// Longest text from others that is shown, in characters.
const MAX_SHOWN: usize = 200;

/// Text from others in quotes, shortened, and without anything that a terminal or a
/// reader could misread: control characters, marks that change the direction of writing,
/// and invisible blanks.
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

/// The same for bytes, which may not be text.
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
