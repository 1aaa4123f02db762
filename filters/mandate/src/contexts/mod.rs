//! The proxy's callbacks: one root context for each configuration, one HTTP context for
//! each request, and the response of a callout.
//!
//! This room says what happens in which callback, and in which order. `request` and `vm`
//! say how. It uses all other rooms, and none uses it.

pub(crate) mod callout_response;
pub(crate) mod configuration_errors;
pub(crate) mod http_context;
pub(crate) mod root_context;
#[cfg(feature = "test-hooks")]
pub(crate) mod test_hooks;
