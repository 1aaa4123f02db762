//! Hosts, as requests name them and as a configuration does.

use std::cmp::Ordering;
use std::net::Ipv6Addr;

/// Longest name of a host that is read, in bytes (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// The host of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name or an IPv4 address, without a final dot, in letters of any case.
    Name(&'a [u8]),
    /// An IPv6 address, however it was written.
    Address(Ipv6Addr),
}

/// A configured host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostName {
    /// In lower case.
    Name(Vec<u8>),
    /// Between brackets.
    Address(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// The host of an authority, which may have a port behind it (RFC 3986 section
    /// 3.2). Only what every reader takes for the same host is one: no user
    /// information, no escapes, no zone of an address.
    pub fn of_authority(authority: &'a [u8]) -> Option<Self> {
        if let Some(rest) = authority.strip_prefix(b"[") {
            let end = rest.iter().position(|b| *b == b']')?;
            let (address, port) = rest.split_at_checked(end)?;
            let port = port.strip_prefix(b"]")?;
            let has_no_port = port.is_empty();
            (has_no_port || is_port(port.strip_prefix(b":")?)).then_some(())?;
            let address = std::str::from_utf8(address).ok()?.parse().ok()?;
            return Some(Host::Address(address));
        }
        let mut parts = authority.splitn(2, |b| *b == b':');
        let name = parts.next()?;
        parts.next().is_none_or(is_port).then_some(())?;
        // The root of all names (RFC 1034 section 3.1): the same host with it.
        let name = name.strip_suffix(b".").unwrap_or(name);
        let is_label = |label: &[u8]| {
            let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            !label.is_empty() && label.iter().all(fits)
        };
        let fits = name.len() <= MAX_NAME_BYTES && name.split(|b| *b == b'.').all(is_label);
        fits.then_some(Host::Name(name))
    }
}

/// An empty port is the scheme's (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

impl HostName {
    /// Reads a configured host: a name, an IPv4 address, or an IPv6 address between
    /// brackets; no port.
    pub fn parse(text: &str) -> Option<Self> {
        let name = match Host::of_authority(text.as_bytes())? {
            // What was cut off is a port or a final dot.
            Host::Name(name) if name.len() == text.len() => {
                HostName::Name(name.to_ascii_lowercase())
            }
            Host::Address(address) if text.ends_with(']') => HostName::Address(address),
            Host::Name(_) | Host::Address(_) => return None,
        };
        Some(name)
    }

    /// How it stands to a request's host in the order of configured ones.
    pub(crate) fn compare(&self, host: &Host<'_>) -> Ordering {
        match (self, host) {
            (HostName::Name(own), Host::Name(name)) => {
                let lower = name.iter().map(u8::to_ascii_lowercase);
                own.iter().copied().cmp(lower)
            }
            (HostName::Name(_), Host::Address(_)) => Ordering::Less,
            (HostName::Address(_), Host::Name(_)) => Ordering::Greater,
            (HostName::Address(own), Host::Address(address)) => own.cmp(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        let name = |text: &'static str| Some(Host::Name(text.as_bytes()));
        let address = |text: &str| Some(Host::Address(text.parse().unwrap()));
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
                Host::of_authority(authority.as_bytes()),
                host,
                "{authority}"
            );
        }
        let long = |n: usize| "a".repeat(n);
        assert!(Host::of_authority(long(253).as_bytes()).is_some());
        assert!(Host::of_authority(long(254).as_bytes()).is_none());
    }

    #[test]
    fn a_configured_host_has_no_port_and_no_final_dot() {
        let lower = HostName::Name(b"a.example".to_vec());
        assert_eq!(HostName::parse("A.Example"), Some(lower));
        for same in ["[::1]", "[0::1]"] {
            let address = HostName::Address("::1".parse().unwrap());
            assert_eq!(HostName::parse(same), Some(address));
        }
        for bad in [
            "", "a:80", "a:", "a.", "[::1]:80", "[::1]:", "*", "*.a", "::1", "http://a",
        ] {
            assert_eq!(HostName::parse(bad), None, "{bad}");
        }
    }
}
