//! What a configuration says of the audit of decisions.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::MAX_STRING;
use super::secret::Secret;

/// The companion that keeps the events of decisions (`caracal-edge feed --audit-dir`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The proxy's name for the companion: on Envoy a cluster, on Kong `host:port`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream: String,
    /// Whether the companion is called over TLS. Not on Envoy, where the cluster decides.
    /// Default: true, except for an upstream on a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The companion's bearer token. Default: `revocation.token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Which decisions become events. An excluded path is no decision.
    #[cfg_attr(feature = "schema", schemars(default = "default_decisions"))]
    pub decisions: AuditDecisions,
}

/// Which decisions become events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AuditDecisions {
    /// Every decision.
    All,
    /// Refusals only.
    Denied,
}

impl AuditDecisions {
    /// Each choice, by its name in a configuration.
    pub const ALL: [(&'static str, AuditDecisions); 2] = [
        ("all", AuditDecisions::All),
        ("denied", AuditDecisions::Denied),
    ];
}

#[cfg(feature = "schema")]
fn default_decisions() -> AuditDecisions {
    AuditDecisions::All
}
