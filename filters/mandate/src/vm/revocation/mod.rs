//! What is known about revoked mandates. On proxies with ticks it is a log that all VMs
//! share: `poller` asks the companion, `log_writer` appends, `compaction` rewrites,
//! `shared_log` reads, and `log_view` answers a decision. On proxies without ticks it is
//! `lookup`: requests ask the companion about their own mandates.

pub(crate) mod begun;
pub(crate) mod compaction;
pub(crate) mod log_store;
pub(crate) mod log_view;
pub(crate) mod log_writer;
pub(crate) mod lookup;
mod need;
pub(crate) mod poller;
pub(crate) mod shared_log;
