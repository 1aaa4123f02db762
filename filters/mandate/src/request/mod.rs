//! One HTTP request: which of its headers are judged, what is hidden from the upstream,
//! and how a verdict becomes an action.
//!
//! This room has code that acts on the request of the current callback. State that is
//! kept between callbacks is in `vm`. It uses `vm`, `proxy` and `abi`.

pub(crate) mod audit;
pub(crate) mod early;
pub(crate) mod filter_state;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod head;
pub(crate) mod local_reply;
pub(crate) mod message;
pub(crate) mod outcome;
pub(crate) mod response;
pub(crate) mod sanitizer;
pub(crate) mod shadow;
pub(crate) mod upstream;
