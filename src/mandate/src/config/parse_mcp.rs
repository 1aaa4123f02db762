//! Reads what routes say about MCP.

use std::collections::BTreeMap;

use http::Uri;

use super::bounds::MAX_ROUTES;
use super::model::ProxyKind;
use super::parse_requirements::overrides;
use super::reader::{At, Object, quoted};
use super::rules::{
    MAX_MCP_METHODS, MAX_MCP_NAME, MAX_ORIGINS, Mcp, Overrides, Protected, RouteOverrides,
};
use crate::mcp::TOOLS_CALL;
use crate::routing::routes::Requirements;

pub(super) fn mcp(at: &At<'_, '_, '_>) -> Option<Mcp> {
    let object = at.object()?;
    let tools = object.get("tools");
    let methods = object.get("methods");
    let mcp = Mcp {
        tools: tools.and_then(|at| named(&at, MAX_ROUTES, is_tool)),
        methods: methods
            .and_then(|at| named(&at, MAX_MCP_METHODS, is_method))
            .unwrap_or_default(),
        origins: object.get("origins").and_then(|at| origins(&at)),
        body: object.boolean("body", false),
    };
    let mut before: Vec<&str> = vec![TOOLS_CALL];
    for name in mcp.methods.keys() {
        let is_almost = |known: &&&str| known.eq_ignore_ascii_case(name) && **known != name;
        if let Some(other) = before.iter().find(is_almost) {
            object.fail::<()>(
                &format!("methods[{}]", quoted(name)),
                format!(
                    "differs from {} in upper and lower case only",
                    quoted(other)
                ),
            );
        }
        before.push(name);
    }
    object.finish();
    Some(mcp)
}

fn named(
    at: &At<'_, '_, '_>,
    max: usize,
    check: fn(&str) -> Result<(), &'static str>,
) -> Option<BTreeMap<String, Overrides>> {
    let mut all = BTreeMap::new();
    for (name, at) in at.entries(max)? {
        if let Err(problem) = check(name) {
            at.fail::<()>(problem);
        }
        let Some(object) = at.object() else { continue };
        all.insert(name.to_owned(), overrides(&object));
        object.finish();
    }
    Some(all)
}

fn is_tool(name: &str) -> Result<(), &'static str> {
    let fits = (1..=MAX_MCP_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    match fits {
        true => Ok(()),
        false => Err("the name of a tool has 1 to 256 bytes and no control characters"),
    }
}

fn is_method(name: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b.is_ascii_graphic() && b != b',';
    match (1..=MAX_MCP_NAME).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(
            "a method of MCP has 1 to 256 bytes of visible ASCII, without a comma, such as \"resources/read\"",
        ),
    }
}

/// Origins as browsers send them (RFC 6454 section 6.2).
fn origins(at: &At<'_, '_, '_>) -> Option<Vec<String>> {
    let mut origins: Vec<String> = Vec::new();
    for item in at.list(MAX_ORIGINS)? {
        let Some(text) = item.text() else { continue };
        if !is_origin(text) {
            item.fail::<()>("expected an origin as browsers send it: scheme, host in lower case and port, if it is not the scheme's own, such as \"https://app.example.com\"; no path, no wildcard, not null");
            continue;
        }
        if origins.iter().any(|known| known == text) {
            item.fail::<()>(format!("{} is in the list twice", quoted(text)));
            continue;
        }
        origins.push(text.to_owned());
    }
    Some(origins)
}

fn is_origin(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"*,@\\\"".contains(&b);
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let ends_with_port = !own_port.is_empty() && authority.as_str().ends_with(own_port);
    // What is left is no path, no query and no fragment.
    text.bytes().all(fits)
        && !authority.host().is_empty()
        && !ends_with_port
        && text.len()
            == scheme
                .len()
                .saturating_add(3)
                .saturating_add(authority.as_str().len())
}

/// Checks what depends on the proxy, the limits, and the requirements of the route.
pub(super) fn check(
    object: &Object<'_, '_, '_>,
    protected: &Protected,
    base: &Requirements,
    (host, max_paused): (ProxyKind, u64),
) {
    let mut reads_body = check_routes(object, "routes", &protected.routes, base, host);
    for (id, resource) in &protected.resources {
        let base = resource.requirements.over(base);
        let path = format!("resources[{}].routes", quoted(id));
        reads_body |= check_routes(object, &path, &resource.routes, &base, host);
    }
    if reads_body && max_paused == 0 {
        let what = "no request could wait for its message (mcp.body); at least 1";
        object.fail::<()>("limits.max_paused", what);
    }
}

/// Checks routes of one resource; whether one of them reads bodies.
fn check_routes(
    object: &Object<'_, '_, '_>,
    path: &str,
    routes: &BTreeMap<String, RouteOverrides>,
    base: &Requirements,
    host: ProxyKind,
) -> bool {
    let mut reads_body = false;
    for (prefix, route) in routes {
        let Some(mcp) = &route.mcp else { continue };
        reads_body |= mcp.body;
        if mcp.body && host.is_nginx() {
            object.fail::<()>(
                &format!("{path}[{}].mcp.body", quoted(prefix)),
                "only Envoy lets a filter read a message before the request goes on; remove the key: clients must then speak MCP 2026-07-28",
            );
        }
        // A mandate has one `use`.
        let post = route.for_post(base);
        let tools = mcp.tools.iter().flatten().map(|one| ("tools", one));
        for (kind, (name, own)) in tools.chain(mcp.methods.iter().map(|one| ("methods", one))) {
            if own.besides(&post).is_err() {
                object.fail::<()>(
                    &format!(
                        "{path}[{}].mcp.{kind}[{}].required_use",
                        quoted(prefix),
                        quoted(name)
                    ),
                    format!(
                        "the route needs use={} as well, and no mandate has both; remove the key",
                        post.required_use.as_str()
                    ),
                );
            }
        }
    }
    reads_body
}
