//! The filter's configuration: one JSON object, the proxy's plugin
//! configuration (design, "Interfaces others rely on").
//!
//! `model` is what the object says, with the defaults filled in, and what the
//! JSON Schema is generated from; `reader` walks a JSON tree and collects every
//! error with its key's path; `parse` reads the one into the other.

mod model;
mod parse;
mod reader;
#[cfg(feature = "schema")]
mod schema;
mod values;

pub use model::{
    Configuration, DEFAULT_FORWARD_HEADERS, Disabled, Feed, Forward, Host, Jwks, Limits,
    PrincipalClaim, Revocation, RouteOverrides, Secret,
};
pub use parse::JwksTarget;
pub use reader::ConfigError;

#[cfg(feature = "schema")]
pub use schema::schema;

#[cfg(test)]
mod tests;
