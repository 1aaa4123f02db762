//! Times and numbers in plain words, and texts of others.

use std::time::Duration;

use maud::{Markup, html};

use crate::terminal::shown;

/// How long ago something was.
pub(super) fn ago(length: Duration) -> String {
    match length.as_secs() {
        0..=1 => "a moment ago".to_owned(),
        seconds => format!("{} ago", span(seconds)),
    }
}

/// A length of time in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        let whole = rest.checked_div(unit).unwrap_or(0);
        rest = rest.checked_rem(unit).unwrap_or(0);
        if whole > 0 {
            parts.push(count(whole, name));
        }
    }
    parts.truncate(2);
    match parts.is_empty() {
        true => "0 seconds".to_owned(),
        false => parts.join(" "),
    }
}

/// A number of things.
pub(super) fn count(number: u64, name: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {name}{plural}", grouped(number))
}

/// A number with a thin gap between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(n);
        if n > 0 && left.is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A text that somebody else chose: without quotes if it is short and of plain words, and
/// always apart from the direction of writing around it.
pub(super) fn foreign(text: &str) -> Markup {
    let is_plain = |b: u8| b == b' ' || b.is_ascii_graphic();
    let plain = text.len() <= 100 && text.bytes().all(is_plain);
    let text = match plain {
        true => text.to_owned(),
        false => shown(text),
    };
    html! { bdi { (text) } }
}

/// One fact of a table with two columns.
pub(super) fn row(name: &str, value: &Markup) -> Markup {
    html! { tr { th scope="row" { (name) } td { (value) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_words() {
        for (seconds, words) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (60, "1 minute"),
            (125, "2 minutes 5 seconds"),
            (3_605, "1 hour 5 seconds"),
            (90_061, "1 day 1 hour"),
        ] {
            assert_eq!(span(seconds), words);
        }
        assert_eq!(ago(Duration::from_millis(1_900)), "a moment ago");
        assert_eq!(ago(Duration::from_secs(12)), "12 seconds ago");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(4_000_000), "4\u{202f}000\u{202f}000");
        assert_eq!(count(1, "message"), "1 message");
    }

    #[test]
    fn what_others_chose_is_text() {
        let hostile = "<script>\u{202e}\"'&\u{1b}";
        let shown = foreign(hostile).into_string();
        assert_eq!(
            shown,
            r#"<bdi>&quot;&lt;script&gt;\u{202e}\&quot;'&amp;\u{1b}&quot;</bdi>"#
        );
        assert_eq!(foreign("<b>").into_string(), "<bdi>&lt;b&gt;</bdi>");
    }
}
