//! Rules for single values that a type cannot express: URLs, prefixes, header names.

use http::Uri;

/// Checks an issuer: an absolute URL from which the address of the key set can be made.
///
/// # Errors A text that says what was expected.
pub(super) fn issuer(text: &str, allow_insecure: bool) -> Result<(), String> {
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    let host = uri.host().filter(|host| !host.is_empty());
    let (Some(scheme), Some(host), Some(authority)) = (uri.scheme_str(), host, uri.authority())
    else {
        return Err("must be an absolute URL such as https://sts.example.com".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("must not contain user information".to_owned());
    }
    // The parser accepts any other byte in a path, and the path is sent as it is.
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be visible ASCII".to_owned());
    }
    if text.contains('?') || text.contains('#') {
        return Err("must not have a query or a fragment".to_owned());
    }
    match scheme {
        "https" => Ok(()),
        "http" if allow_insecure || is_loopback(host) => Ok(()),
        "http" => Err(
            "must be https (http only for a loopback host, or with allow_insecure_issuer)"
                .to_owned(),
        ),
        _ => Err("must be an https URL".to_owned()),
    }
}

/// Checks a URL that is told to clients: https, and http only for a loopback host. Only
/// characters of RFC 3986 are in it, so it fits in a quoted string as it is.
///
/// # Errors A text that says what was expected.
pub(super) fn public_url(text: &str, may_have_fragment: bool) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    if !text.bytes().all(fits) {
        return Err("has a character that no URL may have".to_owned());
    }
    let (url, fragment) = match text.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (text, None),
    };
    if fragment.is_some_and(|part| !may_have_fragment || part.contains('#')) {
        return Err("must not have a fragment".to_owned());
    }
    let uri: Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
    let host = uri.host().filter(|host| !host.is_empty());
    let (Some(scheme), Some(host), Some(authority)) = (uri.scheme_str(), host, uri.authority())
    else {
        return Err("must be an absolute URL such as https://api.example.com/mcp".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("must not contain user information".to_owned());
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(host) => Ok(()),
        _ => Err("must be https (http only for a loopback host)".to_owned()),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Checks a path prefix (contract, "Routes").
///
/// # Errors A text that says what was expected.
pub(super) fn prefix(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("a path prefix must start with /".to_owned());
    }
    for bad in ["?", "#", "%", ";", "//", "\\"] {
        if text.contains(bad) {
            return Err(format!("a path prefix must not contain {bad}"));
        }
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err("a path prefix must not have a . or .. segment".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("a path prefix must not contain a control character".to_owned());
    }
    Ok(())
}

/// Checks the identifier of a resource, which requests name in a header.
///
/// # Errors A text that says what was expected.
pub(super) fn identifier(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > max {
        return Err(format!("an identifier has 1 to {max} bytes"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("an identifier must be visible ASCII".to_owned());
    }
    if text.contains(',') {
        return Err("an identifier must not contain a comma".to_owned());
    }
    Ok(())
}

/// Longest id of a zone among several, in bytes.
const MAX_ZONE: usize = 128;

/// Checks the id of a zone among several: it is part of the names of metrics.
///
/// # Errors A text that says what was expected.
pub(super) fn zone(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    if !text.is_empty() && text.len() <= MAX_ZONE && text.bytes().all(fits) {
        return Ok(());
    }
    Err(format!(
        "a zone's id has 1 to {MAX_ZONE} letters, digits and . _ : -"
    ))
}

/// A token (RFC 9110 section 5.6.2). The check of the `http` crate would add 17 KiB to
/// the filter.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// Checks the name of a method (RFC 9110 section 9.1).
///
/// # Errors A text that says what was expected.
pub(super) fn method(text: &str) -> Result<(), String> {
    if !is_token(text) {
        return Err("is not a method".to_owned());
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err("must be in upper case, as it is sent".to_owned());
    }
    Ok(())
}

/// Headers that the proxy itself acts on. A principal header must not have such a name.
const FORBIDDEN_HEADERS: [&str; 19] = [
    "authorization",
    // `forward.baggage` says what becomes of it.
    "baggage",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "cookie",
    // It decides on routes of MCP, as all of `mcp-` does.
    "origin",
    "x-request-id",
    // Hop-by-hop headers (RFC 9110 section 7.6.1).
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "expect",
];

/// Checks the name of a header to the upstream.
///
/// # Errors A text that says what was expected.
pub(super) fn forward_header(name: &str) -> Result<(), String> {
    if !is_token(name) {
        return Err("is not a header name".to_owned());
    }
    if name.contains('_') {
        return Err("must not contain _, which upstreams read as -".to_owned());
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("must be in lower case".to_owned());
    }
    // Names that differ in punctuation alone are the same to some upstreams.
    let read = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let mut prefixes = ["x-envoy-", "x-forwarded-", "mcp-"].iter();
    if FORBIDDEN_HEADERS.contains(&read.as_str()) || prefixes.any(|own| read.starts_with(own)) {
        return Err(
            "is a header that the proxy or the upstream acts on; choose another".to_owned(),
        );
    }
    Ok(())
}

/// Checks an address in the form that nginx hosts accept.
///
/// # Errors A text that says what was expected.
pub(super) fn address(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    let parts = text.rsplit_once(':');
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
    let host = parts.map(|(host, _)| host).unwrap_or_default();
    let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    if port.is_some_and(|port| port != 0) && !host.is_empty() && bare && text.bytes().all(fits) {
        return Ok(());
    }
    Err("expected host:port, such as sts.example.com:443, without a scheme or a path".to_owned())
}

/// Checks the name of an nginx variable.
///
/// # Errors A text that says what was expected.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
        return Ok(());
    }
    Err("is not a variable: at most 64 lower-case letters, digits and _, without the $".to_owned())
}

/// Checks a scope that a route requires. The claim is split at U+0020, so it could never
/// contain a scope with white space.
///
/// # Errors A text that says what was expected.
pub(super) fn scope(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_whitespace) {
        return Err("a scope must not contain white space; list each scope by itself".to_owned());
    }
    Ok(())
}

/// Checks the companion's bearer token (RFC 6750 section 2.1).
///
/// # Errors A text that says what was expected and does not repeat the token.
pub(super) fn bearer_token(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if text.bytes().all(fits) {
        return Ok(());
    }
    Err("must consist of letters, digits and - . _ ~ + / =".to_owned())
}
