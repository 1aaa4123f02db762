//! Addresses of servers, as a person writes them: `127.0.0.1:7700` is one.

/// The companion of this machine, where none is named.
pub(crate) const LOCAL_COMPANION: &str = "http://127.0.0.1:7700";

/// A companion's or an STS's URL.
pub(crate) fn http(text: &str) -> String {
    with_scheme(text, "http", "https")
}

/// Redis's URL.
pub(crate) fn redis(text: &str) -> String {
    // A path of a Unix socket may follow these without two slashes.
    match text.starts_with("unix:") || text.starts_with("redis+unix:") {
        true => text.to_owned(),
        false => with_scheme(text, "redis", "rediss"),
    }
}

/// Without a scheme, only loopback is reached in the clear: what is sent may be a secret.
fn with_scheme(text: &str, plain: &str, secure: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    let scheme = if is_loopback(host(text)) {
        plain
    } else {
        secure
    };
    format!("{scheme}://{text}")
}

/// Whether it reads as HOST:PORT, with or without a path behind it.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let port = authority(text).rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether a URL names a server, and nothing on it.
pub(crate) fn has_no_path(url: &str) -> bool {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    behind
        .split_once('/')
        .is_none_or(|(_, path)| path.is_empty())
        && !behind.contains(['?', '#'])
}

fn authority(text: &str) -> &str {
    let end = |c: char| matches!(c, '/' | '?' | '#');
    let authority = text.split(end).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn host(text: &str) -> &str {
    let authority = authority(text);
    if let Some(inner) = authority.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_added_where_there_is_none() {
        for (text, url) in [
            ("127.0.0.1:7700", "http://127.0.0.1:7700"),
            ("localhost:7700/x", "http://localhost:7700/x"),
            ("[::1]:7700", "http://[::1]:7700"),
            ("feed.internal:7700", "https://feed.internal:7700"),
            ("localhost.evil:7700", "https://localhost.evil:7700"),
            ("127.0.0.1@evil:7700", "https://127.0.0.1@evil:7700"),
            ("http://feed.internal", "http://feed.internal"),
        ] {
            assert_eq!(http(text), url);
        }
        for (text, url) in [
            ("localhost", "redis://localhost"),
            (
                "user:p@ss@127.0.0.1:6379/1",
                "redis://user:p@ss@127.0.0.1:6379/1",
            ),
            ("redis:6379", "rediss://redis:6379"),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
            ("redis://redis:6379", "redis://redis:6379"),
        ] {
            assert_eq!(redis(text), url);
        }
    }

    #[test]
    fn a_server_is_told_from_a_file() {
        for text in ["localhost:7701", "127.0.0.1:7701/jwks", "[::1]:1?zone=a"] {
            assert!(is_host_and_port(text), "{text}");
        }
        for text in ["keys.json", "run/a:1", "c:keys.json", "localhost"] {
            assert!(!is_host_and_port(text), "{text}");
        }
        assert!(has_no_path("http://a:1") && has_no_path("http://a:1/"));
        assert!(!has_no_path("http://a:1/x") && !has_no_path("http://a:1?x"));
    }
}
