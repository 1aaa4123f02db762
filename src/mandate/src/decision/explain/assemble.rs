//! Puts what was found in the order of the checks.

use super::check::is_of_token;
use super::{Check, Outcome, TokenCheck, TokenFindings, Trace, Traced};
use crate::decision::checks::{self, Facts, MandateCheck};
use crate::decision::context::Context;
use crate::decision::gateway::{listed_end_to_end, named_client};
use crate::decision::stop::Stop;
use crate::decision::verifier::Verifier;
use crate::mcp::rule::unlisted;
use crate::reply::{ErrorCode, Reason, Refusal};
use crate::request::RequestView;
use crate::routing::path::only_reading;
use crate::routing::routes::RuleId;
use crate::token::anchor::anchors;

/// A check that decides, and why.
type Decisive = (Check, String);

impl Verifier {
    /// Puts the results in the order of the checks. Without a verdict, the checks give
    /// one.
    pub(super) fn assemble(
        &self,
        request: &RequestView<'_>,
        verdict: Option<Traced>,
        seen: TokenFindings,
        with: Context<'_>,
    ) -> Trace {
        let with_token = verdict.is_some();
        let is_gateway = self.policy.min_remaining_s.is_some();
        let location = self.locate(request);
        let required = location
            .matched
            .and_then(|matched| self.resources().required(matched));
        let of_unlisted = location
            .matched
            .and_then(|matched| self.resources().required_of_unlisted(matched));
        let required = required.or(of_unlisted);
        let is_excluded = matches!(location.rule, Some(RuleId::Excluded(_)));
        let refused = location
            .refused
            .as_ref()
            .map(|(check, refusal)| (Check::Token(*check), refusal.description().to_owned()));
        let before_token = match &refused {
            Some(refused) => Some(refused.clone()),
            None if is_excluded => Some((Check::Token(TokenCheck::Excluded), String::new())),
            None => None,
        };
        let of_token = seen.failed.clone();
        let of_token = of_token.map(|(check, why)| (Check::Token(check), why));
        let failed = match is_gateway {
            true => gateway_failure(request, verdict.as_ref(), before_token, of_token),
            false => before_token.or(of_token),
        };
        let all = Check::all(is_gateway, self.zones().are_chosen(), self.has_mcp());
        let at = failed
            .as_ref()
            .and_then(|(decisive, _)| all.iter().position(|check| check == decisive));
        let mut checks: Vec<(Check, Outcome)> = Vec::new();
        let mut stopped = None;
        let anchors = seen.claims.as_ref().map(anchors);
        let unsendable = seen.claims.as_ref().and_then(|claims| {
            self.policy
                .forwarding
                .unsendable(claims, seen.payload_bytes)
        });
        let zone = match (&seen.claims, location.resource) {
            (Some(claims), Some(resource)) => self.zone_of(resource, claims),
            _ => None,
        };
        let zone = zone.and_then(|zone| self.zones().get(zone));
        for (n, check) in all.into_iter().enumerate() {
            let is_after = at.is_some_and(|at| n > at);
            let decides = failed.as_ref().filter(|_| at == Some(n));
            let fails_too = refused
                .as_ref()
                .filter(|(other, _)| *other == check && decides.is_none());
            let outcome = match (check, decides, fails_too) {
                // An excluded path admits, so the later checks are not run.
                (Check::Token(TokenCheck::Excluded), Some(_), _) => Outcome::Passed,
                (_, Some((_, why)), _) => Outcome::Failed(why.clone()),
                (_, None, Some((_, why))) => Outcome::NotReached(Some(Err(why.clone()))),
                (Check::Token(_), ..) if is_after => Outcome::NotReached(None),
                // Paths and methods are those of a resource.
                (
                    Check::Token(
                        TokenCheck::Excluded
                        | TokenCheck::Method
                        | TokenCheck::Origin
                        | TokenCheck::Mcp,
                    ),
                    ..,
                ) if location.resource.is_none() => Outcome::NotReached(None),
                (Check::Token(check), ..) if !with_token && is_of_token(check) => Outcome::NotMade,
                (Check::Token(_), ..) => Outcome::Passed,
                (Check::Mandate(check), ..) => {
                    let said = match (&seen.claims, &anchors, required, zone) {
                        (Some(claims), Some(anchors), Some((resource, required)), Some(zone)) => {
                            Some(check.judge(&Facts {
                                policy: &self.policy,
                                zone,
                                least_s: self.policy.min_remaining_s,
                                claims,
                                anchors,
                                unsendable,
                                audience: self.policy.audience_of(zone, resource),
                                resource: &resource.id,
                                required,
                                with,
                            }))
                        }
                        _ => None,
                    };
                    let first = !is_after && stopped.is_none();
                    of_mandate(said, first, &mut stopped)
                }
                (Check::Tool, ..) => {
                    let said = required.map(|_| match of_unlisted {
                        Some(_) => Err(Stop::from(unlisted())),
                        None => Ok(()),
                    });
                    let first = !is_after && stopped.is_none();
                    of_mandate(said, first, &mut stopped)
                }
            };
            checks.push((check, outcome));
        }
        let verdict = verdict.unwrap_or_else(|| match (failed, &location.refused) {
            (Some((Check::Token(TokenCheck::Excluded), _)), _) => Traced::Excluded,
            (Some((Check::Token(TokenCheck::Origin), _)), Some((_, refusal))) => {
                Traced::Refused(refusal.clone())
            }
            (Some((Check::Token(TokenCheck::Path), why)), _) => {
                Traced::Refused(Refusal::new(ErrorCode::InvalidRequest, why))
            }
            (Some((Check::Token(TokenCheck::ClientId), _)), _) => Traced::Refused(named_client()),
            (Some((Check::Token(TokenCheck::Connection), _)), _) => {
                Traced::Refused(listed_end_to_end())
            }
            (Some(_), Some((_, refusal))) if is_gateway => {
                Traced::Refused(self.gateway_refusal(request, refusal.clone()))
            }
            (Some(_), Some((_, refusal))) => Traced::Refused(refusal.clone()),
            (Some((Check::Token(TokenCheck::Zone), _)), None) => {
                Traced::Refused(checks::other_zone())
            }
            (Some((Check::Token(check), why)), None) => {
                Traced::Refused(Refusal::invalid_token(check.reason(), why))
            }
            (Some((Check::Mandate(_) | Check::Tool, why)), None) => {
                Traced::Refused(Refusal::invalid_token(Reason::Malformed, why))
            }
            (None, _) => stopped.unwrap_or(Traced::Admitted),
        });
        Trace {
            verdict,
            checks,
            location,
            fingerprint: seen.fingerprint,
            claims: seen.claims,
            payload_bytes: seen.payload_bytes,
        }
    }
}

