//! Explains the decisions on one request that were recorded: which check, what it compared,
//! and what to do.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use caracal_mandate::config::Configuration;
use caracal_mandate::exchange::request_id::usable_id;
use serde_json::{Value, json};

use super::cause;
use super::decision::{Decision, word};
use super::source::{MAX_FOUND, SourceArguments};
use crate::exit_status;
use crate::terminal::{self, Tone, shown};

/// Explains a request by its id. The answer is yes if the edge admitted it.
///
/// # Errors No decision on it is found, or the source does not answer.
pub(crate) async fn explain(
    request_id: &str,
    arguments: &SourceArguments,
    feed: Option<&str>,
    configuration: Option<&Configuration>,
    as_json: bool,
) -> Result<ExitCode> {
    ensure!(
        usable_id(request_id.as_bytes()).is_some(),
        "{} is no id that an event can have: 1 to 128 letters, digits and _.-: (the edge makes one of its own where the client's is another)",
        shown(request_id)
    );
    let mut source = arguments.source(feed)?;
    terminal::progress(&format!("looking through {}", source.name()));
    let found = source.of_request(request_id).await?;
    source.warn_if_unchecked();
    source.warn_of_unsigned();
    ensure!(
        found.iter().any(Decision::is_of_an_edge),
        "{} has no decision of an edge on request {request_id}. An event is there a second after the request has ended; an excluded path has none",
        source.name()
    );
    if found.len() >= MAX_FOUND {
        terminal::problem(&format!(
            "only the newest {MAX_FOUND} events of this id are shown: clients choose their ids"
        ));
    }
    for decision in &found {
        match as_json {
            true => terminal::json(&json(decision, configuration)),
            false => print(decision, configuration),
        }
    }
    let mut of_edges = found.iter().filter(|one| one.is_of_an_edge());
    Ok(exit_status::answer(of_edges.all(Decision::is_allowed)))
}

fn print(decision: &Decision, configuration: Option<&Configuration>) {
    let (what, tone) = match (decision.is_denied(), decision.is_allowed()) {
        (true, _) if decision.is_in_shadow() => ("WOULD BE REFUSED", Tone::Warning),
        (true, _) => ("REFUSED", Tone::Bad),
        (false, true) => ("ADMITTED", Tone::Good),
        (false, false) => ("UNKNOWN", Tone::Warning),
    };
    let kind = match decision.is_of_an_edge() {
        true => String::new(),
        false => format!(" by {}", shown(decision.text("event_type"))),
    };
    let status = decision.number("gateway_status");
    let status = status.map_or_else(String::new, |status| format!(" {status}"));
    let code = match decision.code() {
        "" => String::new(),
        code => format!(" {}", word(code)),
    };
    terminal::prose(&format!("{what}{kind}{status}{code}"), tone);
    let fact = |name: &str, text: String| {
        if !text.is_empty() {
            terminal::prose(&format!("  {name:9} {text}"), Tone::Plain);
        }
    };
    let quoted = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            shown(text)
        }
    };
    fact("when", quoted(decision.text("occurred_at")));
    fact("zone", quoted(decision.text("zone_id")));
    fact("resource", quoted(decision.resource()));
    fact("method", quoted(decision.metadata("method")));
    fact("client", quoted(decision.client()));
    fact("token", quoted(decision.metadata("subject_fingerprint")));
    fact("outcome", outcome(decision));
    if !decision.is_denied() {
        return;
    }
    fact("reason", quoted(decision.reason()));
    match cause::of(decision.reason(), configuration) {
        Some(cause) => {
            fact("check", format!("row {} compared {}", cause.row, cause.compared));
            fact("to do", cause.advice.to_owned());
        }
        None if decision.is_of_an_edge() => fact(
            "to do",
            "This version knows no such reason: docs/reference/errors.md of the edge's version has it.".to_owned(),
        ),
        None => {}
    }
}

/// What became of the request after the decision.
fn outcome(decision: &Decision) -> String {
    let mut parts = Vec::new();
    if decision.is_denied() && decision.is_in_shadow() {
        parts.push("in shadow, so it went on to the service".to_owned());
    }
    if !decision.text("evaluation_status").is_empty() {
        parts.push(shown(decision.text("evaluation_status")));
    }
    if let Some(status) = decision.number("upstream_status") {
        parts.push(format!("the upstream answered {status}"));
    }
    if !decision.metadata("error_kind").is_empty() {
        parts.push(shown(decision.metadata("error_kind")));
    }
    let metadata = decision.event().get("metadata_json");
    if metadata.and_then(|all| all.get("revocation_interrupted")) == Some(&Value::Bool(true)) {
        parts.push("it was cut because its authority was revoked".to_owned());
    }
    if let Some(ms) = decision.number("latency_ms") {
        parts.push(format!("{ms} ms"));
    }
    if let Some(bytes) = decision.number("response_bytes") {
        parts.push(format!("{bytes} bytes"));
    }
    parts.join(", ")
}

fn json(decision: &Decision, configuration: Option<&Configuration>) -> Value {
    let cause = decision
        .is_denied()
        .then(|| cause::of(decision.reason(), configuration))
        .flatten();
    json!({
        "event": decision.event(),
        "reason": decision.reason(),
        "in_shadow": decision.is_in_shadow(),
        "row": cause.as_ref().map(|cause| cause.row),
        "compared": cause.as_ref().map(|cause| cause.compared.clone()),
        "advice": cause.as_ref().map(|cause| cause.advice),
    })
}
