//! Reads a request of the token endpoint, as strictly as the STS: what could be read in
//! two ways is refused.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, header};

use super::refusal::Refusal;

/// Largest body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// See the module.
pub(super) struct Form {
    pub(super) headers: HeaderMap,
    /// As it was sent: it is signed.
    pub(super) body: Vec<u8>,
    fields: BTreeMap<String, String>,
}

impl Form {
    /// Reads a request.
    pub(super) async fn read(request: Request<Body>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Refusal::new(405, "invalid_token", "POST is required"));
        }
        if parts.uri.query().is_some() {
            return Err(Refusal::malformed("query parameters are not allowed"));
        }
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let why = "application/x-www-form-urlencoded content type is required";
            return Err(Refusal::new(415, "invalid_token", why));
        }
        let body = to_bytes(body, MAX_BODY).await.map_err(|_| {
            let why = "request body too large";
            Refusal::new(413, "payload_too_large", why)
        })?;
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(&body) {
            let twice = fields.insert(name.to_string(), value.to_string());
            if twice.is_some() {
                return Err(Refusal::malformed(format!("duplicate form field: {name}")));
            }
        }
        Ok(Form {
            headers: parts.headers,
            body: body.to_vec(),
            fields,
        })
    }

    /// A field; empty when it is absent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// A header; empty when it is absent or no text.
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}
