//! Rules that require nothing of a mandate but that it is valid.

use caracal_mandate::config::Configuration;
use caracal_mandate::routing::routes::Requirements;

use super::kind::{NOTHING_REQUIRED, Warning, inside};
use crate::terminal::shown;

pub(super) fn empty(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let resources = configuration.in_force();
    let nothing = Requirements::default();
    let mut all = Vec::new();
    for one in resources.all() {
        let mut rules = Vec::new();
        let routes = one.rules.routes();
        // A route at "/" stands for all the rest: nothing falls under the default then.
        let has_root = routes.iter().any(|route| route.prefix.is_empty());
        if !has_root && *one.rules.default_requirements() == nothing {
            rules.push("every path outside routes".to_owned());
        }
        for route in routes {
            let prefix = match route.prefix.as_str() {
                "" => "/",
                prefix => prefix,
            };
            if route.requirements == nothing {
                rules.push(shown(prefix));
            }
            let methods = route.methods.iter();
            let empty = methods.filter(|(_, requirements)| *requirements == nothing);
            rules.extend(empty.map(|(method, _)| format!("{method} {}", shown(prefix))));
        }
        if rules.is_empty() {
            continue;
        }
        let place = match resources.are_named() {
            true => inside(place, &format!("resource {}", shown(&one.id))),
            false => place.to_owned(),
        };
        all.push(Warning::found(
            &NOTHING_REQUIRED,
            &place,
            &format!("nothing is required for {}", rules.join(", ")),
        ));
    }
    all
}
