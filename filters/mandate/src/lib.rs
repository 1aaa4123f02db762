//! The Caracal filter for proxy-wasm hosts: translates between the proxy and
//! [`caracal_mandate`], and nothing else. Every rule about mandates is there.
//!
//! `root` and `stream` are the proxy's callbacks; `engine` is a configuration's
//! state in one VM, `keys` its part about the key set, `own` about requests that call
//! out themselves; `revocation` is its part about revoked mandates, `publish` how it
//! shares them, and `asking` what requests were told where they ask; `request` reads
//! requests and carries verdicts out, `calls` is what is asked of others; `store` is
//! what VMs share, and `shelf` where it stands; `callback` is the one callback that the
//! SDK does not bring; `host` is the only module that calls the host.

mod asking;
mod callback;
mod calls;
mod engine;
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
mod wire;

/// The symbols that the host looks for.
mod entry {
    #![allow(unsafe_code, reason = "exported symbols")]
    #![allow(missing_docs, unreachable_pub, reason = "made by the SDK's macro")]

    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|id| Box::new(crate::root::Root::new(id)));
    }}
}
