//! The checks of a mandate whose signature has verified: rows 3 (the signed part) to 14
//! of the contract, each with a name. There is one list of them. A decision runs it until
//! the first failure, and an explanation shows all of them.

mod gateway;

pub(super) use gateway::{expiring, lasts};
use gateway::{own_target, remaining};

pub(crate) use super::facts::Facts;
use super::facts::malformed;
use super::stop::Stop;
use crate::reply::{ErrorCode, Reason, Refusal};
use crate::revocation::{AnchorId, Availability};

macro_rules! checks {
    ($($(#[doc = $doc:literal])* $row:literal $name:ident = $judge:ident,)*) => {
        /// One check of a verified mandate, in the contract's order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum MandateCheck {
            $($(#[doc = $doc])* $name,)*
        }

        impl MandateCheck {
            /// Every check, in the order in which they are made.
            pub const ALL: &[MandateCheck] = &[$(MandateCheck::$name,)*];

            /// Whether it is made in Gateway mode only.
            pub fn is_of_gateway(self) -> bool {
                matches!(self, MandateCheck::Remaining | MandateCheck::OwnTarget)
            }

            /// The row of the contract ("Order of checks").
            pub fn row(self) -> u8 {
                match self { $(MandateCheck::$name => $row,)* }
            }

            pub(crate) fn judge(self, facts: &Facts<'_>) -> Result<(), Stop> {
                match self { $(MandateCheck::$name => $judge(facts),)* }
            }
        }

        /// Runs the checks until one fails. This is not a loop over the list, because
        /// every request pays for this code.
        pub(crate) fn judge(facts: &Facts<'_>) -> Result<(), Stop> {
            $($judge(facts)?;)*
            Ok(())
        }
    };
}

checks! {
    /// Gateway mode: `exp` is at least `gateway.min_remaining_s` away (row G3).
    3 Remaining = remaining,
    /// `iss` is the issuer of the zone.
    3 Issuer = issuer,
    /// `aud` contains the audience.
    3 Audience = audience,
    /// `exp` is not more than the clock skew in the past.
    3 ExpiryWithSkew = expiry_with_skew,
    /// `iat` is not more than the clock skew in the future.
    3 IssuedAt = issued_at,
    /// `nbf` is not more than the clock skew in the future.
    3 NotBefore = not_before,
    /// `exp` is not more than `limits.max_lifetime_s` after `iat`.
    3 Lifetime = lifetime,
    /// `use` is the required one.
    3 Use = token_use,
    /// `zone_id` is the zone whose key set verified the mandate.
    4 Zone = zone,
    /// Gateway mode: `target` contains the resource (row G5).
    4 OwnTarget = own_target,
    /// Every required scope is there.
    5 Scopes = scopes,
    /// The shape of `agent_session_id`, `delegation_edge_id`, `delegation_chain`.
    6 DelegationShape = delegation_shape,
    /// `require_session`.
    7 Session = session,
    /// `require_delegation`.
    8 Delegation = delegation,
    /// `require_chain_contains`.
    9 Chain = chain,
    /// The shape of `hop_count`, and `max_hop_count`.
    10 HopCount = hop_count,
    /// The shape of the other optional claims.
    11 OptionalShape = optional_shape,
    /// `scope` is not empty if it is there.
    11 ScopeNotEmpty = scope_not_empty,
    /// Every required target is there.
    11 Targets = targets,
    /// `exp` is in the future, without leeway.
    12 Expiry = expiry,
    /// The revocation state is usable.
    12 RevocationState = revocation_state,
    /// None of the anchors is revoked.
    12 Revocation = revocation,
    /// The zone's delegation epoch is not above the mandate's.
    13 DelegationEpoch = delegation_epoch,
    /// What `forward` sends of the mandate can be sent, unless `forward.unsendable` is
    /// `omit`. It comes last: a mandate that is refused for another reason keeps that reason.
    14 Forwarding = forwarding,
}

fn refuse(reason: Reason, why: impl std::fmt::Display) -> Result<(), Stop> {
    Err(Refusal::invalid_token(reason, why).into())
}

// Each check is inlined in the decision, because a call would cost more than the
// comparison; the suite `counts` shows it. Explanations call the checks through the list.

/// The latest allowed `iat` and `nbf`.
fn latest(facts: &Facts<'_>) -> u64 {
    facts.with.now.saturating_add(facts.policy.clock_skew_s)
}

#[inline(always)]
fn issuer(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.iss != facts.zone.issuer {
        return refuse(Reason::Issuer, "it is from another issuer");
    }
    Ok(())
}

#[inline(always)]
fn audience(facts: &Facts<'_>) -> Result<(), Stop> {
    if !facts.claims.aud.iter().any(|one| one == facts.audience) {
        return refuse(Reason::Audience, "it is for another audience");
    }
    Ok(())
}

/// `exp > now - skew`, written without a subtraction, which could underflow.
#[inline(always)]
fn expiry_with_skew(facts: &Facts<'_>) -> Result<(), Stop> {
    let skew = facts.policy.clock_skew_s;
    if facts.claims.exp.saturating_add(skew) <= facts.with.now {
        return refuse(Reason::Expired, "it has expired");
    }
    Ok(())
}

#[inline(always)]
fn issued_at(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.iat > latest(facts) {
        return refuse(Reason::NotYetValid, "it was issued in the future");
    }
    Ok(())
}

#[inline(always)]
fn not_before(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.nbf.is_some_and(|nbf| nbf > latest(facts)) {
        return refuse(Reason::NotYetValid, "it is not valid yet");
    }
    Ok(())
}

/// A revoked anchor is forgotten after the longest life of a mandate. A mandate that
/// lives longer would be admitted again.
#[inline(always)]
fn lifetime(facts: &Facts<'_>) -> Result<(), Stop> {
    let lives_s = facts.claims.exp.saturating_sub(facts.claims.iat);
    if lives_s > facts.policy.max_lifetime_s {
        return refuse(Reason::Lifetime, "it is valid for too long");
    }
    Ok(())
}

#[inline(always)]
fn token_use(facts: &Facts<'_>) -> Result<(), Stop> {
    let required = facts.required.required_use;
    if facts.claims.token_use != required {
        return refuse(
            Reason::Use,
            format_args!("its use is not {}", required.as_str()),
        );
    }
    Ok(())
}

#[inline(always)]
fn zone(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.zone_id.as_deref() != Some(facts.zone.id.as_str()) {
        return Err(other_zone().into());
    }
    Ok(())
}

/// The refusal of a mandate of a zone that is not accepted.
#[cold]
pub(super) fn other_zone() -> Refusal {
    Refusal::new(ErrorCode::InvalidZone, "The mandate is from another zone")
}

#[inline(always)]
fn scopes(facts: &Facts<'_>) -> Result<(), Stop> {
    let required = &facts.required.required_scopes;
    let granted = facts.claims.scope.as_deref().unwrap_or_default();
    let missing = required
        .iter()
        .find(|scope| !granted.split(' ').any(|one| one == scope.as_str()));
    match missing {
        Some(scope) => Err(Refusal::insufficient_scope(scope, required).into()),
        None => Ok(()),
    }
}

#[inline(always)]
fn delegation_shape(facts: &Facts<'_>) -> Result<(), Stop> {
    let claims = facts.claims;
    claims.agent_session_id.as_ref().map_err(malformed)?;
    claims.delegation_edge_id.as_ref().map_err(malformed)?;
    claims.delegation_chain.as_ref().map_err(malformed)?;
    Ok(())
}

#[inline(always)]
fn session(facts: &Facts<'_>) -> Result<(), Stop> {
    let session = facts.claims.agent_session_id.as_ref().map_err(malformed)?;
    if facts.required.require_session && session.is_none() {
        let what = "The route needs a mandate of an agent session";
        return Err(Refusal::new(ErrorCode::SessionRequired, what).into());
    }
    Ok(())
}

#[inline(always)]
fn delegation(facts: &Facts<'_>) -> Result<(), Stop> {
    let edge = facts.claims.delegation_edge_id.as_ref();
    if facts.required.require_delegation && edge.map_err(malformed)?.is_none() {
        let what = "The route needs a delegated mandate";
        return Err(Refusal::new(ErrorCode::DelegationRequired, what).into());
    }
    Ok(())
}

#[inline(always)]
fn chain(facts: &Facts<'_>) -> Result<(), Stop> {
    let chain = facts.claims.delegation_chain.as_ref().map_err(malformed)?;
    let missing = facts
        .required
        .require_chain_contains
        .iter()
        .find(|application| !chain.iter().any(|hop| hop.application_id == **application));
    match missing {
        Some(application) => Err(Refusal::new(
            ErrorCode::ChainMismatch,
            format!("Application not in the delegation chain: {application}"),
        )
        .into()),
        None => Ok(()),
    }
}

#[inline(always)]
fn hop_count(facts: &Facts<'_>) -> Result<(), Stop> {
    let most = facts.required.max_hop_count;
    let hops = facts.claims.hop_count.as_ref().map_err(malformed)?;
    if hops.unwrap_or(0) > most {
        return Err(Refusal::new(
            ErrorCode::HopCountExceeded,
            format!("Delegated through more than {most} hops"),
        )
        .into());
    }
    Ok(())
}

#[inline(always)]
fn optional_shape(facts: &Facts<'_>) -> Result<(), Stop> {
    let claims = facts.claims;
    claims.delegation_path.as_ref().map_err(malformed)?;
    claims.delegation_graph_epoch.as_ref().map_err(malformed)?;
    claims.target.as_ref().map_err(malformed)?;
    claims.source_session_id.as_ref().map_err(malformed)?;
    claims.target_session_id.as_ref().map_err(malformed)?;
    Ok(())
}

#[inline(always)]
fn scope_not_empty(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.scope.as_deref() == Some("") {
        return refuse(Reason::Malformed, "the claim scope is empty");
    }
    Ok(())
}

#[inline(always)]
fn targets(facts: &Facts<'_>) -> Result<(), Stop> {
    let targets = facts.claims.target.as_ref().map_err(malformed)?;
    let required = &facts.required.required_targets;
    match required.iter().find(|target| !targets.contains(target)) {
        Some(target) => refuse(
            Reason::Target,
            format_args!("it lacks the required target {target}"),
        ),
        None => Ok(()),
    }
}

#[inline(always)]
fn expiry(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.claims.exp <= facts.with.now {
        return refuse(Reason::Expired, "it has expired");
    }
    Ok(())
}

#[inline(always)]
fn revocation_state(facts: &Facts<'_>) -> Result<(), Stop> {
    match facts.with.revocation.availability_of(facts.anchors) {
        Availability::Ready => Ok(()),
        Availability::Pending => Err(Stop::NeedsRevocations),
        Availability::Unavailable(why) => Err(Refusal::unavailable(why)
            .because(Reason::Revocations)
            .into()),
    }
}

#[inline(always)]
fn revocation(facts: &Facts<'_>) -> Result<(), Stop> {
    let revoked = |anchor: &AnchorId| facts.with.revocation.is_revoked(*anchor);
    if facts.anchors.iter().any(revoked) {
        let what = "The mandate's session has been revoked";
        return Err(Refusal::new(ErrorCode::SessionRevoked, what).into());
    }
    Ok(())
}

#[inline(always)]
fn delegation_epoch(facts: &Facts<'_>) -> Result<(), Stop> {
    let epoch = facts.claims.delegation_graph_epoch.as_ref();
    match epoch.map_err(malformed)? {
        Some(epoch) if facts.with.revocation.delegation_epoch() > *epoch => Err(Refusal::new(
            ErrorCode::DelegationStale,
            "The zone's delegations changed after the mandate was issued",
        )
        .into()),
        _ => Ok(()),
    }
}

#[inline(always)]
fn forwarding(facts: &Facts<'_>) -> Result<(), Stop> {
    match facts.unsendable {
        None => Ok(()),
        Some(what) => refuse(
            Reason::Unsendable,
            format_args!("its {what} cannot be sent to the service in a header"),
        ),
    }
}

#[cfg(test)]
mod tests;
