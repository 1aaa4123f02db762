//! The demo's part about Gateway mode: the checklist of the guide "Protect a Gateway-Routed
//! HTTP API", and what else a Gateway must refuse. Each row is judged by the answer and by
//! whether the upstream saw the request.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use caracal_mandate::token::fingerprint::Fingerprint;
use reqwest::Client;
use serde_json::{Value, json};

use super::agent::{Agent, BILLING, Got, Request};
use super::row::{Row, outcome};
use crate::dev::stack::Stack;
use crate::sts::DEMO_PROVIDER_TOKEN;

/// Longest wait for a revocation, or for a companion that comes back.
const PATIENCE: Duration = Duration::from_secs(30);
const PAYOUTS: &str = "resource://payouts-api";
const CRM: &str = "resource://crm-api";

/// An agent, and the rows so far.
struct Walk<'a> {
    agent: Agent<'a>,
    rows: Vec<Row>,
}

/// The rows, and what the upstream saw of the first allowed request.
pub(super) async fn walk(stack: &mut Stack, client: &Client) -> Result<(Vec<Row>, Value)> {
    let mut walk = Walk {
        agent: Agent { stack, client },
        rows: Vec::new(),
    };
    let seen = walk.allowed().await?;
    walk.authority().await?;
    walk.routing().await?;
    walk.times_and_classes().await?;
    walk.revoked().await?;
    walk.outage().await?;
    Ok((walk.rows, seen))
}

