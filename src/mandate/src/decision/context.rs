//! What a decision depends on, besides the request and its token.

use crate::config::Configuration;
use crate::jwks::algorithm::Algorithm;
use crate::jwks::key_set::KeySet;
use crate::jwks::signature::SignatureVerifier;
use crate::revocation::RevocationView;

/// What a decision depends on, besides the request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The zone's key set, if there is a usable one.
    pub keys: Option<&'a KeySet>,
    /// The revocation state.
    pub revocation: &'a dyn RevocationView,
    /// Checks signatures.
    pub signatures: &'a dyn SignatureVerifier,
    /// Unix time in whole seconds, floored.
    pub now: u64,
}

/// What every mandate must meet, whatever the request is for.
#[derive(Debug, Clone)]
pub(crate) struct TokenPolicy {
    pub(crate) issuer: String,
    pub(crate) zone_id: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) clock_skew_s: u64,
    pub(crate) max_lifetime_s: u64,
    pub(crate) max_token_bytes: usize,
    /// Gateway mode: how long a mandate must still be valid, in seconds.
    pub(crate) min_remaining_s: Option<u64>,
}

impl From<&Configuration> for TokenPolicy {
    fn from(configuration: &Configuration) -> Self {
        TokenPolicy {
            issuer: configuration.issuer.clone(),
            zone_id: configuration.zone_id.clone(),
            algorithms: configuration.algorithms.clone(),
            clock_skew_s: configuration.clock_skew_s,
            max_lifetime_s: configuration.limits.max_lifetime_s.unwrap_or(u64::MAX),
            max_token_bytes: usize::try_from(configuration.limits.max_token_bytes).unwrap_or(0),
            min_remaining_s: configuration
                .gateway
                .as_ref()
                .map(|one| one.min_remaining_s),
        }
    }
}
