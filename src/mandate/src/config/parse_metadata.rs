//! Reads challenges and metadata.

use super::metadata::{ChallengeSettings, MAX_NAME, MAX_SERVERS, MetadataSettings};
use super::model::Configuration;
use super::reader::{At, Errors, Object, quoted};
use super::values;
use crate::metadata::{MAX_DOCUMENT_BYTES, ResourceUrl};
use crate::routing::resources::{Resource, ResourceId};
use crate::routing::routes::Requirements;

/// Longest list of scopes in a challenge, in bytes. Clients and proxies bound what a header
/// may have.
const MAX_CHALLENGE_SCOPE_BYTES: usize = 4_096;

/// What the challenges of the object say.
pub(super) fn challenge(object: &Object<'_, '_, '_>) -> Option<ChallengeSettings> {
    let at = object.get("challenge")?;
    let challenge = at.object()?;
    let realm = challenge.get("realm").and_then(|at| realm(&at));
    let metadata = challenge.get("resource_metadata");
    let resource_metadata = metadata.and_then(|at| url(&at, false));
    let is_empty = !challenge.has("realm") && !challenge.has("resource_metadata");
    challenge.finish();
    if is_empty {
        return at.fail("says nothing; give realm or resource_metadata, or remove the key");
    }
    Some(ChallengeSettings {
        realm,
        resource_metadata,
    })
}

/// The document of the object. `challenge` is what stands beside it.
pub(super) fn metadata(
    object: &Object<'_, '_, '_>,
    challenge: Option<&ChallengeSettings>,
) -> Option<MetadataSettings> {
    let at = object.get("metadata")?;
    let metadata = at.object()?;
    let what = "the https URL at which clients know the resource";
    let resource = metadata.require("resource", what);
    let resource = resource.and_then(|at| resource_url(&at));
    let servers = metadata.get("authorization_servers");
    let servers = servers.and_then(|at| authorization_servers(&at));
    let scopes = metadata.get("scopes_supported");
    let scopes = scopes.and_then(|at| scopes_supported(&at));
    let name = metadata.get("resource_name").and_then(|at| name(&at));
    let documentation = metadata.get("resource_documentation");
    let documentation = documentation.and_then(|at| url(&at, true));
    metadata.finish();
    let resource = resource?;
    let named = challenge.and_then(|one| one.resource_metadata.as_deref());
    let made = ResourceUrl::parse(&resource).map(|url| url.document_url());
    if let (Some(named), Some(made)) = (named, made)
        && named != made
    {
        object.fail::<()>(
            "challenge",
            format!(
                "its resource_metadata is {}, and the document of metadata is at {}; remove one of them",
                quoted(named),
                quoted(&made)
            ),
        );
    }
    Some(MetadataSettings {
        resource,
        authorization_servers: servers,
        scopes_supported: scopes,
        resource_name: name,
        resource_documentation: documentation,
    })
}

/// Text of a quoted string that needs no escapes (RFC 9110 section 5.6.4): not every client
/// undoes them.
fn realm(at: &At<'_, '_, '_>) -> Option<String> {
    let text = bounded(at)?;
    let fits = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    match text.bytes().all(fits) {
        true => Some(text.to_owned()),
        false => at.fail("must be visible ASCII and spaces, without \" and \\"),
    }
}

fn name(at: &At<'_, '_, '_>) -> Option<String> {
    let text = bounded(at)?;
    match text.chars().any(char::is_control) {
        false => Some(text.to_owned()),
        true => at.fail("must not contain a control character"),
    }
}

fn bounded<'v>(at: &At<'v, '_, '_>) -> Option<&'v str> {
    let text = at.text()?;
    match text.len() <= MAX_NAME {
        true => Some(text),
        false => at.fail(format!("must be at most {MAX_NAME} bytes long")),
    }
}

