//! The Caracal filter for proxy-wasm hosts. It translates between the proxy and
//! [`caracal_mandate`], and nothing else: every rule about mandates is there.
//!
//! The rooms, from the lowest to the highest. Each knows those above it in this list, and
//! none below it; `ARCHITECTURE.md` has a picture.
//!
//! - `abi`: raw host calls, their wire forms, WASI, exported symbols. The only unsafe room.
//! - `proxy`: what Envoy, Kong and APISIX do differently, a file for each. The only room that
//!   asks which proxy it is.
//! - `vm`: one configuration's state in one VM. `plugin` owns it all; `authorizer` decides;
//!   `waiting` and `request_callouts` hold requests that are not decided yet, `exchange`
//!   those that wait for their exchange in Gateway mode; `key_set` and
//!   `revocation` know keys and revoked mandates; `metrics` counts.
//! - `request`: the request of the current callback. `head` is what is judged, `sanitizer`
//!   hides what the upstream must not see, `outcome` turns a verdict into an action.
//! - `contexts`: the proxy's callbacks, which put all of this in order.
//!
//! Where coming things go:
//!
//! - live streams that end with their authority: the admitted requests and their anchors in
//!   `vm/live_streams.rs`; which proxy can end a stream in `proxy`;
//! - audit events: made where `request/outcome.rs` records a decision, kept and sent by
//!   `vm/audit.rs`;
//! - readiness, and metadata of resources: replies in `request/`, sent from
//!   `contexts/http_context.rs` before a request is judged;
//! - shadow enforcement: in `request/outcome.rs`, the one place where a verdict becomes an
//!   action;
//! - zones: several key sets and epochs in `vm/authorizer.rs`, chosen for each mandate;
//! - MCP: the body's callbacks in `contexts/http_context.rs`, what is read of a body in
//!   `request/body.rs`, which proxy shows one in `proxy`. The rules are the core's.

mod abi;
mod contexts;
mod proxy;
mod request;
mod vm;

/// Both macros export symbols that the proxy looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    use crate::abi::exports::{export_http_call_response, export_response_headers};
    use crate::contexts::callout_response;
    use crate::contexts::root_context::FilterRoot;
    use crate::request::gateway;

    export_http_call_response!(callout_response::deliver);
    export_response_headers!(gateway::clean_response);
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(FilterRoot::new(id)));
    }}
}
