//! What the proxy calls in this VM, and what this VM calls in the proxy, in the proxy's
//! own forms.
//!
//! This room has raw host calls and WASI calls, as functions that return failures as
//! values; their wire forms; and exported symbols. It is the only room with unsafe code.
//! It uses no other room.

pub(crate) mod exports;
pub(crate) mod header_map;
pub(crate) mod hostcalls;
mod raw;
pub(crate) mod wasi;
