//! The form, and what it answers. The request stays in this process: nothing of it is logged,
//! kept or sent on, and its token is not in the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::document::document;
use super::scrub::Scrub;
use super::shared::Page;
use crate::explain::pasted::{self, Explained, Reading, With};

/// Longest time for one explanation: it may wait for the key set.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn form(page: &Page) -> Markup {
    html! {
        p {
            "Paste the head of a request, as " code { "curl -v" } " prints it. "
            @match &page.explainer {
                Some(with) => { "It is judged as an edge with " code { (with.file) } " would, and as of now." },
                None => { "Without a configuration (" code { "--explain-config" } ") only its parts are read, and no signature is checked." },
            }
        }
        form method="post" action="/explain" {
            label for="request" { "Request head" }
            textarea #request name="request" rows="8" required autocomplete="off" autocapitalize="off"
                spellcheck="false" aria-describedby="kept"
                placeholder="GET /invoices HTTP/1.1\nHost: billing.example.com\nAuthorization: Bearer ..." {}
            p #kept .note {
                "It is sent to this companion and no further. Nothing of it is kept or logged, and the answer shows the token's claims, but not the token."
            }
            button type="submit" { "Explain" }
        }
    }
}

/// `POST /explain`.
pub(super) async fn answer(
    Shared(page): Shared<Arc<Page>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE);
    let is_form = kind.is_some_and(|kind| kind == "application/x-www-form-urlencoded");
    if !is_form {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return problem(&page, status, "Send the form of the page.");
    }
    let body = match body {
        Ok(body) => body,
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let why = "That is too long: a request head has at most 64 KiB here.";
            return problem(&page, StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Err(_) => return problem(&page, StatusCode::BAD_REQUEST, "The form did not arrive."),
    };
    let mut fields = form_urlencoded::parse(&body);
    let Some((_, head)) = fields.find(|(name, _)| name == "request") else {
        return problem(&page, StatusCode::BAD_REQUEST, "The form has no request.");
    };
    let Ok(_place) = page.explaining.try_acquire() else {
        let why = "Other requests are being explained. Try again.";
        return problem(&page, StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let head = head.trim_start();
    let with = page.explainer.as_ref().map(|with| With {
        configuration: &with.configuration,
        key_set: with.key_set.as_deref(),
    });
    let explaining = pasted::explain(head.as_bytes(), with.as_ref(), &page.companion.state);
    match tokio::time::timeout(TIMEOUT, explaining).await {
        Ok(Ok(explained)) => {
            let said = shown(&explained).into_string();
            let said = PreEscaped(Scrub::of(head.as_bytes()).clean(&said));
            answered(&page, &said).into_response()
        }
        Ok(Err(why)) => {
            let why = format!(
                "This cannot be explained: {why}. Expected is the head of an HTTP/1.1 request: its first line, for example GET /invoices HTTP/1.1, and its headers."
            );
            let why = Scrub::of(head.as_bytes()).clean(&why);
            problem(&page, StatusCode::UNPROCESSABLE_ENTITY, &why)
        }
        Err(_) => problem(
            &page,
            StatusCode::GATEWAY_TIMEOUT,
            "The key set did not arrive in time.",
        ),
    }
}

fn problem(page: &Page, status: StatusCode, why: &str) -> Response {
    let said = html! { section .verdict .bad { h2 { "Not explained" } p { (why) } } };
    (status, answered(page, &said)).into_response()
}

fn answered(page: &Page, said: &Markup) -> axum::response::Html<String> {
    let body = html! {
        p { a href="/" { "Back to the companion" } }
        (said)
        section aria-labelledby="explain" {
            h2 #explain { "Explain another request" }
            (form(page))
        }
    };
    document("Explanation of a request", &body)
}

fn shown(explained: &Explained) -> Markup {
    match explained {
        Explained::Judged {
            admits,
            verdict,
            result,
        } => judged(*admits, verdict, result),
        Explained::Read(reading) => read(reading),
    }
}

/// The members of a list of the result.
fn all<'r>(result: &'r Value, name: &str) -> &'r [Value] {
    let list = result.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn text<'r>(of: &'r Value, name: &str) -> &'r str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text that the result has in quotes.
