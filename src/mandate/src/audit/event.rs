//! One decision, as the companion takes it: `POST /v1/audit`.

use sha2::{Digest as _, Sha256};

/// Longest text of a member, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

/// What became of a request (contract, "Audit stream": `evaluation_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was let go on, and the upstream answered.
    Executed,
    /// It was let go on, and the upstream gave no answer, or not all of one.
    UpstreamError,
    /// It was refused for what it is.
    Denied,
    /// It was refused because the edge lacked what it decides by.
    Unavailable,
    /// Gateway mode: the STS named another upstream than the configuration.
    UpstreamRejected,
    /// Gateway mode: the upstream's request could not be made.
    BuildFailed,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Executed => "executed",
            Status::UpstreamError => "upstream_error",
            Status::Denied => "denied",
            Status::Unavailable => "unavailable",
            Status::UpstreamRejected => "upstream_rejected",
            Status::BuildFailed => "build_failed",
        }
    }
}

/// What the client was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status; 0 if the client left without one.
    pub status: u16,
    /// From the request's first byte to the answer's last one, in milliseconds.
    pub latency_ms: u64,
    /// Size of the answer's body.
    pub bytes: u64,
    /// The upstream's status, if it answered.
    pub upstream_status: Option<u16>,
}

/// One decision. Texts come as they are: [`Event::to_json`] makes them fit.
#[derive(Debug, Default)]
pub struct Event<'a> {
    /// See [`event_id`].
    pub id: String,
    /// Unix time of the decision, in microseconds.
    pub occurred_at_us: u64,
    /// The configured zone that verified or refused. Never an unverified claim.
    pub zone_id: &'a str,
    /// It was decided in Gateway mode.
    pub is_gateway: bool,
    /// The client's id, or a new one.
    pub request_id: &'a str,
    /// It was admitted. In Gateway mode: it was exchanged.
    pub is_allowed: bool,
    /// What became of it.
    pub status: Option<Status>,
    /// What the client was answered; none if the proxy does not say.
    pub answered: Option<Answered>,
    /// `client_id` of the verified mandate.
    pub application_id: Option<&'a str>,
    /// Identifier of the resource.
    pub resource: Option<&'a str>,
    /// The token's fingerprint (16 hex digits).
    pub subject_fingerprint: Option<&'a str>,
    /// `sub_type` of the verified mandate.
    pub subject_kind: Option<&'a str>,
    /// The request's method.
    pub method: Option<&'a [u8]>,
    /// The trace that the request belongs to (32 hex digits).
    pub trace_id: Option<&'a str>,
    /// `agent_session_id` of the verified mandate.
    pub agent_session_id: Option<&'a str>,
    /// `delegation_edge_id` of the verified mandate.
    pub delegation_edge_id: Option<&'a str>,
    /// It was ended because its authority was.
    pub was_interrupted: bool,
    /// It was decided in shadow: if it was refused, it went on all the same.
    pub in_shadow: bool,
    /// Why there was no whole answer of the upstream.
    pub error_kind: Option<&'a str>,
    /// Why it was refused: our code.
    pub reason: Option<&'a str>,
    /// Why, in the operator's words: `Refusal::reason`.
    pub diagnostic: Option<&'a str>,
    /// Gateway mode: host and port of the upstream.
    pub upstream_host: Option<&'a str>,
}

