//! What is asked of the STS and of the companion, and how their answers are read.

use std::time::Duration;

use caracal_mandate::config::{Configuration, Feed, Host, JwksTarget};
use caracal_mandate::failure::{Cause, Kind, Turn};

use crate::abi::exports::HttpCallResponse;
use crate::abi::hostcalls::{self, BufferType, LogLevel, MapType, Status};

/// Who asks, in the logs of the STS and the companion.
const USER_AGENT: (&str, &str) = (
    "user-agent",
    concat!("caracal-edge/", env!("CARGO_PKG_VERSION")),
);
/// Most of an answer that the proxy made up itself which is logged, in bytes.
const MAX_LOCAL_BYTES: usize = 240;
/// Most of an answer with status 503 that is looked at.
const MAX_NOT_READY_BYTES: usize = 512;
/// How the companion itself says that it is not ready.
const NOT_READY: &[u8] = b"\"not_ready\"";

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) struct CalloutFailure {
    pub(crate) kind: Kind,
    pub(crate) words: String,
}

impl CalloutFailure {
    pub(crate) fn new(kind: Kind, words: impl Into<String>) -> Self {
        CalloutFailure {
            kind,
            words: words.into(),
        }
    }

    #[cold]
    pub(crate) fn dispatch_failed() -> Self {
        CalloutFailure::new(
            Kind::Untaken,
            "the proxy did not take the call: is there an upstream of that name?",
        )
    }

    pub(crate) fn cause(&self) -> Cause {
        Cause::new(self.kind, &self.words)
    }
}

/// An answer's status and body, or why there is none.
pub(crate) type CalloutResult = Result<(u16, Vec<u8>), CalloutFailure>;

/// Where the key set comes from.
pub(crate) struct StsClient {
    pub(crate) upstream: String,
    pub(crate) target: JwksTarget,
    timeout: Duration,
}

impl StsClient {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        StsClient {
            upstream: configuration.jwks.upstream.clone(),
            target: configuration.jwks_target(),
            timeout: Duration::from_millis(configuration.jwks.timeout_ms),
        }
    }

    /// Asks for the key set, and gives the token of the answer. `at_most` is a shorter
    /// wait than the configured one.
    pub(crate) fn key_set(&self, at_most: Option<Duration>) -> Result<u32, Status> {
        let timeout = at_most.map_or(self.timeout, |at_most| at_most.min(self.timeout));
        let headers = [
            (":method", "GET"),
            (":scheme", self.target.scheme.as_str()),
            (":authority", self.target.authority.as_str()),
            (":path", self.target.path.as_str()),
            ("accept", "application/json"),
            USER_AGENT,
        ];
        hostcalls::dispatch_http_call(&self.upstream, &headers, &[], timeout)
    }
}

/// Who knows what is revoked.
pub(crate) struct CompanionClient {
    pub(crate) upstream: String,
    authorization: Option<String>,
    scheme: &'static str,
    /// What it is called: on nginx its certificate must be for that name.
    authority: String,
}

impl CompanionClient {
    pub(crate) fn new(settings: &Feed) -> Self {
        let token = settings.token.as_ref();
        CompanionClient {
            upstream: settings.upstream.clone(),
            authorization: token.map(|token| format!("Bearer {}", token.expose())),
            scheme: match settings.tls {
                Some(true) => "https",
                Some(false) | None => "http",
            },
            authority: match settings.tls {
                Some(_) => settings.upstream.clone(),
                None => "caracal-edge".to_owned(),
            },
        }
    }

    /// Polls a page of its feed.
    pub(crate) fn fetch_page(&self, path: &str, timeout_ms: u64) -> Result<u32, Status> {
        self.call("GET", path, &[], timeout_ms)
    }

    /// Asks about one mandate's anchors.
    pub(crate) fn check_anchors(&self, question: &[u8], timeout_ms: u64) -> Result<u32, Status> {
        self.call("POST", "/v1/check", question, timeout_ms)
    }

    fn call(&self, method: &str, path: &str, body: &[u8], ms: u64) -> Result<u32, Status> {
        let mut headers = vec![
            (":method", method),
            (":scheme", self.scheme),
            (":authority", &self.authority),
            (":path", path),
            ("accept", "application/json"),
            USER_AGENT,
        ];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        hostcalls::dispatch_http_call(&self.upstream, &headers, body, Duration::from_millis(ms))
    }
}

/// Why the companion's answer is of no use, by its status, and by its body where that
/// is 503: anything on the way to it can say so too.
#[cold]
pub(crate) fn companion_error(status: u16, body: &[u8]) -> CalloutFailure {
    match status {
        401 | 403 => CalloutFailure::new(
            Kind::Token,
            "the companion does not take the token: revocation.token",
        ),
        status if is_not_ready(status, body) => CalloutFailure::new(
            Kind::NotReady,
            "the companion says that it is not in touch with Redis yet",
        ),
        status => not_200(status),
    }
}

/// Whether the companion itself says that it is not ready.
fn is_not_ready(status: u16, body: &[u8]) -> bool {
    status == 503 && body.windows(NOT_READY.len()).any(|part| part == NOT_READY)
}

