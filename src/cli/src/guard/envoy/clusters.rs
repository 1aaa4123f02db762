//! The clusters of a file.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::proxy_file::{member, walk};

/// The names of a file's clusters; none where it lists none, or where others come at run
/// time.
pub(crate) fn listed(tree: &Value) -> Option<BTreeSet<&str>> {
    let mut names = BTreeSet::new();
    let mut others_come = false;
    let mut is_dump = false;
    walk(tree, &mut |here| {
        let key = here.level.key;
        let is_within = |name: &str| here.around.last().is_some_and(|level| level.key == name);
        if ["dynamic_resources", "dynamicResources"].contains(&key) {
            others_come |= member(here.object(), "cds_config").is_some();
        }
        let is_static =
            key == "clusters" && (is_within("static_resources") || is_within("staticResources"));
        let dumped = ["static_clusters", "dynamic_active_clusters"];
        let is_dumped = key == "cluster" && dumped.iter().any(|name| is_within(name));
        is_dump |= is_dumped;
        if is_static || is_dumped {
            names.extend(here.level.name());
        }
        true
    });
    (!names.is_empty() && (is_dump || !others_come)).then_some(names)
}
