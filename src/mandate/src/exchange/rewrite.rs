//! The request to the upstream, from the client's request and what was granted (rows G10
//! and G11; product, Gateway, section 4).

use std::borrow::Cow;

use super::answer::{Attachment, Granted, not_built};
use super::question::decoded;
use crate::header_names::folded;
use crate::reply::{ErrorCode, Refusal};
use crate::routing::upstream_url::UpstreamUrl;

/// What is changed of a request before it goes to the upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// `:authority`.
    pub authority: String,
    /// `:path`, with the query.
    pub target: Vec<u8>,
    /// The credential's header and `X-Caracal-Identity`. The client's headers of these
    /// names are removed before.
    pub headers: Vec<(String, String)>,
    /// `exp` of the client's mandate, for the response's `X-Caracal-Token-Expires-In`.
    pub mandate_expires_at: u64,
}

/// Without any credential.
impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewrite")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Rewrite {
    /// Compares what was granted with the configured upstream, and makes the request.
    /// `target` is the client's, with its query.
    ///
    /// # Errors
    /// 502 when the STS names another upstream, or one that must not get the credential;
    /// 400 when the request cannot be made.
    pub fn new(
        granted: Granted,
        configured: &UpstreamUrl,
        target: &[u8],
        mandate_expires_at: u64,
    ) -> Result<Self, Refusal> {
        let url = UpstreamUrl::parse(&granted.url).filter(|url| url.is_same_upstream(configured));
        let Some(url) = url else {
            return Err(mismatch(
                "The STS names another upstream than upstream_url; the mandate is used up",
            ));
        };
        let hosts = &granted.allowed_hosts;
        if !hosts.is_empty() && !hosts.iter().any(|host| host == url.host()) {
            return Err(mismatch(
                "The upstream's host must not get the provider's credential; the mandate is used up",
            ));
        }
        let mut headers = Vec::new();
        let mut parameter = None;
        match granted.attachment {
            Attachment::None => {}
            Attachment::Header(name, value) => headers.push((name, value)),
            Attachment::Query(name, value) => parameter = Some((name, value)),
        }
        if let Some(identity) = granted.identity {
            headers.push(("x-caracal-identity".to_owned(), identity));
        }
        Ok(Rewrite {
            authority: configured.authority().to_owned(),
            target: target_of(target, &url, parameter).ok_or_else(not_built)?,
            headers,
            mandate_expires_at,
        })
    }
}

/// Whether an incoming header must not reach the upstream: who called, and what was meant
/// for the proxy, the proxy says itself.
pub fn is_dropped(name: &[u8]) -> bool {
    // The last five rename the method and the path that the STS decided on.
    const NAMES: [&[u8]; 8] = [
        b"forwarded",
        b"x-real-ip",
        b"trailer",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-rewrite-url",
    ];
    // By `x-envoy-` a client could steer the proxy: to another host, or to try again.
    const PREFIXES: [&[u8]; 4] = [b"x-forwarded-", b"proxy-", b"x-caracal-", b"x-envoy-"];
    is_one_of(name, &NAMES, &PREFIXES)
}

/// Whether a request's `Connection` lists a header that no hop may take for its own.
///
/// A hop removes what is listed (RFC 9110 section 7.6.1), and the client chooses the list.
/// A body without its length is read as the next request of that connection: request
/// smuggling. Without its type or its encoding it is read as something else, and without
/// its host or its credential the request is another one than the STS decided on. Without
/// the headers of MCP a server believes a message that nobody compared with them.
pub fn lists_end_to_end(connection: &[u8]) -> bool {
    let mut names = connection.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    names.any(is_end_to_end)
}

/// Whether a header is none that a hop may remove because `Connection` lists it. `:` begins
/// the names of the method, the path and the host in a proxy's map.
pub fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"transfer-encoding", b"host", b"authorization", b"origin"];
    const PREFIXES: [&[u8]; 3] = [b"content-", b"x-caracal-", b"mcp-"];
    name.starts_with(b":") || is_one_of(name, &NAMES, &PREFIXES)
}

fn is_one_of(name: &[u8], names: &[&[u8]], prefixes: &[&[u8]]) -> bool {
    let starts = |prefix: &[u8]| {
        let beginning = name.get(..prefix.len());
        beginning.is_some_and(|beginning| is_same_header(beginning, prefix))
    };
    names.iter().any(|one| is_same_header(name, one)) || prefixes.iter().any(|one| starts(one))
}

/// Whether an upstream may take two names for one: case and punctuation count for nothing.
pub fn is_same_header(one: &[u8], other: &[u8]) -> bool {
    folded(one).eq(folded(other))
}

