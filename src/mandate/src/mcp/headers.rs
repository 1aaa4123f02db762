//! The headers that MCP's rules look at.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::header_names::folded;

/// The header with the protocol's version.
pub const VERSION_HEADER: &str = "mcp-protocol-version";
/// The header that mirrors the message's `method`.
pub const METHOD_HEADER: &str = "mcp-method";
/// The header that mirrors the name of what the message is about.
pub const NAME_HEADER: &str = "mcp-name";

/// Headers by which some frameworks take a request for one of another method.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Every value of the headers that MCP's rules look at. The client controls all of them.
#[derive(Debug, Clone, Default)]
pub struct McpHeaders<'h> {
    /// `MCP-Protocol-Version`.
    pub(super) version: Vec<&'h [u8]>,
    /// `Mcp-Method`.
    pub(super) method: Vec<&'h [u8]>,
    /// `Mcp-Name`.
    pub(super) name: Vec<&'h [u8]>,
    pub(super) origin: Vec<&'h [u8]>,
    pub(super) content_type: Vec<&'h [u8]>,
    pub(super) content_encoding: Vec<&'h [u8]>,
    content_length: Vec<&'h [u8]>,
    transfer_encoding: Vec<&'h [u8]>,
    /// One of [`METHOD_OVERRIDES`] is there.
    pub(super) overrides_method: bool,
    /// `Connection` lists a header that decides.
    pub(super) is_listed: bool,
    /// An `Upgrade` is there.
    upgrades: bool,
    /// A header has the name of one of the others, but for other punctuation in place of
    /// `-`. Some servers read it as that one.
    pub(super) is_respelled: bool,
    /// Whether the request ends with its headers; none if the proxy does not tell.
    pub(super) ends: Option<bool>,
    /// The whole body, where it is known with the headers.
    pub(super) body: Option<&'h [u8]>,
}

impl<'h> McpHeaders<'h> {
    /// Picks them out of a request's headers. `ends`: whether the request has neither a
    /// body nor trailers, if the proxy knows.
    #[cold]
    #[inline(never)]
    pub fn of(headers: impl Iterator<Item = (&'h [u8], &'h [u8])>, ends: Option<bool>) -> Self {
        let mut found = McpHeaders {
            ends,
            ..McpHeaders::default()
        };
        for (name, value) in headers {
            found.add(name, value);
        }
        found
    }

    /// The same of a request whose whole body is known.
    #[must_use]
    pub fn with_body(self, body: &'h [u8]) -> Self {
        McpHeaders {
            body: Some(body),
            ..self
        }
    }

    fn add(&mut self, name: &[u8], value: &'h [u8]) {
        let values = [
            (VERSION_HEADER, &mut self.version),
            (METHOD_HEADER, &mut self.method),
            (NAME_HEADER, &mut self.name),
            ("origin", &mut self.origin),
            ("content-type", &mut self.content_type),
            ("content-encoding", &mut self.content_encoding),
            ("content-length", &mut self.content_length),
            ("transfer-encoding", &mut self.transfer_encoding),
        ];
        for (own, all) in values {
            if !folds_to(name, own) {
                continue;
            }
            match name.eq_ignore_ascii_case(own.as_bytes()) {
                true => all.push(value),
                false => self.is_respelled = true,
            }
            return;
        }
        if name.eq_ignore_ascii_case(b"connection") {
            let mut listed = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.is_listed |= listed.any(decides);
        }
        self.upgrades |= folds_to(name, "upgrade");
        self.overrides_method |= METHOD_OVERRIDES.iter().any(|own| folds_to(name, own));
    }

    /// Whether the request asks for another protocol on its connection.
    pub(super) fn upgrades(&self) -> bool {
        self.upgrades
    }

    /// Whether the request may have a body.
    pub(super) fn may_have_body(&self) -> bool {
        self.ends == Some(false)
            || !self.transfer_encoding.is_empty()
            || self.content_length.iter().any(|length| *length != b"0")
    }

    /// Whether the body is announced with more than `max` bytes.
    pub(super) fn announces_over(&self, max: usize) -> bool {
        let over = |length: &&[u8]| {
            let length = std::str::from_utf8(length).ok();
            let length = length.and_then(|length| length.parse::<usize>().ok());
            length.is_none_or(|length| length > max)
        };
        self.content_length.iter().any(over)
    }
}

/// Whether a server could take a header of this name for one of those that are judged.
pub fn is_mirrored(name: &[u8]) -> bool {
    let mut all = [VERSION_HEADER, METHOD_HEADER, NAME_HEADER].into_iter();
    all.any(|own| folds_to(name, own))
}

/// Whether a header of this name decides what a request is, or how its message is read. The
/// next hop would remove it if `Connection` lists it (RFC 9110 section 7.6.1), and an older
/// server would then read the message alone.
fn decides(name: &[u8]) -> bool {
    const NAMES: [&str; 3] = ["origin", "transfer-encoding", "host"];
    const PREFIXES: [&str; 2] = ["mcp-", "content-"];
    let begins = |own: &str| {
        let start = name.get(..own.len());
        start.is_some_and(|start| folds_to(start, own))
    };
    NAMES.iter().any(|own| folds_to(name, own)) || PREFIXES.iter().any(|own| begins(own))
}

/// Whether a name is this one for a server that reads any punctuation as `-`, as CGI does
/// with some of it.
fn folds_to(name: &[u8], own: &str) -> bool {
    name.len() == own.len() && folded(name).eq(own.bytes())
}

/// A mirrored value. `=?base64?...?=` is decoded, and must be canonical: the server
/// decodes it too, and both have to read the same. None for what is no such value. A value
/// that only begins like a marked one is none either: servers could differ about it.
pub(super) fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok()?;
    let is_plain = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !is_plain || text.is_empty() || text.trim() != text {
        return None;
    }
    if !text.starts_with("=?") {
        return Some(Cow::Borrowed(text));
    }
    let encoded = text.strip_prefix("=?base64?")?.strip_suffix("?=")?;
    let name = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    (!name.is_empty()).then_some(Cow::Owned(name))
}

/// Whether a `Content-Type` is JSON in UTF-8. With another charset the server would read
/// another text than the edge.
pub(super) fn is_json(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kind = parts.next().unwrap_or_default();
    let is_utf8 = |part: &[u8]| {
        [&b"charset=utf-8"[..], b"charset=\"utf-8\""]
            .iter()
            .any(|own| part.eq_ignore_ascii_case(own))
    };
    kind.eq_ignore_ascii_case(b"application/json") && parts.all(is_utf8)
}
