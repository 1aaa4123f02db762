//! The Caracal filter for proxy-wasm hosts: translates between the proxy and
//! [`caracal_mandate`], and nothing else. Every rule about mandates is there.
//!
//! `abi` calls the host and is called by it, `contexts` has the proxy's callbacks,
//! `request` acts on one HTTP request, and `vm` is one configuration's state in one VM.

mod abi;
mod contexts;
mod proxy;
mod request;
mod vm;

/// The symbols that the host looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    proxy_wasm::main! {{
        crate::abi::exports::set_http_call_response_handler(crate::contexts::callout_response::deliver);
        proxy_wasm::set_root_context(|id| Box::new(crate::contexts::root_context::FilterRoot::new(id)));
    }}
}
