//! What a configuration says of the values that Envoy's workers share.

use serde::Serialize;

use super::model::{Configuration, ProxyKind, Revocation};
use super::reader::Object;
use super::secret::Secret;

/// Fewest bytes of the secret.
pub(super) const MIN_SECRET: usize = 16;
const VARIABLE: &str = "CARACAL_SHARED_DATA_SECRET";

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

impl Configuration {
    /// The secret that authenticates shared values, if there is one.
    pub fn shared_data_secret(&self) -> Option<&str> {
        let own = self.shared_data.as_ref().and_then(|of| of.secret.as_ref());
        let token = match &self.revocation {
            Revocation::Feed(feed) => feed.token.as_ref(),
            Revocation::Disabled(_) => None,
        };
        own.or(token).map(Secret::expose)
    }
}

/// Reads it. In nginx workers share nothing, and the environment's secret is not looked at.
pub(super) fn read(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<SharedData> {
    const WHAT: &str = "must be at least 16 bytes long";
    let at = object.get("shared_data");
    if host.is_nginx() {
        return at?.fail("only Envoy's workers share values; remove the key");
    }
    if let Some(at) = at {
        let of = at.object()?;
        let secret = of.get("secret");
        let named = secret.is_some();
        let secret = secret.and_then(|at| {
            let text = at.text()?;
            match text.len() < MIN_SECRET {
                true => at.fail(WHAT),
                false => Some(Secret::new(text.to_owned())),
            }
        });
        of.finish();
        if named {
            return Some(SharedData { secret });
        }
    }
    let set = environment(VARIABLE).filter(|secret| !secret.is_empty())?;
    if set.len() < MIN_SECRET {
        return object.fail("shared_data.secret", format!("{VARIABLE} {WHAT}"));
    }
    Some(SharedData {
        secret: Some(Secret::new(set)),
    })
}
