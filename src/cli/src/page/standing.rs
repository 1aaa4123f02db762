//! How the companion stands, in plain words.

use std::time::Duration;

use caracal_feed::standing::Standing;
use maud::{Markup, html};

use super::words::{ago, count, foreign, grouped, row, span};

/// Audit events that wait for longer deserve attention, in seconds.
const LATE_S: u64 = 60;
/// What follows for edges while the companion is not ready.
const FOLLOWS: &str = "Edges decide with what they know until it is older than their revocation.max_staleness_s. Then they refuse every request that needs a mandate, with 503.";

/// Whether everything is fit to decide; if not, why, and what follows.
pub(super) fn verdict(standing: &Standing) -> Markup {
    let attention = attention(standing);
    let (class, heading) = match (standing.not_ready, attention.is_empty()) {
        (Some(_), _) => ("bad", "Not fit to decide"),
        (None, true) => ("good", "Ready: everything is fit to decide"),
        (None, false) => ("warning", "Ready, but something needs attention"),
    };
    html! {
        section .verdict .(class) aria-labelledby="ready" {
            h2 #ready { (heading) }
            p { (told(standing)) }
            @if standing.not_ready.is_some() { p { (FOLLOWS) } }
            @if !attention.is_empty() {
                ul { @for one in &attention { li { (one) } } }
            }
        }
    }
}

fn told(standing: &Standing) -> String {
    let confirmed = confirmed(standing);
    match standing.not_ready {
        None if standing.is_alone => "There is no Redis, which is for development only: this companion knows the revocations that it was sent itself, and no others.".to_owned(),
        None => format!("Everything that Redis has on revocations is known here. It was last confirmed {confirmed}."),
        Some("not connected to Redis") => format!("Redis does not confirm any more that everything is known here. It last did {confirmed}."),
        Some("more anchors are revoked than --max-anchors") => format!(
            "More sessions and delegations are revoked than fit: --max-anchors is {}. Edges get nothing from here until some have expired, or the companion is started with a larger number.",
            grouped(wide(standing.max_anchors))
        ),
        Some("the streams and the shared store have not been read yet") => "Not everything was read from Redis yet, or it must be read again.".to_owned(),
        Some(why) => format!("The companion says: {why}."),
    }
}

fn confirmed(standing: &Standing) -> String {
    let age = standing.confirmed_age_ms.map(Duration::from_millis);
    age.map_or_else(|| "never, since it started".to_owned(), ago)
}

/// What somebody should look at.
fn attention(standing: &Standing) -> Vec<Markup> {
    let mut all = Vec::new();
    for (task, why) in &standing.problems {
        all.push(html! { (problem_of(task)) ": " (foreign(why)) });
    }
    if standing.refuses_writes {
        all.push(html! { "Redis refuses writes: it is full, a replica, cannot save, or has too few replicas." });
    }
    if standing.audit_events > 0 && standing.audit_age_s > LATE_S {
        let waits = span(standing.audit_age_s);
        all.push(html! { "Audit events wait for Redis; the oldest has waited for " (waits) "." });
    }
    all
}

/// What does not work, by the name that `/readyz` gives it.
fn problem_of(task: &str) -> Markup {
    match (task, task.split_once(' ')) {
        (_, Some(("tail", stream))) => html! { "Reading " (foreign(stream)) " fails" },
        (_, Some(("group", stream))) => html! { "The shared work on " (foreign(stream)) " fails" },
        (_, Some(("missed", stream))) => html! { "Of " (foreign(stream)) },
        ("writer", _) => html! { "Writing to the shared store fails" },
        ("scan", _) => html! { "Reading the shared store fails" },
        _ => html! { (foreign(task)) },
    }
}

/// Ages, lags and sizes.
pub(super) fn facts(standing: &Standing, has_audit: bool) -> Markup {
    let (anchors, most) = (wide(standing.anchors), wide(standing.max_anchors));
    let zone = standing.zone.as_deref();
    html! {
        section aria-labelledby="state" {
            h2 #state { "State" }
            table {
                caption { "What the companion knows" }
                tbody {
                    @if !standing.is_alone {
                        (row("Last confirmed by Redis", &html! { (confirmed(standing)) }))
                    }
                    (row("Revoked sessions and delegations", &html! {
                        (grouped(anchors)) ", of at most " (grouped(most))
                    }))
                    @if let Some(zone) = zone {
                        (row("Delegation epochs", &html! { "of zone " (foreign(zone)) " only" }))
                    }
                    (row("Audit events", &audit(standing, has_audit)))
                }
            }
            @if !standing.is_alone { (streams(standing)) }
        }
    }
}

fn audit(standing: &Standing, has_audit: bool) -> Markup {
    let (events, bytes) = (standing.audit_events, standing.audit_bytes);
    match (has_audit, events) {
        (false, _) => html! { "not kept here (" code { "--audit-dir" } ")" },
        (true, _) if standing.is_alone && bytes == 0 => {
            html! { "only the last ones are kept, in memory" }
        }
        (true, 0) => html! { "none waits for Redis" },
        (true, _) => html! {
            (count(events, "event")) " wait for Redis, " (kib(bytes))
            " on disk; the oldest has waited for " (span(standing.audit_age_s))
        },
    }
}

fn kib(bytes: u64) -> String {
    let kib = bytes.div_ceil(1_024);
    format!("{} KiB", grouped(kib))
}

fn streams(standing: &Standing) -> Markup {
    html! {
        table {
            caption { "The streams in Redis, as it last told" }
            thead { tr {
                th scope="col" { "Stream" }
                th scope="col" { "Behind Redis" }
                th scope="col" { "Being worked on" }
                th scope="col" { "In the stream" }
                th scope="col" { "As of" }
            } }
            tbody {
                @for stream in &standing.streams {
                    tr {
                        th scope="row" { (stream.key) }
                        @match stream.told_ago {
                            Some(length) => {
                                td {
                                    @match stream.behind {
                                        Some(0) => "not behind",
                                        Some(number) => (count(number, "message")),
                                        None => "Redis does not count",
                                    }
                                }
                                td { (grouped(stream.pending)) }
                                td { (count(stream.length, "message")) }
                                td { (ago(length)) }
                            }
                            None => { td { "not known" } td {} td {} td { "never, since the start" } }
                        }
                    }
                }
            }
        }
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
