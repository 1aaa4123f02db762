//! What is counted of refusals in shadow. They have counters of their own: they are no
//! refusals to whoever watches the others.

use caracal_mandate::reply::{ErrorCode, Reason, Refusal};

/// What requests have counted since the last tick, by code and reason. There are few, and
/// always the same ones.
#[derive(Debug, Default)]
pub(crate) struct ShadowCounts(Vec<(ErrorCode, &'static str, i64)>);

impl ShadowCounts {
    #[cold]
    pub(crate) fn count(&mut self, refusal: &Refusal) {
        let which = (refusal.code(), refusal.reason());
        let mut known = self.0.iter_mut();
        match known.find(|(code, reason, _)| (*code, *reason) == which) {
            Some((.., counted)) => *counted = counted.saturating_add(1),
            None => self.0.push((which.0, which.1, 1)),
        }
    }

    /// Takes out one count, with its counters.
    pub(crate) fn pop(&mut self) -> Option<([String; 2], i64)> {
        let (code, reason, counted) = self.0.pop()?;
        Some(([by_code(code), by_reason(reason)], counted))
    }
}

/// Calls with every counter, where requests can be refused with these codes.
#[cold]
pub(crate) fn each<'c>(codes: impl Iterator<Item = &'c ErrorCode>, mut call: impl FnMut(&str)) {
    for code in codes {
        call(&by_code(*code));
        call(&by_reason(code.as_str()));
    }
    for reason in Reason::ALL {
        call(&by_reason(reason.as_str()));
    }
}

fn by_code(code: ErrorCode) -> String {
    let name = "caracal_decisions_total.outcome=shadow_refused.code=";
    [name, code.as_str()].concat()
}

fn by_reason(reason: &str) -> String {
    ["caracal_shadow_refusals_total.reason=", reason].concat()
}
