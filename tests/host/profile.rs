//! What tells one proxy from another.
//!
//! What may live here: the facts that the code asks for instead of asking
//! which proxy it plays. A new proxy is a new constant here.

use crate::host::HostKind;

/// The facts of one proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Tries each configuration in a VM that is thrown away.
    pub(crate) canary: bool,
    /// Runs a VM on the main thread.
    pub(crate) main_vm: bool,
    /// Requests on the way to one cluster at the same time.
    pub(crate) callouts_per_cluster: usize,
    /// The details that a trap leaves in the access log.
    pub(crate) trap_details: &'static str,
    /// The calls it does not offer: they return `status::UNIMPLEMENTED`.
    pub(crate) unimplemented: &'static [&'static str],
}

const ENVOY: Profile = Profile {
    canary: true,
    main_vm: true,
    callouts_per_cluster: 1024,
    trap_details: "wasm_fail_stream",
    unimplemented: &[],
};

impl Profile {
    pub(crate) fn of(kind: HostKind) -> Self {
        match kind {
            HostKind::Envoy => ENVOY,
        }
    }
}
