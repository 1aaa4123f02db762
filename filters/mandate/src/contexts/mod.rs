//! The proxy's callbacks: one root context for each configuration, one HTTP context for
//! each request, and the response of a callout.
//!
//! What may live here: what happens in which callback, and in which order. How it is done
//! stands in `request` and `vm`. This room knows all others, and none knows it.

pub(crate) mod callout_response;
pub(crate) mod configuration_errors;
pub(crate) mod http_context;
pub(crate) mod root_context;
#[cfg(feature = "test-hooks")]
pub(crate) mod test_hooks;
