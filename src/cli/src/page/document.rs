//! What every document of the page has around it.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

/// A whole document.
pub(super) fn document(title: &str, body: &Markup) -> Html<String> {
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
