//! Plain nginx with Kong's module: what goes past the gate of deploy/kong/gate.conf.

use serde_json::Value;

use super::nginx::{Directive, every};
use super::tree::is_ours;
use crate::terminal::shown;

/// Directives that send a request on.
const PASSES: [&str; 5] = [
    "proxy_pass",
    "grpc_pass",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
];

type Placed<'t> = (Vec<&'t Directive>, &'t Directive);

pub(super) fn unguarded(tree: &[Directive]) -> Vec<String> {
    let every = every(tree);
    let mut said = Vec::new();
    workers(tree, &mut said);
    certificates(&every, &mut said);
    for (_, switch) in &every {
        if switch.name == "underscores_in_headers" && switch.argument(0) == "on" {
            said.push(format!(
                "line {}: underscores_in_headers is on: a service may read x_caracal_sub as x-caracal-sub",
                switch.line
            ));
        }
    }
    let ours = |(_, d): &&Placed<'_>| d.name == "proxy_wasm" && is_ours(d.argument(0));
    for (around, filter) in every.iter().filter(ours) {
        look_at(tree, &every, around, filter, &mut said);
    }
    said
}

/// The module reads it while it parses `wasm {}`.
fn workers(tree: &[Directive], said: &mut Vec<String>) {
    let place = |name: &str| tree.iter().position(|d| d.name == name);
    match (place("worker_processes"), place("wasm")) {
        (Some(workers), Some(wasm)) if workers < wasm => {}
        (_, None) => {}
        _ => said.push(
            "worker_processes has to stand above wasm {}: the module reads it there, and every worker dies at its first metric".to_owned(),
        ),
    }
}

