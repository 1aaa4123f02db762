//! Reads what a configuration says of the values that Envoy's workers share.

use super::model::{Configuration, ProxyKind, Revocation};
use super::reader::Object;
use super::secret::Secret;
use super::shared_data::SharedData;

/// Fewest bytes of the secret.
const MIN_SECRET: usize = 16;
const VARIABLE: &str = "CARACAL_SHARED_DATA_SECRET";

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
