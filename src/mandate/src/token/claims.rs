//! The claims of a mandate, from the payload's JSON to typed values. Errors that the
//! contract answers at row 3 are errors here. A malformed claim that a later row judges
//! keeps its error until that row, because the first failing row decides the code of the
//! answer.

use std::fmt;

use crate::json::{self, InvalidJson, Members, Number, Value};

/// A claim that is judged by a later row: its value, or that it is malformed.
pub type Shape<T> = Result<T, InvalidClaim>;

/// Which claim is malformed, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidClaim {
    /// Name of the claim.
    pub claim: &'static str,
    /// What the contract requires of it.
    pub expected: &'static str,
}

impl fmt::Display for InvalidClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the claim {} must be {}", self.claim, self.expected)
    }
}

/// Why a signed payload does not have the claims of a mandate (row 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidClaims {
    /// The payload is not a strict JSON object.
    Json(InvalidJson),
    /// A claim that row 3 judges.
    Claim(InvalidClaim),
}

impl fmt::Display for InvalidClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidClaims::Json(why) => write!(f, "the token's payload {why}"),
            InvalidClaims::Claim(why) => why.fmt(f),
        }
    }
}

/// `use`: what a mandate was issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TokenUse {
    /// A session mandate.
    Session,
    /// A resource mandate.
    Resource,
    /// An agent's mandate for one request at a Gateway. No route can require it by
    /// `required_use`: Gateway mode requires it of all.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Gateway,
}

impl TokenUse {
    /// The `use` with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gateway" => Some(TokenUse::Gateway),
            "session" => Some(TokenUse::Session),
            "resource" => Some(TokenUse::Resource),
            _ => None,
        }
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenUse::Session => "session",
            TokenUse::Resource => "resource",
            TokenUse::Gateway => "gateway",
        }
    }
}

/// `sub_type`: what kind of subject acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectType {
    /// A person.
    User,
    /// A program.
    Application,
}

impl SubjectType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SubjectType::User => "user",
            SubjectType::Application => "application",
        }
    }
}

/// One hop of a delegation chain, with the part that a verifier judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainHop {
    /// The application that was delegated to.
    pub application_id: String,
}

/// The typed claims of a mandate. They can be read from outside, but not made: see
/// [`crate::Mandate`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the contract's claims, by their names"
)]
pub struct Claims {
    pub iss: String,
    pub aud: Vec<String>,
    pub exp: u64,
    pub iat: u64,
    pub nbf: Option<u64>,
    pub jti: String,
    pub sub: String,
    pub sid: String,
    pub root_sid: String,
    pub client_id: String,
    /// `None` if absent or malformed; row 4 refuses both in the same way.
    pub zone_id: Option<String>,
    pub token_use: TokenUse,
    pub sub_type: SubjectType,
    /// `None` if absent. It may be empty, which row 11 refuses.
    pub scope: Option<String>,
    pub target: Shape<Vec<String>>,
    pub agent_session_id: Shape<Option<String>>,
    pub delegation_edge_id: Shape<Option<String>>,
    pub source_session_id: Shape<Option<String>>,
    pub target_session_id: Shape<Option<String>>,
    pub delegation_path: Shape<Vec<String>>,
    pub delegation_chain: Shape<Vec<ChainHop>>,
    pub hop_count: Shape<Option<u64>>,
    pub delegation_graph_epoch: Shape<Option<u64>>,
}

impl Claims {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, InvalidClaims> {
        let payload = json::parse_object(payload).map_err(InvalidClaims::Json)?;
        Payload(&payload).claims().map_err(InvalidClaims::Claim)
    }

    /// The scopes of `scope`, split at U+0020 only (contract, "Stricter").
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope
            .as_deref()
            .unwrap_or_default()
            .split(' ')
            .filter(|s| !s.is_empty())
    }
}

const NON_EMPTY: &str = "a non-empty string";
const TIME: &str = "an integer in 0..2^63-1 (seconds)";
const INTEGER: &str = "an integer in 0..2^63-1";
const OPTIONAL_STRING: &str = "a string";
const STRINGS: &str = "an array of non-empty strings";
const CHAIN: &str = "an array of objects, each with a non-empty application_id";

/// A payload from which [`Claims`] are read. The methods are the types of the contract.
struct Payload<'v, 'a>(&'v Members<'a>);

