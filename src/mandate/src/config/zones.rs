//! What a configuration says of the zones whose mandates are accepted, and of their key
//! sets.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{JWKS_MAX_STALE_S, JWKS_TIMEOUT_MS, JWKS_TTL_S, MAX_STRING};
use crate::zone::Zone;

/// Where the zone's key set comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The proxy's name for the STS: on Envoy a cluster, on the others `host:port`, which
    /// is called over TLS if the issuer is https.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream: String,
    /// The base of the key set's address, where the STS is reached at another one than its
    /// public name: `:authority`, scheme and path prefix come from it. https, but for
    /// loopback hosts. Default: the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub url: Option<String>,
    /// Longest wait for an answer of the STS, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(default = "default_jwks_timeout", range(min = JWKS_TIMEOUT_MS.min, max = JWKS_TIMEOUT_MS.max)))]
    pub timeout_ms: u64,
    /// How long a key set is fresh, in seconds. It is refreshed after about 80 % of that
    /// time.
    #[cfg_attr(feature = "schema", schemars(default = "default_jwks_ttl", range(min = JWKS_TTL_S.min, max = JWKS_TTL_S.max)))]
    pub ttl_s: u64,
    /// How much longer, in seconds, a key set is used if it cannot be refreshed.
    #[cfg_attr(feature = "schema", schemars(default = "default_jwks_max_stale", range(min = JWKS_MAX_STALE_S.min, max = JWKS_MAX_STALE_S.max)))]
    pub max_stale_s: u64,
}

/// A zone among several: what is different for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ZoneSettings {
    /// URL of the STS that issues the zone's mandates. Default: the top level's `issuer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub issuer: Option<String>,
    /// Where the zone's key set comes from. It replaces the whole `jwks` of the top level,
    /// which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
}

/// A zone whose mandates are accepted, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedZone {
    /// Its id and its issuer.
    pub zone: Zone,
    /// Where its key set comes from.
    pub jwks: Jwks,
}

/// Where the key set is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksTarget {
    /// `https` or `http`.
    pub scheme: String,
    /// Host and port of the issuer.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl AcceptedZone {
    /// The request for the key set, below the origin of the issuer or of `jwks.url`
    /// (contract, "Key sets").
    pub fn jwks_target(&self) -> JwksTarget {
        let base = self.jwks.url.as_deref().unwrap_or(&self.zone.issuer);
        let uri: http::Uri = base.trim_end_matches('/').parse().unwrap_or_default();
        let base = uri.path().trim_end_matches('/');
        let zone: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("zone_id", &self.zone.id)
            .finish();
        JwksTarget {
            scheme: uri.scheme_str().unwrap_or("https").to_owned(),
            authority: uri
                .authority()
                .map_or(String::new(), |a| a.as_str().to_owned()),
            path: format!("{base}/.well-known/jwks.json?{zone}"),
        }
    }
}

#[cfg(feature = "schema")]
fn default_jwks_timeout() -> u64 {
    JWKS_TIMEOUT_MS.default
}

#[cfg(feature = "schema")]
fn default_jwks_ttl() -> u64 {
    JWKS_TTL_S.default
}

#[cfg(feature = "schema")]
fn default_jwks_max_stale() -> u64 {
    JWKS_MAX_STALE_S.default
}
