//! Resources, routes and requirements of a configuration (deploy/RULES.md). The doc
//! comments are descriptions in the JSON Schema.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{MAX_HOP_COUNT, MAX_LIST, MAX_ROUTES, MAX_STRING};
use super::metadata::{ChallengeSettings, MetadataSettings};
use crate::header_names::MAX_VALUE_BYTES;
use crate::routing::routes::Requirements;
use crate::token::claims::TokenUse;
#[cfg(feature = "schema")]
use crate::zone::MAX_ZONES;

/// Most resources.
pub(super) const MAX_RESOURCES: usize = 64;
/// Most hosts of one resource.
pub(super) const MAX_HOSTS: usize = 64;
/// Most methods of one route.
pub(super) const MAX_METHODS: usize = 16;
/// Longest identifier of a resource, in bytes: it is sent as a header.
pub(super) const MAX_IDENTIFIER: usize = MAX_VALUE_BYTES;

/// Requirements that replace those of the outer level. A requirement that is not named
/// stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Scopes that a mandate must all have. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LIST)))]
    pub required_scopes: Option<Vec<String>>,
    /// Targets that a mandate must all have. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LIST)))]
    pub required_targets: Option<Vec<String>>,
    /// The `use` that a mandate must have. Default: resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_use: Option<TokenUse>,
    /// Requires an agent session. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_session: Option<bool>,
    /// Requires delegated authority. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_delegation: Option<bool>,
    /// Applications that must all be hops of the delegation chain. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_LIST)))]
    pub require_chain_contains: Option<Vec<String>>,
    /// Most delegation hops; 0 means that none is allowed. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = MAX_HOP_COUNT.min, max = MAX_HOP_COUNT.max)))]
    pub max_hop_count: Option<u64>,
}

/// What is different under a path prefix.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RouteOverrides {
    #[serde(flatten)]
    #[allow(missing_docs, reason = "it would describe the object in the schema")]
    pub requirements: Overrides,
    /// Method, in upper case, to what is different for it. A method that is not listed
    /// needs what the route needs; this includes HEAD.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_METHODS)))]
    pub methods: BTreeMap<String, Overrides>,
}

/// A protected resource. Requirements that it does not name are those of the top level.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// What a mandate's `aud` must be. Default: the resource's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub audience: Option<String>,
    #[serde(flatten)]
    #[allow(missing_docs, reason = "it would describe the object in the schema")]
    pub requirements: Overrides,
    /// Path prefix to what is different under it. The longest matching prefix wins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_ROUTES)))]
    pub routes: BTreeMap<String, RouteOverrides>,
    /// Path prefixes that pass without verification. They win over `routes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, length(max = MAX_ROUTES)))]
    pub exclude: Vec<String>,
    /// The hosts of the resource, as requests name them: with a port if the proxy sees
    /// one. A request to one of these hosts is for this resource, and a request to
    /// another host is not. Default: the host does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_HOSTS)))]
    pub hosts: Option<Vec<String>>,
    /// The zones whose mandates the resource accepts. Default: all of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_ZONES)))]
    pub zones: Option<Vec<String>>,
    /// What the STS must name as this resource's upstream: an http or https URL. In
    /// Gateway mode it is required, elsewhere it must not be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub upstream_url: Option<String>,
    /// What the challenges of this resource say. A member that is not there is that of the
    /// top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeSettings>,
    /// What clients may know of this resource without a mandate (RFC 9728). The filter
    /// answers it at the well-known path, and names it in each challenge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataSettings>,
}

/// The protected resources: one without a name, or several with names.
#[derive(Default)]
pub(super) struct Protected {
    pub(super) audience: Option<String>,
    pub(super) routes: BTreeMap<String, RouteOverrides>,
    pub(super) exclude: Vec<String>,
    pub(super) metadata: Option<MetadataSettings>,
    pub(super) resources: BTreeMap<String, Resource>,
}

impl Overrides {
    /// The requirements in force when these replace parts of `base`.
    pub fn over(&self, base: &Requirements) -> Requirements {
        let list =
            |own: &Option<Vec<String>>, base: &Vec<String>| own.as_ref().unwrap_or(base).clone();
        Requirements {
            required_scopes: list(&self.required_scopes, &base.required_scopes),
            required_targets: list(&self.required_targets, &base.required_targets),
            required_use: self.required_use.unwrap_or(base.required_use),
            require_session: self.require_session.unwrap_or(base.require_session),
            require_delegation: self.require_delegation.unwrap_or(base.require_delegation),
            require_chain_contains: list(
                &self.require_chain_contains,
                &base.require_chain_contains,
            ),
            max_hop_count: self.max_hop_count.unwrap_or(base.max_hop_count),
        }
    }
}

impl Resource {
    /// The audience of the resource with this identifier.
    pub fn audience_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.audience.as_deref().unwrap_or(id)
    }
}
