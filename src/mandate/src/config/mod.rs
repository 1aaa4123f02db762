//! The filter's configuration: one JSON object, the proxy's plugin configuration
//! (docs/reference/options.md).
//!
//! `model` has the configuration's types, with the defaults filled in; the JSON Schema is
//! generated from them. `rules` is the part about resources and routes, `forward` the part
//! about headers to the upstream, `enforcement` the words of shadow mode,
//! `gateway` the part about Gateway mode, `metadata` the part
//! about challenges and public metadata, and `zones` the part about zones. `bounds` has
//! the limits of every value. `reader` walks a JSON tree and collects every error with
//! its key's path. The `parse` modules read a document into the model. `compile` turns
//! the model into the rules in force. `digest` names a document.

mod audit;
mod bounds;
mod compile;
mod compile_metadata;
mod digest;
mod enforcement;
mod forward;
mod gateway;
mod metadata;
mod model;
mod parse;
mod parse_audit;
mod parse_enforcement;
mod parse_forward;
mod parse_gateway;
mod parse_host;
mod parse_mcp;
mod parse_metadata;
mod parse_requirements;
mod parse_rules;
mod parse_shared_data;
mod parse_zones;
mod reader;
mod rules;
#[cfg(feature = "schema")]
mod schema;
mod secret;
mod shared_data;
mod values;
mod zones;

pub use audit::{Audit, AuditDecisions};
pub use digest::digest;
pub use enforcement::Enforcement;
pub use forward::{Baggage, DEFAULT_FORWARD_HEADERS, Forward, Gate, PrincipalClaim, Unsendable};
pub use gateway::{Gateway, Mode};
pub use metadata::{ChallengeSettings, MetadataSettings};
pub use model::{Configuration, Disabled, Feed, Limits, Measured, ProxyKind, Revocation, Streams};
pub use reader::ConfigError;
pub use rules::{Mcp, OtherUse, Overrides, Resource, RouteOverrides};
pub use secret::Secret;
pub use shared_data::SharedData;
pub use zones::{AcceptedZone, Jwks, JwksTarget, ZoneSettings};

#[cfg(feature = "schema")]
pub use schema::schema;

#[cfg(test)]
mod tests;
