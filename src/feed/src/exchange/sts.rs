//! Asks the STS: a signed form over a connection that is kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rand::TryRng as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT};

use super::claims::Claims;
use super::signature::{GatewayKey, NONCE, SIGNATURE, Signed, TIMESTAMP, TOKEN_PATH};
use super::wire::Asked;

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024;
/// Largest form that the STS reads, in bytes.
const MAX_FORM: usize = 64 * 1024;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection is kept without work: less than servers keep it, or a mandate
/// would be used up on one that is just closing.
const KEEP: Duration = Duration::from_secs(15);
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Where the STS is, and how it is asked.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its base URL.
    pub url: String,
    /// The key of the signature.
    pub key: GatewayKey,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// CA certificates in PEM, instead of the system's.
    pub ca: Option<Vec<u8>>,
}

pub(super) struct Sts {
    client: reqwest::Client,
    endpoint: reqwest::Url,
    key: GatewayKey,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `None` when it is over the bound.
    pub(super) body: Option<Vec<u8>>,
}

/// No whole answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReply {
    Timeout,
    Unreachable,
}

impl Sts {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// A URL or certificates that cannot be used.
    pub(super) fn new(address: &Address) -> anyhow::Result<Self> {
        let endpoint = format!("{}{TOKEN_PATH}", address.url.trim_end_matches('/'));
        let mut client = reqwest::Client::builder()
            // A mandate goes to the STS and nowhere else.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT.min(address.timeout))
            .timeout(address.timeout)
            .pool_idle_timeout(KEEP);
        let endpoint = reqwest::Url::parse(&endpoint)?;
        if let Some(ca) = &address.ca {
            client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(ca)?);
        } else if endpoint.scheme() == "http" {
            // A container may have no certificates, and here they are not needed.
            client = client.tls_certs_only([]);
        }
        let client = client
            .build()
            .context("the client for the STS: are there CA certificates on this system?")?;
        Ok(Sts {
            client,
            endpoint,
            key: address.key.clone(),
        })
    }

    /// Sends a form, once.
    pub(super) async fn exchange(&self, body: String, request_id: &str) -> Result<Reply, NoReply> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = since.map_or(0, |since| since.as_secs()).to_string();
        let mut random = [0_u8; 32];
        let drawn = rand::rngs::SysRng.try_fill_bytes(&mut random);
        drawn.map_err(|_| NoReply::Unreachable)?;
        let nonce = hex::encode(random);
        let signature = self.key.sign(Signed {
            timestamp: &timestamp,
            nonce: &nonce,
            method: "POST",
            path: TOKEN_PATH,
            body: body.as_bytes(),
        });
        let sent = self
            .client
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "caracal-gateway")
            .header("x-request-id", request_id)
            .header(TIMESTAMP, timestamp)
            .header(NONCE, nonce)
            .header(SIGNATURE, signature)
            .body(body)
            .send();
        let mut answer = sent.await.map_err(|error| why(&error))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| why(&error))? {
            if body.len().saturating_add(part.len()) > MAX_ANSWER {
                return Ok(Reply {
                    status,
                    headers,
                    body: None,
                });
            }
            body.extend_from_slice(&part);
        }
        Ok(Reply {
            status,
            headers,
            body: Some(body),
        })
    }
}

fn why(error: &reqwest::Error) -> NoReply {
    match error.is_timeout() {
        true => NoReply::Timeout,
        false => NoReply::Unreachable,
    }
}

/// The form: each field once, and no scope, so that the mandate's own is issued. None
/// where it is larger than the STS reads.
pub(super) fn form(asked: &Asked, claims: &Claims) -> Option<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([
        ("grant_type", GRANT),
        ("subject_token", &asked.mandate),
        ("subject_token_type", ACCESS_TOKEN),
        ("zone_id", &claims.zone),
        ("application_id", &claims.client),
        ("resource", &asked.resource),
        ("request_method", &asked.method),
        ("request_path", &asked.path),
        ("gateway_request_id", &asked.request_id),
    ]);
    Some(form.finish()).filter(|form| form.len() <= MAX_FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_has_what_the_gateway_sends() {
        let asked: Asked = serde_json::from_value(serde_json::json!({
            "mandate": "a.b-_.c", "resource": "resource://billing api&x=1", "method": "GET",
            "path": "/é/+ %2F", "request_id": "r+1",
        }))
        .unwrap();
        let claims = Claims {
            jti: "j".to_owned(),
            exp: 1,
            zone: "z:1".to_owned(),
            client: "app-1".to_owned(),
            anchors: Vec::new(),
            epoch: None,
        };
        let form = form(&asked, &claims).unwrap();
        assert_eq!(
            form,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &subject_token=a.b-_.c\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &zone_id=z%3A1&application_id=app-1\
             &resource=resource%3A%2F%2Fbilling+api%26x%3D1\
             &request_method=GET&request_path=%2F%C3%A9%2F%2B+%252F&gateway_request_id=r%2B1"
        );
        let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).collect();
        assert_eq!(pairs[5].1, asked.resource);
        assert_eq!(pairs[7].1, asked.path);
    }
}
