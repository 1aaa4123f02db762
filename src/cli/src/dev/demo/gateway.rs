//! The demo's part about Gateway mode: the checklist of the guide "Protect a Gateway-Routed
//! HTTP API", and what else a Gateway must refuse. Each row is judged by the answer and by
//! whether the upstream saw the request.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use caracal_mandate::token::fingerprint::Fingerprint;
use reqwest::Client;
use serde_json::{Value, json};

use super::{Row, outcome};
use crate::dev::stack::Stack;
use crate::sts::{DEMO_PROVIDER_TOKEN, DEMO_SECRET, Order};

/// The row of the guide's checklist that is left out.
pub(super) const NOT_WALKED: &str = "Not shown: the guide's audit event of the action's result. This version does not record one; the STS records its decision on each exchange.";

/// Longest wait for a revocation, or for a companion that comes back.
const PATIENCE: Duration = Duration::from_secs(30);
const BILLING: &str = "resource://billing-api";
const PAYOUTS: &str = "resource://payouts-api";
const CRM: &str = "resource://crm-api";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A request to the edge.
#[derive(Clone, Copy, Default)]
struct Request<'a> {
    mandate: &'a str,
    /// The values of `X-Caracal-Resource`.
    resources: &'a [&'a str],
    /// The value of `X-Caracal-Client-ID`.
    client_id: Option<&'a str>,
}

/// What came of it.
struct Got {
    /// Status, error, and whether the upstream saw it.
    words: String,
    /// What the edge says beside the error, or what the upstream saw.
    body: Value,
}

/// The demo's zone and edge, and the rows so far.
struct Walk<'a> {
    stack: &'a mut Stack,
    client: &'a Client,
    rows: Vec<Row>,
}

/// The rows, and what the upstream saw of the first allowed request.
pub(super) async fn walk(stack: &mut Stack, client: &Client) -> Result<(Vec<Row>, Value)> {
    let mut walk = Walk {
        stack,
        client,
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
        let mandate = self.issued(BILLING, "billing:read").await?;
        let request = Request {
            mandate: &mandate,
            resources: &[BILLING],
            ..Request::default()
        };
        let got = self.send(request).await?;
        let seen = got.body.clone();
        self.row("allowed request", "200, reached", got.words);
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
        let again = self.send(request).await?;
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
        let got = self.send(none).await?;
        self.row("missing mandate", "401 invalid_token, stopped", got.words);
        let (status, body) = self.ask(BILLING, "billing:delete").await?;
        self.row(
            "missing scope: the STS issues no mandate",
            "403 access_denied",
            outcome(status, body.get("error").and_then(Value::as_str)),
        );
        let other = self.issued(BILLING, "billing:write").await?;
        let request = Request {
            mandate: &other,
            ..none
        };
        let got = self.send(request).await?;
        self.row(
            "missing scope: the mandate has another",
            "403 scope_insufficient, stopped",
            got.words,
        );
        let approval = self.issued(PAYOUTS, "billing:payout").await?;
        let request = Request {
            mandate: &approval,
            resources: &[PAYOUTS],
            ..none
        };
        let got = self.send(request).await?;
        self.row(
            "the STS wants an approval first",
            "401 interaction_required, stopped",
            got.words,
        );
        Ok(())
    }

    /// The guide's "Wrong resource header". None of these refusals uses the mandate up.
    async fn routing(&mut self) -> Result<()> {
        let mandate = self.issued(BILLING, "billing:read").await?;
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
            let got = self.send(request).await?;
            self.row(what, expected, got.words);
        }
        let crm = self.issued(CRM, "crm:read").await?;
        let got = self
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
            let mandate = self.minted(&changes)?;
            let got = self.for_billing(&mandate).await?;
            self.row(what, expected, got.words);
        }
        Ok(())
    }

    /// The guide's "Revoked session": its old mandate is refused.
    async fn revoked(&mut self) -> Result<()> {
        let session = json!({"sid": "sid-3", "root_sid": "sid-3"});
        let old = self.minted(&session)?;
        let url = format!("{}/v1/revocations", self.stack.feed());
        let revoke = self
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
            let other = self.minted(&session)?;
            let got = self.for_billing(&other).await?;
            if got.words.starts_with("401") || since.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ms = since.elapsed().as_millis();
        let got = self.for_billing(&old).await?;
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
        self.stack.stop_companion().await?;
        let mandate = self.issued(BILLING, "billing:read").await?;
        let got = self.for_billing(&mandate).await?;
        self.row(
            "the companion has stopped",
            "503 sts_unavailable, stopped",
            got.words,
        );
        self.stack.start_companion().await?;
        let since = Instant::now();
        let got = loop {
            let mandate = self.issued(BILLING, "billing:read").await?;
            let got = self.for_billing(&mandate).await?;
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

    async fn for_billing(&self, mandate: &str) -> Result<Got> {
        let request = Request {
            mandate,
            resources: &[BILLING],
            ..Request::default()
        };
        self.send(request).await
    }

    async fn send(&self, request: Request<'_>) -> Result<Got> {
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
        if let Some(id) = request.client_id {
            asked = asked.header("x-caracal-client-id", id);
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
    async fn issued(&self, resource: &str, scope: &str) -> Result<String> {
        let (status, body) = self.ask(resource, scope).await?;
        let token = body.get("access_token").and_then(Value::as_str);
        let token = token.with_context(|| format!("the STS issues no mandate: {status}"))?;
        Ok(token.to_owned())
    }

    async fn ask(&self, resource: &str, scope: &str) -> Result<(u16, Value)> {
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
    fn minted(&self, changes: &Value) -> Result<String> {
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

/// A token as the upstream shows it.
fn shown(token: &str) -> String {
    format!("(fingerprint {})", Fingerprint::of(token.as_bytes()))
}
