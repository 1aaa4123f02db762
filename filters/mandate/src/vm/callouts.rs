//! The requests that the filter sends to the STS and to the companion, and what the
//! responses mean. `proxy` reads the responses.

use std::time::Duration;

use caracal_mandate::config::{AcceptedZone, Audit, Feed, Gateway, JwksTarget, Secret};
use caracal_mandate::fetch_failure::Kind;

use crate::abi::hostcalls::{self, Status};
use crate::proxy::callout::{CalloutFailure, CalloutResult, is_not_ready};

/// Names the filter in the logs of the STS and the companion.
const USER_AGENT: (&str, &str) = (
    "user-agent",
    concat!("caracal-edge/", env!("CARGO_PKG_VERSION")),
);
/// The STS as the source of the key set.
pub(crate) struct StsClient {
    pub(crate) upstream: String,
    pub(crate) target: JwksTarget,
    timeout: Duration,
}

impl StsClient {
    pub(crate) fn new(accepted: &AcceptedZone) -> Self {
        StsClient {
            upstream: accepted.jwks.upstream.clone(),
            target: accepted.jwks_target(),
            timeout: Duration::from_millis(accepted.jwks.timeout_ms),
        }
    }

    /// Requests the key set, and returns the token of the callout. `at_most` is a shorter
    /// timeout than the configured one.
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

/// The companion, which knows what is revoked.
pub(crate) struct CompanionClient {
    pub(crate) upstream: String,
    authorization: Option<String>,
    scheme: &'static str,
    /// Its name. In nginx its certificate must be for this name.
    authority: String,
}

impl CompanionClient {
    pub(crate) fn new(settings: &Feed) -> Self {
        CompanionClient::of(&settings.upstream, settings.token.as_ref(), settings.tls)
    }

    /// The companion of Gateway mode.
    pub(crate) fn of_gateway(settings: &Gateway) -> Self {
        CompanionClient::of(&settings.upstream, settings.token.as_ref(), settings.tls)
    }

    /// The companion that keeps events.
    pub(crate) fn of_audit(settings: &Audit) -> Self {
        CompanionClient::of(&settings.upstream, settings.token.as_ref(), settings.tls)
    }

    /// `tls` is none on Envoy, where the cluster decides about it.
    #[cold]
    fn of(upstream: &str, token: Option<&Secret>, tls: Option<bool>) -> Self {
        CompanionClient {
            upstream: upstream.to_owned(),
            authorization: token.map(|token| ["Bearer ", token.expose()].concat()),
            scheme: match tls {
                Some(true) => "https",
                Some(false) | None => "http",
            },
            authority: match tls {
                Some(_) => upstream.to_owned(),
                None => "caracal-edge".to_owned(),
            },
        }
    }

    /// Asks for the exchange of a request's mandate.
    pub(crate) fn exchange(&self, question: &[u8], timeout_ms: u64) -> Result<u32, Status> {
        self.call("POST", "/v1/exchange", question, timeout_ms)
    }

    /// Requests a page of the companion's feed or snapshot.
    pub(crate) fn fetch_page(&self, path: &str, timeout_ms: u64) -> Result<u32, Status> {
        self.call("GET", path, &[], timeout_ms)
    }

    /// Asks whether a mandate's anchors are revoked.
    pub(crate) fn check_anchors(&self, question: &[u8], timeout_ms: u64) -> Result<u32, Status> {
        self.call("POST", "/v1/check", question, timeout_ms)
    }

    /// Sends a batch of events.
    pub(crate) fn audit(&self, batch: &[u8], timeout_ms: u64) -> Result<u32, Status> {
        self.call("POST", "/v1/audit", batch, timeout_ms)
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

/// Why a response of the companion with another status than 200 is not usable. With 503
/// the body decides, because any server in between can also answer 503.
#[cold]
pub(crate) fn companion_error(status: u16, body: &[u8]) -> CalloutFailure {
    match status {
        401 | 403 => CalloutFailure::new(
            Kind::Token,
            "the companion refuses the token: revocation.token",
        ),
        status if is_not_ready(status, body) => CalloutFailure::new(
            Kind::NotReady,
            "the companion says that it is not ready yet",
        ),
        status => not_200(status),
    }
}

/// Why a response to an exchange other than 200 is no use.
#[cold]
pub(crate) fn exchange_error(status: u16, body: &[u8]) -> CalloutFailure {
    match status {
        401 | 403 => CalloutFailure::new(
            Kind::Token,
            "the companion does not take the token: gateway.token",
        ),
        404 => CalloutFailure::new(
            Kind::Status,
            "the companion exchanges no mandates: caracal-edge feed --gateway",
        ),
        status => companion_error(status, body),
    }
}

#[cold]
fn not_200(status: u16) -> CalloutFailure {
    CalloutFailure::new(Kind::Status, format!("status {status}, expected 200"))
}

/// The document of the STS, or why there is none.
pub(crate) fn expect_document(answer: CalloutResult) -> Result<Vec<u8>, CalloutFailure> {
    match answer? {
        (200, document) => Ok(document),
        (status, _) => Err(not_200(status)),
    }
}