impl Event<'_> {
    /// The event in a batch.
    ///
    /// ```json
    /// {"id": "019ac5d2-...", "occurred_at_us": 1764300000000000, "zone_id": "zone-1",
    ///  "event_type": "edge_resource_request", "request_id": "6f1c", "decision": "deny",
    ///  "evaluation_status": "denied", "diagnostic": "missing_token", "metadata": {"method": "GET", "gateway_status": 401,
    ///  "latency_ms": 1, "response_bytes": 120, "reason": "missing_token"}}
    /// ```
    pub fn to_json(&self) -> String {
        let event_type = match self.is_gateway {
            true => "gateway_resource_request",
            false => "edge_resource_request",
        };
        let decision = if self.is_allowed { "allow" } else { "deny" };
        let status = self.status.map_or("denied", Status::as_str);
        let method = self.method.map(String::from_utf8_lossy);
        let mut metadata = Members::default();
        for (name, value) in [
            ("application_id", self.application_id),
            ("resource", self.resource),
            ("subject_fingerprint", self.subject_fingerprint),
            ("subject_kind", self.subject_kind),
            ("method", method.as_deref()),
            ("trace_id", self.trace_id),
            ("agent_session_id", self.agent_session_id),
            ("delegation_edge_id", self.delegation_edge_id),
            ("error_kind", self.error_kind),
            ("reason", self.reason),
            ("upstream_host", self.upstream_host),
        ] {
            if let Some(value) = value {
                metadata.text(name, value);
            }
        }
        if let Some(answered) = &self.answered {
            metadata.number("gateway_status", answered.status.into());
            metadata.number("latency_ms", answered.latency_ms);
            metadata.number("response_bytes", answered.bytes);
            if let Some(status) = answered.upstream_status {
                metadata.number("upstream_status", status.into());
                metadata.text("result_class", result_class(status));
            }
        }
        for (name, is_true) in [
            ("revocation_interrupted", self.was_interrupted),
            ("shadow", self.in_shadow),
        ] {
            if is_true {
                metadata.member(name, "true");
            }
        }
        let mut event = Members::default();
        event.text("id", &self.id);
        event.number("occurred_at_us", self.occurred_at_us);
        for (name, value) in [
            ("zone_id", self.zone_id),
            ("event_type", event_type),
            ("request_id", self.request_id),
            ("decision", decision),
            ("evaluation_status", status),
        ] {
            event.text(name, value);
        }
        if let Some(diagnostic) = self.diagnostic {
            event.text("diagnostic", diagnostic);
        }
        event.member("metadata", &metadata.end());
        event.end()
    }
}

/// The members of a JSON object.
#[derive(Default)]
struct Members(String);

impl Members {
    fn member(&mut self, name: &str, value: &str) {
        let before = if self.0.is_empty() { "{\"" } else { ",\"" };
        for part in [before, name, "\":", value] {
            self.0.push_str(part);
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.member(name, &value.to_string());
    }

    /// Cut to its bound, and without control characters: what a client chooses must not
    /// write lines of its own into a log that an operator reads.
    fn text(&mut self, name: &str, value: &str) {
        let mut end = value.len().min(MAX_TEXT_BYTES);
        while !value.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let cut = value.get(..end).unwrap_or_default();
        let clean: String = cut.chars().filter(|c| !c.is_control()).collect();
        self.member(name, &serde_json::to_string(&clean).unwrap_or_default());
    }

    fn end(mut self) -> String {
        match self.0.is_empty() {
            true => "{}".to_owned(),
            false => {
                self.0.push('}');
                self.0
            }
        }
    }
}

fn result_class(status: u16) -> &'static str {
    match status {
        200..=299 => "success",
        300..=399 => "redirect",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unknown",
    }
}

/// A new id in the form of a UUIDv7 (RFC 9562 section 5.7). The filter has no random
/// source: `parts` must differ for each event.
pub fn event_id(unix_ms: u64, parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new_with_prefix("audit");
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        digest.update(length.to_le_bytes());
        digest.update(part);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let random: String = digest.iter().take(10).fold(String::new(), |mut hex, byte| {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        hex
    });
    let time = format!("{:012x}", unix_ms & 0xffff_ffff_ffff);
    let of = |text: &str, from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    [
        of(&time, 0, 8),
        "-".to_owned(),
        of(&time, 8, 12),
        "-7".to_owned(),
        of(&random, 0, 3),
        "-8".to_owned(),
        of(&random, 3, 6),
        "-".to_owned(),
        of(&random, 6, 18),
    ]
    .concat()
}

/// The trace id of a `traceparent` (W3C Trace Context), if it has one.
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let mut parts = traceparent.split(|b| *b == b'-');
    let trace = parts.nth(1)?;
    let is_hex = trace.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let fits = trace.len() == 32 && is_hex && parts.count() == 2;
    std::str::from_utf8(trace).ok().filter(|_| fits)
}

#[cfg(test)]
mod tests;
