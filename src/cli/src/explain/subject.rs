//! What an explanation is about, and how its parts are described.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_mandate::config::{AcceptedZone, Configuration, Mode};
use caracal_mandate::decision::explain::{Check, Outcome, TokenCheck, Trace};
use caracal_mandate::reply::Challenge;
use caracal_mandate::routing::resources::{Resource, Resources};
use caracal_mandate::routing::routes::Requirements;
use serde_json::Value;

use super::case::Case;
use super::dependencies::{Keys, Revocations};
use super::request::Request;
use super::shown_values::list;
use super::zone;
use crate::rule_names;
use crate::terminal::{shown, shown_bytes};

/// Most readings that are shown.
const MOST: usize = 6;

pub(crate) struct Subject<'a> {
    pub(crate) configuration: &'a Configuration,
    /// The zone that judges, or the first of the configuration.
    pub(crate) zone: AcceptedZone,
    pub(crate) resources: &'a Resources,
    pub(crate) request: &'a Request,
    pub(crate) trace: &'a Trace,
    pub(crate) resource: Option<&'a Resource>,
    pub(crate) audience: Option<String>,
    /// What the request's rule requires; none if nothing is verified.
    pub(crate) required: Option<&'a Requirements>,
    /// Whether the request goes on all the same if it is refused.
    pub(crate) in_shadow: bool,
    /// What a challenge says besides, and the scopes of the operation.
    pub(crate) challenge: Option<(&'a Challenge, &'a [String])>,
    /// None until a check needed them.
    pub(crate) keys: Option<&'a Keys>,
    pub(crate) revocations: &'a Revocations,
    pub(crate) at: u64,
    /// Whether claims were given instead of a token.
    pub(crate) claims_only: bool,
    pub(crate) token: Option<&'a [u8]>,
    /// The token's header and payload, read leniently. They are only shown, and never
    /// used for a decision.
    pub(crate) header: Option<Value>,
    pub(crate) payload: Option<Value>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(
        configuration: &'a Configuration,
        case: &'a Case,
        trace: &'a Trace,
        keys: Option<&'a Keys>,
        revocations: &'a Revocations,
    ) -> Result<Self> {
        let resources = case.verifier.resources();
        let payload = case.payload();
        let zone = zone::of(configuration, payload.as_ref());
        let zone = zone.context("the configuration has no zone")?;
        let required = trace.location.matched.and_then(|matched| {
            let of_unlisted = || resources.required_of_unlisted(matched);
            resources.required(matched).or_else(of_unlisted)
        });
        let audience = required.map(|(resource, _)| match configuration.mode {
            Mode::Connector => resource.audience.clone(),
            Mode::Gateway => zone.zone.issuer.clone(),
        });
        Ok(Subject {
            configuration,
            zone,
            resources,
            request: &case.request,
            trace,
            resource: trace.location.resource.and_then(|id| resources.get(id)),
            audience,
            required: required.map(|(_, required)| required),
            in_shadow: case.verifier.is_in_shadow(case.route()),
            challenge: case.verifier.challenge(case.route()),
            keys,
            revocations,
            at: case.at,
            claims_only: case.claims.is_some(),
            token: case.token(),
            header: case.part(0),
            payload,
        })
    }

    /// Whether the edge runs in Gateway mode.
    pub(crate) fn is_gateway(&self) -> bool {
        self.configuration.mode == Mode::Gateway
    }

    /// Whether a check passed; none if it was not made.
    pub(crate) fn outcome(&self, check: TokenCheck) -> Option<bool> {
        let check = Check::Token(check);
        let mut checks = self.trace.checks.iter();
        match checks.find(|(one, _)| *one == check) {
            Some((_, Outcome::Passed)) => Some(true),
            Some((_, Outcome::Failed(_))) => Some(false),
            _ => None,
        }
    }

    /// The algorithms that the configuration accepts.
    pub(crate) fn algorithms(&self) -> String {
        let all = self.configuration.algorithms.iter();
        let all: Vec<&str> = all.map(|one| one.as_jose()).collect();
        all.join(", ")
    }

    /// The key ids of the key set.
    pub(crate) fn kids(&self) -> String {
        match self.keys.map(|keys| &keys.set) {
            Some(Ok(set)) => {
                let kids: Vec<String> = set.keys().iter().map(|key| key.kid().to_owned()).collect();
                list(&kids)
            }
            _ => "none".to_owned(),
        }
    }

    /// Which parts of the token cannot be decoded.
    pub(crate) fn undecoded_parts(&self) -> String {
        let Some(token) = self.token else {
            return "-".to_owned();
        };
        let parts = token.split(|b| *b == b'.');
        let named = ["header", "payload", "signature"].into_iter().zip(parts);
        let bad: Vec<&str> = named
            .filter(|(_, part)| URL_SAFE_NO_PAD.decode(part).is_err())
            .map(|(name, _)| name)
            .collect();
        match bad.as_slice() {
            [] => "each is".to_owned(),
            bad => format!("not the {}", bad.join(", ")),
        }
    }

    /// The rule of the request.
    pub(crate) fn rule_in_words(&self) -> String {
        let (Some(resource), Some(rule)) = (self.resource, self.trace.location.rule) else {
            return "no rule".to_owned();
        };
        let method = self.trace.location.matched.map(|matched| matched.method);
        let rule = rule_names::rule_in_words(&resource.rules, rule, method);
        match self.resources.are_named() {
            true => format!("{rule} of resource {}", shown(&resource.id)),
            false => rule,
        }
    }

    /// Every reading of the path with its rule.
    pub(crate) fn readings(&self) -> Vec<(String, String)> {
        let Some(resource) = self.resource else {
            return Vec::new();
        };
        let words = |reading: &caracal_mandate::decision::explain::Reading| {
            let rule = rule_names::rule_in_words(&resource.rules, reading.rule, None);
            (shown_bytes(&reading.path), rule)
        };
        self.trace.location.readings.iter().map(words).collect()
    }

    pub(crate) fn readings_in_words(&self) -> String {
        let all = self.readings();
        let more = all.len().saturating_sub(MOST);
        let mut words: Vec<String> = all
            .into_iter()
            .take(MOST)
            .map(|(path, rule)| format!("{path} under {rule}"))
            .collect();
        if more > 0 {
            words.push(format!("{more} more"));
        }
        match words.as_slice() {
            [] => format!("{} cannot be read", shown_bytes(&self.request.target)),
            words => words.join("; "),
        }
    }

    /// How the request names its resource, and what it may name.
    pub(crate) fn resource_compared(&self) -> (String, String) {
        if !self.resources.are_named() {
            return ("nothing: there is one resource".to_owned(), "-".to_owned());
        }
        let names = self.request.all("x-caracal-resource");
        let names: Vec<String> = names.iter().map(|name| shown_bytes(name)).collect();
        let host = self.request.all("host");
        let host = host.first().map_or("no host".to_owned(), |host| {
            format!("host {}", shown_bytes(host))
        });
        let named = match names.as_slice() {
            [] => "no X-Caracal-Resource".to_owned(),
            names => format!("X-Caracal-Resource {}", names.join(" and ")),
        };
        let chosen = match self.resource {
            Some(resource) => format!(": resource {}", shown(&resource.id)),
            None => String::new(),
        };
        (
            format!("one of {}", self.resource_ids()),
            format!("{named}, {host}{chosen}"),
        )
    }

    fn resource_ids(&self) -> String {
        let all = self.resources.all().iter().map(|one| &one.id);
        list(all)
    }

    pub(crate) fn resource_advice(&self, why: &str) -> String {
        format!(
            "{why}. The caller names one of the resources {} in one header X-Caracal-Resource, and sends the request to a host of this resource. Or the operator adds the host to that resource's hosts in the filter's configuration.",
            self.resource_ids()
        )
    }
}
