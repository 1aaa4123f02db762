//! The filter's configuration: one JSON object, the proxy's plugin
//! configuration (design, "Interfaces others rely on").
//!
//! `model` is what the object says, with the defaults filled in, and what the JSON Schema
//! is generated from; `rules` is its part about resources and routes, `gateway` its part
//! about Gateway mode, `bounds` the limits of every value. `reader` walks a JSON tree and collects every error with its key's path.
//! `parse` and its kin read a document into the model; `compile` makes of it the rules in
//! force; `digest` names a document in the log.

mod bounds;
mod compile;
mod digest;
mod gateway;
mod model;
mod parse;
mod parse_forward;
mod parse_gateway;
mod parse_host;
mod parse_rules;
mod reader;
mod rules;
#[cfg(feature = "schema")]
mod schema;
mod values;

pub use digest::digest;
pub use gateway::{Gateway, Mode};
pub use model::{
    Configuration, DEFAULT_FORWARD_HEADERS, Disabled, Feed, Forward, Gate, Host, Jwks, Limits,
    PrincipalClaim, Revocation, Secret,
};
pub use parse::JwksTarget;
pub use reader::ConfigError;
pub use rules::{Overrides, Resource, RouteOverrides};

#[cfg(feature = "schema")]
pub use schema::schema;

#[cfg(test)]
mod tests;
