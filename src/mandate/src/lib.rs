//! What a Caracal mandate is and when it is accepted.
//!
//! Pure: bytes, configuration, key set, revocation view and the time go in, a
//! verdict comes out. No I/O, no clock, no logging, no host calls.

pub mod cache;
pub mod checks;
pub mod claims;
pub mod config;
pub mod decide;
mod es256;
pub mod explain;
pub mod failure;
pub mod forward;
pub mod host;
pub mod json;
pub mod jws;
pub mod keys;
pub mod mandate;
pub mod path;
mod record;
pub mod refresh;
pub mod refusal;
pub mod requirements;
pub mod resources;
pub mod revocation;
pub mod signature;

pub use mandate::Mandate;
