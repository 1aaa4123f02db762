//! What the companion answered to an exchange.

use crate::forwarding::is_sendable;
use crate::json::{self, Members, Number, Value};
use crate::reply::{ErrorCode, Refusal, Relayed};
use crate::revocation::{AnchorId, Availability, RevocationView};

/// Largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest text of the STS that a client gets, in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// What a client needs to wait for an approval: the members of the STS's refusal that are
/// relayed.
pub const APPROVAL_MEMBERS: [&str; 6] = [
    "approval_id",
    "approval_type",
    "state",
    "tier",
    "binding",
    "approval_expires_at",
];

/// How the upstream takes its credential (product, Gateway, section 4).
#[derive(Clone, PartialEq, Eq)]
pub enum Attachment {
    /// None is attached.
    None,
    /// In a header: its name in lower case, and its value.
    Header(String, String),
    /// In the query: the parameter's name, and its value.
    Query(String, String),
}

/// What was granted: where the request goes, and with which credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// The upstream's URL, as the STS has it.
    pub url: String,
    /// Hosts that may get the credential; empty for any.
    pub allowed_hosts: Vec<String>,
    /// The upstream's credential.
    pub attachment: Attachment,
    /// For `X-Caracal-Identity`.
    pub identity: Option<String>,
    /// The delegation epoch of the mandate's zone, as the companion knows it; 0 for none.
    pub epoch: u64,
}

/// What the companion knew of the mandate when it had exchanged it, for a proxy in which
/// the filter knows nothing itself. An answer that names a revoked anchor, or that is too
/// old, grants nothing.
impl RevocationView for Granted {
    fn availability(&self) -> Availability {
        Availability::Ready
    }

    fn is_revoked(&self, _: AnchorId) -> bool {
        false
    }

    fn delegation_epoch(&self) -> u64 {
        self.epoch
    }
}

/// Without any credential.
impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").finish_non_exhaustive()
    }
}

/// Reads an answer with status 200. What it says of revocations may be `max_age_ms` old.
///
/// # Errors
/// The reply to the client: what the STS or the companion refused, 503 for an answer that
/// is too old, or 502 for one that cannot be read.
pub fn parse(bytes: &[u8], max_age_ms: u64) -> Result<Granted, Refusal> {
    if bytes.len() > MAX_ANSWER_BYTES {
        return Err(unreadable());
    }
    let members = json::parse_object(bytes).map_err(|_| unreadable())?;
    // Revoked is said beside: what the companion granted in spite of it is refused.
    match json::member(&members, "revoked") {
        Some(Value::Array(revoked)) if revoked.is_empty() => {}
        Some(Value::Array(_)) => {
            let what = "The mandate's session has been revoked";
            return Err(Refusal::new(ErrorCode::SessionRevoked, what));
        }
        _ => return Err(unreadable()),
    }
    match (
        json::member(&members, "granted"),
        json::member(&members, "refused"),
    ) {
        (Some(Value::Object(granted)), None) => {
            let integer = |name| match json::member(&members, name) {
                Some(Value::Number(Number::Integer(n))) => Some(*n),
                _ => None,
            };
            let epoch = match json::member(&members, "epoch") {
                Some(Value::Null) => 0,
                _ => integer("epoch").ok_or_else(unreadable)?,
            };
            let age_ms = integer("confirmed_age_ms").ok_or_else(unreadable)?;
            if age_ms > max_age_ms {
                let what = "The companion's revocation state is too old";
                return Err(Refusal::unavailable(what).used_up());
            }
            Directive(granted).granted(epoch)
        }
        (None, Some(Value::Object(refused))) => Err(refusal(refused).ok_or_else(unreadable)?),
        _ => Err(unreadable()),
    }
}

/// The companion did not answer in time (product, Gateway, section 5).
pub fn timed_out() -> Refusal {
    let what = "The exchange took too long; the mandate may be used up";
    Refusal::new(ErrorCode::ExchangeFailed, what).relaying(Relayed {
        status: 504,
        error: "sts_unavailable".to_owned(),
        ..Relayed::default()
    })
}

/// The companion could not be reached, or its answer is no use.
pub fn unreachable() -> Refusal {
    let what = "The companion gave no result of the exchange; the mandate may be used up";
    Refusal::new(ErrorCode::StsUnavailable, what).used_up()
}

fn unreadable() -> Refusal {
    Refusal::new(
        ErrorCode::ExchangeFailed,
        "The companion's answer to the exchange cannot be read; the mandate may be used up",
    )
}

/// What the STS says of the upstream.
struct Directive<'v, 'a>(&'v Members<'a>);

