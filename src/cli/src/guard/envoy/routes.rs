//! Routes: where they lead, and how long they wait.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::timeouts::zero;
use crate::proxy_file::{member, objects};
use crate::terminal::shown;
use crate::warning::{UNKNOWN_CLUSTER, Warning, inside};

/// A route of a virtual host.
#[derive(Debug)]
pub(super) struct Route<'t> {
    pub(super) place: String,
    host: (&'t Map<String, Value>, String),
    route: &'t Map<String, Value>,
}

/// The routes of a virtual host.
pub(super) fn of_virtual_host<'t>(host: &'t Map<String, Value>, place: &str) -> Vec<Route<'t>> {
    let text = |of: &'t Map<String, Value>| of.get("name").and_then(Value::as_str);
    let own = text(host).unwrap_or_default();
    let around = inside(place, &format!("virtual host {}", shown(own)));
    let all = objects(host, "routes").zip(1..);
    all.map(|(route, number)| {
        let name = match text(route) {
            Some(name) if !name.is_empty() => format!("route {}", shown(name)),
            _ => format!("route {number}"),
        };
        Route {
            place: inside(&around, &name),
            host: (host, around.clone()),
            route,
        }
    })
    .collect()
}

impl<'t> Route<'t> {
    fn action(&self) -> Option<&'t Map<String, Value>> {
        self.route.get("route")?.as_object()
    }

    /// The clusters that it names, also those that get copies of requests.
    pub(super) fn clusters(&self) -> Vec<&'t str> {
        let Some(action) = self.action() else {
            return Vec::new();
        };
        let text = |of: &'t Map<String, Value>, name: &str| of.get(name).and_then(Value::as_str);
        let weighted = member(action, "weighted_clusters").and_then(Value::as_object);
        let weighted = weighted
            .into_iter()
            .flat_map(|all| objects(all, "clusters"));
        let copies = objects(action, "request_mirror_policies");
        let all = text(action, "cluster").into_iter();
        all.chain(weighted.filter_map(|one| text(one, "name")))
            .chain(copies.filter_map(|one| text(one, "cluster")))
            .collect()
    }

    /// The objects that may switch a filter off, and where each is.
    pub(super) fn levels(&self) -> Vec<(&'t Map<String, Value>, String)> {
        let (host, place) = &self.host;
        vec![(*host, place.clone()), (self.route, self.place.clone())]
    }
}

/// What a route does against the documentation's advice.
pub(super) fn look(route: &Route<'_>, known: Option<&BTreeSet<&str>>, said: &mut Vec<Warning>) {
    if let Some(action) = route.action() {
        said.extend(zero(action, &["timeout", "idle_timeout"], &route.place));
    }
    let Some(known) = known else {
        return;
    };
    for cluster in route.clusters() {
        if !known.contains(cluster) {
            said.push(Warning::found(
                &UNKNOWN_CLUSTER,
                &route.place,
                &format!("the cluster {} is not in the file", shown(cluster)),
            ));
        }
    }
}
