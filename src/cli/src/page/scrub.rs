//! Keeps credentials of a pasted request out of an answer, whatever an explanation says.

use std::collections::HashSet;

use crate::explain::pasted;

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
    /// Those of a request head, whose headers are found as an explanation finds them.
    pub(super) fn of(head: &'h [u8]) -> Self {
        let mut pieces = HashSet::new();
        for (name, value) in pasted::headers(head) {
            if !HEADERS.iter().any(|one| name.eq_ignore_ascii_case(one)) {
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
        let token = "abcdefghijklmnopqrstuvwxyz";
        for blank in ["", " ", "\t", "\u{a0}", "\u{2003}", "\u{3000}"] {
            let head = format!("GET / HTTP/1.1\n> {blank}Cookie{blank}: a={token}\n");
            let clean = Scrub::of(head.as_bytes()).clean(token);
            assert_eq!(clean, HIDDEN, "{blank:?}");
        }
        assert_eq!(Scrub::of(b"").clean("x <y>"), "x <y>");
    }
}