fn unquoted<'r>(of: &'r Value, name: &str) -> &'r str {
    let quoted = text(of, name);
    let inner = quoted
        .strip_prefix('"')
        .and_then(|one| one.strip_suffix('"'));
    inner.unwrap_or(quoted)
}

fn judged(admits: Option<bool>, verdict: &str, result: &Value) -> Markup {
    let conditions = all(result, "conditions");
    let class = match admits {
        Some(true) if conditions.is_empty() => "good",
        Some(false) => "bad",
        _ => "warning",
    };
    let (changes, checks) = (all(result, "change"), all(result, "checks"));
    html! {
        section .verdict .(class) aria-labelledby="result" {
            h2 #result { bdi { (verdict) } }
            p { bdi { (unquoted(result, "method")) } " " bdi { (unquoted(result, "path")) } }
            @for condition in conditions { p { (condition.as_str().unwrap_or_default()) } }
        }
        @if !changes.is_empty() {
            section aria-labelledby="change" {
                h2 #change { "What to change" }
                ul { @for change in changes { li { bdi { (change.as_str().unwrap_or_default()) } } } }
            }
        }
        @if !checks.is_empty() {
            section aria-labelledby="checks" {
                h2 #checks { "Checks" }
                table {
                    caption { "In the order in which the edge makes them" }
                    thead { tr {
                        th scope="col" { "Check" }
                        th scope="col" { "Outcome" }
                        th scope="col" { "Expected" }
                        th scope="col" { "Found" }
                    } }
                    tbody { @for check in checks { (check_row(check)) } }
                }
            }
        }
    }
}

fn check_row(check: &Value) -> Markup {
    let (class, words) = match (text(check, "outcome"), text(check, "would")) {
        ("ok", _) => ("", "ok"),
        ("failed", _) => ("bad", "failed"),
        ("not_checked", _) => ("warning", "not checked"),
        (_, "fail") => ("warning", "not reached, would fail"),
        (_, "pass") => ("", "not reached, would pass"),
        _ => ("", "not reached"),
    };
    let is_silent = words == "not reached";
    html! {
        tr .(class) {
            th scope="row" { (text(check, "check")) }
            td { (words) }
            td { @if !is_silent { bdi { (text(check, "expected")) } } }
            td { @if !is_silent { bdi { (text(check, "found")) } } }
        }
    }
}

fn read(reading: &Reading) -> Markup {
    let Reading {
        wrong,
        doubtful,
        facts,
    } = reading;
    let (class, heading) = match (wrong.is_empty(), doubtful.is_empty()) {
        (false, _) => ("bad", "An edge refuses it"),
        (true, false) => ("warning", "An edge may refuse it"),
        (true, true) => ("warning", "Nothing is wrong at first sight"),
    };
    let is_clean = wrong.is_empty() && doubtful.is_empty();
    html! {
        section .verdict .(class) aria-labelledby="result" {
            h2 #result { (heading) }
            @if is_clean {
                p { "No signature and no rule was checked: start the companion with --explain-config to have the request judged." }
            } @else {
                ul { @for one in wrong.iter().chain(doubtful) { li { bdi { (one) } } } }
                p { "No signature and no rule was checked, so more may be wrong." }
            }
        }
        section aria-labelledby="parts" {
            h2 #parts { "What the request has" }
            table {
                caption { "The token's parts are as it says itself: nobody may have signed them" }
                tbody {
                    @for (name, value) in facts {
                        tr { th scope="row" { bdi { (name) } } td { bdi { (value) } } }
                    }
                }
            }
        }
    }
}
