//! APISIX (wasm-nginx-module): one VM for each worker process and plugin, with a root
//! context for each configuration of a route. There are no ticks, and no request can wait
//! for another's callout. So each request calls the STS and the companion itself. There
//! is no shared data, and metrics are not counted.

use caracal_mandate::reply::Refusal;

use crate::abi::exports::HttpCallResponse;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::adapter::{
    Authority, Capabilities, MetricSupport, ProxyAdapter, RequestHeaders, RevocationSource,
    SharedDataScope, WhenMissing, cannot_read,
};
use crate::proxy::callout::{self, CalloutResult};
use crate::proxy::nginx;

pub(super) struct Apisix;

impl ProxyAdapter for Apisix {
    const CAPABILITIES: Capabilities = Capabilities {
        when_missing: WhenMissing::CallOut,
        revocation: RevocationSource::Lookup,
        shared_data: SharedDataScope::Worker,
        ticks: false,
        verifies_signatures: false,
        metrics: MetricSupport::None,
        authority: Authority::HostHeader,
        tells_end: false,
        grpc_replies: false,
        // Until the retry every request without keys gets 503, so the retry is soon.
        fetch_retry_ms: 20,
    };

    fn read_request() -> Result<RequestHeaders, Refusal> {
        let read_map = || hostcalls::get_map(MapType::RequestHeaders).map_err(cannot_read);
        nginx::read_request(read_map, hostcalls::get_property)
    }

    fn check_reserved_names(names: &[&[u8]]) -> Result<(), Refusal> {
        nginx::check_reserved_names(names)
    }

    fn hide_header(_: &RequestHeaders, name: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        nginx::overwrite_header(name, rest)
    }

    fn set_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
        hostcalls::replace_request_header(name, value)
    }

    fn set_variable(name: &str, value: &str) -> Result<(), Status> {
        hostcalls::set_property(name, value.as_bytes())
    }

    /// A name with unusual characters may not be found, and would be sent on.
    fn remove_header(name: &[u8]) -> Result<(), Status> {
        match nginx::is_plain(name) {
            true => hostcalls::remove_map_value(MapType::RequestHeaders, name),
            false => Err(Status::BAD_ARGUMENT),
        }
    }

    /// The route has chosen the upstream already. APISIX sends it the host and the target
    /// in these variables of its own. A new `:path` would have no query, and a new
    /// `:authority` would overwrite the method.
    fn set_upstream(authority: &[u8], target: &[u8]) -> Result<(), Status> {
        hostcalls::set_property("upstream_host", authority)?;
        hostcalls::set_property("upstream_uri", target)
    }

    fn client_scheme() -> &'static [u8] {
        match hostcalls::get_property("scheme") {
            Ok(Some(scheme)) if scheme == b"https" => b"https",
            _ => b"http",
        }
    }

    /// A failed callout has no headers, but the reported number of headers is always 0. A
    /// map without headers cannot be read, but a single header can.
    fn read_callout(response: HttpCallResponse, max: usize) -> CalloutResult {
        let status = callout::status().ok_or_else(callout::no_response)?;
        callout::read_body(status, response.body_size, max)
    }
}
