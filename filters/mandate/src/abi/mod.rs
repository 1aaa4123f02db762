//! What the proxy calls in this VM and what this VM calls in the proxy, in the proxy's own
//! forms.
//!
//! What may live here: raw host calls and WASI calls, each as a function that returns its
//! failure as a value; the wire forms that they take and give; exported symbols. This is
//! the only room with unsafe code. It knows no other room.

pub(crate) mod exports;
pub(crate) mod header_map;
pub(crate) mod hostcalls;
mod raw;
pub(crate) mod wasi;
