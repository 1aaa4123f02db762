//! A JSON-RPC message of an MCP client, read strictly. What two readers could read as two
//! messages is refused: the server must see the same message as the edge.

use std::borrow::Cow;
use std::fmt;

use super::TOOLS_CALL;
use crate::json::{self, InvalidJson, Members, Value, member};

/// Where a message says the protocol's version.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The members of a message (JSON-RPC 2.0). Another one is refused: some readers ignore
/// upper and lower case, and would take it for one of these.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The members of `params` that are read.
const NAMED: [&str; 3] = ["name", "uri", "_meta"];

/// What a message says, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'b> {
    /// Its method; none for a response to a request of the server.
    pub method: Option<Cow<'b, str>>,
    /// What the method is about: the member that `Mcp-Name` mirrors.
    pub name: Option<Cow<'b, str>>,
    /// The protocol's version, if the message says it.
    pub version: Option<Cow<'b, str>>,
}

/// Why a body is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMessage {
    /// It is not strict JSON.
    Json(InvalidJson),
    /// `jsonrpc` is not "2.0".
    Version,
    /// It has a member that is not JSON-RPC's.
    Member,
    /// `id` is neither a text nor a number.
    Id,
    /// `method` is no text.
    Method,
    /// It is neither a request, a notification nor a response.
    Kind,
    /// `params` is no object.
    Params,
    /// A member of `params` differs from a known one in upper and lower case only.
    Spelled,
    /// A member of `params` that names something is no text.
    Name,
    /// `tools/call` without a `name`.
    Nameless,
    /// `_meta` is no object, or its version is no text.
    Meta,
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidMessage::Json(why) => return write!(f, "The body {why}"),
            InvalidMessage::Version => "The message's jsonrpc is not \"2.0\"",
            InvalidMessage::Member => "The message has a member that JSON-RPC does not have",
            InvalidMessage::Id => "The message's id is neither a text nor a number",
            InvalidMessage::Method => "The message's method is not a text",
            InvalidMessage::Kind => "The message is neither a request nor a response",
            InvalidMessage::Params => "The message's params is not an object",
            InvalidMessage::Spelled => "A member of params is not in lower case",
            InvalidMessage::Name => "The message names something that is not a text",
            InvalidMessage::Nameless => "tools/call names no tool",
            InvalidMessage::Meta => "The message's _meta cannot be read",
        })
    }
}

impl<'b> Message<'b> {
    /// Reads a whole body.
    ///
    /// # Errors See [`InvalidMessage`].
    pub fn parse(body: &'b [u8]) -> Result<Self, InvalidMessage> {
        let members = json::parse_object(body).map_err(InvalidMessage::Json)?;
        let is_known = |(name, _): &(Cow<'_, str>, Value<'_>)| MEMBERS.contains(&name.as_ref());
        if !members.iter().all(is_known) {
            return Err(InvalidMessage::Member);
        }
        if !matches!(member(&members, "jsonrpc"), Some(Value::String(two)) if two == "2.0") {
            return Err(InvalidMessage::Version);
        }
        let has_id = match member(&members, "id") {
            None => false,
            Some(Value::String(_) | Value::Number(_)) => true,
            Some(_) => return Err(InvalidMessage::Id),
        };
        let has = |name| member(&members, name).is_some();
        let responds = has("result") != has("error");
        let method = match member(&members, "method") {
            Some(Value::String(method)) if !has("result") && !has("error") => method,
            Some(Value::String(_)) => return Err(InvalidMessage::Kind),
            Some(_) => return Err(InvalidMessage::Method),
            None if responds && has_id && !has("params") => return Ok(Message::response()),
            None => return Err(InvalidMessage::Kind),
        };
        let mut message = Message {
            method: Some(method.clone()),
            ..Message::response()
        };
        match member(&members, "params") {
            None => {}
            Some(Value::Object(params)) => message.read(params)?,
            Some(_) => return Err(InvalidMessage::Params),
        }
        match message.name {
            None if method == TOOLS_CALL => Err(InvalidMessage::Nameless),
            _ => Ok(message),
        }
    }

    fn response() -> Self {
        Message {
            method: None,
            name: None,
            version: None,
        }
    }

    fn read(&mut self, params: &Members<'b>) -> Result<(), InvalidMessage> {
        let is_odd = |name: &str| {
            let is_almost = |own: &&str| own.eq_ignore_ascii_case(name) && *own != name;
            NAMED.iter().any(is_almost)
        };
        if params.iter().any(|(name, _)| is_odd(name)) {
            return Err(InvalidMessage::Spelled);
        }
        let named = self.method.as_deref().and_then(mirrored_member);
        if let Some(value) = named.and_then(|name| member(params, name)) {
            let Value::String(name) = value else {
                return Err(InvalidMessage::Name);
            };
            self.name = Some(name.clone());
        }
        let meta = match member(params, "_meta") {
            None => return Ok(()),
            Some(Value::Object(meta)) => meta,
            Some(_) => return Err(InvalidMessage::Meta),
        };
        match member(meta, VERSION) {
            None => Ok(()),
            Some(Value::String(version)) => {
                self.version = Some(version.clone());
                Ok(())
            }
            Some(_) => Err(InvalidMessage::Meta),
        }
    }
}

/// The member of `params` that `Mcp-Name` mirrors (2026-07-28, "Streamable HTTP").
pub fn mirrored_member(method: &str) -> Option<&'static str> {
    match method {
        TOOLS_CALL | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    }
}
