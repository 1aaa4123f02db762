//! What is said of routes of MCP.

use caracal_mandate::decision::explain::TokenCheck;
use caracal_mandate::mcp::headers::{METHOD_HEADER, NAME_HEADER, VERSION_HEADER};
use caracal_mandate::mcp::rule::McpRule;

use super::request::Request;
use super::shown_values::{list, nothing};
use super::subject::Subject;
use crate::terminal::shown_bytes;

/// What the request's route says about MCP.
fn rule<'a>(subject: &Subject<'a>) -> Option<&'a McpRule> {
    let rules = &subject.resource?.rules;
    Some(&rules.mcp(subject.trace.location.rule?)?.rule)
}

/// What was expected of a check of MCP, and what was found.
pub(super) fn compared(check: TokenCheck, subject: &Subject<'_>) -> (String, String) {
    let Some(rule) = rule(subject) else {
        return ("nothing: the route has no mcp".to_owned(), nothing());
    };
    if check == TokenCheck::Origin {
        let expected = match rule.origins() {
            None => "nothing: the route has no mcp.origins".to_owned(),
            Some(origins) => format!("no Origin, or one of {}", list(origins)),
        };
        return (expected, values(subject.request, "origin"));
    }
    let expected = match rule.max_body() {
        Some(_) => "one JSON-RPC message, and headers that agree with it".to_owned(),
        None if rule.tools().is_none() && rule.methods().is_empty() => {
            "nothing: mcp has neither tools nor methods".to_owned()
        }
        None => format!(
            "once each {VERSION_HEADER} {}, {METHOD_HEADER}, and {NAME_HEADER} for a call",
            caracal_mandate::mcp::MIRRORED_SINCE.join(" or ")
        ),
    };
    let headers = [VERSION_HEADER, METHOD_HEADER, NAME_HEADER];
    let headers = headers.map(|name| format!("{name} {}", values(subject.request, name)));
    let body = match (rule.max_body(), subject.request.body()) {
        (None, _) => String::new(),
        (Some(_), Some(body)) => format!(", a body of {} bytes", body.len()),
        (Some(_), None) => ", no body".to_owned(),
    };
    (expected, format!("{}{body}", headers.join(", ")))
}

fn values(request: &Request, name: &str) -> String {
    match request.all(name).as_slice() {
        [] => "absent".to_owned(),
        values => {
            let values: Vec<String> = values.iter().map(|one| shown_bytes(one)).collect();
            values.join(" and ")
        }
    }
}

/// The tools that may be called, and the one that is.
pub(super) fn tool_compared(subject: &Subject<'_>) -> (String, String) {
    let expected = match rule(subject).and_then(McpRule::tools) {
        None => "nothing: no tools are listed".to_owned(),
        Some(tools) => format!("a call of one of {}, or another method", list(tools)),
    };
    let name = values(subject.request, NAME_HEADER);
    (expected, format!("{NAME_HEADER} {name}"))
}

/// How to fix the failure of a check of MCP.
pub(super) fn advice(check: TokenCheck, why: &str, subject: &Subject<'_>) -> String {
    if check == TokenCheck::Origin {
        return format!(
            "The page that calls is not one that the operator knows: {}. If its users may call this server from it, the operator adds that origin to mcp.origins of {}, exactly as the browser sends it.",
            values(subject.request, "origin"),
            subject.rule_in_words()
        );
    }
    match rule(subject).and_then(McpRule::max_body) {
        Some(_) => format!(
            "{why}. The client sends one JSON-RPC message in strict JSON, with POST, application/json and no content-encoding, and in MCP's headers, if it sends them, what the message says."
        ),
        None => format!(
            "{why}. The client speaks MCP {} and sends MCP-Protocol-Version, Mcp-Method and Mcp-Name once each. Or, for older clients, the operator sets \"body\": true in mcp of {} (Envoy only), and the edge reads the message instead.",
            caracal_mandate::mcp::MIRRORED_SINCE.join(" or "),
            subject.rule_in_words()
        ),
    }
}

/// How to let a tool be called that is not listed.
pub(super) fn tool_advice(subject: &Subject<'_>) -> String {
    format!(
        "The client calls a tool that is listed (names are compared exactly), or the operator adds this one to mcp.tools of {}, with what calling it needs.",
        subject.rule_in_words()
    )
}

/// Said of a request whose message is not known and would decide.
pub(super) fn unread(subject: &Subject<'_>) -> Option<&'static str> {
    let is_read = rule(subject)?.max_body().is_some();
    let is_post = subject.request.method == b"POST";
    (is_read && is_post && subject.request.body().is_none()).then_some(
        "if its message needs no more: it was not given; add --mcp-tool or --mcp-method, or the message after the recorded head",
    )
}
