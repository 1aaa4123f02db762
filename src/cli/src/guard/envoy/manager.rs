//! A connection manager: its filters, its virtual hosts and their routes.

use serde_json::{Map, Value};

use super::routes::{self, Route};
use crate::output::shown;
use crate::proxy_file::{Here, Wasm, member, objects, typed, walk};

/// Type of a connection manager.
const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// A connection manager.
#[derive(Debug)]
pub(crate) struct Manager<'t> {
    pub(super) body: &'t Map<String, Value>,
    pub(super) place: String,
    route_config: Option<&'t Map<String, Value>>,
}

impl<'t> Manager<'t> {
    /// Every one in a file.
    pub(super) fn all(tree: &'t Value) -> Vec<Manager<'t>> {
        let mut all = Vec::new();
        let mut route_configs = Vec::new();
        walk(tree, &mut |here| {
            let object = here.object();
            if let Some(body) = body(object) {
                all.push(Manager {
                    body,
                    place: here.place(),
                    route_config: member(body, "route_config").and_then(Value::as_object),
                });
            }
            if member(object, "virtual_hosts").is_some() {
                route_configs.push(object);
            }
            true
        });
        // Routes that stand apart (RDS), as in a dump of the admin port.
        for manager in all.iter_mut().filter(|one| one.route_config.is_none()) {
            let rds = member(manager.body, "rds").and_then(Value::as_object);
            let name = rds.and_then(|rds| member(rds, "route_config_name"));
            let mut apart = route_configs.iter().copied();
            manager.route_config = apart.find(|one| name.is_some() && one.get("name") == name);
        }
        all
    }

    /// The one that an object stands in.
    pub(crate) fn around(here: &Here<'_, 't>) -> Option<Manager<'t>> {
        let mut levels = here.around.iter().rev();
        let body = levels.find_map(|level| body(level.object))?;
        Some(Manager {
            body,
            place: String::new(),
            route_config: member(body, "route_config").and_then(Value::as_object),
        })
    }

    /// The filters of ours in it.
    pub(super) fn filters_of_ours(&self, names: &[&str]) -> Vec<&'t Map<String, Value>> {
        let all = objects(self.body, "http_filters");
        all.filter(|filter| {
            let name = filter.get("name").and_then(Value::as_str);
            let any = member(filter, "typed_config").and_then(Value::as_object);
            let is_apart = member(filter, "config_discovery").is_some();
            any.is_some_and(|any| Wasm::of(any, name).is_some())
                || (is_apart && name.is_some_and(|name| names.contains(&name)))
        })
        .collect()
    }

    fn virtual_hosts(&self) -> impl Iterator<Item = &'t Map<String, Value>> {
        let config = self.route_config;
        config
            .into_iter()
            .flat_map(|one| objects(one, "virtual_hosts"))
    }

    pub(super) fn routes(&self) -> Vec<Route<'t>> {
        let place = &self.place;
        let of = |host| routes::of_virtual_host(host, place);
        self.virtual_hosts().flat_map(of).collect()
    }

    /// The domains of its virtual hosts; none where the file does not say them.
    pub(crate) fn domains(&self) -> Option<Vec<String>> {
        self.route_config?;
        let domains = |host: &'t Map<String, Value>| {
            let all = host.get("domains").and_then(Value::as_array);
            all.into_iter().flatten().filter_map(Value::as_str)
        };
        let all = self.virtual_hosts().flat_map(domains);
        Some(all.map(str::to_ascii_lowercase).collect())
    }

    /// Filters that are there and do nothing, everywhere or under a route.
    pub(super) fn switched_off(
        &self,
        ours: &[&Map<String, Value>],
        routes: &[Route<'_>],
    ) -> Vec<String> {
        let mut said = Vec::new();
        let config = self.route_config;
        for filter in ours {
            let name = filter.get("name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let is_off = filter.get("disabled") == Some(&Value::Bool(true));
            let around = config.map(|config| (config, self.place.clone()));
            let own = routes.iter().flat_map(Route::levels);
            let levels: Vec<_> = around.into_iter().chain(own).collect();
            let mut off = Vec::new();
            let mut is_on = false;
            for (level, place) in levels {
                match switch(level, name) {
                    Some(true) => off.push(format!(
                        "{place}: it switches the filter {} off",
                        shown(name)
                    )),
                    Some(false) => is_on = true,
                    None => {}
                }
            }
            off.dedup();
            said.append(&mut off);
            if is_off && !is_on {
                said.push(format!(
                    "{}: the filter {} is disabled: it guards nothing",
                    self.place,
                    shown(name)
                ));
            }
        }
        said
    }
}

/// Whether a route, a virtual host or a route configuration switches a filter off.
fn switch(level: &Map<String, Value>, filter: &str) -> Option<bool> {
    let all = member(level, "typed_per_filter_config")?.as_object()?;
    let own = all.get(filter)?;
    Some(own.get("disabled") == Some(&Value::Bool(true)))
}

/// The members of an `Any` that is a connection manager.
fn body(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let (kind, body) = typed(object)?;
    (kind == MANAGER).then_some(body)
}
