//! What a route says about MCP, and which operation a request is.

use super::headers::{McpHeaders, decoded, is_json};
use super::message::Message;
use super::{MIRRORED_SINCE, TOOLS_CALL, invalid};
use crate::reply::{ErrorCode, Reason, Refusal};

/// Longest method of a message, in bytes.
const MAX_METHOD: usize = 256;

/// What a route says about MCP. What each operation requires is with the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpRule {
    /// The tools that may be called, sorted; none if every tool may.
    tools: Option<Vec<String>>,
    /// The methods that need more than the route, sorted.
    methods: Vec<String>,
    /// The origins from which requests may come; none if the origin does not matter.
    origins: Option<Vec<String>>,
    /// Longest body that is read, in bytes; none if the headers decide.
    max_body: Option<usize>,
}

/// An operation with requirements of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An index into the methods, in their order.
    Method(usize),
    /// An index into the tools, in their order.
    Tool(usize),
    /// A tool that is not listed, where tools are listed.
    UnlistedTool,
    /// Not known before the message is read. Nothing is enough for it.
    Unread,
}

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Which operation the request is; none if it needs what the route needs.
    Known(Option<Operation>),
    /// The body has to be read.
    Unread(Mirrored),
}

/// What the headers say of a body that is not read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    version: Option<String>,
    method: Option<String>,
    name: Option<String>,
}

const ONCE: &str = "Send MCP-Protocol-Version, Mcp-Method and Mcp-Name once each, spelled so.";
const MIRROR: &str = "Speak MCP 2026-07-28, which has MCP-Protocol-Version, Mcp-Method and Mcp-Name in each request; the edge does not read bodies here.";
const AGREE: &str = "Send in Mcp-Method, Mcp-Name and MCP-Protocol-Version what the body says.";
const ONE_MESSAGE: &str =
    "Send one JSON-RPC message in strict JSON, uncompressed, as application/json.";
const EXACT: &str = "Send the message's method as the specification spells it, and name the tool.";

impl McpRule {
    /// A rule. `max_body` is the longest body that is read, if bodies are read.
    pub fn new(
        tools: Option<Vec<String>>,
        methods: Vec<String>,
        origins: Option<Vec<String>>,
        max_body: Option<usize>,
    ) -> Self {
        // Inserted one by one, because sorting would add 2 KiB to the filter.
        let sorted = |names: Vec<String>| {
            let mut all: Vec<String> = Vec::with_capacity(names.len());
            for name in names {
                all.insert(all.partition_point(|other| *other <= name), name);
            }
            all
        };
        McpRule {
            tools: tools.map(sorted),
            methods: sorted(methods),
            origins,
            max_body,
        }
    }

    /// The tools that may be called; none if every tool may.
    pub fn tools(&self) -> Option<&[String]> {
        self.tools.as_deref()
    }

    /// The methods that need more than the route.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The origins from which requests may come; none if the origin does not matter.
    pub fn origins(&self) -> Option<&[String]> {
        self.origins.as_deref()
    }

    /// Longest body that is read, in bytes; none if the headers decide.
    pub fn max_body(&self) -> Option<usize> {
        self.max_body
    }

    /// Checks from where a request comes. This is before anything else: a browser must not
    /// reach a server for a page that it does not know (DNS rebinding).
    ///
    /// # Errors 403 `origin_denied`.
    pub fn check_origin(&self, headers: &McpHeaders<'_>) -> Result<(), Refusal> {
        let Some(known) = &self.origins else {
            return Ok(());
        };
        let is_known = |origin: &[u8]| known.iter().any(|one| one.as_bytes() == origin);
        match headers.origin.as_slice() {
            [] => Ok(()),
            [origin] if is_known(origin) => Ok(()),
            _ => Err(Refusal::new(
                ErrorCode::OriginDenied,
                "The request comes from an origin that is not allowed",
            )),
        }
    }

