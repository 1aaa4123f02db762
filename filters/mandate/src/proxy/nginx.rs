//! What the nginx modules of Kong and APISIX have in common.

use caracal_mandate::reply::Refusal;

use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::adapter::{RequestHeaders, bad_request, cannot_hide, cannot_read};

/// With this many entries a request is refused. APISIX shows only the first 100 headers
/// of the client, and sends the others all the same. Kong does not show a longer map at
/// all.
const MAX_MAP_ENTRIES: usize = 100;

/// Reads an nginx variable.
type ReadVariable = fn(&str) -> Result<Option<Vec<u8>>, Status>;

/// Reads the request. `read_map` reads its header map in the way of the module.
pub(super) fn read_request(
    read_map: fn() -> Result<HeaderMap, Refusal>,
    variable: ReadVariable,
) -> Result<RequestHeaders, Refusal> {
    // If a request has no Host header, reading its map kills an APISIX worker. So that
    // header is read first.
    let host = hostcalls::get_map_value(MapType::RequestHeaders, "host").map_err(cannot_read)?;
    let Some(host) = host else {
        return Err(bad_request("The request has no Host header"));
    };
    let map = read_map()?;
    if map.len() >= MAX_MAP_ENTRIES {
        return Err(too_many_headers());
    }
    let variable = |name: &str| {
        variable(name).ok().flatten().ok_or_else(|| {
            Refusal::unavailable("The edge could not read a variable of the request")
        })
    };
    // If the request's target has a host, nginx uses that one.
    let is_same = is_same_host(&variable("host")?, &host);
    let doubtful = (!is_same).then_some("The request names its host ambiguously");
    // A map may show the path decoded, but the upstream gets the original. Each module
    // exposes the original under its own name only, so a configuration for one module
    // decides nothing in the other.
    let target = Some(variable("request_uri")?);
    Ok(RequestHeaders {
        map,
        target,
        doubtful,
    })
}

pub(super) fn too_many_headers() -> Refusal {
    bad_request("The request has too many headers for this edge to see")
}

/// Whether the client's header names the host that nginx uses, which is in lower case and
/// without a port.
fn is_same_host(host: &[u8], header: &[u8]) -> bool {
    let rest = header.get(host.len()..).unwrap_or(b"?");
    let same = header.get(..host.len());
    same.is_some_and(|same| same.eq_ignore_ascii_case(host))
        && (rest.is_empty() || rest.starts_with(b":"))
}

/// Whether the modules find a header by this name.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
    name.iter().all(plain)
}

/// Refuses a reserved header that is spelled with unusual characters: the modules may not
/// find it, and would send it on.
pub(super) fn check_reserved_names(names: &[&[u8]]) -> Result<(), Refusal> {
    if names.iter().all(|name| is_plain(name)) {
        return Ok(());
    }
    Err(bad_request("A reserved header is spelled in another way"))
}

/// Overwrites a header, because a removed header may still be sent.
pub(super) fn overwrite_header(name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    hostcalls::replace_request_header(name, value).map_err(cannot_hide)
}