impl Directive<'_, '_> {
    fn text(&self, name: &str) -> Option<&str> {
        match json::member(self.0, name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.as_ref()),
            _ => None,
        }
    }

    fn granted(&self, epoch: u64) -> Result<Granted, Refusal> {
        let url = self.text("url").ok_or_else(unreadable)?.to_owned();
        let hosts = match json::member(self.0, "allowed_token_hosts") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(hosts)) => hosts
                .iter()
                .map(|host| match host {
                    Value::String(host) => Ok(host.to_ascii_lowercase()),
                    _ => Err(unreadable()),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(unreadable()),
        };
        let attachment = self.attachment()?;
        let identity = self.text("identity").map(str::to_owned);
        if identity.as_deref().is_some_and(|text| !is_credential(text)) {
            return Err(unreadable());
        }
        Ok(Granted {
            url,
            allowed_hosts: hosts,
            attachment,
            identity,
            epoch,
        })
    }

    fn attachment(&self) -> Result<Attachment, Refusal> {
        let mode = self.text("auth_mode").ok_or_else(unreadable)?;
        let name = self.text("auth_header").unwrap_or("Authorization");
        let credential = || {
            let text = self.text("credential").filter(|text| is_credential(text));
            text.ok_or_else(unreadable)
        };
        match mode {
            "none" => Ok(Attachment::None),
            "caracal_jwt" => in_header("authorization", Some("Bearer"), credential()?),
            "provider_oauth" => {
                let scheme = self.text("auth_scheme").unwrap_or("Bearer");
                in_header(name, Some(scheme), credential()?)
            }
            "provider_apikey" if self.text("auth_location") == Some("query") => {
                let name = self.text("query_param_name").ok_or_else(not_built)?;
                // Anything may stand in a query, encoded.
                let key = self.text("credential").ok_or_else(unreadable)?;
                Ok(Attachment::Query(name.to_owned(), key.to_owned()))
            }
            "provider_apikey" => in_header(name, self.text("auth_scheme"), credential()?),
            _ => Err(not_built()),
        }
    }
}

fn in_header(name: &str, scheme: Option<&str>, credential: &str) -> Result<Attachment, Refusal> {
    let name = name.to_ascii_lowercase();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) || is_reserved(&name) {
        return Err(not_built());
    }
    let value = match scheme {
        Some(scheme) if is_sendable(scheme) => [scheme, " ", credential].concat(),
        Some(_) => return Err(not_built()),
        None => credential.to_owned(),
    };
    Ok(Attachment::Header(name, value))
}

/// Whether a header can carry it: visible ASCII and spaces inside, of any length that a
/// proxy takes.
fn is_credential(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_graphic());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

/// Headers that must not carry a credential (product, Gateway, section 4). An upstream
/// reads `_` as `-`, so both count as the same.
pub(super) fn is_reserved(name: &str) -> bool {
    const NAMES: [&str; 16] = [
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    const MORE: [&str; 2] = ["x-real-ip", "x-request-id"];
    const PREFIXES: [&str; 4] = ["proxy-", "x-caracal-", "x-forwarded-", "x-envoy-"];
    let name = name.replace('_', "-");
    NAMES.contains(&name.as_str())
        || MORE.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The upstream's request cannot be made (row G11).
pub(super) fn not_built() -> Refusal {
    Refusal::new(
        ErrorCode::UpstreamRequest,
        "The request to the upstream cannot be made; the mandate is used up",
    )
}

/// The refusal of a `refused` member; `None` when it cannot be read.
fn refusal(refused: &Members<'_>) -> Option<Refusal> {
    let directive = Directive(refused);
    let integer = |name| match json::member(refused, name) {
        Some(Value::Number(Number::Integer(n))) => Some(*n),
        _ => None,
    };
    let status = u16::try_from(integer("status")?).ok()?;
    let error = directive.text("error").filter(|text| is_word(text))?;
    let description = directive.text("error_description").unwrap_or("refused");
    let description = printable(description);
    let relayed = |status, error: &str| Relayed {
        status,
        error: error.to_owned(),
        retry_after_s: integer("retry_after_s"),
        www_authenticate: directive
            .text("www_authenticate")
            .filter(|text| is_sendable(text))
            .map(str::to_owned),
        approval: approval(refused),
    };
    if !(400..600).contains(&status) {
        return Some(Refusal::new(ErrorCode::ExchangeFailed, description));
    }
    let code = match directive.text("cause")? {
        "replay" => return Some(Refusal::new(ErrorCode::TokenReplay, description)),
        "revoked" => return Some(Refusal::new(ErrorCode::SessionRevoked, description)),
        "stale" | "redis" | "circuit_open" | "busy" => ErrorCode::StsUnavailable,
        "sts_refused" | "no_upstream" => ErrorCode::ExchangeRefused,
        "malformed" => ErrorCode::InvalidToken,
        _ => ErrorCode::ExchangeFailed,
    };
    Some(Refusal::new(code, description).relaying(relayed(status, error)))
}

/// An error code (RFC 6749 section 5.2, in the letters that codes have).
fn is_word(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// A text of the STS for a client and a log line: visible, and not too long.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    text.chars().take(MAX_TEXT_BYTES).map(shown).collect()
}

/// The members about an approval: texts, and numbers.
fn approval(refused: &Members<'_>) -> Vec<(&'static str, String)> {
    let Some(Value::Object(approval)) = json::member(refused, "approval") else {
        return Vec::new();
    };
    let member = |name: &'static str| {
        let value = match json::member(approval, name)? {
            Value::String(text) => serde_json::to_string(&printable(text)).ok()?,
            Value::Number(Number::Integer(n)) => n.to_string(),
            _ => return None,
        };
        Some((name, value))
    };
    APPROVAL_MEMBERS.into_iter().filter_map(member).collect()
}

#[cfg(test)]
mod tests;
