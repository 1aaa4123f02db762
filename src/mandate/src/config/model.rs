//! What a configuration says. The doc comments here are the descriptions in the
//! JSON Schema, so they are written for the operator.

use std::collections::BTreeMap;

use serde::Serialize;

use super::audit::Audit;
use super::bounds::*;
use super::enforcement::Enforcement;
use super::forward::Forward;
use super::gateway::{Gateway, Mode};
use super::metadata::{ChallengeSettings, MetadataSettings};
#[cfg(feature = "schema")]
use super::rules::{MAX_RESOURCES, Overrides};
use super::rules::{Resource, RouteOverrides};
use super::secret::Secret;
use super::shared_data::SharedData;
use super::zones::{Jwks, ZoneSettings};
use crate::jwks::algorithm::Algorithm;
use crate::routing::routes::Requirements;
#[cfg(feature = "schema")]
use crate::zone::MAX_ZONES;

/// Configuration of the Caracal edge filter.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// URL of the STS that issues the mandates. It must equal `iss` byte for byte, and
    /// must be https, except on loopback hosts. Default: the environment's
    /// CARACAL_STS_URL without trailing slashes.
    #[cfg_attr(feature = "schema", schemars(default, length(min = 1, max = MAX_STRING)))]
    pub issuer: String,
    /// The zone whose mandates are accepted. Default: the environment's CARACAL_ZONE_ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub zone_id: Option<String>,
    /// Zone id to what is different for that zone, if mandates of several zones are
    /// accepted. It replaces `zone_id`. The claim `zone_id` chooses the zone, and only the
    /// key set of that zone can verify the mandate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("minProperties" = 1, "maxProperties" = MAX_ZONES)))]
    pub zones: BTreeMap<String, ZoneSettings>,
    /// Identifier of the protected resource, which must be in a mandate's `aud`.
    /// Required, unless `resources` is used instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub audience: Option<String>,
    /// Where the zone's key set comes from.
    pub jwks: Jwks,
    /// How revoked mandates are found.
    pub revocation: Revocation,
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(with = "Overrides"))]
    /// What every route of every resource requires, unless the route or the resource says
    /// otherwise.
    pub requirements: Requirements,
    /// Path prefix to what is different under it. The longest matching prefix wins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_ROUTES)))]
    pub routes: BTreeMap<String, RouteOverrides>,
    /// Path prefixes that pass without verification. They win over `routes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, length(max = MAX_ROUTES)))]
    pub exclude: Vec<String>,
    /// Resource identifier to the settings of that resource, if one listener has several.
    /// It replaces `audience`, `routes` and `exclude`. Each resource inherits the
    /// requirements of the top level, unless it replaces them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("minProperties" = 1, "maxProperties" = MAX_RESOURCES)))]
    pub resources: BTreeMap<String, Resource>,
    /// What `WWW-Authenticate` says besides the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeSettings>,
    /// What clients may know of the protected resource without a mandate (RFC 9728). The
    /// filter answers it at the well-known path, and names it in each challenge. Where
    /// there are `resources`, each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataSettings>,
    /// A path at which the filter says whether it can decide: 200, or 503 with what is
    /// missing. `GET` and `HEAD` without a mandate, at every host. Not on APISIX.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 2, max = crate::readiness::MAX_PATH_BYTES)))]
    pub readiness_path: Option<String>,
    /// Whether requests that are refused get the refusal. With `shadow` they go on to the
    /// service, and what is decided is only counted and recorded. A route can have its own.
    /// Never `shadow` in Gateway mode.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub enforcement: Enforcement,
    /// The proxy that loads the filter.
    #[cfg_attr(feature = "schema", schemars(default = "default_host"))]
    pub host: ProxyKind,
    /// Whether mandates are verified for the service behind the proxy, or exchanged as
    /// Caracal's Gateway does.
    #[cfg_attr(feature = "schema", schemars(default = "default_mode"))]
    pub mode: Mode,
    /// The companion that exchanges mandates. Required in Gateway mode, and only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Where the events of decisions go. Without it there are none. Not on APISIX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// Signature algorithms accepted.
    #[cfg_attr(feature = "schema", schemars(default = "default_algorithms", length(min = 1), extend("uniqueItems" = true)))]
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ, in seconds, when `iat` and `nbf` are checked.
    #[cfg_attr(feature = "schema", schemars(default = "default_clock_skew", range(min = CLOCK_SKEW_S.min, max = CLOCK_SKEW_S.max)))]
    pub clock_skew_s: u64,
    /// Accepts an `http` issuer that is not on a loopback host.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub allow_insecure_issuer: bool,
    /// Requests under way end with the authority that admitted them. Envoy only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// What authenticates the values that workers share. Envoy only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_data: Option<SharedData>,
    /// What is measured besides what is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Measured>,
    /// Limits on what one proxy worker uses.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub limits: Limits,
    /// What the upstream gets.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub forward: Forward,
    /// Whether the filter writes the decision and the principal to the filter state, for
    /// access logs. Default: true on Envoy; the other proxies have no filter state.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub filter_state: bool,
}

