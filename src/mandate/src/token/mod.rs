//! From the `Authorization` header to a verified mandate. What stands here knows keys and
//! signatures, and no configuration, route or revocation state.

pub mod anchor;
pub mod bearer;
pub mod cache;
pub mod claims;
pub mod fingerprint;
pub mod jws;
pub mod mandate;
