//! Prefixes that no request can fall under: each of their paths can also be read as one
//! under a shorter prefix, as `/v1.0` beside `/v1`, and is refused.

use caracal_mandate::config::Configuration;
use caracal_mandate::routing::path::InvalidPath;
use caracal_mandate::routing::routes::Rules;
use serde::Serialize;

use crate::output::shown;

/// A prefix, and the one that its paths may be read under.
#[derive(Debug, Serialize)]
pub(crate) struct Shadowed {
    /// Where the configuration has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    prefix: String,
    by: String,
}

impl Shadowed {
    pub(crate) fn all(configuration: &Configuration) -> Vec<Shadowed> {
        let resources = configuration.in_force();
        let mut all = Vec::new();
        for one in resources.all() {
            let resource = resources.are_named().then(|| one.id.clone());
            all.extend(of(&one.rules).into_iter().map(|(prefix, by)| Shadowed {
                resource: resource.clone(),
                prefix: prefix.to_owned(),
                by: by.to_owned(),
            }));
        }
        all
    }
}

fn of(rules: &Rules) -> Vec<(&str, &str)> {
    let routes = rules.routes().iter().map(|route| route.prefix.as_str());
    let prefixes: Vec<&str> = routes
        .chain(rules.exclude().iter().map(String::as_str))
        .collect();
    let refused = prefixes
        .iter()
        .filter(|prefix| rules.find(Some(prefix.as_bytes())) == Err(InvalidPath::Ambiguous));
    let with = refused.filter_map(|prefix| {
        let goes_on = |by: &&&str| {
            let rest = prefix.strip_prefix(**by);
            rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        };
        let by = prefixes.iter().filter(goes_on).max_by_key(|by| by.len())?;
        Some((*prefix, *by))
    });
    with.collect()
}

/// In words.
impl std::fmt::Display for Shadowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(resource) = &self.resource {
            write!(f, "{}: ", shown(resource))?;
        }
        write!(
            f,
            "no request is let through under {}: some frameworks read its paths as ones under {}, and what can be read in two ways is answered 400",
            self.prefix, self.by
        )
    }
}
