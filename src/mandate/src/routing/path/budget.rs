//! Why a path is not read, and the work that reading it may take.

use std::fmt;

/// Longest path that is examined, in bytes without the query.
pub const MAX_PATH_BYTES: usize = 2 * 1024;

/// Why one reading of a path cannot be made, or why its readings disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPath {
    /// The request has no path, or one that does not start with `/`.
    NoPath,
    /// Longer than [`MAX_PATH_BYTES`].
    TooLong,
    /// A `#`, which a request target must not have (RFC 9112 section 3.2).
    Fragment,
    /// A `%` that is not followed by two hexadecimal digits.
    Encoding,
    /// The decoded path is not UTF-8, which includes overlong forms of `/` and `.`.
    NotUtf8,
    /// A NUL. Some readers stop there.
    Nul,
    /// Encoded more than twice.
    Depth,
    /// It would take too much work to make all readings.
    Work,
    /// Two readings fall under different rules.
    Ambiguous,
    /// A reading falls under a route of MCP for servers that ignore case, and only for them.
    Spelled,
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
            InvalidPath::Depth => "The path is percent-encoded more than twice",
            InvalidPath::Work => "The path can be read in too many ways for its length",
            InvalidPath::Ambiguous => {
                "The path can be read in ways that fall under different rules"
            }
            InvalidPath::Spelled => {
                "The path differs in upper and lower case only from a route of MCP, or from one that is enforced amid paths in shadow"
            }
        })
    }
}

/// The work for one path, in wasm instructions. It is less than a plain refusal costs
/// without it.
pub(super) const MAX_WORK: usize = 14_800;

/// The work that is left for a path.
#[derive(Debug, Clone)]
pub struct Work(pub(super) usize);

impl Work {
    /// Without a limit, for paths that nobody outside controls.
    pub fn unbounded() -> Self {
        Work(usize::MAX)
    }

    /// Takes some of the work, before it is done.
    ///
    /// # Errors [`InvalidPath::Work`] if there is not enough left.
    pub fn take(&mut self, work: usize) -> Result<(), InvalidPath> {
        self.0 = self.0.checked_sub(work).ok_or(InvalidPath::Work)?;
        Ok(())
    }

    /// Gives back the work for bytes that were not examined after all.
    pub(super) fn put_back(&mut self, bytes: usize, each: usize) {
        self.0 = self.0.saturating_add(bytes.saturating_mul(each));
    }

    /// As many bytes as the work allows, and one more.
    pub(super) fn within<'p>(&self, path: &'p [u8], each: usize) -> &'p [u8] {
        let most = self.0.checked_div(each).unwrap_or(0).saturating_add(1);
        path.get(..most).unwrap_or(path)
    }

    /// Takes the work for so many bytes.
    ///
    /// # Errors As [`Work::take`].
    pub fn of_bytes(&mut self, bytes: usize, each: usize) -> Result<(), InvalidPath> {
        self.take(bytes.saturating_mul(each))
    }
}