fn url(at: &At<'_, '_, '_>, may_have_fragment: bool) -> Option<String> {
    let text = at.text()?;
    match values::public_url(text, may_have_fragment) {
        Ok(()) => Some(text.to_owned()),
        // What may hold a password is not repeated.
        Err(problem) if text.contains('@') => at.fail(problem),
        Err(problem) => at.fail(format!("{} {problem}", quoted(text))),
    }
}

fn resource_url(at: &At<'_, '_, '_>) -> Option<String> {
    let text = url(at, false)?;
    match ResourceUrl::parse(&text) {
        Some(_) => Some(text),
        None => at.fail(format!(
            "{} has a host or a path that not every server reads alike: no escapes, no empty or dot segments, no ; and no final dot",
            quoted(&text)
        )),
    }
}

fn authorization_servers(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let servers = at.strings()?;
    if servers.is_empty() {
        return at.fail("must name at least one issuer; leave it out for the zone's own");
    }
    if servers.len() > MAX_SERVERS {
        let found = servers.len();
        return at.fail(format!(
            "must have at most {MAX_SERVERS} entries, has {found}"
        ));
    }
    for item in at.list(MAX_SERVERS)? {
        let text = item.text()?;
        if let Err(problem) = values::issuer(text, false) {
            match text.contains('@') {
                true => item.fail::<()>(problem),
                false => item.fail::<()>(format!("{} {problem}", quoted(text))),
            };
        }
    }
    Some(servers)
}

fn scopes_supported(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let scopes = at.strings()?;
    if scopes.is_empty() {
        return at.fail("must name at least one scope; leave it out to name none");
    }
    let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    for (n, scope) in scopes.iter().enumerate() {
        if !scope.bytes().all(fits) {
            at.errors.add(
                format!("{}[{n}]", at.path),
                format!("{} is no scope (RFC 6749 section 3.3)", quoted(scope)),
            );
        }
    }
    Some(scopes)
}

/// What only shows when the whole configuration is known.
pub(super) fn check(configuration: &Configuration, errors: &Errors) {
    let resources = configuration.in_force();
    let key = |id: ResourceId, name: &str| match resources.get(id) {
        Some(one) if resources.are_named() => format!("resources[{}].{name}", quoted(&one.id)),
        _ => name.to_owned(),
    };
    let documents = configuration.documents(&resources);
    for one in documents.all() {
        let size = one.body().len();
        if size > MAX_DOCUMENT_BYTES {
            errors.add(
                key(one.resource, "metadata"),
                format!("its document has {size} bytes; at most {MAX_DOCUMENT_BYTES}"),
            );
        }
    }
    if let Some((one, other)) = documents.twice() {
        errors.add(
            key(other.resource, "metadata.resource"),
            format!(
                "its document has the same path as that of {}, and the hosts do not tell them apart; give them hosts, or other paths",
                quoted(resources.get(one.resource).map_or("", |one| &one.id))
            ),
        );
    }
    for id in resources.ids() {
        if let Some(resource) = resources.get(id).filter(|one| one.challenge.is_some())
            && let Some(size) = too_long(resource)
        {
            errors.add(
                key(id, "required_scopes"),
                format!("a challenge would name {size} bytes of scopes; at most {MAX_CHALLENGE_SCOPE_BYTES}"),
            );
        }
    }
}

/// The size of the longest list of scopes that a challenge would name, if it is too long.
fn too_long(resource: &Resource) -> Option<usize> {
    let size = |one: &Requirements| {
        let all = one.required_scopes.iter().map(|scope| scope.len());
        all.fold(0_usize, |sum, one| {
            sum.saturating_add(one).saturating_add(1)
        })
    };
    let rules = &resource.rules;
    let mut longest = size(rules.default_requirements());
    for route in rules.routes() {
        longest = longest.max(size(&route.requirements));
        for (_, requirements) in &route.methods {
            longest = longest.max(size(requirements));
        }
    }
    (longest > MAX_CHALLENGE_SCOPE_BYTES).then_some(longest)
}
