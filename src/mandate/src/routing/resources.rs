//! The resources behind one listener, and which of them a request is for: the
//! `X-Caracal-Resource` header or the host chooses (contract, "Headers of the edge"). A
//! client gains nothing by its choice: the mandate's audience is checked against the
//! chosen resource.

mod shadow;

use std::fmt;

use crate::reply::{Challenge, ErrorCode, Reason, Refusal};
use crate::request::RequestView;
use crate::routing::authority::{HostName, RequestHost};
use crate::routing::routes::{MethodId, Requirements, RouteMcp, RuleId, Rules};
use crate::routing::upstream_url::UpstreamUrl;
use crate::zone::ZoneSet;

/// A protected resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its identifier, as clients name it.
    pub id: String,
    /// What a mandate's `aud` must be. In Gateway mode the issuer of its zone counts.
    pub audience: String,
    /// What it requires, and where.
    pub rules: Rules,
    /// The hosts of the resource; empty if the host does not matter.
    pub hosts: Vec<HostName>,
    /// The zones whose mandates it accepts.
    pub zones: ZoneSet,
    /// Gateway mode: what the STS must name as its upstream.
    pub upstream_url: Option<UpstreamUrl>,
    /// What its challenges say besides, if anything is configured.
    pub challenge: Option<Challenge>,
}

/// An index into [`Resources::all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceId(usize);

impl ResourceId {
    /// Its place among [`Resources::ids`].
    pub fn place(self) -> usize {
        self.0
    }
}

/// The resource, the rule and the method of a request, found before its mandate is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteMatch {
    /// The resource that the request is for.
    pub resource: ResourceId,
    /// The rule that its path falls under.
    pub rule: RuleId,
    /// The method whose requirements apply.
    pub method: MethodId,
}

/// Why no resource can be chosen: 400 `invalid_request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidChoice {
    /// Several resources are configured, and the request names none.
    Missing,
    /// Gateway mode: one resource is configured, and the request does not name it.
    Unnamed,
    /// The header names none of them.
    Unknown,
    /// The header is there more than once, or is a list.
    Repeated,
    /// The header names a resource, and the host belongs to another one.
    Contradictory,
    /// The resource is not served at this host.
    Elsewhere,
    /// The host cannot be read.
    Host,
    /// The host is almost a resource's host, with another port, a final dot, or another
    /// spelling of an address.
    Spelled,
}

impl fmt::Display for InvalidChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidChoice::Missing => {
                "Several resources are protected here, and neither X-Caracal-Resource nor the host names one"
            }
            InvalidChoice::Unnamed => "X-Caracal-Resource is missing",
            InvalidChoice::Unknown => "X-Caracal-Resource names no resource that is protected here",
            InvalidChoice::Repeated => "X-Caracal-Resource names more than one resource",
            InvalidChoice::Contradictory => {
                "X-Caracal-Resource names another resource than the host"
            }
            InvalidChoice::Elsewhere => "The resource is not served at this host",
            InvalidChoice::Host => "The host is missing or cannot be read",
            InvalidChoice::Spelled => {
                "The host is that of a resource with another port, a final dot or another spelling of its address"
            }
        })
    }
}

impl From<InvalidChoice> for Refusal {
    fn from(why: InvalidChoice) -> Self {
        Refusal::new(ErrorCode::InvalidRequest, why.to_string())
            .because(Reason::Resource)
            .with_hint("Send X-Caracal-Resource once, with the identifier of a resource that this host serves.")
    }
}

/// How much of a configuration is in shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InShadow {
    /// Every refusal is carried out.
    Nothing,
    /// Some rules are in shadow. A request whose rule is not known is refused.
    Parts,
    /// No refusal is carried out.
    Everything,
}

/// All resources of a configuration.
#[derive(Debug, Clone)]
pub struct Resources {
    /// By identifier.
    all: Vec<Resource>,
    /// Whether the configuration names resources. Otherwise there is one, and what a
    /// request says about resources is ignored.
    are_named: bool,
    /// Every host with the resource that it belongs to, sorted.
    hosts: Vec<(HostName, usize)>,
}