#[cold]
fn not_200(status: u16) -> CalloutFailure {
    CalloutFailure::new(Kind::Status, format!("status {status}, expected 200"))
}

/// What the STS answered to be a key set, or why it is none.
pub(crate) fn expect_document(answer: CalloutResult) -> Result<Vec<u8>, CalloutFailure> {
    match answer? {
        (200, document) => Ok(document),
        (status, _) => Err(not_200(status)),
    }
}

/// How Envoy begins its own answers in place of an upstream's.
const ENVOY_WORDS: [&[u8]; 3] = [b"upstream ", b"no healthy upstream", b"maintenance mode"];

/// Why Envoy answered a call itself: nobody else did. It says when it was the upstream, if
/// nothing takes that header away again; so an answer without it is only not the peer's
/// where Envoy would give it in these words.
#[cold]
fn envoy_local_reply(status: u16, body_size: usize) -> Option<CalloutFailure> {
    if status < 500 && status != 408 {
        return None;
    }
    let was_upstream = hostcalls::get_map_value(
        MapType::CallResponseHeaders,
        "x-envoy-upstream-service-time",
    );
    if !matches!(was_upstream, Ok(None)) {
        return None;
    }
    let size = body_size.min(MAX_LOCAL_BYTES);
    let said = hostcalls::get_buffer(BufferType::CallResponseBody, size).unwrap_or_default();
    let is_local = ENVOY_WORDS.iter().any(|words| said.starts_with(words));
    if !is_local && is_not_ready(status, &said) {
        return None;
    }
    // It can quote what a peer sent, as in a certificate.
    let said = said.escape_ascii().take(MAX_LOCAL_BYTES).map(char::from);
    let said = said.collect::<String>();
    Some(match is_local {
        true => CalloutFailure::new(
            Kind::Unreached,
            format!("no answer from it; the proxy says {status}: {said}"),
        ),
        false => CalloutFailure::new(
            Kind::Status,
            format!("status {status}, expected 200; from it or from the proxy"),
        ),
    })
}

/// The answer to a callout, in its callback. One over `max` bytes is not read.
#[inline(never)]
pub(crate) fn read_response(host: Host, response: HttpCallResponse, max: usize) -> CalloutResult {
    let HttpCallResponse {
        num_headers,
        body_size,
        ..
    } = response;
    const NONE: &str = "no answer, or one that is too large";
    // An answer that Envoy itself cut short has no headers at all, and one that failed
    // on APISIX none that may be read but one by one.
    if num_headers == 0 && host != Host::Apisix {
        return Err(CalloutFailure::new(Kind::Unreached, NONE));
    }
    let header = |name| {
        hostcalls::get_map_value(MapType::CallResponseHeaders, name)
            .ok()
            .flatten()
            .and_then(|value| String::from_utf8(value).ok())
    };
    if host == Host::Kong {
        // A call that failed can have a status too.
        let went = header(":dispatch_status").unwrap_or_default();
        if went != "ok" {
            let cut: String = went
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(40)
                .collect();
            return Err(CalloutFailure::new(
                Kind::Unreached,
                format!("the call failed ({cut})"),
            ));
        }
    }
    let status = header(":status").and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Err(match host {
            Host::Apisix => CalloutFailure::new(Kind::Unreached, NONE),
            Host::Envoy | Host::Kong => {
                CalloutFailure::new(Kind::Unreadable, "an answer without a status")
            }
        });
    };
    if status != 200 {
        if host == Host::Envoy
            && let Some(failure) = envoy_local_reply(status, body_size)
        {
            return Err(failure);
        }
        let body = match status {
            503 => {
                let size = body_size.min(MAX_NOT_READY_BYTES);
                hostcalls::get_buffer(BufferType::CallResponseBody, size).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        return Ok((status, body));
    }
    if body_size > max {
        return Err(CalloutFailure::new(
            Kind::Unreadable,
            format!("the answer is over {max} bytes"),
        ));
    }
    hostcalls::get_buffer(BufferType::CallResponseBody, body_size)
        .map(|body| (status, body))
        .map_err(|failed| {
            let words = format!("the answer cannot be read (status {})", failed.0);
            CalloutFailure::new(Kind::Unreadable, words)
        })
}

/// Says that requests begin or cease to be refused for want of `what`, which comes from
/// `upstream`; why, how old it is, and how old it may be.
#[cold]
pub(crate) fn log_refusal_turn(
    turn: Turn,
    what: &str,
    upstream: &str,
    why: Option<&str>,
    age_ms: Option<u64>,
    limit: &str,
) {
    match turn {
        Turn::Refused => {
            let why = why.unwrap_or("it answers, and what it says is old");
            let age = match age_ms {
                Some(age_ms) => format!("is {} s old", age_ms / 1_000),
                None => "was never read".to_owned(),
            };
            hostcalls::log(
                LogLevel::Error,
                &format!(
                    "caracal: REFUSING every request that needs the {what} (503): it {age}, the limit is {limit}; {upstream}: {why}"
                ),
            );
        }
        Turn::Judged(lasted_ms) => hostcalls::log(
            LogLevel::Info,
            &format!(
                "caracal: no request is refused any more for want of the {what}: that lasted {lasted_ms} ms"
            ),
        ),
    }
}
