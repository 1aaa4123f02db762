//! Prefixes that no request can fall under: each of their paths can also be read as one
//! under a shorter prefix, as `/v1.0` beside `/v1`, and is refused.

use caracal_mandate::config::Configuration;
use caracal_mandate::routing::path::InvalidPath;
use caracal_mandate::routing::routes::Rules;

use super::kind::{SHADOWED_PREFIX, Warning, inside};
use crate::terminal::shown;

pub(super) fn prefixes(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let resources = configuration.in_force();
    let mut all = Vec::new();
    for one in resources.all() {
        let place = match resources.are_named() {
            true => inside(place, &format!("resource {}", shown(&one.id))),
            false => place.to_owned(),
        };
        all.extend(of(&one.rules).into_iter().map(|(prefix, by)| {
            let place = inside(&place, &format!("prefix {}", shown(prefix)));
            let found = format!("its paths can be read as ones under {}", shown(by));
            Warning::found(&SHADOWED_PREFIX, &place, &found)
        }));
    }
    all
}

fn of(rules: &Rules) -> Vec<(&str, &str)> {
    let routes = rules.routes().iter().map(|route| route.prefix.as_str());
    let prefixes: Vec<&str> = routes
        .chain(rules.exclude().iter().map(String::as_str))
        .collect();
    let refused = prefixes.iter().filter(|prefix| {
        let found = rules.find(Some(prefix.as_bytes()));
        matches!(found, Err(InvalidPath::Ambiguous | InvalidPath::Spelled))
    });
    let with = refused.filter_map(|prefix| {
        let goes_on = |by: &&&str| {
            let rest = prefix.strip_prefix(**by);
            let start = prefix.get(..by.len());
            let is_respelled =
                start.is_some_and(|start| start != **by && start.eq_ignore_ascii_case(by));
            is_respelled || rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        };
        let by = prefixes.iter().filter(goes_on).max_by_key(|by| by.len())?;
        Some((*prefix, *by))
    });
    with.collect()
}
