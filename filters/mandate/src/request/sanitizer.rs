//! Hides from the upstream what it must not see: headers that only the filter may set,
//! and the mandate if it is not to be forwarded. This happens before anything is decided,
//! so it holds for every decision, also for a late one.

use caracal_mandate::decision::verifier::listed_end_to_end;
use caracal_mandate::forwarding::{Forwarding, without_caracal_baggage};
use caracal_mandate::mcp::headers::is_mirrored;
use caracal_mandate::reply::Refusal;

use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::Proxy;
use crate::proxy::adapter::RequestHeaders;

/// Hides what the upstream must not see.
///
/// A request is refused if its `Connection` header lists a reserved header. The next hop,
/// or nginx itself, would then remove the verified header, because it would belong to
/// this connection only (RFC 9110 section 7.6.1). Envoy forwards `Connection` with an
/// upgrade.
///
/// # Errors The reply to a request in which something cannot be hidden.
pub(crate) fn sanitize(
    proxy: Proxy,
    headers: &RequestHeaders,
    forwarding: &Forwarding,
) -> Result<(), Refusal> {
    let mut listed = headers
        .all("connection")
        .flat_map(|value| value.split(|b| *b == b','));
    if listed.any(|name| forwarding.is_reserved(name.trim_ascii())) {
        return Err(listed_end_to_end());
    }
    let reserved = reserved_names(&headers.map, forwarding);
    proxy.check_reserved_names(&reserved)?;
    for name in reserved {
        proxy.hide_header(headers, name, &[])?;
    }
    if forwarding.keeps_mandate() {
        return Ok(());
    }
    let is_bearer = |value: &[u8]| {
        value
            .trim_ascii_start()
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    if headers.all("authorization").any(is_bearer) {
        proxy.hide_header(headers, b"authorization", &[])?;
    }
    let baggage: Vec<&[u8]> = headers.all("baggage").collect();
    match without_caracal_baggage(&baggage.join(&b',')) {
        None => Ok(()),
        Some(rest) => proxy.hide_header(headers, b"baggage", &rest),
    }
}

/// Removes reserved names from a request's trailers: some upstreams treat them as
/// headers.
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
    Ok(())
}

/// The reserved names in a map. A repeated name is hidden once for each copy; removing
/// repeats would cost too much.
fn reserved_names<'m>(map: &'m HeaderMap, forwarding: &Forwarding) -> Vec<&'m [u8]> {
    let names = map.iter().map(|(name, _)| name);
    names.filter(|name| forwarding.is_reserved(name)).collect()
}
