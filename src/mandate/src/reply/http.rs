//! What a client is sent, over HTTP and gRPC.

use super::code::ErrorCode;
use super::refusal::Refusal;

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
            headers.push(("www-authenticate", challenge(error, refusal)));
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

pub(super) fn challenge(error: Option<&str>, refusal: &Refusal) -> String {
    let mut value = String::with_capacity(128);
    // RFC 6750 section 3: the scheme needs at least one parameter.
    value.push_str("Bearer realm=\"caracal\"");
    if let Some(error) = error {
        value.push_str(", error=\"");
        value.push_str(error);
        value.push('"');
    }
    if let Some(scope) = refusal.scope() {
        value.push_str(", scope=\"");
        value.push_str(scope);
        value.push('"');
    }
    value
}
