//! What a configuration says of challenges and of metadata (RFC 9728). The doc comments are
//! descriptions in the JSON Schema.

use serde::Serialize;

#[cfg(feature = "schema")]
use super::bounds::{MAX_LIST, MAX_STRING};

/// Longest realm and longest name of a resource, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// Most authorization servers.
pub(super) const MAX_SERVERS: usize = 16;

/// What `WWW-Authenticate` says besides the error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("minProperties" = 1)))]
#[serde(deny_unknown_fields)]
pub struct ChallengeSettings {
    /// The realm: visible ASCII and spaces, without `"` and `\`. Default: caracal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME)))]
    pub realm: Option<String>,
    /// The https URL of the resource's metadata, if something else than this filter serves
    /// them. Default: that of `metadata`, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub resource_metadata: Option<String>,
}

/// The document about a protected resource (RFC 9728 section 2). It is public.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MetadataSettings {
    /// The https URL at which clients know the resource, without a fragment. http only for
    /// a loopback host. It is not the audience. The document is found at this host, under
    /// `/.well-known/oauth-protected-resource` and then the path of this URL.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub resource: String,
    /// Issuer identifiers of the authorization servers. Default: the issuers of the zones
    /// that the resource accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_SERVERS)))]
    pub authorization_servers: Option<Vec<String>>,
    /// Scopes that clients may ask for. Default: none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_LIST)))]
    pub scopes_supported: Option<Vec<String>>,
    /// The name of the resource, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_NAME)))]
    pub resource_name: Option<String>,
    /// The https URL of a page for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_STRING)))]
    pub resource_documentation: Option<String>,
}
