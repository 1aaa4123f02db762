//! The filter's configuration: one JSON object, the proxy's plugin
//! configuration (design, "Interfaces others rely on").
//!
//! `model` is what the object says, with the defaults filled in, and what the JSON Schema
//! is generated from; `rules` is its part about resources and routes, `forward` about the
//! headers to the upstream, `gateway` about Gateway mode; `bounds` are the limits of every
//! value. `reader` walks a JSON tree and collects every error with its key's path.
//! `parse` and its kin read a document into the model; `compile` makes of it the rules in
//! force; `digest` names a document in the log.

mod bounds;
mod compile;
mod digest;
mod forward;
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
mod secret;
mod values;

pub use digest::digest;
pub use forward::{DEFAULT_FORWARD_HEADERS, Forward, Gate, PrincipalClaim};
pub use gateway::{Gateway, Mode};
pub use model::{Configuration, Disabled, Feed, Host, Jwks, Limits, Revocation};
pub use parse::JwksTarget;
pub use reader::ConfigError;
pub use rules::{Overrides, Resource, RouteOverrides};
pub use secret::Secret;

#[cfg(feature = "schema")]
pub use schema::schema;

#[cfg(test)]
mod tests;
