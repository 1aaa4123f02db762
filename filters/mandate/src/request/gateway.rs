//! Gateway mode: what is kept of a request for its exchange, how the exchange changes it,
//! and what is taken from the response (product, Gateway, sections 4 and 6).

use caracal_mandate::exchange::request_id::{request_id, traceparent};
use caracal_mandate::exchange::rewrite::{
    Rewrite, is_absolute, is_dropped, is_end_to_end, is_same_header, lists_end_to_end,
};

use crate::abi::hostcalls::{self, MapType, Status};
use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::adapter::RequestHeaders;
use crate::vm::admitted;
use crate::vm::request_info::GatewayRequest;

/// Headers of a response that the client does not get.
const HIDDEN: [&str; 6] = [
    "x-caracal-identity",
    "server",
    "x-powered-by",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "refresh",
];
/// Headers of a response that the client gets where they stay on this host.
const RELATIVE_ONLY: [&str; 2] = ["location", "content-location"];

/// Reads what goes with a request whatever becomes of it.
#[cold]
#[inline(never)]
pub(crate) fn read(
    headers: &RequestHeaders,
    authority: Option<&[u8]>,
    stream: u32,
) -> GatewayRequest {
    let first = |name| headers.all(name).next();
    let token = headers.all("authorization").next().unwrap_or_default();
    let clock = wasi::monotonic_ns().unwrap_or_default().to_le_bytes();
    let stream = stream.to_le_bytes();
    let parts: [&[u8]; 3] = [token, &clock, &stream];
    GatewayRequest {
        request_id: request_id(first("x-request-id"), &parts),
        traceparent: traceparent(first("traceparent"), &parts),
        authority: authority.unwrap_or_default().to_vec(),
        names_client: headers
            .all("x-caracal-client-id")
            .any(|value| !value.trim_ascii().is_empty()),
        lists_end_to_end: headers.all("connection").any(lists_end_to_end),
        exchange: None,
        resource: None,
    }
}

/// Makes the upstream's request of the client's.
#[cold]
#[inline(never)]
pub(crate) fn rewrite(
    proxy: Proxy,
    request: &GatewayRequest,
    rewrite: &Rewrite,
) -> Result<(), Status> {
    let headers = hostcalls::get_map(MapType::RequestHeaders)?;
    let mut listed: Vec<&[u8]> = Vec::new();
    let mut upgrades = false;
    for (name, value) in headers.iter() {
        if name == b"connection" {
            let names = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
            let is_upgrade = |name: &&[u8]| name.eq_ignore_ascii_case(b"upgrade");
            upgrades |= names.clone().any(|name| is_upgrade(&name));
            listed.extend(names.filter(|name| !is_upgrade(name)));
        }
    }
    for (name, _) in headers.iter() {
        let is_credential = |(own, _): &(String, String)| is_same_header(name, own.as_bytes());
        let is_listed = listed.iter().any(|one| one.eq_ignore_ascii_case(name));
        // Such a request was refused. Nothing that frames the body is removed all the same.
        let is_listed = is_listed && !is_end_to_end(name);
        if is_dropped(name) || is_listed || rewrite.headers.iter().any(is_credential) {
            proxy.remove_header(name)?;
        }
    }
    let set = |name: &str, value: &[u8]| hostcalls::replace_request_header(name.as_bytes(), value);
    if !listed.is_empty() {
        // The next hop would remove what is listed: also the credential that is set here.
        match upgrades {
            true => set("connection", b"upgrade")?,
            false => hostcalls::remove_map_value(MapType::RequestHeaders, b"connection")?,
        }
    }
    set("x-request-id", request.request_id.as_bytes())?;
    set("traceparent", request.traceparent.as_bytes())?;
    set("x-forwarded-host", &request.authority)?;
    set("x-forwarded-proto", proxy.client_scheme())?;
    if let Some(peer) = proxy.peer_address() {
        set("x-forwarded-for", &peer)?;
    }
    for (name, value) in &rewrite.headers {
        set(name, value.as_bytes())?;
    }
    proxy.set_upstream(rewrite.authority.as_bytes(), &rewrite.target)
}

/// Cleans the response to a request that was let go on. A response of which something
/// cannot be hidden goes on all the same: the request was admitted, and nothing of it is
/// a secret of the edge.
#[cold]
#[inline(never)]
pub(crate) fn clean_response(stream: u32) {
    let Some((proxy, expires_at)) = admitted::find(stream) else {
        return;
    };
    let response = MapType::ResponseHeaders;
    for name in HIDDEN {
        let _ = hostcalls::remove_map_value(response, name.as_bytes());
    }
    for name in RELATIVE_ONLY {
        if proxy.has_response_value(name, is_absolute) {
            let _ = hostcalls::remove_map_value(response, name.as_bytes());
        }
    }
    if let Some(now) = wasi::unix_time_s() {
        let left = expires_at.saturating_sub(now).to_string();
        let name = b"x-caracal-token-expires-in";
        let _ = hostcalls::replace_map_value(response, name, left.as_bytes());
    }
}
