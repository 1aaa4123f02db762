//! What is known of revoked mandates: a copy of the companion's log that all VMs share, or
//! the companion's answers about single mandates where requests ask it themselves.

pub(crate) mod compaction;
pub(crate) mod log_store;
pub(crate) mod log_view;
pub(crate) mod log_writer;
pub(crate) mod lookup;
pub(crate) mod poller;
pub(crate) mod shared_log;
