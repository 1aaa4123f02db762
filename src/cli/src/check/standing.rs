//! What a configuration and the file that it stands in show together.

use std::collections::BTreeSet;

use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::routing::upstream_url::UpstreamUrl;

use crate::configured::Source;
use crate::terminal::shown;
use crate::warning::{
    BODY_NOT_SHOWN, HOSTS_WITHOUT_DOMAIN, UNKNOWN_CLUSTER, UPSTREAM_WITHOUT_DOMAIN, Warning, inside,
};

/// `clusters` are those of the file, where it lists them all.
pub(super) fn warnings(
    configuration: &Configuration,
    source: &Source,
    clusters: Option<&BTreeSet<String>>,
) -> Vec<Warning> {
    let mut all = Vec::new();
    if let Some(clusters) = clusters {
        all.extend(unknown_clusters(configuration, &source.place, clusters));
    }
    if source.shows_body == Some(false) && configuration.reads_bodies() {
        all.push(Warning::new(&BODY_NOT_SHOWN, &source.place));
    }
    if let Some(domains) = &source.domains {
        all.extend(without_domain(configuration, &source.place, domains));
    }
    all
}

fn unknown_clusters(
    configuration: &Configuration,
    place: &str,
    known: &BTreeSet<String>,
) -> Vec<Warning> {
    let feed = match &configuration.revocation {
        Revocation::Feed(feed) => Some(("revocation.upstream", &feed.upstream)),
        Revocation::Disabled(_) => None,
    };
    let feed = feed.map(|(key, cluster)| (key.to_owned(), cluster));
    let gateway = configuration.gateway.iter();
    let gateway = gateway.map(|gateway| ("gateway.upstream".to_owned(), &gateway.upstream));
    let named = key_set_clusters(configuration).chain(feed).chain(gateway);
    let missing = named.filter(|(_, cluster)| !known.contains(*cluster));
    missing
        .map(|(key, cluster)| {
            let found = format!("the cluster {} is not in the file", shown(cluster));
            Warning::found(&UNKNOWN_CLUSTER, &inside(place, &key), &found)
        })
        .collect()
}

/// The clusters of the key sets that are in force, with their keys.
fn key_set_clusters(configuration: &Configuration) -> impl Iterator<Item = (String, &String)> {
    let zones = configuration.zones.iter();
    let is_default =
        configuration.zone_id.is_some() || zones.clone().any(|(_, own)| own.jwks.is_none());
    let default = is_default.then_some(("jwks.upstream".to_owned(), &configuration.jwks.upstream));
    let of_zone = zones.filter_map(|(id, own)| {
        let key = format!("zones[{id:?}].jwks.upstream");
        Some((key, &own.jwks.as_ref()?.upstream))
    });
    default.into_iter().chain(of_zone)
}

fn without_domain(configuration: &Configuration, place: &str, domains: &[String]) -> Vec<Warning> {
    let mut all = Vec::new();
    let upstreams = configuration.resources.values();
    let upstreams = upstreams.filter_map(|one| UpstreamUrl::parse(one.upstream_url.as_deref()?));
    let upstreams: BTreeSet<String> = upstreams.map(|url| url.authority().to_owned()).collect();
    // One upstream behind one virtual host for everything cannot be confused.
    let is_one = upstreams.len() == 1 && domains == ["*"];
    for (id, resource) in &configuration.resources {
        let hosts = resource.hosts.iter().flatten();
        for host in hosts.filter(|host| !domains.contains(&host.to_ascii_lowercase())) {
            let place = inside(place, &format!("resource {}", shown(id)));
            let found = format!("no virtual host has the domain {}", shown(host));
            all.push(Warning::found(&HOSTS_WITHOUT_DOMAIN, &place, &found));
        }
        let url = resource
            .upstream_url
            .as_deref()
            .and_then(UpstreamUrl::parse);
        let is_missing = |url: &UpstreamUrl| !domains.iter().any(|one| one == url.authority());
        if let Some(url) = url.filter(|url| !is_one && is_missing(url)) {
            let place = inside(place, &format!("resource {}", shown(id)));
            let found = format!("no virtual host has the domain {}", shown(url.authority()));
            all.push(Warning::found(&UPSTREAM_WITHOUT_DOMAIN, &place, &found));
        }
    }
    all
}
