//! A request that the filter answers itself: for a resource's public metadata, or for
//! readiness.

use caracal_mandate::readiness::Lacking;
use caracal_mandate::reply::{Reply, ReplyFormat};
use caracal_mandate::routing::resources::InShadow;
use serde_json::{Value, json};

use super::case::Case;
use super::report::{json_of, without_query};
use super::shown_values::plain;
use crate::terminal::{self, Tone, prose, shown, shown_bytes};

/// What a request gets.
pub(super) struct PublicReply {
    what: String,
    resource: Option<String>,
    reply: Reply,
    case: Described,
}

/// The request, as it is shown.
struct Described {
    method: Vec<u8>,
    path: Vec<u8>,
    at: u64,
}

/// `None` for a request that is judged.
pub(super) fn of(case: &Case) -> Option<PublicReply> {
    let (resource, authorization) = (
        case.request.all("x-caracal-resource"),
        case.request.all("authorization"),
    );
    let content_type = case.request.all("content-type");
    if ReplyFormat::for_content_type(content_type.first().copied()) == ReplyFormat::Grpc {
        return None;
    }
    let mcp = case.request.mcp();
    let view = case.request.view(&resource, &authorization, &mcp);
    let (what, resource, reply) = match case.verifier.document(&view) {
        Some(document) => {
            let resource = case.verifier.resources().get(document.resource)?;
            let what = format!("the public metadata of {} (RFC 9728)", shown(&resource.id));
            (what, Some(resource.id.clone()), document.reply())
        }
        None if case.verifier.asks_readiness(&view) => {
            let what = "its readiness, or 503 with what it lacks".to_owned();
            let ready = Lacking {
                zones: case.verifier.zones().iter().count(),
                in_shadow: case.verifier.in_shadow() != InShadow::Nothing,
                ..Lacking::default()
            };
            (what, None, ready.reply())
        }
        None => return None,
    };
    Some(PublicReply {
        what,
        resource,
        reply,
        case: Described {
            method: case.request.method.clone(),
            path: without_query(&case.request.target).to_vec(),
            at: case.at,
        },
    })
}

impl PublicReply {
    pub(super) fn print(&self, is_json: bool) {
        if is_json {
            terminal::line(&self.json().to_string());
            return;
        }
        prose(&self.verdict_line(), Tone::Good);
        for (name, value) in &self.reply.headers {
            prose(&format!("  {name}: {value}"), Tone::Plain);
        }
        if self.case.method != b"HEAD" {
            prose(&format!("  {}", plain(&self.reply.body)), Tone::Plain);
        }
    }

    /// What becomes of the request, in a sentence or two.
    pub(super) fn verdict_line(&self) -> String {
        format!(
            "The edge answers it itself: {}, {}. Nothing is judged.",
            self.reply.status, self.what
        )
    }

    /// The members are those of every explanation.
    pub(super) fn json(&self) -> Value {
        json!({
            "verdict": "answered", "goes_on_in_shadow": false, "conditions": [], "error": null, "client_error": null,
            "reply": json_of(&self.reply), "at": self.case.at,
            "method": shown_bytes(&self.case.method), "path": shown_bytes(&self.case.path),
            "resource": self.resource, "rule": null, "requires": null, "readings": [],
            "subject_fingerprint": null, "checks": [], "change": [],
        })
    }
}