impl Resources {
    /// The one resource of a configuration that does not name resources.
    pub fn unnamed(audience: &str, rules: Rules, challenge: Option<Challenge>) -> Self {
        let one = Resource {
            id: audience.to_owned(),
            audience: audience.to_owned(),
            rules,
            hosts: Vec::new(),
            zones: ZoneSet::ALL,
            upstream_url: None,
            challenge,
        };
        Resources {
            all: vec![one],
            are_named: false,
            hosts: Vec::new(),
        }
    }

    /// Resources among which requests choose. The reader of the configuration must have
    /// checked that no identifier and no host occurs twice.
    pub fn named(resources: Vec<Resource>) -> Self {
        // Inserted one by one, because sorting would add 2 KiB to the filter.
        let mut all: Vec<Resource> = Vec::with_capacity(resources.len());
        for one in resources {
            all.insert(all.partition_point(|other| other.id <= one.id), one);
        }
        let of = |(n, resource): (usize, &Resource)| {
            let hosts = resource.hosts.clone();
            hosts.into_iter().map(move |host| (host, n))
        };
        let mut hosts: Vec<_> = all.iter().enumerate().flat_map(of).collect();
        hosts.sort_unstable();
        Resources {
            all,
            are_named: true,
            hosts,
        }
    }

    /// Every resource, by identifier.
    pub fn all(&self) -> &[Resource] {
        &self.all
    }

    /// Every resource's place, in the order of [`Resources::all`].
    pub fn ids(&self) -> impl Iterator<Item = ResourceId> {
        (0..self.all.len()).map(ResourceId)
    }

    /// Whether the configuration names resources. Otherwise there is one, and what a
    /// request says about resources is ignored.
    pub fn are_named(&self) -> bool {
        self.are_named
    }

    /// A resource.
    pub fn get(&self, id: ResourceId) -> Option<&Resource> {
        self.all.get(id.0)
    }

    /// What the upstream is told about the verified resource: its identifier, if there
    /// are several.
    pub fn forwarded_id(&self, id: ResourceId) -> Option<&str> {
        let several = self.all.len() > 1;
        self.get(id).filter(|_| several).map(|one| one.id.as_str())
    }

    /// The resource that a request is for. `authority` is its host and port, and `names`
    /// has the value of every `X-Caracal-Resource`.
    ///
    /// A host belongs to one resource only, and a resource with hosts is not served at
    /// other hosts. Hosts are compared as a proxy does it, as text. A host that is almost
    /// a resource's host is refused: the proxy could route it to another service, with a
    /// mandate for this resource or on a path that this resource excludes.
    ///
    /// # Errors See [`InvalidChoice`].
    pub fn choose(
        &self,
        authority: Option<&[u8]>,
        names: &[&[u8]],
    ) -> Result<ResourceId, InvalidChoice> {
        if !self.are_named {
            return Ok(ResourceId(0));
        }
        let by_name = match names {
            [] => None,
            [name] => Some(self.by_name(name)?),
            _ => return Err(InvalidChoice::Repeated),
        };
        let by_host = self.by_host(authority)?;
        let chosen = match (by_name, by_host) {
            (Some(name), Some(host)) if name != host => return Err(InvalidChoice::Contradictory),
            (_, Some(host)) => return Ok(ResourceId(host)),
            (Some(name), None) => name,
            (None, None) if self.all.len() == 1 => 0,
            (None, None) => return Err(InvalidChoice::Missing),
        };
        match self.all.get(chosen) {
            Some(resource) if resource.hosts.is_empty() => Ok(ResourceId(chosen)),
            _ => Err(InvalidChoice::Elsewhere),
        }
    }

    /// Gateway mode: checks that a request names the resource that was chosen for it, by
    /// header or by host, also if there is only one. A request for another service, which
    /// comes here by mistake, does not use its mandate up.
    ///
    /// # Errors [`InvalidChoice::Unnamed`].
    pub fn check_named(&self, chosen: ResourceId, names: &[&[u8]]) -> Result<(), InvalidChoice> {
        let has_host = self.get(chosen).is_some_and(|one| !one.hosts.is_empty());
        match names.is_empty() && !has_host {
            true => Err(InvalidChoice::Unnamed),
            false => Ok(()),
        }
    }

