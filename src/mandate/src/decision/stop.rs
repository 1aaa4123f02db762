//! How the checks of a mandate end early.

use crate::reply::Refusal;

/// Why a mandate is not admitted now.
pub(crate) enum Stop {
    Refuse(Refusal),
    NeedsRevocations,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refuse(refusal)
    }
}
