//! What a decision depends on, besides the request and its token.

use crate::config::Configuration;
use crate::forwarding::Forwarding;
use crate::jwks::algorithm::Algorithm;
use crate::jwks::key_set::KeySet;
use crate::jwks::signature::SignatureVerifier;
use crate::revocation::RevocationView;
use crate::routing::resources::Resource;
use crate::zone::{Zone, Zones};

/// What a decision depends on, besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The key set of the credential's zone, if there is a usable one.
    pub keys: Option<&'a KeySet>,
    /// The revocation state, with the delegation epoch of the credential's zone.
    pub revocation: &'a dyn RevocationView,
    /// Checks signatures.
    pub signatures: &'a dyn SignatureVerifier,
    /// Unix time in whole seconds, floored.
    pub now: u64,
}

/// What every mandate must meet, whatever the request is for.
#[derive(Debug, Clone)]
pub(crate) struct TokenPolicy {
    pub(crate) zones: Zones,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) clock_skew_s: u64,
    pub(crate) max_lifetime_s: u64,
    pub(crate) max_token_bytes: usize,
    /// Gateway mode: how long a mandate must still be valid, in seconds.
    pub(crate) min_remaining_s: Option<u64>,
    /// What the upstream gets of a mandate.
    pub(crate) forwarding: Forwarding,
}

impl From<&Configuration> for TokenPolicy {
    fn from(configuration: &Configuration) -> Self {
        TokenPolicy {
            zones: configuration.zones_in_force(),
            algorithms: configuration.algorithms.clone(),
            clock_skew_s: configuration.clock_skew_s,
            max_lifetime_s: configuration.limits.max_lifetime_s.unwrap_or(u64::MAX),
            max_token_bytes: usize::try_from(configuration.limits.max_token_bytes).unwrap_or(0),
            min_remaining_s: configuration
                .gateway
                .as_ref()
                .map(|one| one.min_remaining_s),
            forwarding: Forwarding::from(&configuration.forward),
        }
    }
}

impl TokenPolicy {
    /// What a mandate's `aud` must contain: the resource's audience, and in Gateway mode
    /// the issuer of its zone (row G4).
    pub(crate) fn audience_of<'a>(&self, zone: &'a Zone, resource: &'a Resource) -> &'a str {
        match self.min_remaining_s {
            Some(_) => &zone.issuer,
            None => &resource.audience,
        }
    }
}
