//! The demo's part about revocation: what ends a mandate before it expires, and what
//! happens if nobody knows what is revoked.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use super::row::{Row, mint, outcome, send};
use crate::dev::stack::Stack;

/// Longest wait for a change: `max_staleness_s` of envoy.yaml, and some more.
const PATIENCE: Duration = Duration::from_secs(30);
const PATH: &str = "/invoices";

pub(super) async fn walk(stack: &mut Stack, client: &Client) -> Result<Vec<Row>> {
    let session = mint(stack, &json!({"sid": "sid-2", "root_sid": "sid-2"}))?;
    let delegated = mint(stack, &json!({"delegation_graph_epoch": 1}))?;
    let other = mint(stack, &json!({"jti": "other"}))?;
    let mut rows = vec![row(
        "before it is revoked",
        "200",
        answer(stack, client, &session).await?,
    )];

    tell(stack, client, json!({"anchors": ["sid-2"]})).await?;
    let (got, took) = wait_for(stack, client, &session, "401 session_revoked").await?;
    let ms = took.as_millis();
    rows.push(row(
        &format!("its session revoked, seen after {ms} ms"),
        "401 session_revoked",
        got,
    ));
    rows.push(row(
        "of another session",
        "200",
        answer(stack, client, &other).await?,
    ));

    tell(stack, client, json!({"zone": stack.zone.id(), "epoch": 2})).await?;
    let (got, took) = wait_for(stack, client, &delegated, "401 delegation_stale").await?;
    let ms = took.as_millis();
    rows.push(row(
        &format!("delegation epoch raised, seen after {ms} ms"),
        "401 delegation_stale",
        got,
    ));

    stack.stop_companion().await?;
    rows.push(row(
        "the companion has just stopped",
        "200",
        answer(stack, client, &other).await?,
    ));
    let (got, took) = wait_for(stack, client, &other, "503 sts_unavailable").await?;
    let seconds = took.as_secs_f64();
    rows.push(row(
        &format!("the companion away for {seconds:.1} s"),
        "503 sts_unavailable",
        got,
    ));
    let (status, _) = send(stack, client, "/healthz", None).await?;
    rows.push(row(
        "an excluded path meanwhile",
        "200",
        outcome(status, None),
    ));
    stack.start_companion().await?;
    let (got, took) = wait_for(stack, client, &other, "200").await?;
    let ms = took.as_millis();
    rows.push(row(
        &format!("the companion started, seen after {ms} ms"),
        "200",
        got,
    ));
    rows.push(row(
        "the revoked session",
        "401 session_revoked",
        answer(stack, client, &session).await?,
    ));
    Ok(rows)
}

fn row(what: &str, expected: &str, got: String) -> Row {
    Row {
        sent: format!("{what}, {PATH}"),
        expected: expected.to_owned(),
        got,
    }
}

async fn answer(stack: &Stack, client: &Client, token: &str) -> Result<String> {
    let (status, body) = send(stack, client, PATH, Some(token)).await?;
    Ok(outcome(status, body.get("error").and_then(Value::as_str)))
}

/// Sends until the answer is the expected one, and returns how long that took.
async fn wait_for(
    stack: &Stack,
    client: &Client,
    token: &str,
    expected: &str,
) -> Result<(String, Duration)> {
    let since = Instant::now();
    loop {
        let got = answer(stack, client, token).await?;
        if got == expected || since.elapsed() > PATIENCE {
            return Ok((got, since.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn tell(stack: &Stack, client: &Client, body: Value) -> Result<()> {
    let url = format!("{}/v1/revocations", stack.feed());
    let answer = client.post(url).json(&body).send().await;
    let status = answer.context("the companion does not answer")?.status();
    ensure!(status.is_success(), "the companion answers {status}");
    Ok(())
}
