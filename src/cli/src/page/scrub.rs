//! Keeps credentials of a pasted request out of an answer, whatever an explanation says.

use std::collections::HashSet;

/// Shorter pieces of a credential are no secret: they are words like `Bearer`.
const LEAST: usize = 16;
/// What takes the place of a word.
const HIDDEN: &str = "(hidden)";

/// Headers whose values are credentials.
const HEADERS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
];

/// The pieces that must not appear.
pub(super) struct Scrub<'h>(HashSet<&'h [u8]>);

fn is_part(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

impl<'h> Scrub<'h> {
    /// Those of a request head.
    pub(super) fn of(head: &'h [u8]) -> Self {
        let mut pieces = HashSet::new();
        for line in head.split(|b| *b == b'\n') {
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                continue;
            };
            let (name, value) = line.split_at_checked(colon).unwrap_or_default();
            let name = name.strip_prefix(b"> ").unwrap_or(name).trim_ascii();
            if !HEADERS
                .iter()
                .any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
            {
                continue;
            }
            for word in value.split(|b| !is_part(*b)) {
                pieces.extend(word.windows(LEAST));
            }
        }
        Scrub(pieces)
    }

    /// The text without every word that has a piece of a credential in it.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let is_end = |c: char| !u8::try_from(c).is_ok_and(is_part);
        for part in text.split_inclusive(is_end) {
            let word = part.trim_end_matches(is_end);
            let is_secret = word
                .as_bytes()
                .windows(LEAST)
                .any(|piece| self.0.contains(piece));
            match is_secret {
                true => {
                    clean.push_str(HIDDEN);
                    clean.push_str(part.get(word.len()..).unwrap_or_default());
                }
                false => clean.push_str(part),
            }
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_of_a_credential_is_left() {
        let head = b"GET / HTTP/1.1\r\n> Authorization: Bearer abcdefghijklmnop.ABCDEFGHIJKLMNOPQRS.0123456789_-abcdef\r\nHost: a-host-with-a-long-name\r\n\r\n";
        let scrub = Scrub::of(head);
        for (text, clean) in [
            ("<p>Bearer abc.ABCDEF</p>", "<p>Bearer abc.ABCDEF</p>"),
            ("<b>abcdefghijklmnop</b>", "<b>(hidden)</b>"),
            ("xBCDEFGHIJKLMNOPQx y", "(hidden) y"),
            ("é0123456789_-abcde é", "é(hidden) é"),
            ("a-host-with-a-long-name", "a-host-with-a-long-name"),
        ] {
            assert_eq!(scrub.clean(text), clean);
        }
        assert_eq!(Scrub::of(b"").clean("x <y>"), "x <y>");
    }
}
