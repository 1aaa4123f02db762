//! What a proxy must say of itself, and do in its own way.

use caracal_mandate::jwks::signature::PublicKey;
use caracal_mandate::reply::{ErrorCode, Refusal};

use crate::abi::exports::HttpCallResponse;
use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::Status;
use crate::proxy::callout::CalloutResult;

/// Facts about a proxy, for code that is the same in all of them.
#[derive(Debug)]
pub(crate) struct Capabilities {
    pub(crate) when_missing: WhenMissing,
    pub(crate) revocation: RevocationSource,
    pub(crate) shared_data: SharedDataScope,
    /// The proxy calls the root context again and again.
    pub(crate) ticks: bool,
    /// It can verify signatures, which is faster than to do so here.
    pub(crate) verifies_signatures: bool,
    pub(crate) metrics: MetricSupport,
    pub(crate) authority: Authority,
    /// Its replies to gRPC requests can have a grpc-status. Elsewhere gRPC clients make one
    /// of the HTTP status.
    pub(crate) grpc_replies: bool,
    /// Time after a failed fetch of the key set until the next, at first.
    pub(crate) fetch_retry_ms: u64,
}

/// What becomes of a request when keys or revocations are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenMissing {
    /// It waits, and a tick fetches.
    Pause,
    /// It gets 503 at once, and a tick fetches.
    Refuse,
    /// It fetches itself.
    CallOut,
}

/// How revoked mandates are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevocationSource {
    /// By a copy of the companion's log, which ticks keep up to date.
    Feed,
    /// Requests ask the companion about their mandates.
    Lookup,
}

/// Who shares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedDataScope {
    /// All VMs, in the proxy's shared data.
    Proxy,
    /// The configurations of one worker, in its VM's memory.
    Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricSupport {
    All,
    /// Gauges can be set, and trap when they are counted up.
    NoGaugeDeltas,
    /// Calls are taken and counted nowhere.
    None,
}

/// Which header names the host that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    Pseudo,
    /// `host`: there `:authority` is the server's own name.
    HostHeader,
}

/// A request's headers as the proxy gave them.
pub(crate) struct RequestHeaders {
    pub(crate) map: HeaderMap,
    /// The request's target where the map's is another one.
    pub(crate) target: Option<Vec<u8>>,
}

impl RequestHeaders {
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.map
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// What each proxy does in its own way. All of it acts on the request, or the response of a
/// callout, of the current callback.
pub(crate) trait ProxyAdapter {
    const CAPABILITIES: Capabilities;

    /// Refuses requests when this is not the proxy that the configuration names, as far as
    /// that would do harm.
    ///
    /// # Errors
    /// The reply, also while the proxy does not say.
    fn verify_kind() -> Result<(), Refusal> {
        Ok(())
    }

    /// # Errors
    /// The reply to a request that cannot be read whole.
    fn read_request() -> Result<RequestHeaders, Refusal>;

    /// Looks at the reserved names that a client has sent.
    ///
    /// # Errors
    /// The reply to a request with one that this proxy could not hide.
    fn check_reserved_names(_names: &[&[u8]]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Hides a header from the upstream, or leaves `rest` of its value.
    ///
    /// # Errors
    /// The reply to a request in which it cannot be hidden.
    fn hide_header(headers: &RequestHeaders, name: &[u8], rest: &[u8]) -> Result<(), Refusal>;

    /// Sets a header of which the client's value was hidden before.
    fn set_header(name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Sets a variable of the server's configuration.
    fn set_variable(name: &str, value: &str) -> Result<(), Status>;

    /// The peer's address without its port; `None` where the proxy does not say.
    fn peer_address() -> Option<Vec<u8>> {
        None
    }

    /// How the client spoke to the proxy: `http` or `https`.
    fn client_scheme() -> &'static [u8] {
        b"http"
    }

    /// The details of a reply, for access logs.
    fn reply_details(_http_status: u16, code: &str) -> String {
        default_reply_details(code)
    }

    /// Reads the response of a callout. A body over `max` bytes is not read.
    fn read_callout(response: HttpCallResponse, max: usize) -> CalloutResult;

    /// `None` when the proxy cannot verify it.
    fn verify_signature(_key: &PublicKey, _message: &[u8], _signature: &[u8]) -> Option<bool> {
        None
    }
}

/// The details of a reply where the proxy has no use of its own for them.
pub(crate) fn default_reply_details(code: &str) -> String {
    ["caracal_", code].concat()
}

pub(super) fn bad_request(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why)
}

pub(super) fn cannot_read(_: Status) -> Refusal {
    Refusal::unavailable("The edge could not read the request")
}

pub(super) fn cannot_hide(_: Status) -> Refusal {
    Refusal::unavailable("The edge could not remove reserved headers")
}
