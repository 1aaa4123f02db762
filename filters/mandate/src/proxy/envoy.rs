//! Envoy: one VM for each worker thread. Ticks fetch for all VMs, which share data.
//! Requests wait for what is fetched. BoringSSL verifies signatures.

use caracal_mandate::audit::event::Answered;
use caracal_mandate::fetch_failure::Kind;
use caracal_mandate::jwks::signature::{PublicKey, es256_signature_to_der};
use caracal_mandate::reply::Refusal;

use crate::abi::exports::HttpCallResponse;
use crate::abi::hostcalls::{self, BufferType, MapType, Status};
use crate::abi::wasi;
use crate::proxy::adapter::{
    Authority, Capabilities, Ending, MetricSupport, ProxyAdapter, RequestHeaders, RevocationSource,
    SeenResponse, SharedDataScope, WhenMissing, cannot_hide, cannot_read,
};
use crate::proxy::callout::{self, CalloutFailure, CalloutResult, is_not_ready};

/// The name of the foreign function that verifies signatures.
const VERIFY_SIGNATURE: &str = "verify_signature";
/// Its result for a valid signature: field 1 is true. For an invalid one the field is
/// absent.
const VALID: [u8; 2] = [0x08, 1];
/// The beginnings of replies that Envoy sends instead of an upstream's.
const LOCAL_REPLIES: [&[u8]; 3] = [b"upstream ", b"no healthy upstream", b"maintenance mode"];
/// Most of such a reply that is logged, in bytes.
const MAX_LOCAL_REPLY_BYTES: usize = 240;

pub(super) struct Envoy;

impl ProxyAdapter for Envoy {
    const CAPABILITIES: Capabilities = Capabilities {
        when_missing: WhenMissing::Pause,
        revocation: RevocationSource::Feed,
        shared_data: SharedDataScope::Proxy,
        ticks: true,
        verifies_signatures: true,
        metrics: MetricSupport::All,
        authority: Authority::Pseudo,
        tells_end: true,
        grpc_replies: true,
        fetch_retry_ms: 1_000,
    };

