//! Hides from the upstream what it must not see: headers that only the filter may set, of
//! every request; and the mandate and the caller's baggage, if they are not to be forwarded,
//! of requests that are judged. All of it happens before anything is decided, so it holds
//! for every decision, also for a late one.

use caracal_mandate::config::Baggage;
use caracal_mandate::decision::verifier::listed_end_to_end;
use caracal_mandate::forwarding::Forwarding;
use caracal_mandate::mcp::headers::is_mirrored;
use caracal_mandate::reply::Refusal;

use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::Proxy;
use crate::proxy::adapter::{RequestHeaders, bad_request};
use crate::request::head::RequestHead;

/// A request that is refused whatever its mandate is.
pub(crate) struct Unfit {
    pub(crate) refusal: Refusal,
    /// The headers that only the filter may set are hidden all the same.
    pub(crate) is_hidden: bool,
}

/// Hides the headers that only the filter may set.
///
/// A request is refused that names its host ambiguously, and one if its `Connection` header
/// lists a header that the filter sets. The next hop, or nginx itself, would then remove the
/// verified header, because it would belong to this connection only (RFC 9110 section 7.6.1).
/// Envoy forwards `Connection` with an upgrade.
///
/// # Errors The reply to such a request, and to one in which something cannot be hidden.
pub(crate) fn sanitize(
    proxy: Proxy,
    headers: &RequestHeaders,
    forwarding: &Forwarding,
) -> Result<(), Unfit> {
    let mut listed = headers
        .all("connection")
        .flat_map(|value| value.split(|b| *b == b','));
    if listed.any(|name| forwarding.must_arrive(name.trim_ascii())) {
        return Err(unfit(proxy, headers, forwarding, listed_end_to_end()));
    }
    if let Some(why) = headers.doubtful {
        return Err(unfit(proxy, headers, forwarding, bad_request(why)));
    }
    hide_reserved(proxy, headers, forwarding).map_err(|refusal| Unfit {
        refusal,
        is_hidden: false,
    })
}

#[cold]
#[inline(never)]
fn unfit(
    proxy: Proxy,
    headers: &RequestHeaders,
    forwarding: &Forwarding,
    refusal: Refusal,
) -> Unfit {
    Unfit {
        refusal,
        is_hidden: hide_reserved(proxy, headers, forwarding).is_ok(),
    }
}

fn hide_reserved(
    proxy: Proxy,
    headers: &RequestHeaders,
    forwarding: &Forwarding,
) -> Result<(), Refusal> {
    let reserved = reserved_names(&headers.map, forwarding);
    proxy.check_reserved_names(&reserved)?;
    for name in reserved {
        proxy.hide_header(headers, name, &[])?;
    }
    Ok(())
}

/// Hides the mandate and the caller's `caracal.*` baggage as configured. Not of an excluded
/// request, which keeps its own: what is in them is the service's business there, and what
/// is hidden of one kind of credential would have to be hidden of each.
///
/// In shadow the mandate stays until the request is admitted: the service may know what to do
/// with a token that is refused here.
///
/// # Errors The reply to a request in which something cannot be hidden.
pub(crate) fn hide_credentials(
    proxy: Proxy,
    headers: &RequestHeaders,
    head: &RequestHead<'_>,
    forwarding: &Forwarding,
    in_shadow: bool,
) -> Result<(), Refusal> {
    if !forwarding.keeps_mandate() && !in_shadow {
        // A request that is judged has exactly one, with the scheme Bearer (row 2).
        proxy.hide_header(headers, b"authorization", &[])?;
    }
    hide_baggage(proxy, headers, head, forwarding)
}

/// Hides the caller's `caracal.*` baggage as configured.
///
/// # Errors The reply to a request in which it cannot be hidden.
#[inline]
pub(crate) fn hide_baggage(
    proxy: Proxy,
    headers: &RequestHeaders,
    head: &RequestHead<'_>,
    forwarding: &Forwarding,
) -> Result<(), Refusal> {
    match forwarding.left_of_baggage(head.baggage()) {
        None => Ok(()),
        Some(rest) => proxy.hide_header(headers, b"baggage", &rest),
    }
}

/// Removes reserved names from a request's trailers: some upstreams treat them as
/// headers. For the same reason `baggage` is removed, unless the caller's goes on.
///
/// In Gateway mode all of them are removed: one could take the place of the credential or
/// of the client's address.
///
/// Where a route has rules of MCP, its names are removed too: they were judged as headers.
pub(crate) fn sanitize_trailers(
    forwarding: &Forwarding,
    is_gateway: bool,
    has_mcp: bool,
) -> Result<(), Status> {
    let trailers = hostcalls::get_map(MapType::RequestTrailers)?;
    if is_gateway {
        for (name, _) in trailers.iter() {
            hostcalls::remove_map_value(MapType::RequestTrailers, name)?;
        }
        return Ok(());
    }
    if has_mcp {
        for (name, _) in trailers.iter().filter(|(name, _)| is_mirrored(name)) {
            hostcalls::remove_map_value(MapType::RequestTrailers, name)?;
        }
    }
    for name in reserved_names(&trailers, forwarding) {
        hostcalls::remove_map_value(MapType::RequestTrailers, name)?;
    }
    let is_baggage = |(name, _): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"baggage");
    if forwarding.baggage() != Baggage::Keep && trailers.iter().any(is_baggage) {
        hostcalls::remove_map_value(MapType::RequestTrailers, b"baggage")?;
    }
    Ok(())
}

/// The reserved names in a map. A repeated name is hidden once for each copy; removing
/// repeats would cost too much.
fn reserved_names<'m>(map: &'m HeaderMap, forwarding: &Forwarding) -> Vec<&'m [u8]> {
    let names = map.iter().map(|(name, _)| name);
    names.filter(|name| forwarding.is_reserved(name)).collect()
}
