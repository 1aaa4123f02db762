//! The checks that only Gateway mode makes.

use crate::decision::facts::{Facts, malformed};
use crate::decision::stop::Stop;
use crate::reply::{ErrorCode, Refusal};

/// The STS takes its time, and the product's Gateway refuses what ends meanwhile.
#[inline(always)]
pub(super) fn remaining(facts: &Facts<'_>) -> Result<(), Stop> {
    match facts.least_s {
        Some(least_s) if !lasts(facts.claims.exp, facts.with.now, least_s) => {
            Err(expiring().into())
        }
        _ => Ok(()),
    }
}

/// Whether a mandate is valid for so many seconds more.
pub(in crate::decision) fn lasts(exp: u64, now: u64, least_s: u64) -> bool {
    exp >= now.saturating_add(least_s)
}

/// The refusal of a mandate that ends too soon to be exchanged.
pub(in crate::decision) fn expiring() -> Refusal {
    let what = "The mandate ends too soon to be exchanged";
    Refusal::new(ErrorCode::CredentialExpiring, what)
}

/// The STS refuses another target too, but would do so when the mandate is used up.
#[inline(always)]
pub(super) fn own_target(facts: &Facts<'_>) -> Result<(), Stop> {
    if facts.policy.min_remaining_s.is_none() {
        return Ok(());
    }
    let targets = facts.claims.target.as_ref().map_err(malformed)?;
    if targets.iter().any(|one| one == facts.resource) {
        return Ok(());
    }
    let what = "The mandate is for another resource";
    Err(Refusal::new(ErrorCode::AccessDenied, what).into())
}
