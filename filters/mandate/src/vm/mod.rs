//! One configuration's state in one VM: the key set, the revocation state, waiting
//! requests, metrics, shared data and callouts.
//!
//! This room has what outlives a callback. `plugin` owns the parts and coordinates them,
//! and no part uses `plugin`. Nothing here reads or changes the request of the current
//! callback; `request` does that. It uses `proxy` and `abi`.

pub(crate) mod admitted;
pub(crate) mod audit;
pub(crate) mod authorizer;
pub(crate) mod callouts;
pub(crate) mod dependency_log;
pub(crate) mod exchange;
pub(crate) mod framed_streams;
pub(crate) mod key_set;
pub(crate) mod key_set_store;
pub(crate) mod key_sets;
pub(crate) mod live_streams;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod missing;
pub(crate) mod pace;
pub(crate) mod pending_callouts;
pub(crate) mod pending_fetch;
pub(crate) mod places;
pub(crate) mod plugin;
pub(crate) mod registry;
pub(crate) mod request_callouts;
pub(crate) mod request_info;
pub(crate) mod revocation;
pub(crate) mod shadow;
pub(crate) mod shadow_counts;
pub(crate) mod shared_data;
pub(crate) mod signatures;
pub(crate) mod time_slice;
pub(crate) mod waiting;
