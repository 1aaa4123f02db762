//! Turns a configuration into what is in force: its zones, and its resources, each with its
//! rules.

use std::collections::BTreeMap;

use super::enforcement::Enforcement;
use super::gateway::Mode;
use super::model::Configuration;
use super::rules::{Mcp, OtherUse, Overrides, Resource, RouteOverrides};
use super::zones::{AcceptedZone, ZoneSettings};
use crate::mcp::TOOLS_CALL;
use crate::mcp::rule::McpRule;
use crate::routing::authority::HostName;
use crate::routing::resources::{self, InShadow, Resources};
use crate::routing::routes::{self, Requirements, RouteMcp, Rules};
use crate::routing::upstream_url::UpstreamUrl;
use crate::token::claims::TokenUse;
use crate::zone::{Zone, ZoneSet, Zones};

impl Configuration {
    /// The resources in force, each with its rules. The configuration names them, or
    /// there is one resource, the `audience`.
    pub fn in_force(&self) -> Resources {
        let max_body = usize::try_from(self.limits.max_body_bytes).unwrap_or(0);
        if let Some(audience) = &self.audience {
            let own = (&self.routes, self.exclude.as_slice());
            let rules = rules(&self.requirements, own, self.enforcement, max_body);
            return Resources::unnamed(audience, rules, self.challenge_of(None));
        }
        let is_gateway = self.mode == Mode::Gateway;
        let mut outside = self.requirements.clone();
        if is_gateway {
            outside.required_use = TokenUse::Gateway;
        }
        let zones = self.zones_in_force();
        let resource = |(id, own): (&String, &Resource)| {
            let base = own.requirements.over(&outside);
            let audience = match is_gateway {
                true => &self.issuer,
                false => own.audience_of(id),
            };
            resources::Resource {
                id: id.clone(),
                audience: audience.to_owned(),
                upstream_url: own.upstream_url.as_deref().and_then(UpstreamUrl::parse),
                rules: rules(
                    &base,
                    (&own.routes, &own.exclude),
                    self.enforcement,
                    max_body,
                ),
                hosts: hosts(own.hosts.as_deref().unwrap_or_default()),
                challenge: self.challenge_of(Some(own)),
                zones: own
                    .zones
                    .as_ref()
                    .map_or(ZoneSet::ALL, |ids| set(&zones, ids)),
            }
        };
        Resources::named(self.resources.iter().map(resource).collect())
    }
}

impl Configuration {
    /// Whether anything is in shadow.
    pub fn has_shadow(&self) -> bool {
        self.in_force().in_shadow() != InShadow::Nothing
    }

    /// Whether any route has rules of MCP.
    pub fn has_mcp(&self) -> bool {
        self.all_mcp().next().is_some()
    }

    /// Whether messages of MCP are read.
    pub fn reads_bodies(&self) -> bool {
        self.all_mcp().any(|mcp| mcp.body)
    }

    fn all_mcp(&self) -> impl Iterator<Item = &Mcp> {
        let own = self.resources.values().map(|one| &one.routes);
        let all = own.chain([&self.routes]).flat_map(BTreeMap::values);
        all.filter_map(|route| route.mcp.as_ref())
    }

    /// The zones in force, in the order of [`Configuration::zones_in_force`].
    pub fn accepted_zones(&self) -> Vec<AcceptedZone> {
        let of_top = |id: &String| AcceptedZone {
            zone: Zone {
                id: id.clone(),
                issuer: self.issuer.clone(),
            },
            jwks: self.jwks.clone(),
        };
        if let Some(id) = &self.zone_id {
            return vec![of_top(id)];
        }
        let of_zone = |(id, own): (&String, &ZoneSettings)| {
            let mut accepted = of_top(id);
            if let Some(issuer) = &own.issuer {
                accepted.zone.issuer.clone_from(issuer);
            }
            if let Some(jwks) = &own.jwks {
                accepted.jwks.clone_from(jwks);
            }
            accepted
        };
        self.zones.iter().map(of_zone).collect()
    }

    /// The zones among which the claim `zone_id` chooses, or the one of `zone_id`.
    pub fn zones_in_force(&self) -> Zones {
        let mut all = self.accepted_zones().into_iter().map(|one| one.zone);
        let first = all.next().unwrap_or(Zone {
            id: String::new(),
            issuer: self.issuer.clone(),
        });
        match self.zone_id {
            Some(_) => Zones::one(first),
            None => Zones::several(first, all.collect()),
        }
    }
}

/// That the zones are known was checked when the configuration was read.
fn set(zones: &Zones, ids: &[String]) -> ZoneSet {
    let known = ids.iter().filter_map(|id| zones.find(id));
    known.fold(ZoneSet::NONE, ZoneSet::with)
}

/// The hosts were checked when the configuration was read.
fn hosts(names: &[String]) -> Vec<HostName> {
    names
        .iter()
        .filter_map(|name| HostName::parse(name))
        .collect()
}

fn rules(
    base: &Requirements,
    (routes, exclude): (&BTreeMap<String, RouteOverrides>, &[String]),
    enforcement: Enforcement,
    max_body: usize,
) -> Rules {
    let route = |(prefix, own): (&String, &RouteOverrides)| {
        let requirements = own.requirements.over(base);
        let mcp = own.mcp.as_ref();
        let methods = own.methods.iter();
        routes::Route {
            prefix: prefix.clone(),
            methods: methods
                .map(|(name, own)| (name.clone(), own.over(&requirements)))
                .collect(),
            requirements,
            in_shadow: own.enforcement.unwrap_or(enforcement).is_shadow(),
            mcp: mcp.map(|mcp| Box::new(route_mcp(mcp, &own.for_post(base), max_body))),
        }
    };
    let routes = routes.iter().map(route).collect();
    Rules::new(base.clone(), routes, exclude).with_shadow(enforcement.is_shadow())
}

/// What a route says about MCP, with all that each operation requires. That no operation
/// needs another `use` than the route was checked when the configuration was read.
fn route_mcp(own: &Mcp, post: &Requirements, max_body: usize) -> RouteMcp {
    let besides = |own: &Overrides, base: &Requirements| {
        own.besides(base).unwrap_or_else(|OtherUse| base.clone())
    };
    let of_call = own.methods.get(TOOLS_CALL);
    let unlisted = of_call.map_or_else(|| post.clone(), |own| besides(own, post));
    let names = |all: &BTreeMap<String, Overrides>| all.keys().cloned().collect();
    let tools = own.tools.as_ref();
    RouteMcp {
        rule: McpRule::new(
            tools.map(names),
            names(&own.methods),
            own.origins.clone(),
            own.body.then_some(max_body),
        ),
        methods: own.methods.values().map(|own| besides(own, post)).collect(),
        tools: tools
            .iter()
            .flat_map(|tools| tools.values())
            .map(|own| besides(own, &unlisted))
            .collect(),
        unlisted,
    }
}
