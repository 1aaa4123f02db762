//! Reads what the STS answered: the way to the upstream, or its refusal with what the
//! Gateway loses.

use std::collections::BTreeMap;

use caracal_mandate::exchange::answer::APPROVAL_MEMBERS;
use reqwest::header::{HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::sts::Reply;
use super::wire::{Cause, Granted, Refused};

/// Longest description that is passed on, in characters.
const MAX_DESCRIPTION: usize = 512;
/// Longest code or member of an approval, in characters.
const MAX_MEMBER: usize = 256;
/// Longest wait that is passed on.
const MAX_RETRY_S: u64 = 3_600;

#[derive(Deserialize)]
struct Success {
    access_token: String,
    #[serde(default)]
    upstreams: BTreeMap<String, Upstream>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Upstream {
    url: String,
    auth_mode: String,
    auth_location: Option<String>,
    auth_header: Option<String>,
    query_param_name: Option<String>,
    auth_scheme: Option<String>,
    allowed_token_hosts: Option<Vec<String>>,
    provider_token: Option<String>,
    provider_id: Option<String>,
    connection_id: Option<String>,
    forward_caracal_identity: Option<bool>,
}

/// The result of an exchange of one mandate for one resource.
pub(super) fn read(reply: Reply, resource: &str, mandate: &str) -> Result<Granted, Box<Refused>> {
    if reply.status != 200 {
        return Err(Box::new(refusal(&reply, mandate)));
    }
    granted(reply.body.as_deref(), resource)
}

/// Whether it shows that the STS is not well, as the Gateway counts it.
pub(super) fn is_failure(refused: &Refused) -> bool {
    refused.status >= 500 && refused.error == "sts_unavailable"
}

fn invalid() -> Box<Refused> {
    let why = "sts response invalid";
    Box::new(Refused::unavailable(502, why, Cause::StsAnswer))
}

fn granted(body: Option<&[u8]>, resource: &str) -> Result<Granted, Box<Refused>> {
    let mut success: Success = body
        .and_then(|body| serde_json::from_slice(body).ok())
        .ok_or_else(invalid)?;
    if !is_sendable(&success.access_token) {
        return Err(invalid());
    }
    let upstream = success.upstreams.remove(resource);
    let Some(upstream) = upstream.filter(|upstream| !upstream.url.is_empty()) else {
        let why = "resource upstream not configured";
        return Err(Box::new(Refused::new(
            403,
            "access_denied",
            why,
            Cause::NoUpstream,
        )));
    };
    let by_provider = match upstream.auth_mode.as_str() {
        "none" | "caracal_jwt" => false,
        "provider_oauth" | "provider_apikey" => true,
        _ => return Err(invalid()),
    };
    let credential = match upstream.auth_mode.as_str() {
        "none" => None,
        "caracal_jwt" => Some(success.access_token.clone()),
        // Without a credential the upstream would be called as nobody.
        _ => Some(upstream.provider_token.ok_or_else(invalid)?),
    };
    if credential
        .as_deref()
        .is_some_and(|value| !is_sendable(value))
    {
        return Err(invalid());
    }
    let identity = by_provider && upstream.forward_caracal_identity == Some(true);
    Ok(Granted {
        url: upstream.url,
        auth_mode: upstream.auth_mode,
        auth_location: some(upstream.auth_location),
        auth_header: some(upstream.auth_header),
        query_param_name: some(upstream.query_param_name),
        auth_scheme: some(upstream.auth_scheme),
        allowed_token_hosts: upstream.allowed_token_hosts.unwrap_or_default(),
        credential,
        identity: identity.then_some(success.access_token),
        provider_id: some(upstream.provider_id),
        connection_id: some(upstream.connection_id),
    })
}

fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A header or a query can carry it.
fn is_sendable(value: &str) -> bool {
    !value.is_empty() && !value.chars().any(char::is_control)
}

fn refusal(reply: &Reply, mandate: &str) -> Refused {
    let body = reply.body.as_deref();
    let body: Option<Map<String, Value>> = body.and_then(|body| serde_json::from_slice(body).ok());
    // Only what a refusal can have is passed on; anything else is no answer.
    let status = match reply.status {
        400..=599 => reply.status,
        _ => 502,
    };
    let code = body.as_ref().and_then(|body| body.get("error"));
    let code = code.and_then(Value::as_str).filter(|code| is_code(code));
    let mut refused = match (code, &body) {
        (Some(code), Some(body)) => {
            let description = body.get("error_description").and_then(Value::as_str);
            let description = shown(description.unwrap_or_default(), mandate);
            let mut refused = Refused::new(status, code, &description, Cause::StsRefused);
            refused.approval = approval(body);
            refused
        }
        _ => {
            let reason = reqwest::StatusCode::from_u16(reply.status).ok();
            let reason = reason.and_then(|status| status.canonical_reason());
            Refused::unavailable(
                status,
                reason.unwrap_or("sts unavailable"),
                Cause::StsRefused,
            )
        }
    };
    refused.www_authenticate = header(&reply.headers, &WWW_AUTHENTICATE)
        .filter(|challenge| !challenge.contains(mandate))
        .map(str::to_owned);
    refused.retry_after_s = header(&reply.headers, &RETRY_AFTER)
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .map(|seconds| seconds.min(MAX_RETRY_S));
    refused
}

fn is_code(code: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=64).contains(&code.len()) && code.bytes().all(known)
}

/// Words of the STS, cut, without control characters, and without the token.
fn shown(text: &str, mandate: &str) -> String {
    if text.contains(mandate) {
        return "the sts refused it".to_owned();
    }
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(MAX_DESCRIPTION).collect()
}

fn approval(body: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut approval = Map::new();
    for name in APPROVAL_MEMBERS {
        let value = match body.get(name) {
            Some(Value::String(text)) => {
                let plain = text.chars().filter(|c| !c.is_control());
                Value::String(plain.take(MAX_MEMBER).collect())
            }
            Some(Value::Number(number)) => Value::Number(number.clone()),
            _ => continue,
        };
        approval.insert(name.to_owned(), value);
    }
    approval.contains_key("approval_id").then_some(approval)
}

fn header<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= MAX_DESCRIPTION && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests;
