//! Resources, routes and requirements of a configuration (deploy/RULES.md). The doc
//! comments are descriptions in the JSON Schema.

use std::collections::BTreeMap;

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{MAX_HOP_COUNT, MAX_LIST, MAX_ROUTES, MAX_STRING};
use super::enforcement::Enforcement;
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
/// Most methods of MCP of one route.
pub(super) const MAX_MCP_METHODS: usize = 64;
/// Most origins of one route.
pub(super) const MAX_ORIGINS: usize = 64;
/// Longest name of a tool or of a method of MCP, in bytes.
pub(super) const MAX_MCP_NAME: usize = 256;
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
    /// Whether requests that are refused under this prefix get the refusal. Default: that of
    /// the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// The route leads to an MCP server: what its operations need besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp: Option<Mcp>,
}

/// What operations of MCP need, in addition to what the route needs for POST, and where
/// requests may come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// Name of a tool to what calling it needs besides. A tool that is not listed may not
    /// be called. Default: every tool may be called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("maxProperties" = MAX_ROUTES)))]
    pub tools: Option<BTreeMap<String, Overrides>>,
    /// Method of MCP, such as `resources/read`, to what it needs besides. A method that is
    /// not listed needs what the route needs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default, extend("maxProperties" = MAX_MCP_METHODS)))]
    pub methods: BTreeMap<String, Overrides>,
    /// The values of `Origin` that are allowed, such as `https://app.example.com`. A
    /// request with another one gets 403; one without passes. Default: the origin does not
    /// matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_ORIGINS)))]
    pub origins: Option<Vec<String>>,
    /// Whether the JSON-RPC message itself is read, for versions of MCP whose headers do
    /// not say what it is. Envoy only, with `allow_on_headers_stop_iteration`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub body: bool,
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

    /// All that is required when these are required besides `base`.
    ///
    /// # Errors Another `use` is required than in `base`: no mandate has both.
    pub fn besides(&self, base: &Requirements) -> Result<Requirements, OtherUse> {
        if self
            .required_use
            .is_some_and(|own| own != base.required_use)
        {
            return Err(OtherUse);
        }
        let all = |base: &[String], own: &Option<Vec<String>>| {
            let mut all = base.to_vec();
            for one in own.iter().flatten() {
                if !all.contains(one) {
                    all.push(one.clone());
                }
            }
            all
        };
        let hops = self.max_hop_count.unwrap_or(base.max_hop_count);
        Ok(Requirements {
            required_scopes: all(&base.required_scopes, &self.required_scopes),
            required_targets: all(&base.required_targets, &self.required_targets),
            required_use: base.required_use,
            require_session: base.require_session || self.require_session == Some(true),
            require_delegation: base.require_delegation || self.require_delegation == Some(true),
            require_chain_contains: all(&base.require_chain_contains, &self.require_chain_contains),
            max_hop_count: base.max_hop_count.min(hops),
        })
    }
}

impl RouteOverrides {
    /// What the route requires for POST, where `base` is required outside.
    pub(super) fn for_post(&self, base: &Requirements) -> Requirements {
        let own = self.requirements.over(base);
        let post = self.methods.get("POST");
        post.map_or_else(|| own.clone(), |post| post.over(&own))
    }
}

/// Two requirements name different `use`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherUse;

impl Resource {
    /// The audience of the resource with this identifier.
    pub fn audience_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.audience.as_deref().unwrap_or(id)
    }
}
