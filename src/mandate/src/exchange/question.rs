//! What the companion is asked for one request.

/// What an exchange needs of a request, kept while the request waits.
#[derive(Clone)]
pub struct ExchangeRequest {
    /// The mandate's token. Never log it.
    pub token: Vec<u8>,
    /// The request's method.
    pub method: Vec<u8>,
    /// The request target, with its query.
    pub target: Vec<u8>,
    /// The request's id.
    pub request_id: String,
}

/// Without the token and the query: a debug print must not leak a credential.
impl std::fmt::Debug for ExchangeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeRequest")
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl ExchangeRequest {
    /// The body of `POST /v1/exchange`. The path is decoded, without its query: policy is
    /// decided on what the upstream reads.
    ///
    /// ```json
    /// {"mandate": "eyJ...", "resource": "resource://billing", "method": "GET",
    ///  "path": "/invoices/1", "request_id": "6f1c", "max_age_ms": 30000}
    /// ```
    ///
    /// `None` when the token, the method or the path is no text.
    pub fn question(&self, resource: &str, max_age_ms: u64) -> Option<Vec<u8>> {
        let path = self.target.split(|b| *b == b'?').next()?;
        let path = String::from_utf8(decoded(path)?).ok()?;
        let quoted = |text: &str| serde_json::to_string(text).ok();
        let text = |bytes| quoted(std::str::from_utf8(bytes).ok()?);
        let body = [
            "{\"mandate\":",
            &text(&self.token)?,
            ",\"resource\":",
            &quoted(resource)?,
            ",\"method\":",
            &text(&self.method)?,
            ",\"path\":",
            &quoted(&path)?,
            ",\"request_id\":",
            &quoted(&self.request_id)?,
            ",\"max_age_ms\":",
            &max_age_ms.to_string(),
            "}",
        ];
        Some(body.concat().into_bytes())
    }
}

/// Percent-decoded; `None` for an incomplete encoding.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>()?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let digits = std::str::from_utf8(digits).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_decoded_and_nothing_breaks_out_of_its_quotes() {
        let request = ExchangeRequest {
            token: b"a.b.c".to_vec(),
            method: b"GET".to_vec(),
            target: b"/invoices/%C3%A9%22?token=secret".to_vec(),
            request_id: "id-1".to_owned(),
        };
        let body = request.question("resource://\"x", 30_000).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "mandate": "a.b.c", "resource": "resource://\"x", "method": "GET",
                "path": "/invoices/é\"", "request_id": "id-1", "max_age_ms": 30_000,
            })
        );
        assert!(!format!("{request:?}").contains("a.b.c"));
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_text_is_not_asked() {
        let request = |target: &[u8]| ExchangeRequest {
            token: b"a.b.c".to_vec(),
            method: b"GET".to_vec(),
            target: target.to_vec(),
            request_id: "id-1".to_owned(),
        };
        for bad in [&b"/%"[..], b"/%4", b"/%zz", b"/%+1", b"/%ff", b"/\xff"] {
            assert_eq!(request(bad).question("r", 30_000), None, "{bad:?}");
        }
    }
}
