//! What a configuration and the file that it stands in show together.

use std::collections::BTreeSet;

use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::routing::upstream_url::UpstreamUrl;

use crate::configured::Source;
use crate::terminal::shown;
use crate::warning::{
    HOSTS_WITHOUT_DOMAIN, UNKNOWN_CLUSTER, UPSTREAM_WITHOUT_DOMAIN, Warning, inside,
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
    let named = [("jwks.upstream", &configuration.jwks.upstream)];
    let gateway = configuration.gateway.iter();
    let gateway = gateway.map(|gateway| ("gateway.upstream", &gateway.upstream));
    let missing = named.into_iter().chain(feed).chain(gateway);
    let missing = missing.filter(|(_, cluster)| !known.contains(*cluster));
    missing
        .map(|(key, cluster)| {
            let found = format!("the cluster {} is not in the file", shown(cluster));
            Warning::found(&UNKNOWN_CLUSTER, &inside(place, key), &found)
        })
        .collect()
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
