//! The URL of a resource's upstream, as the configuration and the STS name it
//! (Gateway mode, row G10).

use http::Uri;

use crate::routing::path::is_plain;

/// Longest URL, in bytes.
const MAX_BYTES: usize = 2_048;

/// An absolute http or https URL without user information and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    is_https: bool,
    /// In lower case.
    host: String,
    port: u16,
    /// Host and port as they were written: the `:authority` of requests.
    authority: String,
    /// Without its final `/`; empty for none.
    base_path: String,
    query: Option<String>,
}

impl UpstreamUrl {
    /// Reads a URL; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() <= MAX_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        if !fits || text.contains(['@', '#', '\\']) {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let is_https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().to_ascii_lowercase();
        let port = match authority.as_str().get(host.len()..)?.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None if authority.as_str().len() == host.len() && is_https => 443,
            None if authority.as_str().len() == host.len() => 80,
            None => return None,
        };
        if host.is_empty() {
            return None;
        }
        Some(UpstreamUrl {
            is_https,
            port,
            authority: authority.as_str().to_ascii_lowercase(),
            host,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// Whether every server reads the base path alike.
    pub fn has_plain_path(&self) -> bool {
        self.base_path.is_empty() || is_plain(self.base_path.as_bytes())
    }

    /// Whether another URL names the same scheme, host, port and base path. Queries may
    /// differ: that of the STS's URL is the one that is sent.
    pub fn is_same_upstream(&self, other: &UpstreamUrl) -> bool {
        self.is_same_server(other) && self.base_path == other.base_path
    }

    /// Whether another URL names the same scheme, host and port.
    pub(crate) fn is_same_server(&self, other: &UpstreamUrl) -> bool {
        self.is_https == other.is_https && self.host == other.host && self.port == other.port
    }

    /// The host, in lower case, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port for `:authority`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn base_path(&self) -> &str {
        &self.base_path
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_could_be_read_in_two_ways_are_none() {
        for good in [
            "https://api.example.com",
            "http://127.0.0.1:8080/v1/",
            "https://[::1]:8443/a/b?x=1",
            "https://API.example.com",
        ] {
            let url = UpstreamUrl::parse(good).unwrap();
            assert!(url.has_plain_path(), "{good}");
        }
        for bad in [
            "",
            "/v1",
            "api.example.com",
            "file:///etc/passwd",
            "ftp://a/",
            "https://user@api.example.com",
            "https://user:pass@api.example.com/",
            "https:///v1",
            "https://a.example\\@b.example",
            "https://a.example:0/",
            "https://a.example:65536/",
            "https://a.example:/",
            "https://a.example/#x",
            "https://a.example/\u{e9}",
            &format!("https://a.example/{}", "x".repeat(MAX_BYTES)),
        ] {
            assert_eq!(UpstreamUrl::parse(bad), None, "{bad}");
        }
        for odd in [
            "https://a/b/../c",
            "https://a/b%2fc",
            "https://a/b;c",
            "https://a//b",
        ] {
            assert!(!UpstreamUrl::parse(odd).unwrap().has_plain_path(), "{odd}");
        }
    }

    #[test]
    fn the_same_upstream_may_be_written_otherwise() {
        let url = |text| UpstreamUrl::parse(text).unwrap();
        let one = url("https://Api.example.com/v1/");
        for same in [
            "https://api.example.com:443/v1",
            "https://api.example.com/v1?a=b",
        ] {
            assert!(one.is_same_upstream(&url(same)), "{same}");
        }
        for other in [
            "http://api.example.com/v1",
            "https://api.example.com:444/v1",
            "https://api.example.com/v2",
            "https://api.example.com/V1",
            "https://api.example.com",
            "https://api.example.com.evil/v1",
        ] {
            assert!(!one.is_same_upstream(&url(other)), "{other}");
        }
    }
}
