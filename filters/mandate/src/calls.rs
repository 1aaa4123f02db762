//! What is asked of the STS and of the companion, and how their answers are read.

use std::time::Duration;

use caracal_mandate::config::{Configuration, Feed, Host, JwksTarget};

use crate::host::{self, Buffer, Failed, Map};

pub(crate) const NOT_TAKEN: &str =
    "the proxy did not take the call: is there an upstream of that name?";

/// An answer's status and body, or why there is none.
pub(crate) type Answer = Result<(u16, Vec<u8>), String>;

/// Where the key set comes from.
pub(crate) struct Sts {
    pub(crate) upstream: String,
    pub(crate) target: JwksTarget,
    timeout: Duration,
}

impl Sts {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        Sts {
            upstream: configuration.jwks.upstream.clone(),
            target: configuration.jwks_target(),
            timeout: Duration::from_millis(configuration.jwks.timeout_ms),
        }
    }

    /// Asks for the key set, and gives the token of the answer. `at_most` is a shorter
    /// wait than the configured one.
    pub(crate) fn key_set(&self, at_most: Option<Duration>) -> Result<u32, Failed> {
        let timeout = at_most.map_or(self.timeout, |at_most| at_most.min(self.timeout));
        let headers = [
            (":method", "GET"),
            (":scheme", self.target.scheme.as_str()),
            (":authority", self.target.authority.as_str()),
            (":path", self.target.path.as_str()),
            ("accept", "application/json"),
        ];
        host::http_call(&self.upstream, &headers, &[], timeout)
    }
}

/// Who knows what is revoked.
pub(crate) struct Companion {
    pub(crate) upstream: String,
    authorization: Option<String>,
    scheme: &'static str,
    /// What it is called: on nginx its certificate must be for that name.
    authority: String,
}

impl Companion {
    pub(crate) fn new(settings: &Feed) -> Self {
        let token = settings.token.as_ref();
        Companion {
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
    pub(crate) fn page(&self, path: &str, timeout_ms: u64) -> Result<u32, Failed> {
        self.call("GET", path, &[], timeout_ms)
    }

    /// Asks about one mandate's anchors.
    pub(crate) fn check(&self, question: &[u8], timeout_ms: u64) -> Result<u32, Failed> {
        self.call("POST", "/v1/check", question, timeout_ms)
    }

    fn call(&self, method: &str, path: &str, body: &[u8], ms: u64) -> Result<u32, Failed> {
        let mut headers = vec![
            (":method", method),
            (":scheme", self.scheme),
            (":authority", &self.authority),
            (":path", path),
            ("accept", "application/json"),
        ];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        host::http_call(&self.upstream, &headers, body, Duration::from_millis(ms))
    }
}

/// Why the companion's answer is of no use, by its status.
pub(crate) fn refused(status: u16) -> String {
    match status {
        401 | 403 => "the companion does not take the token: revocation.token".to_owned(),
        503 => "the companion is not in touch with Redis yet".to_owned(),
        status => format!("status {status}, expected 200"),
    }
}

/// What the STS answered to be a key set, or why it is none.
pub(crate) fn document(answer: Answer) -> Result<Vec<u8>, String> {
    match answer? {
        (200, document) => Ok(document),
        (status, _) => Err(format!("status {status}, expected 200")),
    }
}

/// The answer to a callout, in its callback. One over `max` bytes is not read.
pub(crate) fn answer(host: Host, num_headers: usize, body_size: usize, max: usize) -> Answer {
    const NONE: &str = "no answer, or one that is too large";
    // An answer that Envoy itself cut short has no headers at all, and one that failed
    // on APISIX none that may be read but one by one.
    if num_headers == 0 && host != Host::Apisix {
        return Err(NONE.to_owned());
    }
    let header = |name| {
        host::header(Map::CalloutResponse, name)
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
            return Err(format!("the call failed ({cut})"));
        }
    }
    let status = header(":status").and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Err(match host {
            Host::Apisix => NONE.to_owned(),
            Host::Envoy | Host::Kong => "an answer without a status".to_owned(),
        });
    };
    if status != 200 {
        return Ok((status, Vec::new()));
    }
    if body_size > max {
        return Err(format!("the answer is over {max} bytes"));
    }
    host::buffer(Buffer::CalloutResponseBody, body_size)
        .map(|body| (status, body))
        .map_err(|failed| format!("the answer cannot be read (status {})", failed.0))
}
