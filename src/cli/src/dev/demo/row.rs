//! A row of the demo's table: a request that is sent, and what came back.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::dev::stack::Stack;
use crate::sts::Order;
use crate::terminal::{Tone, prose};

/// A line of the table.
pub(super) struct Row {
    pub(super) sent: String,
    pub(super) expected: String,
    pub(super) got: String,
}

pub(super) fn outcome(status: u16, error: Option<&str>) -> String {
    format!("{status} {}", error.unwrap_or_default())
        .trim_end()
        .to_owned()
}

pub(super) fn mint(stack: &Stack, claims: &Value) -> Result<String> {
    let order: Order = serde_json::from_value(json!({ "claims": claims }))?;
    stack.zone.mint(&order)
}

pub(super) async fn send(
    stack: &Stack,
    client: &reqwest::Client,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, Value)> {
    let mut request = client.get(format!("{}{path}", stack.edge()));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request
        .header("x-caracal-sub", "forged")
        .send()
        .await
        .context("the edge did not answer")?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Prints the rows, and says whether all are as expected.
pub(super) fn print(rows: &[Row]) -> bool {
    let wide = |get: fn(&Row) -> &str| rows.iter().map(|row| get(row).len()).max().unwrap_or(0);
    let (a, b) = (wide(|row| &row.sent), wide(|row| &row.expected));
    prose(
        &format!("{:a$}  {:b$}  got", "sent", "expected"),
        Tone::Heading,
    );
    let mut different = 0_usize;
    for row in rows {
        let (mark, tone) = if row.expected == row.got {
            ("", Tone::Plain)
        } else {
            different = different.saturating_add(1);
            ("   <-- DIFFERENT", Tone::Bad)
        };
        let line = format!("{:a$}  {:b$}  {}{mark}", row.sent, row.expected, row.got);
        prose(&line, tone);
    }
    match different {
        0 => prose(&format!("all {} as expected", rows.len()), Tone::Good),
        _ => prose(&format!("{different} of {} differ", rows.len()), Tone::Bad),
    }
    different == 0
}
