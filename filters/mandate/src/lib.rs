//! The Caracal filter for proxy-wasm hosts: translates between the proxy and
//! [`caracal_mandate`], and nothing else. Every rule about mandates is there.
//!
//! `root` and `stream` are the proxy's callbacks, `callback` is the one that the SDK
//! does not bring, and `exports` has those that only return. `engine` is a configuration's state in one VM, `keys` its part about
//! the key set, `own` about requests that call out themselves; `revocation` is its part
//! about revoked mandates, `publish` how it shares them, and `asking` what requests were
//! told where they ask. `headers` reads requests, `request` carries verdicts out, and
//! `calls` is what is asked of others. `store` is what VMs share, `shelf` where it
//! stands. Only `host` and `system` call the host.

mod asking;
mod callback;
mod calls;
mod engine;
mod exports;
mod headers;
#[cfg(feature = "test-hooks")]
mod hooks;
mod host;
mod keys;
mod metrics;
mod own;
mod publish;
mod request;
mod revocation;
mod root;
mod shelf;
mod signature;
mod store;
mod stream;
mod system;
mod wire;

/// The symbols that the host looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
