//! Turns what a configuration says of challenges and metadata into what is in force.

use super::metadata::{ChallengeSettings, MetadataSettings};
use super::model::Configuration;
use super::rules::Resource;
use crate::metadata::{Documents, ResourceUrl};
use crate::reply::Challenge;
use crate::routing::resources::{self, Resources};

/// Members without a value are left out (RFC 9728 section 3.2).
#[derive(serde::Serialize)]
struct Body<'a> {
    resource: &'a str,
    authorization_servers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes_supported: Option<&'a Vec<String>>,
    bearer_methods_supported: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_documentation: Option<&'a str>,
}

impl Configuration {
    /// What the challenges of a resource say, if anything is configured; `None` for a
    /// request whose resource is not known. What a resource says wins over the top level,
    /// and its document is named unless it names another itself.
    pub fn challenge_of(&self, own: Option<&Resource>) -> Option<Challenge> {
        let (challenge, metadata) = match own {
            Some(own) => (own.challenge.as_ref(), own.metadata.as_ref()),
            None => (None, self.metadata.as_ref()),
        };
        let made = metadata.and_then(|metadata| ResourceUrl::parse(&metadata.resource));
        let made = made.map(|url| url.document_url());
        let top = self.challenge.as_ref();
        let realm = |one: &ChallengeSettings| one.realm.clone();
        let named = |one: &ChallengeSettings| one.resource_metadata.clone();
        let challenge = Challenge {
            realm: challenge.and_then(realm).or_else(|| top.and_then(realm)),
            resource_metadata: challenge
                .and_then(named)
                .or(made)
                .or_else(|| top.and_then(named)),
        };
        (challenge != Challenge::default()).then_some(challenge)
    }

    /// The documents of all resources that have one.
    pub fn documents(&self, resources: &Resources) -> Documents {
        let mut documents = Documents::default();
        for id in resources.ids() {
            let Some(resource) = resources.get(id) else {
                continue;
            };
            let metadata = match resources.are_named() {
                true => self
                    .resources
                    .get(&resource.id)
                    .and_then(|own| own.metadata.as_ref()),
                false => self.metadata.as_ref(),
            };
            if let Some(metadata) = metadata
                && let Some(url) = ResourceUrl::parse(&metadata.resource)
            {
                let body = self.body(resource, metadata);
                documents.add(resources, id, &url, body);
            }
        }
        documents
    }

    fn body(&self, resource: &resources::Resource, metadata: &MetadataSettings) -> Vec<u8> {
        let zones = self.zones_in_force();
        let mut servers: Vec<&str> = Vec::new();
        match &metadata.authorization_servers {
            Some(named) => servers.extend(named.iter().map(String::as_str)),
            None => {
                for (index, zone) in zones.iter() {
                    let is_new = !servers.contains(&zone.issuer.as_str());
                    if resource.zones.contains(index) && is_new {
                        servers.push(&zone.issuer);
                    }
                }
            }
        }
        let body = Body {
            resource: &metadata.resource,
            authorization_servers: servers,
            scopes_supported: metadata.scopes_supported.as_ref(),
            bearer_methods_supported: ["header"],
            resource_name: metadata.resource_name.as_deref(),
            resource_documentation: metadata.resource_documentation.as_deref(),
        };
        // Texts and lists of them can always be serialized.
        serde_json::to_vec(&body).unwrap_or_default()
    }
}
