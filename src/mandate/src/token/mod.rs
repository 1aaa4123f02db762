//! From the `Authorization` header to a verified mandate. Code in this room knows keys
//! and signatures, but no configuration, route or revocation state.

pub mod anchor;
pub mod bearer;
pub mod cache;
pub mod claims;
pub mod fingerprint;
pub mod jws;
pub mod mandate;