/// The outcome of a check of the mandate. The first that fails decides.
fn of_mandate(
    said: Option<Result<(), Stop>>,
    first: bool,
    stopped: &mut Option<Traced>,
) -> Outcome {
    match said {
        None => Outcome::NotReached(None),
        Some(Ok(())) if first => Outcome::Passed,
        Some(Ok(())) => Outcome::NotReached(Some(Ok(()))),
        Some(Err(Stop::NeedsRevocations)) => {
            if first {
                *stopped = Some(Traced::NeedsRevocations);
            }
            Outcome::NotMade
        }
        Some(Err(Stop::Refuse(refusal))) => {
            let why = refusal.description().to_owned();
            if first {
                *stopped = Some(Traced::Refused(refusal));
                return Outcome::Failed(why);
            }
            Outcome::NotReached(Some(Err(why)))
        }
    }
}

/// What fails first in Gateway mode. The path comes before the bearer and may have one
/// reading only, and the bearer comes before the resource; a token that says of itself that it ends too soon is refused for
/// that whatever else is wrong with it.
fn gateway_failure(
    request: &RequestView<'_>,
    verdict: Option<&Traced>,
    before_token: Option<Decisive>,
    of_token: Option<Decisive>,
) -> Option<Decisive> {
    let is_first = |check: &Check| {
        matches!(
            check,
            Check::Token(TokenCheck::Excluded | TokenCheck::Origin)
        )
    };
    if before_token
        .as_ref()
        .is_some_and(|(check, _)| is_first(check))
    {
        return before_token;
    }
    if let Err(why) = only_reading(request.target) {
        return Some((Check::Token(TokenCheck::Path), why.to_string()));
    }
    let credential = Check::Token(TokenCheck::Credential);
    if of_token
        .as_ref()
        .is_some_and(|(check, _)| *check == credential)
    {
        return of_token;
    }
    if request.names_client {
        let why = named_client().description().to_owned();
        return Some((Check::Token(TokenCheck::ClientId), why));
    }
    if request.lists_end_to_end {
        let why = listed_end_to_end().description().to_owned();
        return Some((Check::Token(TokenCheck::Connection), why));
    }
    if before_token.is_some() {
        return before_token;
    }
    match verdict {
        Some(Traced::Refused(refusal)) if refusal.code() == ErrorCode::CredentialExpiring => {
            let why = refusal.description().to_owned();
            Some((Check::Mandate(MandateCheck::Remaining), why))
        }
        _ => of_token,
    }
}
