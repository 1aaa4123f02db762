//! The zone's keys (RFC 7517): the key set, signatures under its keys, and when it is
//! fetched. What stands here knows no token and no claim.

mod es256;
pub mod key_set;
pub mod refresh;
pub mod signature;
