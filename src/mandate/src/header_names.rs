//! Names and sizes of the edge's own headers (contract, "Headers of the edge").

/// Longest value of a principal header, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024;

/// Which resource the request is for: said by the client, and told the upstream once
/// it has been verified.
pub const RESOURCE_HEADER: &str = "x-caracal-resource";

/// Headers in the namespace that only the filter speaks in.
pub(crate) const RESERVED_PREFIX: &[u8] = b"x-caracal-";
