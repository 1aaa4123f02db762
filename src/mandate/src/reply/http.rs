//! What a client is sent, over HTTP and gRPC.

use super::challenge::{self, Challenge};
use super::code::ErrorCode;
use super::refusal::{Refusal, scope_of};

/// The format of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyFormat {
    /// JSON over HTTP.
    Http,
    /// A gRPC status. The proxy turns the body into `grpc-message`, so the body is plain
    /// text.
    Grpc,
}

impl ReplyFormat {
    /// Chooses by the request's `content-type`. gRPC-Web clients read plain HTTP errors.
    pub fn for_content_type(content_type: Option<&[u8]>) -> Self {
        let grpc = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
        match grpc {
            Some([] | [b'+' | b';', ..]) => ReplyFormat::Grpc,
            _ => ReplyFormat::Http,
        }
    }
}

/// The reply to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// gRPC status code, used if the request was gRPC.
    pub grpc_status: u8,
    /// Response headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Response body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The reply to a refusal (contract, "Order of checks").
    pub fn new(refusal: &Refusal, format: ReplyFormat) -> Self {
        let code = refusal.code();
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if let Some(error) = code.challenge() {
            headers.push(("www-authenticate", challenge::plain(error, refusal.scope())));
        }
        // To send a mandate again that is used up is a replay.
        if code == ErrorCode::StsUnavailable && !refusal.is_used_up() {
            headers.push(("retry-after", "1".to_owned()));
        }
        let body = match format {
            ReplyFormat::Http => {
                headers.push(("content-type", "application/json".to_owned()));
                let body = Body {
                    error: code.as_str(),
                    error_description: refusal.description(),
                    error_hint: refusal.hint(),
                };
                body.to_json()
            }
            ReplyFormat::Grpc => [code.as_str(), ": ", refusal.description()]
                .concat()
                .into_bytes(),
        };
        Reply {
            status: code.http_status(),
            grpc_status: code.grpc_status(),
            headers,
            body,
        }
    }
}

/// The body of a reply over HTTP (contract, "Order of checks").
#[derive(serde::Serialize)]
struct Body<'a> {
    error: &'a str,
    error_description: &'a str,
    error_hint: &'a str,
}

impl Body<'_> {
    fn to_json(&self) -> Vec<u8> {
        let texts = [self.error, self.error_description, self.error_hint];
        // The names and the marks around them are 53 bytes.
        let size = texts
            .iter()
            .fold(64_usize, |size, text| size.saturating_add(text.len()));
        let mut json = Vec::with_capacity(size);
        // Three strings can always be serialized into memory.
        if serde_json::to_writer(&mut json, self).is_err() {
            json.clear();
        }
        json
    }
}

impl Reply {
    /// Names what is configured in the reply's challenge, if it has one. `scopes` are those
    /// that the operation requires: a client that has no mandate yet needs them too.
    ///
    /// What the STS says of a step-up is passed on as it came: only the STS knows the
    /// parameters of its own challenge.
    #[cold]
    pub fn say_in_challenge(&mut self, refusal: &Refusal, of: &Challenge, scopes: &[String]) {
        let is_of_sts = refusal
            .relayed()
            .is_some_and(|relayed| relayed.www_authenticate.is_some());
        let mut headers = self.headers.iter_mut();
        let Some((_, said)) = headers.find(|(name, _)| *name == "www-authenticate") else {
            return;
        };
        if is_of_sts {
            return;
        }
        let error = refusal.code().challenge().unwrap_or(Some("invalid_token"));
        let all;
        let scope = match refusal.scope() {
            Some(scope) => Some(scope),
            None => {
                all = scope_of(scopes);
                all.as_deref()
            }
        };
        *said = challenge::configured(error, scope, of);
    }
}
