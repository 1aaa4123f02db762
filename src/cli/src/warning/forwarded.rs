//! What a service is told that nobody has signed, is not told, or should not be told.

use caracal_mandate::config::{Baggage, Configuration, Unsendable};

use super::kind::{
    AUTHORIZATION_EXCLUDED, BAGGAGE_EXCLUDED, BAGGAGE_KEPT, CLAIMS_OMITTED, Warning,
};

pub(super) fn context(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let forward = &configuration.forward;
    let resources = configuration.in_force();
    let excludes = resources
        .all()
        .iter()
        .any(|one| !one.rules.exclude().is_empty());
    let sends = !forward.headers.is_empty()
        || !forward.variables.is_empty()
        || forward.claims.is_some()
        || forward.baggage == Baggage::Verified;
    let found = [
        (forward.baggage == Baggage::Keep, &BAGGAGE_KEPT),
        (
            forward.baggage == Baggage::Verified && excludes,
            &BAGGAGE_EXCLUDED,
        ),
        (!forward.authorization && excludes, &AUTHORIZATION_EXCLUDED),
        (
            forward.unsendable == Unsendable::Omit && sends,
            &CLAIMS_OMITTED,
        ),
    ];
    let found = found.into_iter().filter(|(is_so, _)| *is_so);
    found.map(|(_, kind)| Warning::new(kind, place)).collect()
}
