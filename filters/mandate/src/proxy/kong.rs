//! Kong (ngx_wasm_module): one VM for each worker process. The ticks of each worker
//! fetch. A request that waits for a callout would be forwarded if the callout fails, so
//! no request waits. Shared data mixes up names, evicts values and tears them, so each
//! worker keeps its own values.

use caracal_mandate::audit::event::Answered;
use caracal_mandate::fetch_failure::Kind;
use caracal_mandate::reply::Refusal;

use crate::abi::exports::HttpCallResponse;
use crate::abi::header_map::HeaderMap;
use crate::abi::hostcalls::{self, MapType, Status};
use crate::proxy::adapter::{
    Authority, Capabilities, Ending, MetricSupport, ProxyAdapter, RequestHeaders, RevocationSource,
    SeenResponse, SharedDataScope, WhenMissing, bad_request, cannot_read,
};
use crate::proxy::callout::{self, CalloutFailure, CalloutResult};
use crate::proxy::nginx;

/// Most of the dispatch status of a callout that is logged, in characters.
const MAX_DISPATCH_STATUS: usize = 40;

pub(super) struct Kong;

impl ProxyAdapter for Kong {
    const CAPABILITIES: Capabilities = Capabilities {
        when_missing: WhenMissing::Refuse,
        revocation: RevocationSource::Feed,
        shared_data: SharedDataScope::Worker,
        ticks: true,
        verifies_signatures: false,
        metrics: MetricSupport::NoGaugeDeltas,
        authority: Authority::HostHeader,
        tells_end: false,
        grpc_replies: false,
        fetch_retry_ms: 1_000,
    };

    fn read_request() -> Result<RequestHeaders, Refusal> {
        nginx::read_request(read_map, |name| {
            hostcalls::get_property(&variable_path(name))
        })
    }

    fn check_reserved_names(names: &[&[u8]]) -> Result<(), Refusal> {
        nginx::check_reserved_names(names)
    }

    /// If two headers have the same name, only the first is overwritten.
    fn hide_header(headers: &RequestHeaders, name: &[u8], rest: &[u8]) -> Result<(), Refusal> {
        let same = |(n, _): &(&[u8], &[u8])| n.eq_ignore_ascii_case(name);
        if headers.map.iter().filter(same).count() > 1 {
            return Err(bad_request("A reserved header is there twice"));
        }
        nginx::overwrite_header(name, rest)
    }

    fn set_header(name: &[u8], value: &[u8]) -> Result<(), Status> {
        hostcalls::replace_request_header(name, value)
    }

    fn set_variable(name: &str, value: &str) -> Result<(), Status> {
        hostcalls::set_property(&variable_path(name), value.as_bytes())
    }

    fn ending(_seen: SeenResponse) -> Option<Ending> {
        let text = |name| {
            let value = hostcalls::get_property(&variable_path(name)).ok()??;
            String::from_utf8(value).ok()
        };
        let number = |name| text(name)?.parse().ok();
        // nginx gives a status of its own to an upstream that did not answer. Of several
        // that were tried, the last one counts.
        let began = text("upstream_header_time").unwrap_or_default();
        let has_begun = began.ends_with(|c: char| c.is_ascii_digit());
        let upstream = text("upstream_status").unwrap_or_default();
        let upstream = upstream.rsplit([',', ':', ' ']).next().unwrap_or_default();
        // Seconds, with three digits after the point.
        let latency = text("request_time").unwrap_or_default().replace('.', "");
        let status: u64 = number("status").unwrap_or_default();
        Some(Ending {
            answered: Answered {
                status: u16::try_from(status).unwrap_or_default(),
                latency_ms: latency.parse().unwrap_or_default(),
                bytes: number("body_bytes_sent").unwrap_or_default(),
                upstream_status: upstream.parse().ok().filter(|_| has_begun),
            },
            was_cut: text("request_completion").is_some_and(|word| word != "OK"),
        })
    }

    /// In Kong the details become the reason phrase of HTTP/1.1.
    fn reply_details(http_status: u16, _code: &str) -> String {
        let phrase = match http_status {
            200 => "OK",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            _ => "Service Unavailable",
        };
        phrase.to_owned()
    }

    /// A failed callout can have a status too. `:dispatch_status` shows the failure.
    fn read_callout(response: HttpCallResponse, max: usize) -> CalloutResult {
        if response.num_headers == 0 {
            return Err(callout::no_response());
        }
        let dispatched = callout::header(":dispatch_status").unwrap_or_default();
        if dispatched != "ok" {
            let cut: String = dispatched
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(MAX_DISPATCH_STATUS)
                .collect();
            return Err(CalloutFailure::new(
                Kind::Unreached,
                format!("the call failed ({cut})"),
            ));
        }
        let status = callout::status().ok_or_else(callout::no_status)?;
        callout::read_body(status, response.body_size, max)
    }
}

fn read_map() -> Result<HeaderMap, Refusal> {
    hostcalls::get_map(MapType::RequestHeaders).map_err(|status| match status {
        Status::SERIALIZATION_FAILURE => nginx::too_many_headers(),
        status => cannot_read(status),
    })
}

fn variable_path(name: &str) -> String {
    ["ngx\0", name].concat()
}
