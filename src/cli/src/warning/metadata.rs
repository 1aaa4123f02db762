//! Documents that nobody finds: the host in `metadata.resource` is not the resource's.

use caracal_mandate::config::Configuration;
use caracal_mandate::metadata::ResourceUrl;

use super::kind::{METADATA_HOST, Warning, inside};
use crate::terminal::shown;

pub(super) fn elsewhere(configuration: &Configuration, place: &str) -> Vec<Warning> {
    let mut all = Vec::new();
    for (id, resource) in &configuration.resources {
        let (Some(metadata), Some(hosts)) = (&resource.metadata, &resource.hosts) else {
            continue;
        };
        let Some(url) = ResourceUrl::parse(&metadata.resource) else {
            continue;
        };
        let is_here = |host: &String| host.eq_ignore_ascii_case(url.authority());
        if !hosts.iter().any(is_here) {
            let place = inside(place, &format!("resource {}", shown(id)));
            let found = format!("{} is none of its hosts", shown(url.authority()));
            all.push(Warning::found(&METADATA_HOST, &place, &found));
        }
    }
    all
}
