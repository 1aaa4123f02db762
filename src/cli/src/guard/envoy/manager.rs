//! A connection manager: its filters, its virtual hosts and their routes.

use serde_json::{Map, Value};

use super::routes::{self, Route};
use crate::proxy_file::{Here, Wasm, member, objects, typed, walk};
use crate::terminal::shown;

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

/// A filter of ours in a connection manager.
#[derive(Debug)]
pub(super) struct Own<'t> {
    filter: &'t Map<String, Value>,
    /// The entry's name.
    pub(super) name: &'t str,
    /// Whether it stands in another filter, as one with a matcher.
    is_within: bool,
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

    /// The filters of ours in it, also within other filters.
    pub(super) fn filters_of_ours(&self, names: &[&str]) -> Vec<Own<'t>> {
        let all = objects(self.body, "http_filters");
        all.filter_map(|filter| {
            let name = filter.get("name").and_then(Value::as_str);
            let any = member(filter, "typed_config");
            let direct = any.and_then(Value::as_object);
            let is_apart = member(filter, "config_discovery").is_some();
            let own = Own {
                filter,
                name: name.unwrap_or_default(),
                is_within: false,
            };
            if direct.is_some_and(|any| Wasm::of(any, name).is_some())
                || (is_apart && names.contains(&own.name))
            {
                return Some(own);
            }
            let mut is_within = false;
            walk(any?, &mut |here| {
                let around = here.around.last().and_then(|level| level.name());
                is_within |= Wasm::of(here.object(), around).is_some();
                !is_within
            });
            is_within.then_some(Own { is_within, ..own })
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
    pub(super) fn switched_off(&self, ours: &[Own<'_>], routes: &[Route<'_>]) -> Vec<String> {
        let mut said = Vec::new();
        let config = self.route_config;
        for own in ours {
            let (filter, name) = (own.filter, own.name);
            if own.is_within {
                said.push(format!(
                    "{}: the filter stands within {}, which decides for each request whether it runs",
                    self.place,
                    shown(name)
                ));
            }
            let is_off = filter.get("disabled") == Some(&Value::Bool(true));
            let around = config.map(|config| (config, self.place.clone()));
            let below = routes.iter().flat_map(Route::levels);
            let levels: Vec<_> = around.into_iter().chain(below).collect();
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