    /// Which operation a request is, as far as that is known.
    ///
    /// # Errors As [`McpRule::read_head`] and [`McpRule::read_body`].
    pub fn read(&self, method: Option<&[u8]>, headers: &McpHeaders<'_>) -> Result<Head, Refusal> {
        match (self.read_head(method, headers)?, headers.body) {
            (Head::Unread(mirrored), Some(body)) => {
                self.read_body(&mirrored, body).map(Head::Known)
            }
            (head, _) => Ok(head),
        }
    }

    /// Which operation a request is, as far as its headers can say.
    ///
    /// # Errors 400 `invalid_request`, 413 `body_too_large`.
    pub fn read_head(
        &self,
        method: Option<&[u8]>,
        headers: &McpHeaders<'_>,
    ) -> Result<Head, Refusal> {
        if headers.is_listed {
            let hint = "List no header in Connection that says what the message is.";
            return Err(invalid("Connection lists a header that decides", hint));
        }
        if self.tools.is_none() && self.methods.is_empty() && self.max_body.is_none() {
            return Ok(Head::Known(None));
        }
        if headers.is_respelled {
            return Err(invalid("A header is spelled in another way", ONCE));
        }
        if headers.overrides_method {
            let hint = "Leave headers out that override the method.";
            return Err(invalid("A header overrides the method", hint));
        }
        // What comes after the upgrade has no method that could be judged. Some proxies
        // upgrade by this header alone, and tell of no body.
        if headers.upgrades() {
            let hint = "Send each message with a POST of its own, without Upgrade.";
            return Err(invalid("The request has an Upgrade", hint));
        }
        let method = method.unwrap_or_default();
        if method != b"POST" {
            return not_a_message(method, headers);
        }
        let (version, name) = (once(&headers.version)?, once(&headers.name)?);
        let method = once(&headers.method)?.map(method_of).transpose()?;
        let name = match name.map(decoded) {
            Some(None) => return Err(invalid("Mcp-Name cannot be read", ONCE)),
            name => name.flatten(),
        };
        if let Some(max) = self.max_body {
            check_body_announced(headers, max)?;
            let version = match version.map(std::str::from_utf8) {
                Some(Err(_)) => return Err(unknown_version()),
                version => version.and_then(Result::ok),
            };
            return Ok(Head::Unread(Mirrored {
                version: version.map(str::to_owned),
                method: method.map(str::to_owned),
                name: name.map(std::borrow::Cow::into_owned),
            }));
        }
        let is_mirrored = |version: &[u8]| {
            let mut all = MIRRORED_SINCE.iter();
            all.any(|known| known.as_bytes() == version)
        };
        if !version.is_some_and(is_mirrored) {
            return Err(unknown_version());
        }
        let method = method.ok_or_else(|| invalid("Mcp-Method is missing", MIRROR))?;
        // Two headers that were joined on the way (RFC 9110 section 5.3). A name with a
        // comma can be sent in base64.
        let is_joined = |name: &[u8]| name.contains(&b',');
        if method == TOOLS_CALL && headers.name.iter().any(|name| is_joined(name)) {
            return Err(invalid("Mcp-Name has a comma", ONCE));
        }
        self.operation(method, name.as_deref()).map(Head::Known)
    }

    /// Which operation a body is.
    ///
    /// # Errors 400 `invalid_request`.
    pub fn read_body(
        &self,
        mirrored: &Mirrored,
        body: &[u8],
    ) -> Result<Option<Operation>, Refusal> {
        let message = Message::parse(body).map_err(|why| {
            Refusal::new(ErrorCode::InvalidRequest, why.to_string())
                .with_hint(ONE_MESSAGE)
                .because(Reason::Message)
        })?;
        let differs = |mirrored: &Option<String>, said: Option<&str>| {
            mirrored.as_deref().is_some_and(|own| Some(own) != said)
        };
        let names = message
            .method
            .as_deref()
            .and_then(super::message::mirrored_member);
        if differs(&mirrored.method, message.method.as_deref())
            || (names.is_some() && differs(&mirrored.name, message.name.as_deref()))
            || (message.version.is_some() && differs(&mirrored.version, message.version.as_deref()))
        {
            return Err(invalid("The headers and the body disagree", AGREE));
        }
        match &message.method {
            Some(method) => self.operation(method_of(method.as_bytes())?, message.name.as_deref()),
            // A response calls nothing.
            None => Ok(None),
        }
    }

