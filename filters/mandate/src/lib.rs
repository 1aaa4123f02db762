//! The Caracal filter for proxy-wasm hosts: translates between the proxy and
//! [`caracal_mandate`], and nothing else. Every rule about mandates is there.
//!
//! `root` and `stream` are the proxy's callbacks; `engine` is a configuration's
//! state in one VM; `revocation` is its part about revoked mandates, and `publish`
//! how it shares them; `request` carries verdicts out; `store` is what VMs share;
//! `callback` is the one callback that the SDK does not bring; `host` is the only
//! module that calls the host.

mod callback;
mod engine;
#[cfg(feature = "test-hooks")]
mod hooks;
mod host;
mod metrics;
mod publish;
mod request;
mod revocation;
mod root;
mod signature;
mod store;
mod stream;
mod wire;

/// The symbols that the host looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
