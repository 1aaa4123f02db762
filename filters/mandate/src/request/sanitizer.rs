//! What the upstream must not see of a request: names that only the filter may use, and the
//! mandate where it is not to be forwarded. It is hidden before anything is decided, so it
//! is gone whatever the decision is and however late it comes.

use caracal_mandate::reply::{ErrorCode, Refusal};
use caracal_mandate::upstream::{Forwarding, without_caracal_baggage};

use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::Proxy;
use crate::proxy::adapter::RequestHeaders;

/// Hides what the upstream must not see.
///
/// A request is refused when its `Connection` header lists a reserved name. The next hop, or
/// nginx itself, would remove the verified header as one of this connection only (RFC 9110
/// section 7.6.1). Envoy sends `Connection` on with an upgrade.
///
/// # Errors
/// The reply to a request in which something cannot be hidden.
pub(crate) fn sanitize(
    proxy: Proxy,
    headers: &RequestHeaders,
    forwarding: &Forwarding,
) -> Result<(), Refusal> {
    let mut listed = headers
        .all("connection")
        .flat_map(|value| value.split(|b| *b == b','));
    if listed.any(|name| forwarding.is_reserved(name.trim_ascii())) {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Connection names a header that is the edge's own",
        ));
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

/// Removes reserved names from a request's trailers: some upstreams read them as headers.
pub(crate) fn sanitize_trailers(forwarding: &Forwarding) -> Result<(), Status> {
    let trailers = hostcalls::get_map(MapType::RequestTrailers)?;
    for name in reserved_names(&trailers, forwarding) {
        hostcalls::remove_map_value(MapType::RequestTrailers, name)?;
    }
    Ok(())
}

/// The reserved names in a map. One that is there twice is hidden twice: to look for these
/// would cost more than all else that is done to a request.
fn reserved_names<'m>(map: &'m HeaderMap, forwarding: &Forwarding) -> Vec<&'m [u8]> {
    let names = map.iter().map(|(name, _)| name);
    names.filter(|name| forwarding.is_reserved(name)).collect()
}
