//! The companion's page: how it stands, who asks it, what was refused last and why, and a form
//! that explains a pasted request.
//!
//! `admission` says who may see it. `standing`, `edges` and `refusals` are its parts, `words`
//! has times and numbers. `explanation` answers the form, and `scrub` keeps the token out of
//! the answer. Everything from others goes through `terminal::shown` and then, as text,
//! through the templates, which escape it.

mod admission;
mod edges;
mod explanation;
mod options;
mod refusals;
mod scrub;
mod standing;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use caracal_feed::Companion;
use caracal_feed::audit::Audit;
use caracal_feed::redis::health::Limited;
use caracal_feed::token::Token;
use caracal_mandate::config::Configuration;
use maud::{DOCTYPE, Markup, html};
use tokio::sync::Semaphore;

pub(crate) use options::PageArguments;

/// Largest body of the form, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// What explains a pasted request as an edge would decide it.
struct Explainer {
    /// The name of the configuration's file.
    file: String,
    configuration: Configuration,
    key_set: Option<String>,
}

/// The page of one companion.
pub(crate) struct Page {
    companion: Companion,
    explainer: Option<Explainer>,
    /// Names besides those of loopback by which it is reached.
    hosts: Vec<String>,
    explaining: Semaphore,
    unauthorized: Limited,
    /// The last audit events, if there are any.
    audit: Option<Arc<Audit>>,
    /// Without one, everybody who reaches it may see it; the caller allows this on loopback
    /// only.
    token: Option<Token>,
    /// Where the companion listens.
    listen: IpAddr,
}

impl Page {
    /// The page's routes, at a companion that listens at this address.
    pub(crate) fn routes(
        mut self,
        audit: Option<Arc<Audit>>,
        token: Option<Token>,
        listen: IpAddr,
    ) -> Router {
        (self.audit, self.token, self.listen) = (audit, token, listen);
        let page = Arc::new(self);
        let form = post(explanation::answer).layer(DefaultBodyLimit::max(MAX_BODY));
        let file = |kind, content: &'static str| get(async move || text(kind, content));
        let script = file("text/javascript; charset=utf-8", include_str!("page.js"));
        let style = file("text/css; charset=utf-8", include_str!("page.css"));
        let guarded = middleware::from_fn_with_state(Arc::clone(&page), admission::guarded);
        Router::new()
            .route("/", get(whole))
            .route("/status", get(status))
            .route("/explain", form)
            .route("/page.js", script)
            .route("/page.css", style)
            .route_layer(guarded)
            .with_state(page)
    }
}

fn text(kind: &'static str, text: &'static str) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    ([kind], text).into_response()
}

async fn whole(Shared(page): Shared<Arc<Page>>) -> Html<String> {
    let body = html! {
        (changing(&page))
        noscript { p .note { "Reload the page for the current state." } }
        section aria-labelledby="explain" {
            h2 #explain { "Explain a request" }
            (explanation::form(&page))
        }
    };
    document("Caracal companion", &body)
}

/// What the script puts in the place of the old.
async fn status(Shared(page): Shared<Arc<Page>>) -> Html<String> {
    Html(changing(&page).into_string())
}

fn changing(page: &Page) -> Markup {
    let standing = caracal_feed::standing::Standing::of(&page.companion);
    html! {
        div #verdict role="status" { (standing::verdict(&standing)) }
        div #facts {
            (standing::facts(&standing, page.audit.is_some()))
            (edges::table(&page.companion.edges))
            (refusals::list(page))
        }
    }
}

fn document(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body {
                header {
                    h1 { (title) }
                    p { "caracal-edge " (env!("CARGO_PKG_VERSION")) }
                }
                main { (body) }
            }
        }
    };
    Html(page.into_string())
}
