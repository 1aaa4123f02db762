//! A request to an MCP server, from flags: what a client sends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_mandate::mcp::headers::{METHOD_HEADER, NAME_HEADER, VERSION_HEADER};
use caracal_mandate::mcp::message::mirrored_member;
use caracal_mandate::mcp::{MIRRORED_SINCE, TOOLS_CALL};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Default)]
pub(crate) struct McpArguments {
    /// The method of MCP that the request's message has. Default: tools/call, if a tool is
    /// named.
    #[arg(long, value_name = "METHOD", requires = "path")]
    mcp_method: Option<String>,
    /// The tool that the message calls.
    #[arg(long, value_name = "TOOL", requires = "path")]
    mcp_tool: Option<String>,
    /// The version of MCP that the client speaks. Default: the oldest with Mcp-Method and
    /// Mcp-Name.
    #[arg(long, value_name = "VERSION", requires = "path")]
    mcp_version: Option<String>,
}

/// What a client sends.
pub(crate) struct McpMessage {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl McpArguments {
    /// Whether any of them is given.
    pub(crate) fn are_given(&self) -> bool {
        let all = [&self.mcp_method, &self.mcp_tool, &self.mcp_version];
        all.iter().any(|one| one.is_some())
    }

    /// The message; none without any of the flags.
    pub(crate) fn message(&self) -> Option<McpMessage> {
        if !self.are_given() {
            return None;
        }
        let method = match (&self.mcp_method, &self.mcp_tool) {
            (Some(method), _) => method.as_str(),
            (None, Some(_)) => TOOLS_CALL,
            (None, None) => "initialize",
        };
        let version = self
            .mcp_version
            .as_deref()
            .or(MIRRORED_SINCE.first().copied());
        let version = version.unwrap_or_default();
        let mut headers = vec![("content-type".to_owned(), b"application/json".to_vec())];
        let mut add = |name: &str, value: String| {
            headers.push((name.to_owned(), value.into_bytes()));
        };
        add(VERSION_HEADER, version.to_owned());
        if MIRRORED_SINCE.contains(&version) {
            add(METHOD_HEADER, method.to_owned());
            if let Some(tool) = &self.mcp_tool {
                add(NAME_HEADER, in_header(tool));
            }
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
        let params = self.mcp_tool.as_ref().map(|tool| {
            let named = mirrored_member(method).unwrap_or("name");
            json!({named: tool})
        });
        let body = match (message, params) {
            (Value::Object(mut members), Some(params)) => {
                members.insert("params".to_owned(), params);
                Value::Object(members)
            }
            (message, _) => message,
        };
        Some(McpMessage {
            headers,
            body: body.to_string().into_bytes(),
        })
    }
}

/// A name as a header has it: encoded if it could be changed on the way.
fn in_header(name: &str) -> String {
    let is_plain = name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b',');
    match is_plain && name.trim() == name && !name.is_empty() && !name.starts_with("=?") {
        true => name.to_owned(),
        false => format!("=?base64?{}?=", STANDARD.encode(name)),
    }
}
