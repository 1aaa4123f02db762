//! The only place that prints. A terminal that is gone is no error of ours. Colour, width
//! and progress are for a terminal; a pipe or a file gets plain lines as they are.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};

/// How a line is coloured. `NO_COLOR` leaves colours out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Heading,
    Good,
    Bad,
    Warning,
}

impl Tone {
    fn style(self) -> Style {
        let coloured = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
        match self {
            Tone::Plain => Style::new(),
            Tone::Heading => Style::new().bold(),
            Tone::Good => coloured(AnsiColor::Green),
            Tone::Bad => coloured(AnsiColor::Red),
            Tone::Warning => coloured(AnsiColor::Yellow),
        }
    }
}

/// A line of the result, on standard output, never broken: a token, or JSON.
pub(crate) fn line(text: &str) {
    clear_progress();
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line for people, on standard output: coloured, and broken at a terminal's width.
pub(crate) fn prose(text: &str, tone: Tone) {
    clear_progress();
    let out = std::io::stdout();
    let lines = match out.is_terminal().then(|| terminal_size_of(&out)).flatten() {
        Some((Width(width), _)) => broken(text, usize::from(width)),
        None => vec![text.to_owned()],
    };
    let style = tone.style();
    let mut out = AutoStream::auto(out);
    for line in lines {
        let _ = writeln!(out, "{style}{line}{style:#}");
    }
}

/// A line of JSON, on standard output. On a terminal only ASCII of it is written as it is: the
/// rest could be commands to the terminal, or change the direction of writing.
pub(crate) fn json(value: &serde_json::Value) {
    let text = value.to_string();
    match is_terminal() {
        true => line(&ascii_json(&text)),
        false => line(&text),
    }
}

/// JSON with everything but printable ASCII escaped. Such characters stand in strings alone.
fn ascii_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0_u16; 2];
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// A line of a table, on standard output: coloured, and never broken.
pub(crate) fn row(text: &str, tone: Tone) {
    clear_progress();
    let style = tone.style();
    let _ = writeln!(
        AutoStream::auto(std::io::stdout()),
        "{style}{text}{style:#}"
    );
}

/// Whether the result goes to a terminal.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// What went wrong or deserves attention, on standard error.
pub(crate) fn problem(text: &str) {
    clear_progress();
    let style = Tone::Bad.style();
    let mut err = AutoStream::auto(std::io::stderr());
    let _ = writeln!(err, "{style}caracal-edge:{style:#} {text}");
}

/// Whether a line of progress stands on the terminal.
static IN_PROGRESS: AtomicBool = AtomicBool::new(false);
/// Back to the start of the line, and away with it.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// What is waited for, on a terminal alone, until something else is printed.
pub(crate) fn progress(text: &str) {
    let mut err = std::io::stderr();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if !err.is_terminal() || is_dumb {
        return;
    }
    // A line that is broken by the terminal could not be cleared.
    let width = terminal_size_of(&err).map_or(80, |(Width(width), _)| usize::from(width));
    let text: String = text.chars().take(width.saturating_sub(4)).collect();
    IN_PROGRESS.store(true, Ordering::SeqCst);
    let _ = write!(err, "{CLEAR_LINE}{text} ...");
    let _ = err.flush();
}

fn clear_progress() {
    if IN_PROGRESS.swap(false, Ordering::SeqCst) {
        let mut err = std::io::stderr();
        let _ = write!(err, "{CLEAR_LINE}");
        let _ = err.flush();
    }
}

/// Narrower terminals get lines as they are.
const LEAST_WIDTH: usize = 30;

/// A text in lines of at most this width, broken between words; what follows the first is
/// indented below it. A word that is longer stays whole, so that it can be copied.
fn broken(text: &str, width: usize) -> Vec<String> {
    let own = text.chars().take_while(|c| *c == ' ').count();
    let indent = own.saturating_add(2);
    if width < LEAST_WIDTH || indent.saturating_mul(2) > width {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line: String = " ".repeat(own);
    let mut is_begun = false;
    for word in text.trim_start_matches(' ').split(' ') {
        let needed = line.chars().count().saturating_add(word.chars().count());
        if is_begun && needed.saturating_add(1) > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun |= !word.is_empty();
    }
    lines.push(line);
    lines
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

    #[test]
    fn json_on_a_terminal_is_ascii_and_the_same() {
        let value = serde_json::json!({"a": "é\u{9b}\u{7f}\u{202e}\n\u{1f600}"});
        let text = ascii_json(&value.to_string());
        assert!(
            text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = "  3  issuer   FAILED  expected \"https://sts.example.com\"; found \"x\"";
        assert_eq!(broken(text, 200), [text]);
        assert_eq!(
            broken(text, 32),
            [
                "  3  issuer   FAILED  expected",
                "    \"https://sts.example.com\";",
                "    found \"x\"",
            ]
        );
        assert_eq!(broken(text, 10), [text], "too narrow");
        let word = "x".repeat(50);
        assert_eq!(broken(&word, 40), std::slice::from_ref(&word));
        assert_eq!(broken("", 40), [""]);
    }
}
