//! A decision with every check, for people: which checks ran, which failed, and what the
//! checks after the first failure would have said. The verdict comes from
//! [`Verifier::screen`] and [`Verifier::decide`]. The checks are the functions that these
//! two are made of. The filter does not call this module, so its file does not contain
//! it.

mod assemble;
mod check;

use crate::decision::checks;
use crate::decision::context::Context;
use crate::decision::verifier::{Missing, Screened, Verdict, Verifier};
use crate::jwks::algorithm::Algorithm;
use crate::mcp::rule::Head;
use crate::reply::{ErrorCode, Reason, Refusal};
use crate::request::RequestView;
use crate::routing::path::{InvalidPath, RequestPath};
use crate::routing::resources::{ResourceId, RouteMatch};
use crate::routing::routes::{MethodId, RuleId, Rules};
use crate::token::bearer::bearer_token;
use crate::token::cache::MandateCache;
use crate::token::claims::Claims;
use crate::token::fingerprint::Fingerprint;
use crate::token::jws::{TokenLimits, UnverifiedMandate};
use crate::token::mandate::{self, InvalidMandate};

pub use check::{Check, TokenCheck};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was run, and passed.
    Passed,
    /// It was run and failed. It is the reason for the verdict, which its text gives.
    Failed(String),
    /// An earlier check decided. This is what the check would have said, if claims that
    /// nobody may have signed can tell.
    NotReached(Option<Result<(), String>>),
    /// It could not be run with the given input.
    NotMade,
}

/// One reading of a path, and the rule that the reading falls under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The path in this reading.
    pub path: Vec<u8>,
    /// Its rule.
    pub rule: RuleId,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced {
    /// Continue unverified: the path is excluded.
    Excluded,
    /// Continue, for a principal.
    Admitted,
    /// Refuse.
    Refused(Refusal),
    /// The mandate is good, but the revocation state is not there yet.
    NeedsRevocations,
}

/// A decision and its checks.
#[derive(Debug)]
pub struct Trace {
    /// What is decided.
    pub verdict: Traced,
    /// Every check, in the contract's order.
    pub checks: Vec<(Check, Outcome)>,
    /// The resource and the rule of the request.
    pub location: Location,
    /// The token's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// The claims. Only if [`TokenCheck::Signature`] passed are they what the zone
    /// signed.
    pub claims: Option<Claims>,
    /// Length of the token's payload in base64url.
    pub payload_bytes: usize,
}

/// The resource and rule of a request, as far as they can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The resource that the request is for.
    pub resource: Option<ResourceId>,
    /// The readings of the path; the first is the path as it came. Empty if it cannot be
    /// read at all.
    pub readings: Vec<Reading>,
    /// The rule, if all readings fall under one.
    pub rule: Option<RuleId>,
    /// The route whose requirements apply; none if nothing is verified.
    pub matched: Option<RouteMatch>,
    /// The failure before a route is matched, if there is one.
    pub refused: Option<(TokenCheck, Refusal)>,
}

/// Everything that can be read from a token, whatever is wrong with it.
#[derive(Default)]
struct TokenFindings {
    failed: Option<(TokenCheck, String)>,
    fingerprint: Option<Fingerprint>,
    claims: Option<Claims>,
    /// Length of the payload as a token has it, in base64url.
    payload_bytes: usize,
}

impl Verifier {
    /// The resource and rule of a request, and what they were chosen by.
    pub fn locate(&self, request: &RequestView<'_>) -> Location {
        let mut location = Location {
            resource: None,
            readings: Vec::new(),
            rule: None,
            matched: None,
            refused: None,
        };
        let refused = |check, refusal: Refusal| Some((check, refusal));
        let resource = match self.resources().choose(request.authority, request.resource) {
            Ok(resource) => resource,
            Err(why) => {
                location.refused = refused(TokenCheck::Resource, Refusal::from(why));
                return location;
            }
        };
        location.resource = Some(resource);
        let Some(rules) = self.resources().get(resource).map(|one| &one.rules) else {
            return location;
        };
        location.readings = rules.readings(request.target);
        let rule = match rules.find(request.target) {
            Ok(rule) => rule,
            Err(why) => {
                let refusal = Refusal::new(ErrorCode::InvalidRequest, why.to_string());
                location.refused = refused(TokenCheck::Path, refusal);
                return location;
            }
        };
        location.rule = Some(rule);
        if let RuleId::Excluded(_) = rule {
            return location;
        }
        let method = match rules.method(rule, request.method) {
            Ok(method) => method,
            Err(why) => {
                location.refused = refused(TokenCheck::Method, Refusal::from(why));
                return location;
            }
        };
        if self.policy.min_remaining_s.is_some()
            && let Err(why) = self.resources().check_named(resource, request.resource)
        {
            location.refused = refused(TokenCheck::Resource, Refusal::from(why));
            return location;
        }
        let mut matched = RouteMatch {
            resource,
            rule,
            method,
        };
        match self.locate_operation(request, matched) {
            Ok(Some(operation)) => matched.method = operation,
            Ok(None) => {}
            Err((check, refusal)) => {
                location.refused = refused(check, refusal);
                return location;
            }
        }
        location.matched = Some(matched);
        location
    }

