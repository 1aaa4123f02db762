//! One decision, as the companion takes it: `POST /v1/audit`.

use std::borrow::Cow;

use crate::bytes::is_plain_json;
use crate::token::claims::Claims;

/// Longest text of a member, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;
/// Longest part of a method that is recorded.
const MAX_METHOD_BYTES: usize = 64;

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
    /// See [`EventIds`](super::id::EventIds).
    pub id: &'a str,
    /// Unix time of the decision, in microseconds.
    pub occurred_at_us: u64,
    /// [`zone_members`] of the configured zone that verified or refused. Never of an
    /// unverified claim.
    pub zone: &'a str,
    /// The client's id, if [`usable_id`](crate::exchange::request_id::usable_id) takes it, or
    /// a new one.
    pub request_id: &'a str,
    /// It was admitted. In Gateway mode: it was exchanged.
    pub is_allowed: bool,
    /// What became of it.
    pub status: Option<Status>,
    /// What the client was answered; none if the proxy does not say.
    pub answered: Option<Answered>,
    /// [`mandate_members`] of the verified mandate, if there is one.
    pub mandate: &'a str,
    /// [`resource_member`] of the resource, if it is known.
    pub resource: &'a str,
    /// The token's fingerprint (16 hex digits).
    pub subject_fingerprint: Option<&'a str>,
    /// The request's method.
    pub method: Option<&'a str>,
    /// The trace that the request belongs to (32 hex digits).
    pub trace_id: Option<&'a str>,
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
    /// Writes the event as it stands in a batch.
    ///
    /// ```json
    /// {"id": "019ac5d2-...", "occurred_at_us": 1764300000000000, "zone_id": "zone-1",
    ///  "event_type": "edge_resource_request", "request_id": "6f1c", "decision": "deny",
    ///  "evaluation_status": "denied", "diagnostic": "missing_token", "metadata": {"method": "GET", "gateway_status": 401,
    ///  "latency_ms": 1, "response_bytes": 120, "reason": "missing_token"}}
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut members = Members(out);
        members.plain("{\"id\":\"", self.id);
        members.number("\"occurred_at_us\":", self.occurred_at_us);
        members.written(self.zone);
        members.plain("\"request_id\":\"", self.request_id);
        members.written(match self.is_allowed {
            true => "\"decision\":\"allow\",",
            false => "\"decision\":\"deny\",",
        });
        let status = self.status.map_or("denied", Status::as_str);
        members.plain("\"evaluation_status\":\"", status);
        if let Some(diagnostic) = self.diagnostic {
            members.text("\"diagnostic\":\"", diagnostic);
        }
        members.written("\"metadata\":{");
        self.write_metadata(&mut members);
        members.end("}}");
    }

    fn write_metadata(&self, members: &mut Members<'_>) {
        members.written(self.mandate);
        members.written(self.resource);
        if let Some(fingerprint) = self.subject_fingerprint {
            members.plain("\"subject_fingerprint\":\"", fingerprint);
        }
        if let Some(method) = self.method {
            members.text("\"method\":\"", method);
        }
        if let Some(trace) = self.trace_id {
            members.plain("\"trace_id\":\"", trace);
        }
        for (before, value) in [
            ("\"error_kind\":\"", self.error_kind),
            ("\"reason\":\"", self.reason),
            ("\"upstream_host\":\"", self.upstream_host),
        ] {
            if let Some(value) = value {
                members.text(before, value);
            }
        }
        if let Some(answered) = &self.answered {
            members.number("\"gateway_status\":", answered.status.into());
            members.number("\"latency_ms\":", answered.latency_ms);
            members.number("\"response_bytes\":", answered.bytes);
            if let Some(status) = answered.upstream_status {
                members.number("\"upstream_status\":", status.into());
                members.plain("\"result_class\":\"", result_class(status));
            }
        }
        if self.was_interrupted {
            members.written("\"revocation_interrupted\":true,");
        }
        if self.in_shadow {
            members.written("\"shadow\":true,");
        }
    }
}

/// Members are made of texts, so they are one.
fn text_of(written: Vec<u8>) -> String {
    String::from_utf8(written).unwrap_or_default()
}

/// What each event of a zone says of it.
pub fn zone_members(zone_id: &str, is_gateway: bool) -> String {
    let mut written = Vec::new();
    let mut members = Members(&mut written);
    members.text("\"zone_id\":\"", zone_id);
    members.written(match is_gateway {
        true => "\"event_type\":\"gateway_resource_request\",",
        false => "\"event_type\":\"edge_resource_request\",",
    });
    text_of(written)
}

/// What each event about a resource says of it, by its identifier.
pub fn resource_member(resource: &str) -> String {
    let mut written = Vec::new();
    Members(&mut written).text("\"resource\":\"", resource);
    text_of(written)
}

/// What each event about a verified mandate says of it.
pub fn mandate_members(claims: &Claims) -> String {
    let mut written = Vec::new();
    let mut members = Members(&mut written);
    members.text("\"application_id\":\"", &claims.client_id);
    members.plain("\"subject_kind\":\"", claims.sub_type.as_str());
    for (before, claim) in [
        ("\"agent_session_id\":\"", &claims.agent_session_id),
        ("\"delegation_edge_id\":\"", &claims.delegation_edge_id),
    ] {
        if let Ok(Some(value)) = claim {
            members.text(before, value);
        }
    }
    text_of(written)
}

/// Writes the members of a JSON object, each with a comma behind it.
struct Members<'o>(&'o mut Vec<u8>);

impl Members<'_> {
    /// Members that are written already.
    fn written(&mut self, members: &str) {
        self.0.extend_from_slice(members.as_bytes());
    }

    fn number(&mut self, before: &str, value: u64) {
        self.0.extend_from_slice(before.as_bytes());
        self.0
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.0.push(b',');
    }

    /// A value that needs no escaping. `before` ends with the quote that opens it.
    fn plain(&mut self, before: &str, value: &str) {
        self.0.extend_from_slice(before.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.extend_from_slice(b"\",");
    }

    /// Any value.
    fn text(&mut self, before: &str, value: &str) {
        match value.len() <= MAX_TEXT_BYTES && is_plain_json(value.as_bytes()) {
            true => self.plain(before, value),
            false => self.plain(before, &escaped(value)),
        }
    }

    fn end(&mut self, braces: &str) {
        if self.0.ends_with(b",") {
            self.0.pop();
        }
        self.0.extend_from_slice(braces.as_bytes());
    }
}

/// Cut to its bound, and without control characters: what a client chooses must not write
/// lines of its own into a log that an operator reads.
#[cold]
#[inline(never)]
fn escaped(value: &str) -> String {
    let mut end = value.len().min(MAX_TEXT_BYTES);
    while !value.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let cut = value.get(..end).unwrap_or_default();
    let clean: String = cut.chars().filter(|c| !c.is_control()).collect();
    let quoted = serde_json::to_string(&clean).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

/// A request's method as text: at most 64 bytes of it. HTTP/2 has no bound on a method, and
/// an event is kept for as long as its stream is open.
pub fn method_text(method: &[u8]) -> Cow<'static, str> {
    let usual = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT",
    ];
    match usual.into_iter().find(|one| one.as_bytes() == method) {
        Some(one) => Cow::Borrowed(one),
        None => {
            let cut = method.get(..MAX_METHOD_BYTES).unwrap_or(method);
            Cow::Owned(String::from_utf8_lossy(cut).into_owned())
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
