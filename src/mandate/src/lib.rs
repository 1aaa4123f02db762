//! What a Caracal mandate is, and when it is accepted.
//!
//! This crate is pure. Bytes, configuration, key set, revocation view and the time go in;
//! a verdict comes out. There is no I/O, no clock, no logging and no host call.
//!
//! Each room has one subject. A room uses only rooms earlier in this list, and none later:
//!
//! - [`bytes`], [`json`], [`header_names`], [`reply`], [`mcp`], [`request`],
//!   [`fetch_failure`], [`zone`]: comparisons of long byte strings; strict JSON; the edge's
//!   own headers; error codes and replies to the client; which operation of MCP a request
//!   is; what is read of a request; why a call failed; the zones that are accepted.
//! - [`framing`]: WebSocket frames and gRPC-Web messages, and the last one of a stream.
//! - [`jwks`]: keys, key sets and signatures, and when a key set is fetched.
//! - [`token`]: from the `Authorization` header to a verified [`Mandate`], and the cache
//!   of verified ones.
//! - [`revocation`]: what is revoked, and how the VMs of a proxy share it.
//! - [`routing`]: which resource a request is for, and what its path and method require.
//! - [`metadata`]: what clients may know of a resource without a mandate.
//! - [`config`]: the filter's configuration.
//! - [`forwarding`], [`baggage`]: what the upstream gets of a verified mandate.
//! - [`audit`]: what the companion is told about each decision.
//! - [`exchange`]: Gateway mode's question to the companion, its answer, and the request to
//!   the upstream.
//! - [`decision`]: the contract's order of checks, and explanations of a decision.
//!
//! Comments cite the contract, docs/reference/contract.md, by its rows and sections.

pub mod audit;
pub mod baggage;
pub mod bytes;
pub mod config;
pub mod decision;
pub mod exchange;
pub mod fetch_failure;
pub mod forwarding;
pub mod framing;
pub mod header_names;
pub mod json;
pub mod jwks;
pub mod mcp;
pub mod metadata;
pub mod readiness;
pub mod reply;
pub mod request;
pub mod revocation;
pub mod routing;
pub mod shared_record;
pub mod token;
pub mod zone;

/// Keys and mandates for the tests, made in the same way as in all suites.
#[cfg(test)]
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::arithmetic_side_effects,
    reason = "the suites' own file"
)]
#[path = "../../../tests/mint.rs"]
mod mint;

pub use token::mandate::Mandate;
