//! The demo: sends what an integrator wants to see confirmed to a real Envoy, and prints
//! a table; then the same in Gateway mode.

mod agent;
mod gateway;
mod revocation;
mod row;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::dev::stack::{Arguments, Stack};
use crate::exit_status;
use crate::terminal::{self, Tone, prose};
use row::{Row, mint, outcome, print, send};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests are sent before and after the rotation.
const TRAFFIC: Duration = Duration::from_millis(1_500);

/// One request and the expected answer.
struct Step {
    what: &'static str,
    path: &'static str,
    /// How the mandate differs from a good one; none means no mandate.
    claims: Option<Value>,
    status: u16,
    error: Option<&'static str>,
}

fn steps() -> Vec<Step> {
    let step = |what, path, claims, status, error| Step {
        what,
        path,
        claims,
        status,
        error,
    };
    let payout = json!({"scope": "billing:payout"});
    let delegated =
        json!({"scope": "billing:payout", "delegation_edge_id": "edge-1", "hop_count": 1});
    vec![
        step("a good mandate", "/invoices", Some(json!({})), 200, None),
        step("no mandate", "/invoices", None, 401, Some("missing_token")),
        step(
            "of another audience",
            "/invoices",
            Some(json!({"aud": "resource://other"})),
            401,
            Some("invalid_token"),
        ),
        step(
            "of another zone",
            "/invoices",
            Some(json!({"zone_id": "zone-other"})),
            401,
            Some("invalid_zone"),
        ),
        step(
            "expired",
            "/invoices",
            Some(json!({"iat": 1_700_000_000, "exp": 1_700_000_900})),
            401,
            Some("invalid_token"),
        ),
        step(
            "without the scope",
            "/invoices",
            Some(json!({"scope": "billing:other"})),
            403,
            Some("insufficient_scope"),
        ),
        step(
            "not delegated",
            "/payouts",
            Some(payout),
            403,
            Some("delegation_required"),
        ),
        step("delegated", "/payouts", Some(delegated), 200, None),
        step("an excluded path", "/healthz", None, 200, None),
    ]
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut stack = Stack::start(&arguments).await?;
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?;
    let mut rows = Vec::new();
    terminal::progress("sending good and bad mandates");
    for step in steps() {
        rows.push(take(&stack, &client, &step).await?);
    }
    rows.push(forged_header(&stack, &client).await?);
    let seen = what_the_upstream_saw(&stack, &client).await?;
    terminal::progress("rotating the zone's key under traffic, for 3 s");
    rows.extend(rotation(&stack, &client).await?);
    terminal::progress("revoking, and stopping the companion until its state is too old");
    rows.extend(revocation::walk(&mut stack, &client).await?);

    terminal::line("What the upstream got with the good mandate:");
    terminal::line(&serde_json::to_string_pretty(&seen)?);
    terminal::line("");
    let good = print(&rows);

    // The same ports are in both files.
    stack.stop().await?;
    terminal::progress("Gateway mode: starting again, with deploy/envoy/gateway.yaml");
    let arguments = arguments.with("deploy/envoy/gateway.yaml", "gateway");
    let mut stack = Stack::start(&arguments).await?;
    terminal::progress("walking through the guide \"Protect a Gateway-Routed HTTP API\"");
    let (rows, seen) = gateway::walk(&mut stack, &client).await?;
    terminal::line("");
    terminal::line("What the upstream got in Gateway mode:");
    terminal::line(&serde_json::to_string_pretty(&seen)?);
    terminal::line("");
    let gateway_good = print(&rows);
    prose(
        "reached: the upstream saw the request; stopped: it did not",
        Tone::Plain,
    );
    Ok(exit_status::answer(good && gateway_good))
}

async fn take(stack: &Stack, client: &reqwest::Client, step: &Step) -> Result<Row> {
    let token = step
        .claims
        .as_ref()
        .map(|claims| mint(stack, claims))
        .transpose()?;
    let (status, body) = send(stack, client, step.path, token.as_deref()).await?;
    Ok(Row {
        sent: format!("{}, {}", step.what, step.path),
        expected: outcome(step.status, step.error),
        got: outcome(status, body.get("error").and_then(Value::as_str)),
    })
}

/// Every request of the demo carries a forged `x-caracal-sub`. On an excluded path it is
/// removed, and nothing replaces it.
async fn forged_header(stack: &Stack, client: &reqwest::Client) -> Result<Row> {
    let (_, body) = send(stack, client, "/healthz", None).await?;
    let reached = body.pointer("/headers/x-caracal-sub").is_some();
    Ok(Row {
        sent: "a forged x-caracal-sub, /healthz".to_owned(),
        expected: "removed".to_owned(),
        got: if reached { "passed on" } else { "removed" }.to_owned(),
    })
}

async fn what_the_upstream_saw(stack: &Stack, client: &reqwest::Client) -> Result<Value> {
    let token = mint(stack, &json!({}))?;
    let (_, body) = send(stack, client, "/invoices", Some(&token)).await?;
    Ok(body)
}

/// Rotates the zone's key while good mandates are sent, with the old key and the new one.
async fn rotation(stack: &Stack, client: &reqwest::Client) -> Result<[Row; 2]> {
    let before = stack.zone.fetches();
    let (stop, mut stopped) = watch::channel(false);
    let old = mint(stack, &json!({"jti": "old-key"}))?;
    let traffic = async {
        let (mut sent, mut refused) = (0_u64, 0_u64);
        while !*stopped.borrow_and_update() {
            let new = mint(stack, &json!({"jti": format!("m-{sent}")}))?;
            for token in [&old, &new] {
                let (status, _) = send(stack, client, "/invoices", Some(token)).await?;
                sent = sent.saturating_add(1);
                refused = refused.saturating_add(u64::from(status != 200));
            }
        }
        anyhow::Ok((sent, refused))
    };
    let rotate = async {
        tokio::time::sleep(TRAFFIC).await;
        let rotated = stack.zone.rotate();
        tokio::time::sleep(TRAFFIC).await;
        let _ = stop.send(true);
        rotated
    };
    let (counts, rotated) = tokio::join!(traffic, rotate);
    let ((sent, refused), _) = (counts?, rotated?);
    let fetches = stack.zone.fetches().saturating_sub(before);
    let sent = format!("{sent} good mandates, while the key is rotated");
    Ok([
        Row {
            sent,
            expected: "0 refused".to_owned(),
            got: format!("{refused} refused"),
        },
        Row {
            sent: "fetches of the key set meanwhile".to_owned(),
            expected: "1".to_owned(),
            got: fetches.to_string(),
        },
    ])
}
