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
    /// Whether the upstream gets the mandate. False also drops `caracal.*`
    /// entries from `baggage`.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub authorization: bool,
    /// Header name to the claim it carries. Replaces the default list; the names
    /// are stripped from every incoming request.
    #[cfg_attr(feature = "schema", schemars(default = "default_forward_headers"))]
    pub headers: BTreeMap<String, PrincipalClaim>,
    /// nginx variable, without its `$`, to the claim it carries (Kong only). Each has
    /// to be declared: `set $name "";`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_FORWARDED)))]
    pub variables: BTreeMap<String, PrincipalClaim>,
    /// The variable that opens the way to the upstream (Kong and APISIX).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// An nginx variable that is set for an admitted or excluded request only. On Kong it
/// names the upstream: `set $gate deny;` and `proxy_pass http://$gate;` refuse every
/// other request, whatever else a location says. On APISIX a plugin behind the filter
/// refuses unless it has this value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The variable, without its `$`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub variable: String,
    /// What it is set to: on Kong the name of an `upstream` block, or `host:port`; on
    /// APISIX what the plugin behind the filter looks for, `open` say.
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
}

/// Headers to the upstream unless `forward.headers` says otherwise (design,
/// "Headers to the upstream").
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
