//! Envoy's connection managers that our filter stands in: what they leave unguarded, and
//! what they set against the documentation's advice.

mod clusters;
mod manager;
mod routes;
mod settings;
mod timeouts;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::proxy_file::{member, objects, typed, walk};
use crate::warning::Warning;

pub(crate) use clusters::listed as clusters;
pub(crate) use manager::Manager;

/// Type of a filter that passes connections on as they are.
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// What a file says around the filters.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) unguarded: Vec<String>,
    pub(crate) warnings: Vec<Warning>,
}

/// Looks at every connection manager with a filter of ours in it. `names` are those of the
/// filters that were found, also apart from the managers (ECDS).
pub(crate) fn look(tree: &Value, names: &[&str]) -> Around {
    let managers = Manager::all(tree);
    let known = clusters(tree);
    let mut said = Around::default();
    let mut guarded: BTreeSet<&str> = BTreeSet::new();
    let mut open = Vec::new();
    for manager in &managers {
        let ours = manager.filters_of_ours(names);
        if ours.is_empty() {
            open.push(manager);
            continue;
        }
        settings::look(manager.body, &manager.place, &mut said.warnings);
        let routes = manager.routes();
        for route in &routes {
            routes::look(route, known.as_ref(), &mut said.warnings);
        }
        guarded.extend(routes.iter().flat_map(routes::Route::clusters));
        said.unguarded.extend(manager.switched_off(&ours, &routes));
    }
    said.unguarded.extend(streams(tree, &guarded));
    for manager in open {
        let routes = manager.routes();
        let leads_there = |route: &routes::Route<'_>| {
            let mut clusters = route.clusters().into_iter();
            let cluster = clusters.find(|cluster| guarded.contains(cluster))?;
            Some(format!(
                "{}: no filter guards it, and it leads to the cluster {} as a guarded one does",
                route.place,
                crate::terminal::shown(cluster)
            ))
        };
        said.unguarded.extend(routes.iter().filter_map(leads_there));
    }
    said
}

/// Bare connections to a cluster that a filter guards elsewhere.
fn streams(tree: &Value, guarded: &BTreeSet<&str>) -> Vec<String> {
    let mut said = Vec::new();
    walk(tree, &mut |here| {
        let Some((kind, body)) = typed(here.object()) else {
            return true;
        };
        let weighted = member(body, "weighted_clusters").and_then(Value::as_object);
        let weighted = weighted
            .into_iter()
            .flat_map(|all| objects(all, "clusters"));
        let names = weighted.filter_map(|one| one.get("name"));
        let mut names = names.chain(body.get("cluster")).filter_map(Value::as_str);
        if kind == TCP_PROXY
            && let Some(cluster) = names.find(|name| guarded.contains(name))
        {
            said.push(format!(
                "{}: a tcp_proxy leads to the cluster {}, which a filter guards elsewhere; no filter sees its requests",
                here.place(),
                crate::terminal::shown(cluster)
            ));
        }
        true
    });
    said
}

/// The domains of the virtual hosts behind a filter, by its name; none where the file does
/// not say them.
pub(crate) fn domains(tree: &Value, filter: &str) -> Option<Vec<String>> {
    let managers = Manager::all(tree);
    let own = managers.iter().filter(|manager| {
        let mut ours = manager.filters_of_ours(&[filter]).into_iter();
        ours.any(|own| own.name == filter)
    });
    let all: Option<Vec<Vec<String>>> = own.map(Manager::domains).collect();
    let all = all.filter(|all| !all.is_empty())?;
    Some(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