    /// A configuration for Envoy must not decide anything in Kong, because its way of
    /// hiding headers does not work there. Kong knows this property, and Envoy does not.
    fn verify_kind() -> Result<(), Refusal> {
        match hostcalls::get_property("ngx\0request_uri") {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Refusal::unavailable(
                "The edge is configured for another proxy (host)",
            )),
            Err(_) => Err(Refusal::unavailable(
                "The edge could not identify its proxy",
            )),
        }
    }

    /// Every Envoy calls itself so, and no other proxy has this attribute.
    fn takes_other_periods() -> bool {
        let name = hostcalls::get_property("xds\0node\0user_agent_name");
        matches!(name, Ok(Some(name)) if name == b"envoy")
    }

    fn read_request() -> Result<RequestHeaders, Refusal> {
        let map = hostcalls::get_map(MapType::RequestHeaders).map_err(cannot_read)?;
        Ok(RequestHeaders {
            map,
            target: None,
            doubtful: None,
        })
    }

    fn hide_header(_: &RequestHeaders, name: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        let hidden = hostcalls::remove_map_value(MapType::RequestHeaders, name);
        let hidden = match rest {
            [] => hidden,
            rest => hidden.and_then(|()| hostcalls::add_request_header(name, rest)),
        };
        hidden.map_err(cannot_hide)
    }

    /// Adding costs half as much as replacing, which indexes the whole map. There is no
    /// header of this name left.
    fn set_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
        hostcalls::add_request_header(name, value)
    }

    /// Envoy has no variables.
    fn set_variable(_: &str, _: &str) -> Result<(), Status> {
        Err(Status::UNIMPLEMENTED)
    }

    fn set_upstream(authority: &[u8], target: &[u8]) -> Result<(), Status> {
        hostcalls::replace_request_header(b":authority", authority)?;
        hostcalls::replace_request_header(b":path", target)
    }

    /// The value of a header is only its first one, so the others are in the map.
    fn has_response_value(name: &str, is_like: fn(&[u8]) -> bool) -> bool {
        let response = MapType::ResponseHeaders;
        if let Ok(None) = hostcalls::get_map_value(response, name) {
            return false;
        }
        hostcalls::get_map(response).map_or(true, |headers| {
            let mut all = headers.iter().filter(|(one, _)| *one == name.as_bytes());
            all.any(|(_, value)| is_like(value))
        })
    }

    fn peer_address() -> Option<Vec<u8>> {
        let address = hostcalls::get_property("source\0address").ok()??;
        let port = address.iter().rposition(|b| *b == b':')?;
        let host = address.get(..port)?;
        let bare = host
            .strip_prefix(b"[")
            .and_then(|host| host.strip_suffix(b"]"));
        Some(bare.unwrap_or(host).to_vec())
    }

    /// Only a connection with TLS has a version of it.
    fn client_scheme() -> &'static [u8] {
        match hostcalls::get_property("connection\0tls_version") {
            Ok(Some(version)) if !version.is_empty() => b"https",
            _ => b"http",
        }
    }

    /// Only an upstream's response has these details.
    /// A property costs more than what the filter itself does for an event, so only one is
    /// asked for. It is `via_upstream`, or why Envoy replied, or why it cut a response off:
    /// its own replies are always whole.
    fn ending(seen: SeenResponse) -> Option<Ending> {
        let is_via_upstream = is_via_upstream();
        let was_cut = !is_via_upstream && !seen.is_whole;
        let status = match seen.has_begun {
            true => client_status().unwrap_or_default(),
            false => 0,
        };
        let is_of_upstream = is_via_upstream || (was_cut && seen.has_begun);
        let now_ns = wasi::monotonic_ns().unwrap_or_default();
        let answered = Answered {
            status,
            latency_ms: now_ns.saturating_sub(seen.began_ns) / 1_000_000,
            bytes: seen.bytes,
            upstream_status: is_of_upstream.then_some(status),
        };
        Some(Ending { answered, was_cut })
    }

    /// A response that Envoy itself cut off has no headers at all.
    fn read_callout(response: HttpCallResponse, max: usize) -> CalloutResult {
        if response.num_headers == 0 {
            return Err(callout::no_response());
        }
        let status = callout::status().ok_or_else(callout::no_status)?;
        if status != 200
            && let Some(failure) = local_reply(status, response.body_size)
        {
            return Err(failure);
        }
        callout::read_body(status, response.body_size, max)
    }

    fn verify_signature(key: &PublicKey, message: &[u8], signature: &[u8]) -> Option<bool> {
        let PublicKey::P256(key) = key else {
            return None;
        };
        // Envoy takes DER. A signature that cannot be written as DER is valid for no
        // verifier.
        let Some(signature) = es256_signature_to_der(signature) else {
            return Some(false);
        };
        let size = message
            .len()
            .saturating_add(key.spki().len())
            .saturating_add(128);
        let mut argument = Vec::with_capacity(size);
        for (tag, field) in [
            (0x0a, &b"sha256"[..]),
            (0x12, key.spki()),
            (0x1a, &signature),
            (0x22, message),
        ] {
            argument.push(tag);
            let mut size = field.len();
            while size >= 0x80 {
                argument.push(size.to_le_bytes().first()? | 0x80);
                size >>= 7;
            }
            argument.push(*size.to_le_bytes().first()?);
            argument.extend_from_slice(field);
        }
        let result = hostcalls::call_foreign_function(VERIFY_SIGNATURE, &argument).ok()?;
        Some(result == VALID)
    }
}

/// Whether the response so far is the upstream's, and nothing has happened to it.
/// The status that the client got. Filters between this one and the client may have changed
/// that of the upstream.
fn client_status() -> Option<u16> {
    let status = hostcalls::get_map_value(MapType::ResponseHeaders, ":status").ok()??;
    std::str::from_utf8(&status).ok()?.parse().ok()
}

fn is_via_upstream() -> bool {
    let details = hostcalls::get_property("response\0code_details");
    matches!(details, Ok(Some(details)) if details == b"via_upstream")
}

/// Why Envoy answered a callout itself. A header shows that the upstream answered, unless
/// something removes that header. So a response without it counts as Envoy's own only if
/// it has Envoy's words.
#[cold]
fn local_reply(status: u16, body_size: usize) -> Option<CalloutFailure> {
    if status < 500 && status != 408 {
        return None;
    }
    let upstream_time = hostcalls::get_map_value(
        MapType::CallResponseHeaders,
        "x-envoy-upstream-service-time",
    );
    if !matches!(upstream_time, Ok(None)) {
        return None;
    }
    let size = body_size.min(MAX_LOCAL_REPLY_BYTES);
    let body = hostcalls::get_buffer(BufferType::CallResponseBody, size).unwrap_or_default();
    let is_local = LOCAL_REPLIES.iter().any(|words| body.starts_with(words));
    if !is_local && is_not_ready(status, &body) {
        return None;
    }
    // The text can quote what a peer sent, for example in a certificate.
    let words = body
        .escape_ascii()
        .take(MAX_LOCAL_REPLY_BYTES)
        .map(char::from);
    let words = words.collect::<String>();
    Some(match is_local {
        true => CalloutFailure::new(
            Kind::Unreached,
            format!("no answer from it; the proxy says {status}: {words}"),
        ),
        false => CalloutFailure::new(
            Kind::Status,
            format!("status {status}, expected 200; from it or from the proxy"),
        ),
    })
}
