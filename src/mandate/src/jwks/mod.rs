//! The zone's keys (RFC 7517): the key set, signatures under its keys, and when the key
//! set is fetched. Code in this room knows no tokens and no claims.

pub mod algorithm;
mod es256;
pub mod key_set;
pub mod refresh;
pub mod signature;
