//! Verdicts on requests for which something is missing at the edge. The mandate may be good,
//! so the request gets 503, and can be sent again.

use caracal_mandate::decision::verifier::Verdict;
use caracal_mandate::reply::{Reason, Refusal};

/// The edge has no clock.
pub(crate) const NO_CLOCK: &str = "The edge has no clock";

/// The edge itself failed.
pub(crate) fn unavailable(what: &'static str) -> Verdict {
    of(Reason::Edge, what)
}

/// The key set is missing.
pub(crate) fn no_key_set(what: &'static str) -> Verdict {
    of(Reason::KeySet, what)
}

/// The revocation state is missing.
pub(crate) fn no_revocations(what: &'static str) -> Verdict {
    of(Reason::Revocations, what)
}

/// The request waited for too long, or there is no place to wait.
pub(crate) fn waited(what: &'static str) -> Verdict {
    of(Reason::Waiting, what)
}

/// No zone judges the mandate. The core has refused it before.
#[cold]
pub(crate) fn no_zone() -> Verdict {
    no_key_set("The edge has no key set for the mandate's zone")
}

pub(crate) fn no_clock() -> Verdict {
    unavailable(NO_CLOCK)
}

/// The verdict on a request that makes no further callout.
pub(crate) fn refuse_if_missing(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::NeedsKeySet(_) => no_key_set("The zone's key set is not there yet"),
        Verdict::NeedsRevocations(_) => {
            no_revocations("The companion has not answered about it yet")
        }
        verdict => verdict,
    }
}

fn of(reason: Reason, what: &'static str) -> Verdict {
    Verdict::Refused(Refusal::unavailable(what).because(reason), None)
}