    fn operation(&self, method: &str, name: Option<&str>) -> Result<Option<Operation>, Refusal> {
        // Methods are compared exactly, but some servers may ignore case.
        let is_almost = |own: &str| own.eq_ignore_ascii_case(method) && own != method;
        if is_almost(TOOLS_CALL) || self.methods.iter().any(|own| is_almost(own)) {
            return Err(invalid("The method is spelled in another way", EXACT));
        }
        if method == TOOLS_CALL {
            let name = name.ok_or_else(|| invalid("tools/call names no tool", EXACT))?;
            if let Some(tools) = &self.tools {
                let found = find(tools, name);
                return Ok(Some(found.map_or(Operation::UnlistedTool, Operation::Tool)));
            }
        }
        Ok(find(&self.methods, method).map(Operation::Method))
    }
}

/// The refusal of a tool that is not listed.
#[cold]
pub fn unlisted() -> Refusal {
    Refusal::new(ErrorCode::ToolDenied, "The tool may not be called here")
}

/// The refusal of a body that is too long.
#[cold]
pub fn too_large() -> Refusal {
    Refusal::new(ErrorCode::BodyTooLarge, "The message is too long")
}

/// The refusal of a body that has not come in time.
#[cold]
pub fn too_slow() -> Refusal {
    Refusal::new(ErrorCode::BodyTimeout, "The message did not come in time")
}

fn find(names: &[String], name: &str) -> Option<usize> {
    names.binary_search_by(|own| own.as_str().cmp(name)).ok()
}

/// A request without a message: a stream of the server's messages (GET), the end of a
/// session (DELETE). Without a body there is no call of a tool in it, whatever a framework
/// takes its method for.
fn not_a_message(method: &[u8], headers: &McpHeaders<'_>) -> Result<Head, Refusal> {
    if method.is_empty() || method.eq_ignore_ascii_case(b"POST") {
        return Err(invalid("The method is not in upper case", "Send POST."));
    }
    if headers.may_have_body() {
        let hint = "Send messages with POST, and no body with another method.";
        return Err(invalid("Only POST may have a body here", hint));
    }
    Ok(Head::Known(None))
}

/// The one value of a header.
fn once<'h>(values: &[&'h [u8]]) -> Result<Option<&'h [u8]>, Refusal> {
    match values {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(invalid("A header of MCP is there twice", ONCE)),
    }
}

/// A method as a message or `Mcp-Method` has it: visible ASCII without a comma. Nothing in
/// it is decoded.
fn method_of(value: &[u8]) -> Result<&str, Refusal> {
    let fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    let is_method = (1..=MAX_METHOD).contains(&value.len())
        && value.iter().all(fits)
        && !value.starts_with(b"=?");
    match std::str::from_utf8(value) {
        Ok(method) if is_method => Ok(method),
        _ => Err(invalid("The method of MCP cannot be read", EXACT)),
    }
}

#[cold]
fn unknown_version() -> Refusal {
    let what =
        "MCP-Protocol-Version is missing, or is no version in which headers and body must agree";
    invalid(what, MIRROR)
}

fn check_body_announced(headers: &McpHeaders<'_>, max: usize) -> Result<(), Refusal> {
    if !matches!(headers.content_type.as_slice(), [kind] if is_json(kind)) {
        return Err(invalid(
            "The body is not application/json in UTF-8",
            ONE_MESSAGE,
        ));
    }
    if !headers.content_encoding.is_empty() {
        return Err(invalid("The body is encoded", ONE_MESSAGE));
    }
    if headers.ends == Some(true) {
        return Err(invalid("The request has no body", ONE_MESSAGE));
    }
    match headers.announces_over(max) {
        true => Err(too_large()),
        false => Ok(()),
    }
}
