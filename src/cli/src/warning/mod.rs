//! What a proxy's file or a configuration does against the documentation's advice although
//! a proxy takes it. `check` shows it, and `check --strict` fails on it.

mod forwarded;
mod kind;
mod metadata;
mod requirements;
mod shadow;
mod shadowed;

use caracal_mandate::config::Configuration;

pub(crate) use kind::*;

/// What a configuration alone shows. `place` is where it stands.
pub(crate) fn of_configuration(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let mut all = shadow::rules(configuration, place);
    all.extend(requirements::empty(configuration, place));
    all.extend(metadata::elsewhere(configuration, place));
    all.extend(forwarded::context(configuration, place));
    all.extend(shadowed::prefixes(configuration, place));
    all
}