impl Walk<'_> {
    /// The guide's "Allowed request", what the upstream sees of it, and a replay.
    async fn allowed(&mut self) -> Result<Value> {
        let mandate = self.agent.issued(BILLING, "billing:read").await?;
        let request = Request {
            mandate: &mandate,
            resources: &[BILLING],
            request_id: Some("demo-allowed"),
            ..Request::default()
        };
        let got = self.agent.send(request).await?;
        let seen = got.body.clone();
        self.row("allowed request", "200, reached", got.words);
        let event = self.event("demo-allowed").await?;
        self.row(
            "audit event of the action's result",
            "gateway_resource_request: allow, executed, 200",
            event,
        );
        let header = |name: &str| {
            let value = seen.pointer(&format!("/headers/{name}"));
            value.and_then(Value::as_str).unwrap_or("none").to_owned()
        };
        self.row(
            "host that the upstream saw",
            "billing.internal",
            header("host"),
        );
        let own = shown(&mandate);
        let credential = match header("authorization") {
            absent if absent == "none" => "none",
            same if same == own => "the one-shot mandate itself",
            _ => "a resource mandate",
        };
        self.row(
            "credential that the upstream saw",
            "a resource mandate",
            credential.to_owned(),
        );
        let again = self.agent.send(request).await?;
        self.explained_row(
            "the same mandate again",
            "401 invalid_token, stopped (replay)",
            again,
            "token replay detected",
            "replay",
        );
        Ok(seen)
    }

    /// The guide's "Missing mandate" and "Missing scope".
    async fn authority(&mut self) -> Result<()> {
        let none = Request {
            resources: &[BILLING],
            ..Request::default()
        };
        let got = self.agent.send(none).await?;
        self.row("missing mandate", "401 invalid_token, stopped", got.words);
        let (status, body) = self.agent.ask(BILLING, "billing:delete").await?;
        self.row(
            "missing scope: the STS issues no mandate",
            "403 access_denied",
            outcome(status, body.get("error").and_then(Value::as_str)),
        );
        let other = self.agent.issued(BILLING, "billing:write").await?;
        let request = Request {
            mandate: &other,
            ..none
        };
        let got = self.agent.send(request).await?;
        self.row(
            "missing scope: the mandate has another",
            "403 scope_insufficient, stopped",
            got.words,
        );
        let approval = self.agent.issued(PAYOUTS, "billing:payout").await?;
        let request = Request {
            mandate: &approval,
            resources: &[PAYOUTS],
            ..none
        };
        let got = self.agent.send(request).await?;
        self.row(
            "the STS wants an approval first",
            "401 interaction_required, stopped",
            got.words,
        );
        Ok(())
    }

    /// The guide's "Wrong resource header". None of these refusals uses the mandate up.
    async fn routing(&mut self) -> Result<()> {
        let mandate = self.agent.issued(BILLING, "billing:read").await?;
        let right = Request {
            mandate: &mandate,
            resources: &[BILLING],
            ..Request::default()
        };
        let with = |resources| Request { resources, ..right };
        for (what, request, expected) in [
            (
                "resource header: unknown",
                with(&["resource://other"]),
                "403 access_denied, stopped",
            ),
            (
                "resource header: not the mandate's",
                with(&[CRM]),
                "403 access_denied, stopped",
            ),
            (
                "resource header: none",
                with(&[]),
                "400 invalid_token, stopped",
            ),
            (
                "resource header: two",
                with(&[BILLING, BILLING]),
                "400 invalid_token, stopped",
            ),
            (
                "X-Caracal-Client-ID: another client",
                Request {
                    client_id: Some("app-2"),
                    ..right
                },
                "400 invalid_token, stopped",
            ),
            (
                "that mandate, sent right: not used up",
                right,
                "200, reached",
            ),
        ] {
            let got = self.agent.send(request).await?;
            self.row(what, expected, got.words);
        }
        let crm = self.agent.issued(CRM, "crm:read").await?;
        let got = self
            .agent
            .send(Request {
                mandate: &crm,
                resources: &[CRM],
                ..right
            })
            .await?;
        let saw = |name: &str| {
            let value = got.body.pointer(name).and_then(Value::as_str);
            value.unwrap_or("none").to_owned()
        };
        self.row(
            "another resource, with its mandate",
            "crm.internal/v2/invoices",
            saw("/headers/host") + &saw("/path"),
        );
        let credential = match saw("/headers/authorization") {
            token if token == shown(DEMO_PROVIDER_TOKEN) => "its provider's token",
            _ => "something else",
        };
        self.row(
            "credential that its upstream saw",
            "its provider's token",
            credential.to_owned(),
        );
        Ok(())
    }

    /// What a Gateway must not take.
    async fn times_and_classes(&mut self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        for (what, changes, expected) in [
            (
                "a mandate that ends in 20 s",
                json!({"exp": now.saturating_add(20)}),
                "401 credential_expired_not_renewable, stopped",
            ),
            (
                "a resource mandate (use is not gateway)",
                json!({"use": "resource"}),
                "401 invalid_token, stopped",
            ),
            (
                "a mandate of another zone",
                json!({"zone_id": "zone-other"}),
                "401 zone_invalid, stopped",
            ),
        ] {
            let mandate = self.agent.minted(&changes)?;
            let got = self.agent.for_billing(&mandate).await?;
            self.row(what, expected, got.words);
        }
        Ok(())
    }

    /// The guide's "Revoked session": its old mandate is refused.
    async fn revoked(&mut self) -> Result<()> {
        let session = json!({"sid": "sid-3", "root_sid": "sid-3"});
        let old = self.agent.minted(&session)?;
        let url = format!("{}/v1/revocations", self.agent.stack.feed());
        let revoke = self
            .agent
            .client
            .post(url)
            .json(&json!({"anchors": ["sid-3"]}))
            .send();
        let status = revoke
            .await
            .context("the companion does not answer")?
            .status();
        ensure!(status.is_success(), "the companion answers {status}");
        let expected = "401 invalid_token, stopped (revoked)";
        let since = Instant::now();
        // Others are sent until it is known everywhere: an admitted one is used up, and
        // would be refused for that.
        loop {
            let other = self.agent.minted(&session)?;
            let got = self.agent.for_billing(&other).await?;
            if got.words.starts_with("401") || since.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ms = since.elapsed().as_millis();
        let got = self.agent.for_billing(&old).await?;
        self.explained_row(
            &format!("revoked session, seen after {ms} ms"),
            expected,
            got,
            "revoked",
            "revoked",
        );
        Ok(())
    }

    /// Without the companion nobody knows whether a mandate was used before.
    async fn outage(&mut self) -> Result<()> {
        self.agent.stack.stop_companion().await?;
        let mandate = self.agent.issued(BILLING, "billing:read").await?;
        let got = self.agent.for_billing(&mandate).await?;
        self.row(
            "the companion has stopped",
            "503 sts_unavailable, stopped",
            got.words,
        );
        self.agent.stack.start_companion().await?;
        let since = Instant::now();
        let got = loop {
            let mandate = self.agent.issued(BILLING, "billing:read").await?;
            let got = self.agent.for_billing(&mandate).await?;
            if got.words.starts_with("200") || since.elapsed() > PATIENCE {
                break got;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let ms = since.elapsed().as_millis();
        self.row(
            &format!("it has started, seen after {ms} ms"),
            "200, reached",
            got.words,
        );
        Ok(())
    }

    /// The first event of a request, in a few words. The edge sends it soon after the answer.
    async fn event(&self, request_id: &str) -> Result<String> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(event) = self.agent.events(request_id).await?.first() {
                let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("none");
                let status = event.pointer("/metadata_json/gateway_status");
                return Ok(format!(
                    "{}: {}, {}, {}",
                    text("event_type"),
                    text("decision"),
                    text("evaluation_status"),
                    status.map_or("none".to_owned(), Value::to_string)
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok("none".to_owned())
    }

    fn row(&mut self, sent: &str, expected: &str, got: String) {
        self.rows.push(Row {
            sent: sent.to_owned(),
            expected: expected.to_owned(),
            got,
        });
    }

    /// A row whose error has several causes: `word` stands for the one that is described so.
    fn explained_row(&mut self, sent: &str, expected: &str, got: Got, described: &str, word: &str) {
        let description = got.body.get("error_description").and_then(Value::as_str);
        let why = match description {
            Some(text) if text.contains(described) => word,
            Some(_) => "for another reason",
            None => "no reason",
        };
        self.row(sent, expected, format!("{} ({why})", got.words));
    }
}

/// A token as the upstream shows it.
fn shown(token: &str) -> String {
    format!("(fingerprint {})", Fingerprint::of(token.as_bytes()))
}
