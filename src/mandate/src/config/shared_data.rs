//! What a configuration says of the values that Envoy's workers share.

use serde::Serialize;

use super::secret::Secret;

/// The values that Envoy's workers share in the proxy's memory: key sets, and what is
/// revoked. Any other wasm plugin with the same `vm_id` can write there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SharedData {
    /// From this the key is derived that authenticates the values. At least 16 bytes, random,
    /// and known to no other plugin. Default: the environment's
    /// `CARACAL_SHARED_DATA_SECRET`, or `revocation.token`. Without any, workers share
    /// nothing, and each fetches for itself. Envoy only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}
