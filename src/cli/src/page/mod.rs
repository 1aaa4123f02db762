//! The companion's page: how it stands, who asks it, what was refused last and why, and a form
//! that explains a pasted request.
//!
//! `shared` is what its parts share, `options` makes it. `admission` says who may see it. `standing`, `edges` and `refusals` are its parts, `words`
//! has times and numbers. `explanation` answers the form, and `scrub` keeps the token out of
//! the answer. Everything from others goes through `terminal::shown` and then, as text,
//! through the templates, which escape it.

mod admission;
mod document;
mod edges;
mod explanation;
mod options;
mod refusals;
mod scrub;
mod shared;
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
use caracal_feed::audit::Audit;
use caracal_feed::token::Token;
use maud::{Markup, html};

use document::document;
pub(crate) use options::PageArguments;
use shared::Page;

/// Largest body of the form, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// The routes of a companion's page, at this address.
pub(crate) fn routes(
    mut page: Page,
    audit: Option<Arc<Audit>>,
    token: Option<Token>,
    listen: IpAddr,
) -> Router {
    (page.audit, page.token, page.listen) = (audit, token, listen);
    let page = Arc::new(page);
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
