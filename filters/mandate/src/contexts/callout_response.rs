//! Finds out who made a callout, a root context or a request.

use crate::abi::exports::HttpCallResponse;
use crate::contexts::root_context;
use crate::request::local_reply;
use crate::vm::pending_callouts;

/// Passes a response to the request or the root context that waits for it.
pub(crate) fn deliver(response: HttpCallResponse) {
    let HttpCallResponse { context, token, .. } = response;
    if let Some(pending) = pending_callouts::take_for(context, token) {
        // After a request's callout has ended, the proxy forwards the request unless it
        // gets a reply. So it gets a reply even if its configuration is gone.
        let phase = match root_context::find(pending.root) {
            Some(root) => root.on_request_callout_response(pending.stream, response),
            None => local_reply::send_lost("The configuration is gone"),
        };
        pending.phase.set(phase);
    } else if let Some(root) = root_context::find(context).filter(|root| root.has_ticks()) {
        root.on_callout_response(response);
    } else if pending_callouts::are_request_callouts_enabled() {
        // A response that matches no request must not let one go on.
        local_reply::send_lost("Unexpected callout response");
    }
}