/// Whether a `Location` leads to another host.
pub fn is_absolute(location: &[u8]) -> bool {
    let trimmed = location.trim_ascii();
    // Browsers leave tabs and line breaks out.
    if trimmed.iter().any(u8::is_ascii_control) {
        return true;
    }
    let scheme = trimmed.split(|b| matches!(b, b'/' | b'?' | b'#')).next();
    trimmed.starts_with(b"//")
        || trimmed.starts_with(b"/\\")
        || trimmed.starts_with(b"\\")
        || scheme.is_some_and(|scheme| scheme.contains(&b':'))
}

/// Longest query, in bytes, and most parameters in it. A longer one would be sorted for too
/// long in one callback.
const MAX_QUERY: (usize, usize) = (8 * 1024, 256);
/// Longest method, in bytes: the companion takes no longer one.
const MAX_METHOD_BYTES: usize = 32;

/// What can be known before the exchange of whether the request can be made, so that no
/// mandate is used up for it. An upstream answers TRACE with the request that it got, the
/// credential in it; CONNECT has no path.
///
/// # Errors
/// 400.
pub fn check_request(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::new(ErrorCode::UpstreamRequest, what));
    let is_other = |name: &[u8]| !method.eq_ignore_ascii_case(name);
    if method.len() > MAX_METHOD_BYTES || !(is_other(b"TRACE") && is_other(b"CONNECT")) {
        return refuse("The method cannot be sent to an upstream in Gateway mode");
    }
    let query = target.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default();
    let (bytes, parameters) = MAX_QUERY;
    if query.len() > bytes || query.iter().filter(|b| **b == b'&').count() >= parameters {
        return refuse("The query is too long");
    }
    match pairs(query) {
        Some(_) => Ok(()),
        None => refuse("The query cannot be parsed"),
    }
}

fn mismatch(what: &'static str) -> Refusal {
    Refusal::new(ErrorCode::UpstreamMismatch, what)
}

/// Base path and path, then the merged query. `None` for a query that cannot be parsed.
#[cold]
#[inline(never)]
fn target_of(
    target: &[u8],
    url: &UpstreamUrl,
    credential: Option<(String, String)>,
) -> Option<Vec<u8>> {
    let at = target.iter().position(|b| *b == b'?');
    let (path, query) = match at {
        Some(at) => (target.get(..at)?, target.get(at.checked_add(1)?..)?),
        None => (target, &[][..]),
    };
    let base = url.base_path().as_bytes();
    let mut out = match (base, path) {
        ([], path) => path.to_vec(),
        (base, b"/") => base.to_vec(),
        (base, path) => [base, path].concat(),
    };
    let mut pairs = pairs(query)?;
    let own = pairs_of_url(url)?;
    // The upstream's own parameters win over the client's, and the credential over all.
    pairs.retain(|(name, _)| !own.iter().any(|(other, _)| other == name));
    pairs.extend(own);
    if let Some((name, value)) = credential {
        let name = name.into_bytes();
        // Some upstreams take `API_KEY`, `api.key` and `api_key[]` for `api_key`.
        let bare = |name: &[u8]| {
            name.split(|b| *b == b'[')
                .next()
                .unwrap_or_default()
                .to_vec()
        };
        pairs.retain(|(other, _)| !is_same_header(&bare(other), &bare(&name)));
        pairs.push((name, value.into_bytes()));
    }
    if pairs.is_empty() {
        return Some(out);
    }
    // One by one, after all of the same name: a sort would add 2 KiB to the filter.
    let mut sorted: Vec<Pair> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let at = sorted.partition_point(|other| other.0 <= pair.0);
        sorted.insert(at, pair);
    }
    let mut next = b'?';
    for (name, value) in &sorted {
        out.push(next);
        next = b'&';
        for part in form_urlencoded::byte_serialize(name) {
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'=');
        for part in form_urlencoded::byte_serialize(value) {
            out.extend_from_slice(part.as_bytes());
        }
    }
    Some(out)
}

type Pair = (Vec<u8>, Vec<u8>);

fn pairs_of_url(url: &UpstreamUrl) -> Option<Vec<Pair>> {
    pairs(url.query().unwrap_or_default().as_bytes())
}

/// The parameters of a query, as bytes. A `;` separates parameters for some servers and
/// not for others, so a query with one cannot be parsed.
#[cold]
#[inline(never)]
fn pairs(query: &[u8]) -> Option<Vec<Pair>> {
    if query.contains(&b';') {
        return None;
    }
    let text = |part: &[u8]| {
        let spaced: Cow<'_, [u8]> = match part.contains(&b'+') {
            false => part.into(),
            true => {
                let spaced = part.iter().map(|b| if *b == b'+' { b' ' } else { *b });
                spaced.collect::<Vec<u8>>().into()
            }
        };
        decoded(&spaced)
    };
    let parts = query.split(|b| *b == b'&').filter(|part| !part.is_empty());
    let pair = |part: &[u8]| {
        let mut halves = part.splitn(2, |b| *b == b'=');
        let name = text(halves.next().unwrap_or_default())?;
        Some((name, text(halves.next().unwrap_or_default())?))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests;
