//! What a configuration says of Gateway mode.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{EXCHANGE_TIMEOUT_MS, MAX_STRING, MIN_REMAINING_S};
use super::secret::Secret;

/// What the edge is to the requests that come through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It verifies resource mandates for the service behind the proxy.
    Connector,
    /// It takes the place of Caracal's Gateway: it verifies an agent's one-shot mandate,
    /// has the companion exchange it, and attaches the upstream's credential.
    Gateway,
}

impl Mode {
    /// Every mode, by its name in a configuration.
    pub const ALL: [(&'static str, Mode); 2] =
        [("connector", Mode::Connector), ("gateway", Mode::Gateway)];
}

/// The companion that exchanges mandates (`caracal-edge feed --gateway`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// The proxy's name for the companion: on Envoy a cluster, on APISIX `host:port`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream: String,
    /// Whether the companion is called over TLS. Not on Envoy, where the cluster decides.
    /// Default: true, except for an upstream on a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The companion's bearer token. Default: `revocation.token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Longest wait for an exchange, in milliseconds; then 504.
    #[cfg_attr(feature = "schema", schemars(default = "default_timeout", range(min = EXCHANGE_TIMEOUT_MS.min, max = EXCHANGE_TIMEOUT_MS.max)))]
    pub timeout_ms: u64,
    /// How long a mandate must still be valid, in seconds. One that ends sooner is
    /// refused before it is used up.
    #[cfg_attr(feature = "schema", schemars(default = "default_min_remaining", range(min = MIN_REMAINING_S.min, max = MIN_REMAINING_S.max)))]
    pub min_remaining_s: u64,
}

#[cfg(feature = "schema")]
fn default_timeout() -> u64 {
    EXCHANGE_TIMEOUT_MS.default
}

#[cfg(feature = "schema")]
fn default_min_remaining() -> u64 {
    MIN_REMAINING_S.default
}
