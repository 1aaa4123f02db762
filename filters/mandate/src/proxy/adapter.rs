//! What is different in each proxy: facts, and operations.

use caracal_mandate::audit::event::Answered;
use caracal_mandate::jwks::signature::PublicKey;
use caracal_mandate::reply::{ErrorCode, Reason, Refusal};

use crate::abi::exports::HttpCallResponse;
use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::callout::CalloutResult;

/// Facts about a proxy, for code that is shared by all of them.
#[derive(Debug)]
pub(crate) struct Capabilities {
    pub(crate) when_missing: WhenMissing,
    pub(crate) revocation: RevocationSource,
    pub(crate) shared_data: SharedDataScope,
    /// The proxy calls the root context at regular times.
    pub(crate) ticks: bool,
    /// The proxy can verify signatures, which is faster than doing it in wasm.
    pub(crate) verifies_signatures: bool,
    pub(crate) metrics: MetricSupport,
    pub(crate) authority: Authority,
    /// The proxy tells with the headers whether a body follows. Only such a proxy shows the
    /// body before the request goes on.
    pub(crate) tells_end: bool,
    /// Replies to gRPC requests can have a grpc-status. Otherwise gRPC clients derive one
    /// from the HTTP status.
    pub(crate) grpc_replies: bool,
    /// The first pause after a failed fetch of the key set.
    pub(crate) fetch_retry_ms: u64,
}

/// What happens to a request if keys or revocations are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenMissing {
    /// It waits, and a tick fetches.
    Pause,
    /// It gets 503 at once, and a tick fetches.
    Refuse,
    /// It fetches them itself.
    CallOut,
}

/// How the filter learns which mandates are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevocationSource {
    /// From a copy of the companion's log, which ticks keep up to date.
    Feed,
    /// Requests ask the companion about their mandates.
    Lookup,
}

/// Which VMs share values.
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
    /// Gauges can be set, but trap if they are incremented.
    NoGaugeDeltas,
    /// Calls succeed, but nothing is counted.
    None,
}

/// Which header has the host of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    Pseudo,
    /// `host`, because `:authority` is the server's own name there.
    HostHeader,
}

/// A request's headers as the proxy gave them.
pub(crate) struct RequestHeaders {
    pub(crate) map: HeaderMap,
    /// The request's target, if the one in the map may differ from it.
    pub(crate) target: Option<Vec<u8>>,
    /// Why the request is refused whatever its mandate is: it can be read in two ways.
    pub(crate) doubtful: Option<&'static str>,
}

impl RequestHeaders {
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.map
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// What passed of the response to a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SeenResponse {
    /// When the request's headers came, in nanoseconds of a clock that is never set.
    pub(crate) began_ns: u64,
    /// Its headers have passed.
    pub(crate) has_begun: bool,
    /// Of its body.
    pub(crate) bytes: u64,
    /// Its end has passed. Trailers are not seen.
    pub(crate) is_whole: bool,
}

/// How a stream has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) answered: Answered,
    /// The answer is not complete.
    pub(crate) was_cut: bool,
}

/// What each proxy does in its own way. All operations act on the request, or the callout
/// response, of the current callback.
pub(crate) trait ProxyAdapter {
    const CAPABILITIES: Capabilities;

    /// Refuses requests if the real proxy is not the configured one. Skipped where a
    /// mix-up is harmless.
    ///
    /// # Errors The reply, also if the proxy cannot be identified yet.
    fn verify_kind() -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether the period of ticks may be set at any time, and counts from then on. Where it
    /// is set once, setting it again traps, or makes a second timer. So this is true only if
    /// the real proxy is known to be this one. For the root context.
    fn takes_other_periods() -> bool {
        false
    }

    /// # Errors The reply to a request that cannot be read completely.
    fn read_request() -> Result<RequestHeaders, Refusal>;

    /// Checks the reserved headers that a client has sent.
    ///
    /// # Errors The reply to a request with a reserved header that this proxy could not
    /// hide.
    fn check_reserved_names(_names: &[&[u8]]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Hides a header from the upstream, or leaves only `rest` of its value.
    ///
    /// # Errors The reply to a request in which the header cannot be hidden.
    fn hide_header(headers: &RequestHeaders, name: &[u8], rest: &[u8]) -> Result<(), Refusal>;

    /// Sets a header. The client's value was hidden before.
    fn set_header(name: &[u8], value: &[u8]) -> Result<(), Status>;

    /// Sets a variable of the server's configuration.
    fn set_variable(name: &str, value: &str) -> Result<(), Status>;

    /// Gateway mode: removes a header of the request.
    fn remove_header(name: &[u8]) -> Result<(), Status> {
        hostcalls::remove_map_value(MapType::RequestHeaders, name)
    }

    /// Gateway mode: the host and the target of the request to the upstream.
    fn set_upstream(_authority: &[u8], _target: &[u8]) -> Result<(), Status> {
        Err(Status::UNIMPLEMENTED)
    }

    /// Whether a value of one of the response's headers is like this. One that cannot be
    /// read counts.
    fn has_response_value(name: &str, is_like: fn(&[u8]) -> bool) -> bool {
        let value = hostcalls::get_map_value(MapType::ResponseHeaders, name);
        value.map_or(true, |value| value.is_some_and(|value| is_like(&value)))
    }

    /// The peer's address without its port; `None` where the proxy itself tells the
    /// upstream.
    fn peer_address() -> Option<Vec<u8>> {
        None
    }

    /// How the client spoke to the proxy: `http` or `https`.
    fn client_scheme() -> &'static [u8] {
        b"http"
    }

    /// How the stream of the current callback has ended. Only in the callback that tells
    /// the end.
    fn ending(_seen: SeenResponse) -> Option<Ending> {
        None
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

/// The details of a reply, for proxies that do not use them otherwise.
pub(crate) fn default_reply_details(code: &str) -> String {
    ["caracal_", code].concat()
}

pub(crate) fn bad_request(why: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, why).because(Reason::Ambiguous)
}

pub(super) fn cannot_read(_: Status) -> Refusal {
    Refusal::unavailable("The edge could not read the request")
}

pub(super) fn cannot_hide(_: Status) -> Refusal {
    Refusal::unavailable("The edge could not remove reserved headers")
}
