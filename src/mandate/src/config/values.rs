//! Rules for single values that a type cannot say: URLs, prefixes, header names.

use http::Uri;

/// Checks an issuer: an absolute URL that a JWKS address can be made from.
///
/// # Errors
/// What was expected, in words.
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
    // A path may hold any other byte to the parser, and is sent as it is.
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

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Checks a path prefix (contract, "Routes").
///
/// # Errors
/// What was expected, in words.
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
/// # Errors
/// What was expected, in words.
pub(super) fn identifier(text: &str, max: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > max {
        return Err(format!("an identifier has 1 to {max} bytes"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("an identifier is visible ASCII".to_owned());
    }
    if text.contains(',') {
        return Err("an identifier has no comma, which stands between two of them".to_owned());
    }
    Ok(())
}

/// A token (RFC 9110 section 5.6.2). The `http` crate's own check would put 17 KiB of
/// tables and cases into the filter.
fn is_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

/// Checks the name of a method (RFC 9110 section 9.1).
///
/// # Errors
/// What was expected, in words.
pub(super) fn method(text: &str) -> Result<(), String> {
    if !is_token(text) {
        return Err("is not a method".to_owned());
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err("must be in upper case, as it is sent".to_owned());
    }
    Ok(())
}

/// Names that a principal header must not have: what the proxy itself acts on.
const FORBIDDEN_HEADERS: [&str; 16] = [
    "authorization",
    "host",
    "content-length",
    "content-type",
    "cookie",
    "x-request-id",
    // RFC 9110 section 7.6.1, hop by hop.
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
/// # Errors
/// What was expected, in words.
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
    if FORBIDDEN_HEADERS.contains(&name)
        || name.starts_with("x-envoy-")
        || name.starts_with("x-forwarded-")
    {
        return Err(
            "is a header that the proxy or the upstream acts on; choose another".to_owned(),
        );
    }
    Ok(())
}

/// Checks an address as nginx hosts take it.
///
/// # Errors
/// What was expected, in words.
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
/// # Errors
/// What was expected, in words.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !name.is_empty() && name.len() <= 64 && name.bytes().all(fits) {
        return Ok(());
    }
    Err("is no variable: at most 64 lower-case letters, digits and _, without the $".to_owned())
}

/// Checks a scope that a route requires: the claim is split at U+0020, so one
/// with white space in it could never be there.
///
/// # Errors
/// What was expected, in words.
pub(super) fn scope(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_whitespace) {
        return Err("a scope must not contain white space; list each scope by itself".to_owned());
    }
    Ok(())
}

/// Checks a bearer token of ours (RFC 6750 section 2.1).
///
/// # Errors
/// What was expected, in words that do not repeat it.
pub(super) fn bearer_token(text: &str) -> Result<(), String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if text.bytes().all(fits) {
        return Ok(());
    }
    Err("must consist of letters, digits and - . _ ~ + / =".to_owned())
}