/// How revoked mandates are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Revocation {
    /// Revocation is not checked: a mandate is accepted until it expires.
    Disabled(Disabled),
    /// The companion says what is revoked.
    Feed(Feed),
}

/// The one word that can be used instead of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Disabled {
    /// The configuration says so explicitly, and every start logs it.
    Disabled,
}

/// The companion that says what is revoked (`caracal-edge feed`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// The proxy's name for the companion: on Envoy a cluster, on the others `host:port`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream: String,
    /// Whether the companion is called over TLS. Not on Envoy, where the cluster decides.
    /// Default: true, except for an upstream on a loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// The companion's bearer token. Default: the environment's
    /// `CARACAL_FEED_TOKEN`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// How old, in seconds, the revocation state may be. The age counts from when the
    /// companion last had everything that Redis has. Older: 503.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_staleness", range(min = MAX_STALENESS_S.min, max = MAX_STALENESS_S.max)))]
    pub max_staleness_s: u64,
    /// Longest time between two polls of the companion, in milliseconds. New revocations
    /// arrive at once, whatever this value is. On APISIX: how long the companion's answer
    /// about a mandate is used before it is asked again.
    #[cfg_attr(feature = "schema", schemars(default = "default_poll_interval", range(min = POLL_INTERVAL_MS.min, max = POLL_INTERVAL_MS.max)))]
    pub poll_interval_ms: u64,
}

/// The proxies the filter runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// Envoy.
    Envoy,
    /// Kong (ngx_wasm_module).
    Kong,
    /// Apache APISIX (wasm-nginx-module).
    Apisix,
}

impl ProxyKind {
    /// Every proxy, by its name in a configuration.
    pub const ALL: [(&'static str, ProxyKind); 3] = [
        ("envoy", ProxyKind::Envoy),
        ("kong", ProxyKind::Kong),
        ("apisix", ProxyKind::Apisix),
    ];

    /// Whether the proxy runs in nginx.
    pub fn is_nginx(self) -> bool {
        matches!(self, ProxyKind::Kong | ProxyKind::Apisix)
    }
}

/// When requests under way end. Each admitted request is watched until its stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// Whether a request ends when its session or delegation is revoked, or its key leaves
    /// the key set.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub end_when_revoked: bool,
    /// Whether a request ends when its mandate expires.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub end_when_expired: bool,
}

/// What is measured besides what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Whether a histogram shows how long each request was at the filter, waiting included.
    /// It costs two looks at the clock and one call of the proxy for each request. Not on
    /// APISIX, where a filter counts nothing.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub timings: bool,
}

