//! What an agent does in Gateway mode: it asks the STS for mandates, and sends requests to
//! the edge.

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};

use super::row::outcome;
use crate::dev::stack::Stack;
use crate::sts::{DEMO_SECRET, Order};

pub(super) const BILLING: &str = "resource://billing-api";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A request to the edge.
#[derive(Clone, Copy, Default)]
pub(super) struct Request<'a> {
    pub(super) mandate: &'a str,
    /// The values of `X-Caracal-Resource`.
    pub(super) resources: &'a [&'a str],
    /// The value of `X-Caracal-Client-ID`.
    pub(super) client_id: Option<&'a str>,
    /// The value of `X-Request-Id`.
    pub(super) request_id: Option<&'a str>,
}

/// What came of it.
pub(super) struct Got {
    /// Status, error, and whether the upstream saw it.
    pub(super) words: String,
    /// What the edge says beside the error, or what the upstream saw.
    pub(super) body: Value,
}

/// See the module.
pub(super) struct Agent<'a> {
    pub(super) stack: &'a mut Stack,
    pub(super) client: &'a Client,
}

impl Agent<'_> {
    pub(super) async fn for_billing(&self, mandate: &str) -> Result<Got> {
        let request = Request {
            mandate,
            resources: &[BILLING],
            ..Request::default()
        };
        self.send(request).await
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Got> {
        let before = self.stack.upstream_requests();
        let mut asked = self
            .client
            .get(format!("{}/invoices?b=2&a=1", self.stack.edge()));
        if !request.mandate.is_empty() {
            asked = asked.bearer_auth(request.mandate);
        }
        for resource in request.resources {
            asked = asked.header("x-caracal-resource", *resource);
        }
        for (name, value) in [
            ("x-caracal-client-id", request.client_id),
            ("x-request-id", request.request_id),
        ] {
            if let Some(value) = value {
                asked = asked.header(name, value);
            }
        }
        let answer = asked.send().await.context("the edge did not answer")?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        let reached = match self.stack.upstream_requests().saturating_sub(before) {
            0 => "stopped",
            1 => "reached",
            _ => "reached several times",
        };
        let words = outcome(status, body.get("error").and_then(Value::as_str));
        Ok(Got {
            words: format!("{words}, {reached}"),
            body,
        })
    }

    /// A one-shot mandate as the STS issues it to the demo's application.
    pub(super) async fn issued(&self, resource: &str, scope: &str) -> Result<String> {
        let (status, body) = self.ask(resource, scope).await?;
        let token = body.get("access_token").and_then(Value::as_str);
        let token = token.with_context(|| format!("the STS issues no mandate: {status}"))?;
        Ok(token.to_owned())
    }

    /// The audit events of a request, as the companion keeps them.
    pub(super) async fn events(&self, request_id: &str) -> Result<Vec<Value>> {
        let feed = self.stack.feed();
        let url = format!("{feed}/v1/audit/recent?request_id={request_id}");
        let answer = self.client.get(url).send().await;
        let answer = answer.context("the companion did not answer")?;
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        let events = body.get("events").and_then(Value::as_array);
        Ok(events.cloned().unwrap_or_default())
    }

    pub(super) async fn ask(&self, resource: &str, scope: &str) -> Result<(u16, Value)> {
        let fields = [
            ("grant_type", GRANT),
            ("zone_id", self.stack.zone.id()),
            ("application_id", "app-1"),
            ("client_secret", DEMO_SECRET),
            ("resource", resource),
            ("scope", scope),
            ("agent_session_id", "agent-1"),
            ("delegation_edge_id", "edge-1"),
        ];
        let url = format!("{}/oauth/2/token", self.stack.sts());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let answer = self
            .client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .context("the STS did not answer")?;
        let status = answer.status().as_u16();
        let body = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        Ok((status, body))
    }

    /// A mandate for the Gateway that the STS would not issue so.
    pub(super) fn minted(&self, changes: &Value) -> Result<String> {
        let mut claims = json!({
            "aud": [self.stack.sts()], "use": "gateway", "target": [BILLING],
            "agent_session_id": "agent-1", "delegation_edge_id": "edge-1",
            "jti": format!("demo-{:032x}", rand::random::<u128>()),
        });
        if let (Some(claims), Some(changes)) = (claims.as_object_mut(), changes.as_object()) {
            claims.extend(changes.clone());
        }
        let order: Order = serde_json::from_value(json!({ "claims": claims }))?;
        self.stack.zone.mint(&order)
    }
}
