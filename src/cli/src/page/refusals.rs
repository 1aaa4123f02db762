//! The last refusals, each with what was compared and what to do.

use caracal_mandate::config::Configuration;
use maud::{Markup, html};

use super::shared::Page;
use super::words::foreign;
use crate::trail::cause;
use crate::trail::decision::Decision;

/// How many are shown.
const MOST: usize = 20;

pub(super) fn list(page: &Page) -> Markup {
    let events = page.audit.as_ref().map(|audit| audit.refusals(MOST));
    let decisions = events.iter().flatten();
    let decisions = decisions.filter_map(|event| Decision::read(event.as_bytes()));
    let decisions: Vec<Decision> = decisions.collect();
    let configuration = page.explainer.as_ref().map(|with| &with.configuration);
    html! {
        section aria-labelledby="refusals" {
            h2 #refusals { "Last refusals" }
            @if events.is_none() {
                p { "Not known: this companion keeps no audit events (" code { "--audit-dir" } ")." }
            } @else if decisions.is_empty() {
                p { "None since the companion started. Edges send events of their decisions if " code { "audit" } " is configured." }
            } @else {
                table .refusals {
                    caption { "The newest first, at most " (MOST) ". Only edges with " code { "audit" } " tell of theirs." }
                    thead { tr {
                        th scope="col" { "When" }
                        th scope="col" { "Answer" }
                        th scope="col" { "Request" }
                        th scope="col" { "Why, and what to do" }
                    } }
                    tbody { @for decision in &decisions { (refusal(decision, configuration)) } }
                }
            }
        }
    }
}

fn refusal(decision: &Decision, configuration: Option<&Configuration>) -> Markup {
    let (code, reason) = (decision.code(), decision.reason());
    let metadata = decision.event().get("metadata_json");
    let is_shadow = metadata.and_then(|all| all.get("shadow")?.as_bool()) == Some(true);
    html! {
        tr {
            td .time { (foreign(&when(decision.text("occurred_at")))) }
            td {
                @if let Some(status) = decision.number("gateway_status") { (status) " " }
                (foreign(code))
                @if is_shadow { p { "Let through: shadow mode" } }
            }
            td {
                dl {
                    (fact("method", decision.metadata("method")))
                    (fact("resource", decision.resource()))
                    (fact("client", decision.client()))
                    (fact("zone", decision.text("zone_id")))
                    (fact("id", decision.text("request_id")))
                }
            }
            td { (why(reason, configuration)) }
        }
    }
}

fn why(reason: &str, configuration: Option<&Configuration>) -> Markup {
    match cause::of(reason, configuration) {
        Some(cause) => html! {
            p { strong { (foreign(reason)) } ": row " (cause.row) " of the contract compares " (marked(&cause.compared)) "." }
            p { (marked(cause.advice)) }
        },
        None if reason.is_empty() => html! { p { "The event names no reason." } },
        None => html! {
            p { strong { (foreign(reason)) } }
            p { "This version knows no such reason: docs/reference/errors.md of the edge's version has it." }
        },
    }
}

/// A time in UTC, without its fraction of a second, if it is one.
fn when(text: &str) -> String {
    let parts = text
        .strip_suffix('Z')
        .and_then(|time| time.split_once('T'))
        .and_then(|(date, time)| Some((date, time.split_once('.')?.0)));
    match parts {
        Some((date, time)) => format!("{date} {time} UTC"),
        None => text.to_owned(),
    }
}

/// A text of ours, in which a name stands between backticks.
fn marked(text: &str) -> Markup {
    let parts = text.split('`').zip([false, true].into_iter().cycle());
    html! {
        @for (part, is_name) in parts {
            @if is_name { code { (part) } } @else { (part) }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! {
        @if !value.is_empty() { dt { (name) } dd { (foreign(value)) } }
    }
}
