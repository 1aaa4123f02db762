//! Names and sizes of the edge's own headers (contract, "Headers of the edge").

/// Longest value of a principal header, in bytes.
pub const MAX_VALUE_BYTES: usize = 1024;

/// Longest value of the header with all claims, in bytes. Servers take a header line of
/// 8 KiB, and often not more.
pub const MAX_CLAIMS_BYTES: usize = 8_192;

/// The resource that the request is for. The client names it, and the upstream gets it
/// once it has been verified.
pub const RESOURCE_HEADER: &str = "x-caracal-resource";

/// The trailer that tells a client that the authority of its request was revoked.
pub const REVOKED_TRAILER: &str = "x-caracal-revoked";

/// The namespace of headers that only the filter may set.
pub(crate) const RESERVED_PREFIX: &[u8] = b"x-caracal-";

/// A name in the form to which upstreams may fold it: case and punctuation count for
/// nothing.
pub(crate) fn folded(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().map(|b| {
        if b.is_ascii_alphanumeric() {
            b.to_ascii_lowercase()
        } else {
            b'-'
        }
    })
}