/// Whoever answers for the STS says which keys sign.
fn certificates(every: &[Placed<'_>], said: &mut Vec<String>) {
    for (_, wasm) in every
        .iter()
        .filter(|(around, d)| d.name == "wasm" && around.is_empty())
    {
        for name in ["tls_verify_cert", "tls_verify_host"] {
            if !wasm.all(name).any(|d| d.argument(0) == "on") {
                said.push(format!(
                    "wasm {{}}: {name} is not on: the filter's calls take any certificate"
                ));
            }
        }
    }
}

fn look_at(
    tree: &[Directive],
    every: &[Placed<'_>],
    around: &[&Directive],
    filter: &Directive,
    said: &mut Vec<String>,
) {
    let at = format!("line {}", filter.line);
    let configuration: Value = serde_json::from_str(filter.argument(1)).unwrap_or_default();
    let gate = configuration.pointer("/forward/gate");
    let part = |name: &str| gate.and_then(|gate| gate.get(name)?.as_str());
    let (Some(variable), Some(upstream)) = (part("variable"), part("upstream")) else {
        said.push(format!(
            "{at}: forward.gate is missing: a location that answers or rewrites by itself goes past a refusal"
        ));
        return;
    };
    let Some(server) = around.iter().find(|d| d.name == "server") else {
        said.push(format!("{at}: the filter does not stand in a server"));
        return;
    };
    let named = format!("${variable}");
    declared(server, &named, &configuration, said);
    opened(tree, every, &named, upstream, said);
    for location in around.iter().filter(|d| d.name == "location") {
        in_location(location, &named, said);
    }
    let places = places(tree, upstream);
    for (_, pass) in every
        .iter()
        .filter(|(_, d)| PASSES.contains(&d.name.as_str()))
    {
        let to = target(pass.argument(0));
        let why = match to.contains('$') {
            true if to.eq_ignore_ascii_case(&named) => continue,
            true => "may lead to the service past the gate: nginx finds out with each request",
            false if is_place(&places, to) => "leads to the service past the gate",
            false => continue,
        };
        said.push(format!(
            "line {}: {} {} {why}: it must go by {named}",
            pass.line,
            pass.name,
            shown(pass.argument(0))
        ));
    }
    subrequests(every, server, &named, said);
}

/// The host of what a directive passes to.
fn target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// nginx looks for a group by its name in any case, and for a server without a port too.
fn is_place(places: &[String], to: &str) -> bool {
    let host = |place: &str| match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
        _ => place.to_owned(),
    };
    let same = |place: &String| {
        let (is_whole, has_port) = (place.eq_ignore_ascii_case(to), host(to) != to);
        is_whole || !has_port && host(place).eq_ignore_ascii_case(to)
    };
    places.iter().any(same)
}

/// The names under which the service behind the gate is reached.
fn places(tree: &[Directive], upstream: &str) -> Vec<String> {
    let mut all = vec![upstream.to_owned()];
    let http = tree.iter().filter(|d| d.name == "http");
    for group in http.flat_map(|http| http.all("upstream")) {
        if group.argument(0) == upstream {
            all.extend(
                group
                    .all("server")
                    .map(|server| server.argument(0).to_owned()),
            );
        }
    }
    all
}

/// Whether a server sets a variable, at its own level or where it was not set before.
fn is_set(server: &Directive, named: &str) -> bool {
    let conditions = server.all("if").flat_map(|d| d.all("set"));
    let mut sets = server.all("set").chain(conditions);
    sets.any(|d| d.argument(0).eq_ignore_ascii_case(named))
}

/// Whatever else than the filter may open the gate, wherever it stands: a location's `set`
/// runs after the server's.
fn opened(
    tree: &[Directive],
    every: &[Placed<'_>],
    named: &str,
    upstream: &str,
    said: &mut Vec<String>,
) {
    let places = places(tree, upstream);
    let groups = tree.iter().filter(|d| d.name == "http");
    let groups: Vec<&str> = groups
        .flat_map(|http| http.all("upstream"))
        .map(|group| group.argument(0))
        .collect();
    let bare = named.trim_start_matches('$');
    let captures = ["<", "P<", "'"].map(|open| format!("(?{open}{bare}").to_ascii_lowercase());
    // nginx's names have no case.
    let is_gate = |name: &str| name.eq_ignore_ascii_case(named);
    for (_, directive) in every {
        let at = format!("line {}: {}", directive.line, directive.name);
        let (first, last) = (directive.argument(0), directive.arguments.last());
        let value = directive.argument(1);
        let leads = is_place(&places, target(value));
        match directive.name.as_str() {
            "set" if is_gate(first) => {
                let is_name = !value.is_empty() && !value.contains(['$', '.', ':', '/', '[']);
                if leads || !is_name || groups.iter().any(|group| group.eq_ignore_ascii_case(value))
                {
                    said.push(format!(
                        "{at} {named} {}: the gate is open, or may be, without the filter: set it to a name that nothing has",
                        shown(value)
                    ));
                }
            }
            "set" if leads => said.push(format!(
                "{at} {} {} leads to the service past the gate",
                shown(first),
                shown(value)
            )),
            "map" | "geo" | "split_clients" if last.is_some_and(|last| is_gate(last)) => {
                said.push(format!("{at} gives the gate {named} a value of its own"));
            }
            // auth_request_set, set_by_lua_block, js_set and the like.
            name if name != "set" && name.contains("set") && is_gate(first) => {
                said.push(format!("{at} gives the gate {named} a value of its own"));
            }
            name if name.contains("_by_lua")
                || name.starts_with("js_")
                || name.starts_with("perl") =>
            {
                said.push(format!(
                    "{at} may open the gate {named}: nobody sees here what it does"
                ));
            }
            _ => {
                let takes = |argument: &String| {
                    let argument = argument.to_ascii_lowercase();
                    let mut found = captures.iter().filter_map(|c| argument.split_once(c));
                    found.any(|(_, rest)| rest.starts_with(['>', '\'']))
                };
                if directive.arguments.iter().any(takes) {
                    said.push(format!(
                        "{at} takes the gate {named} from what the client sends"
                    ));
                }
            }
        }
    }
}

fn declared(server: &Directive, named: &str, configuration: &Value, said: &mut Vec<String>) {
    let at = format!("line {}", server.line);
    if !is_set(server, named) {
        said.push(format!(
            "{at}: the server does not set {named}: the filter cannot open the gate, and a location without the filter has none"
        ));
    }
    let variables = configuration.pointer("/forward/variables");
    for name in variables
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|all| all.keys())
    {
        if !is_set(server, &format!("${name}")) {
            said.push(format!(
                "{at}: the variable {} of forward.variables is not declared: every request is refused",
                shown(name)
            ));
        }
    }
}

/// The location that the filter stands in.
fn in_location(location: &Directive, named: &str, said: &mut Vec<String>) {
    for pass in location
        .inside
        .iter()
        .filter(|d| PASSES.contains(&d.name.as_str()))
    {
        let url = pass.argument(0);
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let braced = format!("${{{}}}", named.trim_start_matches('$'));
        let Some(path) = rest
            .strip_prefix(named)
            .or_else(|| rest.strip_prefix(&braced))
        else {
            said.push(format!(
                "line {}: {} {} does not go by the gate {named}",
                pass.line,
                pass.name,
                shown(url)
            ));
            continue;
        };
        if !path.is_empty() {
            said.push(format!(
                "line {}: {} {} sends another path than the one that is judged",
                pass.line,
                pass.name,
                shown(url)
            ));
        }
    }
    for rewrite in location.all("rewrite") {
        said.push(format!(
            "line {}: rewrite sends another path than the one that is judged",
            rewrite.line
        ));
    }
}

/// `auth_request` and `mirror` are sent before a refusal is.
fn subrequests(every: &[Placed<'_>], server: &Directive, named: &str, said: &mut Vec<String>) {
    let own = |d: &Directive| ["auth_request", "mirror"].contains(&d.name.as_str());
    for (around, sub) in every.iter().filter(|(_, d)| own(d)) {
        if sub.argument(0) == "off" || !around.iter().any(|d| std::ptr::eq(*d, server)) {
            continue;
        }
        let to = sub.argument(0);
        let mut locations = server.all("location");
        let location = locations.find(|d| d.arguments.last().is_some_and(|last| last == to));
        let asks = |d: &Directive| d.name == "if" && d.arguments.iter().any(|a| a.contains(named));
        let by_gate = location.is_some_and(|location| {
            location.inside.iter().any(asks)
                || location
                    .all("proxy_pass")
                    .all(|d| d.argument(0).contains(named))
        });
        if !by_gate {
            said.push(format!(
                "line {}: {} {} is sent before a refusal is: its location must go by the gate {named}",
                sub.line,
                sub.name,
                shown(to)
            ));
        }
        let late = |(_, d): &Placed<'_>| {
            d.name == "proxy_wasm_request_headers_in_access" && d.argument(0) == "on"
        };
        if sub.name == "auth_request" && every.iter().any(late) {
            said.push(format!(
                "line {}: {} is sent before the filter opens the gate, with proxy_wasm_request_headers_in_access on: the auth_request runs while the gate is still shut: it is skipped, or refuses good requests",
                sub.line, sub.name
            ));
        }
        if server
            .all("set")
            .any(|d| d.argument(0).eq_ignore_ascii_case(named))
        {
            said.push(format!(
                "line {}: {} runs `set {named}` of the server again, which shuts the gate for an admitted request",
                sub.line, sub.name
            ));
        }
    }
}

#[cfg(test)]
mod tests;