    /// The operation of MCP that has requirements of its own. Before it the origin.
    fn locate_operation(
        &self,
        request: &RequestView<'_>,
        matched: RouteMatch,
    ) -> Result<Option<MethodId>, (TokenCheck, Refusal)> {
        let of_mcp = |refusal| (TokenCheck::Mcp, refusal);
        let Some((rule, headers)) = self.mcp_rule(request, matched).map_err(of_mcp)? else {
            return Ok(None);
        };
        rule.check_origin(headers)
            .map_err(|refusal| (TokenCheck::Origin, refusal))?;
        match rule.read(request.method, headers).map_err(of_mcp)? {
            Head::Known(Some(operation)) => Ok(Some(MethodId::Mcp(operation))),
            Head::Known(None) | Head::Unread(_) => Ok(None),
        }
    }

    /// Decides on a request with a token, and gives the result of each check.
    pub fn trace(&self, request: &RequestView<'_>, with: Context<'_>) -> Trace {
        let mut cache = MandateCache::new(0);
        let verdict = match self.screen(request, &cache) {
            Err(refusal) => Traced::Refused(refusal),
            Ok(Screened::Excluded) => Traced::Excluded,
            Ok(Screened::Credential(credential)) => {
                let credential = match credential.is_unread() {
                    true => self.at_least(credential),
                    false => credential,
                };
                match self.decide(&credential, with, &mut cache) {
                    Verdict::Admitted(_) => Traced::Admitted,
                    Verdict::Refused(refusal, _) => Traced::Refused(refusal),
                    Verdict::NeedsRevocations(_) => Traced::NeedsRevocations,
                    // An edge that still lacks the key set or key in the end answers with
                    // this refusal.
                    Verdict::NeedsKeySet(Missing::KeySet) => Traced::Refused(no_key_set()),
                    Verdict::NeedsKeySet(Missing::Key) => Traced::Refused(Verifier::unknown_key()),
                }
            }
        };
        let seen = match bearer_token(request.authorization) {
            Err(refusal) => TokenFindings {
                failed: Some((TokenCheck::Credential, refusal.description().to_owned())),
                ..TokenFindings::default()
            },
            Ok(token) => self.look_at(token, self.locate(request).resource, with),
        };
        self.assemble(request, Some(verdict), seen, with)
    }

    /// The same for a payload alone, given as a JSON document of claims. No token and no
    /// signature are checked. The verdict is the one for these claims if a key of the
    /// zone had signed them.
    pub fn trace_claims(
        &self,
        request: &RequestView<'_>,
        payload: &[u8],
        with: Context<'_>,
    ) -> Trace {
        let mut seen = TokenFindings {
            payload_bytes: base64::encoded_len(payload.len(), false).unwrap_or(usize::MAX),
            ..TokenFindings::default()
        };
        match Claims::parse(payload) {
            Ok(claims) => {
                let resource = self.locate(request).resource;
                if resource.is_some_and(|one| self.zone_of(one, &claims).is_none()) {
                    let why = checks::other_zone().description().to_owned();
                    seen.failed = Some((TokenCheck::Zone, why));
                }
                seen.claims = Some(claims);
            }
            Err(why) => {
                let why = InvalidMandate::Claims(why);
                seen.failed = Some((TokenCheck::of_mandate(why), why.to_string()));
            }
        }
        self.assemble(request, None, seen, with)
    }

    /// Reads more of a token than a decision would.
    fn look_at(
        &self,
        token: &[u8],
        resource: Option<ResourceId>,
        with: Context<'_>,
    ) -> TokenFindings {
        let mut seen = TokenFindings {
            fingerprint: Some(Fingerprint::of(token)),
            ..TokenFindings::default()
        };
        let parse = |max_bytes, algorithms: &[Algorithm]| {
            let limits = TokenLimits {
                max_bytes,
                algorithms,
            };
            UnverifiedMandate::parse(token, limits)
        };
        let mut read = parse(self.policy.max_token_bytes, &self.policy.algorithms);
        if let Err(why) = &read {
            seen.failed = Some((TokenCheck::of_jws(*why), why.to_string()));
            read = parse(usize::MAX, &Algorithm::ALL);
        }
        let Ok(read) = read else {
            return seen;
        };
        if seen.failed.is_none()
            && let Some(resource) = resource
        {
            let failed = match self.zone_named(resource, &read) {
                Ok(Some(_)) => None,
                Ok(None) => Some(checks::other_zone()),
                Err(refusal) => Some(refusal),
            };
            seen.failed = failed.map(|why| (TokenCheck::Zone, why.description().to_owned()));
        }
        if seen.failed.is_none() {
            let fingerprint = Fingerprint::of(token);
            let failed = match with.keys {
                None => Some((TokenCheck::KeySet, no_key_set().description().to_owned())),
                Some(keys) => mandate::verify(&read, fingerprint, keys, with.signatures)
                    .err()
                    .map(|why| (TokenCheck::of_mandate(why), why.to_string())),
            };
            seen.failed = failed;
        }
        seen.claims = Claims::parse(read.payload()).ok();
        seen.payload_bytes = read.encoded_payload().len();
        seen
    }
}

/// The answer of an edge that could not fetch a key set.
fn no_key_set() -> Refusal {
    Refusal::unavailable("The zone's key set cannot be fetched").because(Reason::KeySet)
}

impl Rules {
    /// The readings of a path, each with its rule, and first the path as it came.
    /// Readings over the limit are left out. None if the path cannot be read.
    pub fn readings(&self, target: Option<&[u8]>) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        let note = |path: &[u8], rule: RuleId| {
            let reading = Reading {
                path: path.to_vec(),
                rule,
            };
            if !readings.contains(&reading) {
                readings.push(reading);
            }
            Ok(())
        };
        // If there are too many readings, finding the rule reports it.
        let _: Result<(), InvalidPath> =
            RequestPath::parse_to_show(target).and_then(|path| self.readings_of(path, note));
        readings
    }
}
