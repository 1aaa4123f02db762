//! What a configuration says of the headers and variables to the upstream.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{MAX_FORWARDED, MAX_STRING};
use super::gateway::Mode;

/// What the upstream is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Whether the upstream gets the mandate. An excluded path keeps its `Authorization` in
    /// any case.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub authorization: bool,
    /// Header name to the claim it carries. Replaces the default list. These headers are
    /// removed from every incoming request.
    #[cfg_attr(feature = "schema", schemars(default = "default_forward_headers"))]
    pub headers: BTreeMap<String, PrincipalClaim>,
    /// What becomes of the caller's `caracal.*` members of `baggage`, which nobody has
    /// signed. An excluded path keeps its `baggage` in any case.
    #[cfg_attr(feature = "schema", schemars(default = "default_baggage"))]
    pub baggage: Baggage,
    /// The name of a header with all claims of the mandate: its payload as it was signed,
    /// which is JSON in base64url without padding, at most 8,192 bytes. Removed from every
    /// incoming request. Default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub claims: Option<String>,
    /// What happens if something that is to be forwarded cannot be: a claim that is not
    /// visible ASCII of at most 1,024 bytes, or too many claims for their header.
    #[cfg_attr(feature = "schema", schemars(default = "default_unsendable"))]
    pub unsendable: Unsendable,
    /// nginx variable, without its `$`, to the claim it carries (Kong only). Declare each
    /// variable: `set $name "";`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_FORWARDED)))]
    pub variables: BTreeMap<String, PrincipalClaim>,
    /// The variable that is the gate to the upstream (Kong and APISIX).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// What becomes of the caller's `caracal.*` members of `baggage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Baggage {
    /// They are removed.
    Remove,
    /// They go on. An upstream that believes them believes the caller. Not in Gateway mode.
    Keep,
    /// They are removed, and members with the mandate's claims are written in their place.
    Verified,
}

impl Baggage {
    /// Every choice, by its name in a configuration.
    pub const ALL: [(&'static str, Baggage); 3] = [
        ("remove", Baggage::Remove),
        ("keep", Baggage::Keep),
        ("verified", Baggage::Verified),
    ];
}

/// What happens if something that is to be forwarded cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Unsendable {
    /// The mandate is refused with 401 `invalid_token`.
    Refuse,
    /// It is left out and counted. The upstream cannot tell it from a claim that the
    /// mandate does not have.
    Omit,
}

impl Unsendable {
    /// Every choice, by its name in a configuration.
    pub const ALL: [(&'static str, Unsendable); 2] =
        [("refuse", Unsendable::Refuse), ("omit", Unsendable::Omit)];
}

/// An nginx variable that the filter sets only for an admitted or excluded request. On
/// Kong it names the upstream: `set $gate deny;` and `proxy_pass http://$gate;` refuse
/// every other request, whatever else a location contains. On APISIX a plugin after the
/// filter refuses unless the variable has this value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The variable, without its `$`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub variable: String,
    /// The value that opens the gate: on Kong the name of an `upstream` block, or
    /// `host:port`; on APISIX the value that the plugin after the filter looks for, such
    /// as `open`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream: String,
}

impl Forward {
    /// What is sent unless the configuration says otherwise. In Gateway mode the upstream
    /// may be a third party: it learns nothing of the principal.
    pub fn of_mode(mode: Mode) -> Self {
        match mode {
            Mode::Connector => Forward::default(),
            Mode::Gateway => Forward {
                authorization: false,
                headers: BTreeMap::new(),
                ..Forward::default()
            },
        }
    }
}

impl Default for Forward {
    fn default() -> Self {
        let header = |(name, claim): &(&str, PrincipalClaim)| ((*name).to_owned(), *claim);
        Forward {
            authorization: true,
            headers: DEFAULT_FORWARD_HEADERS.iter().map(header).collect(),
            baggage: Baggage::Remove,
            claims: None,
            unsendable: Unsendable::Refuse,
            variables: BTreeMap::new(),
            gate: None,
        }
    }
}

/// A claim that can be sent to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the claims'")]
pub enum PrincipalClaim {
    Sub,
    ClientId,
    ZoneId,
    Scope,
    Use,
    SubType,
    Sid,
    RootSid,
    Jti,
    AgentSessionId,
    DelegationEdgeId,
    SourceSessionId,
    TargetSessionId,
    HopCount,
    DelegationGraphEpoch,
}

impl PrincipalClaim {
    /// Every claim that can be sent, by its name on the wire.
    pub const ALL: [(&'static str, PrincipalClaim); 15] = [
        ("sub", PrincipalClaim::Sub),
        ("client_id", PrincipalClaim::ClientId),
        ("zone_id", PrincipalClaim::ZoneId),
        ("scope", PrincipalClaim::Scope),
        ("use", PrincipalClaim::Use),
        ("sub_type", PrincipalClaim::SubType),
        ("sid", PrincipalClaim::Sid),
        ("root_sid", PrincipalClaim::RootSid),
        ("jti", PrincipalClaim::Jti),
        ("agent_session_id", PrincipalClaim::AgentSessionId),
        ("delegation_edge_id", PrincipalClaim::DelegationEdgeId),
        ("source_session_id", PrincipalClaim::SourceSessionId),
        ("target_session_id", PrincipalClaim::TargetSessionId),
        ("hop_count", PrincipalClaim::HopCount),
        (
            "delegation_graph_epoch",
            PrincipalClaim::DelegationGraphEpoch,
        ),
    ];

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        let mut all = PrincipalClaim::ALL.iter();
        let found = all.find(|(_, claim)| *claim == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Headers to the upstream unless `forward.headers` replaces them.
pub const DEFAULT_FORWARD_HEADERS: [(&str, PrincipalClaim); 11] = [
    ("x-caracal-sub", PrincipalClaim::Sub),
    ("x-caracal-client-id", PrincipalClaim::ClientId),
    ("x-caracal-zone-id", PrincipalClaim::ZoneId),
    ("x-caracal-scope", PrincipalClaim::Scope),
    ("x-caracal-use", PrincipalClaim::Use),
    ("x-caracal-sub-type", PrincipalClaim::SubType),
    ("x-caracal-sid", PrincipalClaim::Sid),
    ("x-caracal-jti", PrincipalClaim::Jti),
    ("x-caracal-session-id", PrincipalClaim::AgentSessionId),
    ("x-caracal-delegation-id", PrincipalClaim::DelegationEdgeId),
    ("x-caracal-hop-count", PrincipalClaim::HopCount),
];

#[cfg(feature = "schema")]
fn default_true() -> bool {
    true
}

#[cfg(feature = "schema")]
fn default_forward_headers() -> BTreeMap<String, PrincipalClaim> {
    Forward::default().headers
}

#[cfg(feature = "schema")]
fn default_baggage() -> Baggage {
    Baggage::Remove
}

#[cfg(feature = "schema")]
fn default_unsendable() -> Unsendable {
    Unsendable::Refuse
}
