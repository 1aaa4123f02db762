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
