//! The Caracal filter for proxy-wasm hosts. It translates between the proxy and
//! [`caracal_mandate`], and nothing else: every rule about mandates is there.
//!
//! These are the rooms, from the lowest to the highest. Each room uses only rooms above
//! it in this list; `ARCHITECTURE.md` has a picture.
//!
//! - `abi`: raw host calls, their wire forms, WASI, exported symbols. The only unsafe
//!   room.
//! - `proxy`: what Envoy, Kong and APISIX do differently, with one file for each. The
//!   only room that asks which proxy it runs in.
//! - `vm`: one configuration's state in one VM. `plugin` owns it all, `authorizer`
//!   decides, `waiting` and `request_callouts` hold requests without a decision,
//!   `key_set` and `revocation` know keys and revoked mandates, and `metrics` counts.
//! - `request`: the request of the current callback. `head` is what is judged,
//!   `sanitizer` hides what the upstream must not see, and `outcome` turns a verdict into
//!   an action.
//! - `contexts`: the proxy's callbacks, which call all of these in the right order.
//!
//! Places for coming features:
//!
//! - Live streams that end with their authority: the admitted requests and their anchors
//!   in `vm/live_streams.rs`; whether a proxy can end a stream in `proxy`.
//! - Audit events: made where `request/outcome.rs` records a decision, kept and sent by
//!   `vm/audit.rs`.
//! - Readiness, and metadata of resources: replies in `request/`, sent from
//!   `contexts/http_context.rs` before a request is judged.
//! - Shadow enforcement: in `request/outcome.rs`, the only place where a verdict becomes
//!   an action.
//! - Exchange at an STS: one more callout of a request in `vm/request_callouts.rs`; its
//!   answers are kept in `vm/exchange.rs`, and `request/upstream.rs` sets the new
//!   credential.
//! - Zones: several key sets and epochs in `vm/authorizer.rs`, chosen for each mandate.
//! - MCP: the body's callbacks in `contexts/http_context.rs`; what is read of a body in
//!   `request/body.rs`; which proxy shows a body in `proxy`. The rules are in the core.

mod abi;
mod contexts;
mod proxy;
mod request;
mod vm;

/// Both macros export symbols that the proxy looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    use crate::abi::exports::export_http_call_response;
    use crate::contexts::callout_response;
    use crate::contexts::root_context::FilterRoot;

    export_http_call_response!(callout_response::deliver);
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(FilterRoot::new(id)));
    }}
}
