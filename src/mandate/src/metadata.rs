//! Metadata of protected resources (RFC 9728): the URL at which a document is found, and the
//! answer to a request for it. A document is public, so no mandate is asked for; nothing
//! else is answered, and no request goes on because of it.

use crate::reply::Reply;
use crate::request::RequestView;
use crate::routing::authority::HostName;
use crate::routing::path::is_plain;
use crate::routing::resources::{ResourceId, Resources};

/// What is put between the host and the path of a resource (RFC 9728 section 3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
/// Largest document, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// How long a document may be kept, in seconds. Clients look for it again when a challenge
/// names it, and an operator can wait for this time after a change.
const MAX_AGE: &str = "public, max-age=300";

/// The URL by which clients know a resource (`resource` in RFC 9728 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceUrl<'a> {
    /// Scheme and authority.
    origin: &'a str,
    authority: &'a str,
    /// Path and query; empty in place of a lone `/`.
    rest: &'a str,
}

impl<'a> ResourceUrl<'a> {
    /// Reads a URL whose host and path everybody reads alike; `None` for any other. The
    /// scheme is not looked at.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (_, after) = text.split_once("://")?;
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at_checked(end)?;
        HostName::parse(authority)?;
        if rest.contains('#') {
            return None;
        }
        let path = rest.split('?').next().unwrap_or_default();
        if !path.is_empty() && !is_plain(path.as_bytes()) {
            return None;
        }
        let length = text.len().checked_sub(rest.len())?;
        Some(ResourceUrl {
            origin: text.get(..length)?,
            authority,
            // A slash that only ends the host is left out.
            rest: match path {
                "/" => rest.get(1..)?,
                _ => rest,
            },
        })
    }

    /// Host and port, as they are written.
    pub fn authority(&self) -> &'a str {
        self.authority
    }

    /// Path and query at which the document is found.
    pub fn target(&self) -> String {
        [WELL_KNOWN, self.rest].concat()
    }

    /// The URL of the document.
    pub fn document_url(&self) -> String {
        [self.origin, WELL_KNOWN, self.rest].concat()
    }
}

/// A document, and the resource that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The resource.
    pub resource: ResourceId,
    /// The resource's hosts are its own. Otherwise it is served at all hosts of nobody.
    has_hosts: bool,
    /// Path and query of the requests that it answers.
    target: String,
    /// The host and port at which it answers at the well-known path without the resource's
    /// own path too. At another host it would be the document of another resource.
    at_root: Option<HostName>,
    /// JSON.
    body: Vec<u8>,
}

impl Document {
    /// The JSON.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The answer, also to `HEAD`, whose body every proxy leaves out. Scripts of any origin
    /// may read it: it is public, and no credential goes with it.
    pub fn reply(&self) -> Reply {
        let header = |name, value: &str| (name, value.to_owned());
        Reply {
            status: 200,
            grpc_status: 0,
            headers: vec![
                header("content-type", "application/json"),
                header("cache-control", MAX_AGE),
                header("access-control-allow-origin", "*"),
            ],
            body: self.body.clone(),
        }
    }

    fn answers(&self, authority: Option<&[u8]>, target: &[u8]) -> bool {
        let is_its_host = |host: &HostName| authority.is_some_and(|asked| host.is(asked));
        self.target.as_bytes() == target
            || (target == WELL_KNOWN.as_bytes() && self.at_root.as_ref().is_some_and(is_its_host))
    }
}

/// All documents of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents(Vec<Document>);

impl Documents {
    /// Adds a document. It is also found without the resource's own path at the host and port
    /// of its URL, where no other resource is served at its hosts.
    pub fn add(
        &mut self,
        resources: &Resources,
        resource: ResourceId,
        url: &ResourceUrl<'_>,
        body: Vec<u8>,
    ) {
        let is_free = |id: ResourceId| resources.get(id).is_some_and(|one| one.hosts.is_empty());
        let mut free = resources.ids().filter(|id| is_free(*id));
        let has_hosts = !is_free(resource);
        let is_alone = has_hosts || free.all(|id| id == resource);
        self.0.push(Document {
            resource,
            has_hosts,
            target: url.target(),
            at_root: HostName::parse(url.authority()).filter(|_| is_alone),
            body,
        });
    }

    /// Every document.
    pub fn all(&self) -> &[Document] {
        &self.0
    }

    /// Two documents that one request would ask for.
    pub fn twice(&self) -> Option<(&Document, &Document)> {
        let mut all = self.0.iter();
        while let Some(one) = all.next() {
            let is_same = |other: &&Document| {
                !one.has_hosts && !other.has_hosts && one.target == other.target
            };
            if let Some(other) = all.clone().find(is_same) {
                return Some((one, other));
            }
        }
        None
    }

    /// The document that a request asks for. Path and query are compared as they came, byte
    /// for byte, and a configured path has one reading only: what is not exactly a
    /// document's URL is judged as any other request. The host chooses as it does between
    /// resources; `X-Caracal-Resource` does not, because the path names the document.
    #[cold]
    pub fn find(&self, request: &RequestView<'_>, resources: &Resources) -> Option<&Document> {
        let target = request.target?;
        let is_read = matches!(request.method?, b"GET" | b"HEAD");
        if !is_read || !target.starts_with(WELL_KNOWN.as_bytes()) {
            return None;
        }
        let owner = resources.owner(request.authority).ok()?;
        let is_here = |one: &&Document| match owner {
            Some(owner) => one.resource == owner,
            None => !one.has_hosts,
        };
        self.0
            .iter()
            .filter(is_here)
            .find(|one| one.answers(request.authority, target))
    }
}

#[cfg(test)]
mod tests;
