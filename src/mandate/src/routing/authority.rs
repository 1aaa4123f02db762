//! Hosts, as requests and configurations name them.

use std::cmp::Ordering;
use std::net::Ipv6Addr;

/// Longest host name that is accepted, in bytes (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// The host of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestHost<'a> {
    /// A name or an IPv4 address, without a final dot, in upper or lower case.
    Name(&'a [u8]),
    /// An IPv6 address, in any spelling.
    Address(Ipv6Addr),
}

/// A configured host. It is a text, as in the `domains` of an Envoy route. With a port, a
/// final dot or another spelling of an address it is another text, and a proxy may send
/// it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName {
    key: Key,
    /// In lower case.
    text: String,
}

/// The key by which configured hosts are sorted, so that all texts for the same host are
/// together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(Vec<u8>),
    Address(Ipv6Addr),
}

impl<'a> RequestHost<'a> {
    /// The host of an authority, which may have a port (RFC 3986 section 3.2). It is
    /// accepted only if every reader takes it for the same host: without user
    /// information, escapes, and zones of addresses.
    pub fn of_authority(authority: &'a [u8]) -> Option<Self> {
        if let Some(rest) = authority.strip_prefix(b"[") {
            let end = rest.iter().position(|b| *b == b']')?;
            let (address, port) = rest.split_at_checked(end)?;
            let port = port.strip_prefix(b"]")?;
            let has_no_port = port.is_empty();
            (has_no_port || is_port(port.strip_prefix(b":")?)).then_some(())?;
            let address = std::str::from_utf8(address).ok()?.parse().ok()?;
            return Some(RequestHost::Address(address));
        }
        let mut parts = authority.splitn(2, |b| *b == b':');
        let name = parts.next()?;
        parts.next().is_none_or(is_port).then_some(())?;
        // With the final dot, the root of all names (RFC 1034 section 3.1), it is the
        // same host.
        let name = name.strip_suffix(b".").unwrap_or(name);
        let is_label = |label: &[u8]| {
            let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            !label.is_empty() && label.iter().all(fits)
        };
        let fits = name.len() <= MAX_NAME_BYTES && name.split(|b| *b == b'.').all(is_label);
        fits.then_some(RequestHost::Name(name))
    }
}

/// An empty port means the scheme's port (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

impl HostName {
    /// Reads a configured host: a name, an IPv4 address, or an IPv6 address in brackets;
    /// with a port if the proxy sees one; without a final dot.
    pub fn parse(text: &str) -> Option<Self> {
        let host = RequestHost::of_authority(text.as_bytes())?;
        let (without_port, _) = split(text);
        if text.ends_with(':') {
            return None;
        }
        let key = match host {
            RequestHost::Name(_) if without_port.ends_with('.') => return None,
            RequestHost::Name(name) => Key::Name(name.to_ascii_lowercase()),
            RequestHost::Address(address) => Key::Address(address),
        };
        Some(HostName {
            key,
            text: text.to_ascii_lowercase(),
        })
    }

    /// The host as it is configured, in lower case.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The host and its port, which may be empty.
    pub fn split(&self) -> (&str, &str) {
        split(&self.text)
    }

    /// Whether both are the same host and port, in any spelling.
    pub(crate) fn is_as(&self, other: &HostName) -> bool {
        self.key == other.key && self.split().1 == other.split().1
    }

    /// Whether a request's authority is this text, in upper or lower case.
    pub(crate) fn is(&self, authority: &[u8]) -> bool {
        self.text.as_bytes().eq_ignore_ascii_case(authority)
    }

    /// The order between this configured host and the host of a request, without the
    /// ports.
    pub(crate) fn compare(&self, host: &RequestHost<'_>) -> Ordering {
        match (&self.key, host) {
            (Key::Name(own), RequestHost::Name(name)) => {
                let lower = name.iter().map(u8::to_ascii_lowercase);
                own.iter().copied().cmp(lower)
            }
            (Key::Name(_), RequestHost::Address(_)) => Ordering::Less,
            (Key::Address(_), RequestHost::Name(_)) => Ordering::Greater,
            (Key::Address(own), RequestHost::Address(address)) => own.cmp(address),
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        let name = |text: &'static str| Some(RequestHost::Name(text.as_bytes()));
        let address = |text: &str| Some(RequestHost::Address(text.parse().unwrap()));
        for (authority, host) in [
            ("a.example", name("a.example")),
            ("A.Example:443", name("A.Example")),
            ("a.example:", name("a.example")),
            ("a.example.", name("a.example")),
            ("a.example.:8080", name("a.example")),
            ("a_b-c", name("a_b-c")),
            ("127.0.0.1:80", name("127.0.0.1")),
            ("[::1]", address("::1")),
            ("[0:0::1]:80", address("::1")),
            ("[::FFFF]:", address("::ffff")),
            ("", None),
            (".", None),
            (":80", None),
            ("a..", None),
            ("a..b", None),
            (".a", None),
            ("a:b", None),
            ("a:80:80", None),
            ("a:123456", None),
            ("a:-1", None),
            ("a@b", None),
            ("a@b:80", None),
            ("a,b", None),
            ("a b", None),
            ("a/b", None),
            ("a%2eb", None),
            ("*.a", None),
            ("\u{e4}.example", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::1]:x", None),
            ("[::1%25eth0]", None),
            ("[]", None),
            ("[a.example]", None),
        ] {
            assert_eq!(
                RequestHost::of_authority(authority.as_bytes()),
                host,
                "{authority}"
            );
        }
        let long = |n: usize| "a".repeat(n);
        assert!(RequestHost::of_authority(long(253).as_bytes()).is_some());
        assert!(RequestHost::of_authority(long(254).as_bytes()).is_none());
    }

    #[test]
    fn a_configured_host_is_one_text() {
        for (text, lower) in [
            ("A.Example", "a.example"),
            ("a.example:8443", "a.example:8443"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::7]:443", "[2001:db8::7]:443"),
        ] {
            let host = HostName::parse(text).unwrap();
            assert_eq!(host.text(), lower);
            assert!(host.is(text.as_bytes()) && host.is(lower.as_bytes()));
        }
        for bad in [
            "", "a:", "a.", "a.:80", "a:x", "[::1]:", "*", "*.a", "::1", "http://a", "a@b",
        ] {
            assert_eq!(HostName::parse(bad), None, "{bad}");
        }
        assert!(!HostName::parse("[::1]").unwrap().is(b"[0::1]"));
    }
}
