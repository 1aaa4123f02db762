//! The audit of decisions (contract, "Audit stream"): what the companion is told about each
//! one, and the queue of what it has not taken yet.

pub mod event;
pub mod id;
pub mod queue;