/// Limits on what one proxy worker uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Longest token accepted, in bytes.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_token_bytes", range(min = MAX_TOKEN_BYTES.min, max = MAX_TOKEN_BYTES.max)))]
    pub max_token_bytes: u64,
    /// Most requests that wait for the key set in one worker, and most whose message of MCP
    /// is being read; the next gets 503. Not on Kong, where no request waits.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_paused", range(min = MAX_PAUSED.min, max = MAX_PAUSED.max)))]
    pub max_paused: u64,
    /// Longest wait for the key set, in milliseconds; then 503. Envoy only.
    #[cfg_attr(feature = "schema", schemars(default = "default_pause_timeout", range(min = PAUSE_TIMEOUT_MS.min, max = PAUSE_TIMEOUT_MS.max)))]
    pub pause_timeout_ms: u64,
    /// Most verified mandates that one worker remembers; 0 remembers none.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_cached_mandates", range(min = MAX_CACHED_MANDATES.min, max = MAX_CACHED_MANDATES.max)))]
    pub max_cached_mandates: u64,
    /// Most revoked anchors that are held. With more, every request that needs the
    /// revocation state gets 503.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_anchors", range(min = MAX_ANCHORS.min, max = MAX_ANCHORS.max)))]
    pub max_anchors: u64,
    /// Most admitted requests that are under way in one worker; the next gets 503. Envoy
    /// only.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_streams", range(min = MAX_STREAMS.min, max = MAX_STREAMS.max)))]
    pub max_streams: u64,
    /// Longest message of MCP that is read, in bytes; a longer one gets 413. Envoy only.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_body_bytes", range(min = MAX_BODY_BYTES.min, max = MAX_BODY_BYTES.max)))]
    pub max_body_bytes: u64,
    /// Longest wait for such a message, in milliseconds; then 408. Envoy only.
    #[cfg_attr(feature = "schema", schemars(default = "default_body_timeout", range(min = BODY_TIMEOUT_MS.min, max = BODY_TIMEOUT_MS.max)))]
    pub body_timeout_ms: u64,
    /// Longest life of a mandate (`exp - iat`), in seconds. A mandate with a longer life
    /// is refused. Revoked anchors are then held for this time and twice `clock_skew_s`.
    /// Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = MAX_LIFETIME_S.min, max = MAX_LIFETIME_S.max)))]
    pub max_lifetime_s: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_token_bytes: MAX_TOKEN_BYTES.default,
            max_paused: MAX_PAUSED.default,
            pause_timeout_ms: PAUSE_TIMEOUT_MS.default,
            max_cached_mandates: MAX_CACHED_MANDATES.default,
            max_anchors: MAX_ANCHORS.default,
            max_streams: MAX_STREAMS.default,
            max_body_bytes: MAX_BODY_BYTES.default,
            body_timeout_ms: BODY_TIMEOUT_MS.default,
            max_lifetime_s: None,
        }
    }
}

/// Defaults as functions, because schemars needs functions.
#[cfg(feature = "schema")]
macro_rules! defaults {
    ($($name:ident: $type:ty = $value:expr;)*) => {
        $(fn $name() -> $type { $value })*
    };
}
#[cfg(feature = "schema")]
defaults! {
    default_host: ProxyKind = ProxyKind::Envoy;
    default_mode: Mode = Mode::Connector;
    default_algorithms: Vec<Algorithm> = vec![Algorithm::Es256];
    default_clock_skew: u64 = CLOCK_SKEW_S.default;
    default_max_token_bytes: u64 = MAX_TOKEN_BYTES.default;
    default_max_paused: u64 = MAX_PAUSED.default;
    default_pause_timeout: u64 = PAUSE_TIMEOUT_MS.default;
    default_max_cached_mandates: u64 = MAX_CACHED_MANDATES.default;
    default_max_anchors: u64 = MAX_ANCHORS.default;
    default_max_streams: u64 = MAX_STREAMS.default;
    default_max_body_bytes: u64 = MAX_BODY_BYTES.default;
    default_body_timeout: u64 = BODY_TIMEOUT_MS.default;
    default_max_staleness: u64 = MAX_STALENESS_S.default;
    default_poll_interval: u64 = POLL_INTERVAL_MS.default;
    default_true: bool = true;
}
