//! The Caracal filter for proxy-wasm hosts. It translates between the proxy and
//! [`caracal_mandate`], and nothing else: every rule about mandates is there.
//!
//! These are the rooms, from the lowest to the highest. Each room uses only rooms earlier
//! in this list, and none later; `ARCHITECTURE.md` has a picture.
//!
//! - `abi`: raw host calls, their wire forms, WASI, exported symbols. The only unsafe
//!   room.
//! - `proxy`: what Envoy, Kong and APISIX do differently, with one file for each. The
//!   only room that asks which proxy it runs in.
//! - `vm`: one configuration's state in one VM. `plugin` owns it all, `authorizer`
//!   decides, `waiting` and `request_callouts` hold requests without a decision,
//!   `exchange` holds those that wait for their exchange in Gateway mode, `key_set` and
//!   `revocation` know keys and revoked mandates, and `metrics` counts. `live_streams`
//!   judges requests under way again, `framed_streams` knows those that can be told why
//!   they end. `audit`
//!   keeps decisions until their streams end, and sends them to the companion.
//! - `request`: the request of the current callback. `head` is what is judged,
//!   `sanitizer` hides what the upstream must not see, and `outcome` turns a verdict into
//!   an action. `gateway` makes the upstream's request in Gateway mode.
//! - `contexts`: the proxy's callbacks, which call all of these in the right order.
//!
//! ARCHITECTURE.md says where coming things go.

mod abi;
mod contexts;
mod proxy;
mod request;
mod vm;

/// Both macros export symbols that the proxy looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    use crate::abi::exports::{
        export_http_call_response, export_log, export_response_body, export_response_headers,
    };
    use crate::contexts::callout_response;
    use crate::contexts::root_context::FilterRoot;
    use crate::request::{frames, response};
    use crate::vm::audit::records;

    export_http_call_response!(callout_response::deliver);
    export_response_headers!(response::begins);
    export_response_body!(frames::on_response_body);
    export_log!(records::end);
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(FilterRoot::new(id)));
    }}
}
