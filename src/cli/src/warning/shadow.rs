//! Rules whose refusals are not carried out.

use caracal_mandate::config::Configuration;

use super::kind::{SHADOW, Warning, inside};
use crate::rule_names::in_shadow;
use crate::terminal::shown;

/// One warning for each resource.
pub(super) fn rules(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let resources = configuration.in_force();
    let mut all = Vec::new();
    for one in resources.all() {
        let rules = in_shadow(&one.rules);
        if rules.is_empty() {
            continue;
        }
        let place = match resources.are_named() {
            true => inside(place, &format!("resource {}", shown(&one.id))),
            false => place.to_owned(),
        };
        let found = format!("in shadow: {}", rules.join(", "));
        all.push(Warning::found(&SHADOW, &place, &found));
    }
    all
}
