//! MCP (Model Context Protocol) over HTTP: which operation a request is, and from where it
//! may come (docs/mcp.md).
//!
//! `headers` has the headers that are looked at. `message` reads a JSON-RPC message.
//! `rule` is what a route says about MCP, and decides by one of the two.

pub mod headers;
pub mod message;
pub mod rule;

use crate::reply::{ErrorCode, Reason, Refusal};

/// The method that calls a tool.
pub const TOOLS_CALL: &str = "tools/call";

/// The versions in which a server must refuse a request whose headers and body disagree
/// (2026-07-28, "Streamable HTTP", mirrored headers). Only there do the headers say what
/// the body does.
pub const MIRRORED_SINCE: [&str; 1] = ["2026-07-28"];

/// A request that is not well formed: 400.
#[cold]
fn invalid(what: &'static str, hint: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, what)
        .with_hint(hint)
        .because(Reason::Message)
}

#[cfg(test)]
mod tests;
