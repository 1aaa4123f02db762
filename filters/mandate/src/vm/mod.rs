//! One configuration's state in one VM: the key set, the revocation state, requests that
//! wait, metrics, shared data and callouts.
//!
//! What may live here: what outlives a callback. `plugin` owns the parts and puts them in
//! order, and no part knows it. Nothing here reads or changes the request of the current
//! callback; `request` does that. This room knows `proxy` and `abi`.

pub(crate) mod admitted;
pub(crate) mod authorizer;
pub(crate) mod callouts;
pub(crate) mod exchange;
pub(crate) mod key_set;
pub(crate) mod key_set_store;
pub(crate) mod log_lines;
pub(crate) mod metrics;
pub(crate) mod pending_callouts;
pub(crate) mod plugin;
pub(crate) mod request_callouts;
pub(crate) mod request_info;
pub(crate) mod revocation;
pub(crate) mod shared_data;
pub(crate) mod signatures;
pub(crate) mod time_slice;
pub(crate) mod waiting;
