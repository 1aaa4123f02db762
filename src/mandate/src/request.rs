//! The parts of a request that are read before its mandate.

use crate::mcp::headers::McpHeaders;

/// The parts of a request that are read before its mandate, as they were received, before
/// reserved headers are removed. The client controls all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestView<'t> {
    /// The method (`:method`).
    pub method: Option<&'t [u8]>,
    /// The request target (`:path`), with its query.
    pub target: Option<&'t [u8]>,
    /// Host and port (`:authority`).
    pub authority: Option<&'t [u8]>,
    /// The value of every `X-Caracal-Resource` header.
    pub resource: &'t [&'t [u8]],
    /// Whether an `X-Caracal-Client-ID` with a value is there.
    pub names_client: bool,
    /// Gateway mode: whether a `Connection` lists a header that no hop may take for its own.
    pub lists_end_to_end: bool,
    /// The value of every `Authorization` header.
    pub authorization: &'t [&'t [u8]],
    /// What MCP's rules look at; only read where a route has such rules.
    pub mcp: Option<&'t McpHeaders<'t>>,
}