impl Payload<'_, '_> {
    fn claims(&self) -> Result<Claims, InvalidClaim> {
        Ok(Claims {
            iss: self.required("iss")?,
            aud: self.audience()?,
            exp: self.time("exp")?,
            iat: self.time("iat")?,
            nbf: match json::member(self.0, "nbf") {
                None => None,
                Some(_) => Some(self.time("nbf")?),
            },
            jti: self.required("jti")?,
            sub: self.required("sub")?,
            sid: self.required("sid")?,
            root_sid: self.required("root_sid")?,
            client_id: self.required("client_id")?,
            zone_id: self.text("zone_id").map(str::to_owned),
            token_use: self
                .text("use")
                .and_then(TokenUse::from_name)
                .ok_or(invalid("use", "\"resource\", \"session\" or \"gateway\""))?,
            sub_type: match self.text("sub_type") {
                Some("user") => SubjectType::User,
                Some("application") => SubjectType::Application,
                _ => return Err(invalid("sub_type", "\"user\" or \"application\"")),
            },
            scope: match json::member(self.0, "scope") {
                None => None,
                Some(Value::String(scope)) => Some(scope.as_ref().to_owned()),
                Some(_) => return Err(invalid("scope", OPTIONAL_STRING)),
            },
            target: self.strings("target"),
            agent_session_id: self.optional("agent_session_id"),
            delegation_edge_id: self.optional("delegation_edge_id"),
            source_session_id: self.optional("source_session_id"),
            target_session_id: self.optional("target_session_id"),
            delegation_path: self.strings("delegation_path"),
            delegation_chain: self.chain(),
            hop_count: self.integer("hop_count")?,
            delegation_graph_epoch: self.integer("delegation_graph_epoch")?,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        match json::member(self.0, name) {
            Some(Value::String(s)) => Some(s.as_ref()),
            _ => None,
        }
    }

    fn required(&self, name: &'static str) -> Result<String, InvalidClaim> {
        let text = self.text(name).filter(|s| !s.is_empty());
        text.map(str::to_owned).ok_or(invalid(name, NON_EMPTY))
    }

    fn time(&self, name: &'static str) -> Result<u64, InvalidClaim> {
        match json::member(self.0, name) {
            Some(Value::Number(Number::Integer(n))) => Ok(*n),
            _ => Err(invalid(name, TIME)),
        }
    }

    fn audience(&self) -> Result<Vec<String>, InvalidClaim> {
        let wrong = invalid("aud", "a string or an array of strings");
        match json::member(self.0, "aud") {
            Some(Value::String(one)) => Ok(vec![one.as_ref().to_owned()]),
            Some(Value::Array(many)) => many.iter().map(|item| string(item).ok_or(wrong)).collect(),
            _ => Err(wrong),
        }
    }

    /// A string. Null and "" mean absent.
    fn optional(&self, name: &'static str) -> Shape<Option<String>> {
        optional_string(self.0, name).ok_or(invalid(name, OPTIONAL_STRING))
    }

    /// An integer; null means absent. A number out of range is refused at once (contract,
    /// "Stricter", row 3). Another type is refused by the row of its claim.
    fn integer(&self, name: &'static str) -> Result<Shape<Option<u64>>, InvalidClaim> {
        match json::member(self.0, name) {
            None | Some(Value::Null) => Ok(Ok(None)),
            Some(Value::Number(Number::Integer(n))) => Ok(Ok(Some(*n))),
            Some(Value::Number(Number::OutOfRange)) => Err(invalid(name, INTEGER)),
            Some(_) => Ok(Err(invalid(name, INTEGER))),
        }
    }

    fn strings(&self, name: &'static str) -> Shape<Vec<String>> {
        let wrong = invalid(name, STRINGS);
        match json::member(self.0, name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| string(item).filter(|s| !s.is_empty()).ok_or(wrong))
                .collect(),
            Some(_) => Err(wrong),
        }
    }

    fn chain(&self) -> Shape<Vec<ChainHop>> {
        let wrong = invalid("delegation_chain", CHAIN);
        let hops = match json::member(self.0, "delegation_chain") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(hops)) => hops,
            Some(_) => return Err(wrong),
        };
        let hop = |hop: &Value<'_>| {
            let Value::Object(hop) = hop else {
                return Err(wrong);
            };
            let application_id = json::member(hop, "application_id")
                .and_then(string)
                .filter(|id| !id.is_empty())
                .ok_or(wrong)?;
            for name in ["agent_session_id", "delegation_edge_id"] {
                optional_string(hop, name).ok_or(wrong)?;
            }
            Ok(ChainHop { application_id })
        };
        hops.iter().map(hop).collect()
    }
}

/// `None` if the member is neither a string nor null.
fn optional_string(members: &Members<'_>, name: &str) -> Option<Option<String>> {
    match json::member(members, name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(s)) if s.is_empty() => Some(None),
        Some(Value::String(s)) => Some(Some(s.as_ref().to_owned())),
        Some(_) => None,
    }
}

fn string(value: &Value<'_>) -> Option<String> {
    match value {
        Value::String(s) => Some(s.as_ref().to_owned()),
        _ => None,
    }
}

fn invalid(claim: &'static str, expected: &'static str) -> InvalidClaim {
    InvalidClaim { claim, expected }
}