    fn by_name(&self, name: &[u8]) -> Result<usize, InvalidChoice> {
        // Two headers that were joined on the way (RFC 9110 section 5.3).
        if name.contains(&b',') {
            return Err(InvalidChoice::Repeated);
        }
        let found = self.all.binary_search_by(|one| one.id.as_bytes().cmp(name));
        found.map_err(|_| InvalidChoice::Unknown)
    }

    /// Whether a request names one resource, and none that is protected here.
    pub fn is_unknown(&self, names: &[&[u8]]) -> bool {
        matches!(names, [name] if self.by_name(name) == Err(InvalidChoice::Unknown))
    }

    /// The resource to which a host belongs; `None` for a host that is nobody's.
    ///
    /// # Errors The host cannot be read, or is almost a resource's.
    pub fn owner(&self, authority: Option<&[u8]>) -> Result<Option<ResourceId>, InvalidChoice> {
        Ok(self.by_host(authority)?.map(ResourceId))
    }

    fn by_host(&self, authority: Option<&[u8]>) -> Result<Option<usize>, InvalidChoice> {
        if self.hosts.is_empty() {
            return Ok(None);
        }
        let authority = authority.ok_or(InvalidChoice::Host)?;
        let host = RequestHost::of_authority(authority).ok_or(InvalidChoice::Host)?;
        let first = self
            .hosts
            .partition_point(|(own, _)| own.compare(&host).is_lt());
        let rest = self.hosts.get(first..).unwrap_or_default();
        let mut same = rest
            .iter()
            .take_while(|(own, _)| own.compare(&host).is_eq())
            .peekable();
        let is_theirs = same.peek().is_some();
        match same.find(|(own, _)| own.is(authority)) {
            Some((_, n)) => Ok(Some(*n)),
            None if is_theirs => Err(InvalidChoice::Spelled),
            None => Ok(None),
        }
    }

    /// Finds the resource of a request, then the rule of its path there (rows 0 and 1),
    /// then its method.
    ///
    /// # Errors 400 `invalid_request`. None of them depends on a mandate.
    pub fn match_route(&self, request: &RequestView<'_>) -> Result<RouteMatch, Refusal> {
        let resource = self.choose(request.authority, request.resource)?;
        let Some(rules) = self.get(resource).map(|one| &one.rules) else {
            return Err(Refusal::unavailable("There is no such resource"));
        };
        let rule = rules.find(request.target).map_err(|why| {
            Refusal::new(ErrorCode::InvalidRequest, why.to_string()).because(Reason::Ambiguous)
        })?;
        let method = rules.method(rule, request.method)?;
        Ok(RouteMatch {
            resource,
            rule,
            method,
        })
    }

    /// What a request needs: the resource and the requirements; `None` if nothing is
    /// verified.
    pub fn required(&self, matched: RouteMatch) -> Option<(&Resource, &Requirements)> {
        let resource = self.get(matched.resource)?;
        let requirements = resource.rules.requirements(matched.rule, matched.method)?;
        Some((resource, requirements))
    }

    /// The same for a tool of MCP that is not listed, which is refused when all this is met.
    #[cold]
    #[inline(never)]
    pub fn required_of_unlisted(&self, matched: RouteMatch) -> Option<(&Resource, &Requirements)> {
        let resource = self.get(matched.resource)?;
        let rules = &resource.rules;
        let requirements = rules.requirements_of_unlisted(matched.rule, matched.method)?;
        Some((resource, requirements))
    }

    /// What the rule of a request says about MCP.
    pub fn mcp(&self, matched: RouteMatch) -> Option<&RouteMcp> {
        self.get(matched.resource)?.rules.mcp(matched.rule)
    }

    /// Whether any route has rules of MCP.
    pub fn have_mcp(&self) -> bool {
        let mut routes = self.all.iter().flat_map(|one| one.rules.routes());
        routes.any(|route| route.mcp.is_some())
    }
}

#[cfg(test)]
mod tests;
