//! What a configuration puts in force.

use anyhow::Result;
use caracal_mandate::config::{
    AuditDecisions, Baggage, Configuration, Forward, MetadataSettings, Mode, ProxyKind, Revocation,
    Secret, Unsendable,
};
use caracal_mandate::metadata::ResourceUrl;
use caracal_mandate::routing::resources::{InShadow, Resource, Resources};
use caracal_mandate::routing::routes::RouteMcp;
use serde_json::{Value, json};

use crate::request_rule;
use crate::rule_names::in_shadow;
use crate::terminal::shown;

/// A prefix as it is written: without it, everything.
fn prefix(cut: &str) -> &str {
    if cut.is_empty() { "/" } else { cut }
}

/// Each prefix with what is demanded under it, most specific first as they win.
pub(super) fn in_force(configuration: &Configuration) -> Result<Vec<Value>> {
    let resources = configuration.in_force();
    let mut all = Vec::new();
    for resource in resources.all() {
        let mut lines = in_force_of(resource)?;
        if resources.are_named() {
            for line in lines.iter_mut().filter_map(Value::as_object_mut) {
                line.insert("resource".to_owned(), json!(resource.id));
            }
        }
        all.append(&mut lines);
    }
    Ok(all)
}

fn in_force_of(resource: &Resource) -> Result<Vec<Value>> {
    let rules = &resource.rules;
    let mut routes: Vec<_> = rules.routes().iter().collect();
    routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), &route.prefix));
    let excluded = rules.exclude().iter();
    let mut lines: Vec<Value> = excluded
        .map(|prefix| json!({"prefix": prefix, "excluded": true}))
        .collect();
    for route in &routes {
        let prefix = prefix(&route.prefix);
        let requires = serde_json::to_value(&route.requirements)?;
        lines.push(json!({"prefix": prefix, "requires": requires}));
        for (method, requirements) in &route.methods {
            let requires = serde_json::to_value(requirements)?;
            lines.push(json!({"prefix": prefix, "method": method, "requires": requires}));
        }
        if let Some(mcp) = &route.mcp {
            lines.extend(mcp_in_force(prefix, mcp)?);
        }
    }
    if !routes.iter().any(|route| route.prefix.is_empty()) {
        let requires = serde_json::to_value(rules.default_requirements())?;
        lines.push(json!({"prefix": "/", "requires": requires}));
    }
    Ok(lines)
}

/// What each operation of MCP demands under a prefix.
fn mcp_in_force(prefix: &str, mcp: &RouteMcp) -> Result<Vec<Value>> {
    let rule = &mcp.rule;
    let mut lines = vec![json!({"prefix": prefix, "mcp": {
        "reads": if rule.max_body().is_some() { "messages" } else { "headers" },
        "origins": rule.origins(), "tools": rule.tools(),
    }, "requires": serde_json::to_value(&mcp.unlisted)?})];
    for (method, requires) in rule.methods().iter().zip(&mcp.methods) {
        let requires = serde_json::to_value(requires)?;
        lines.push(json!({"prefix": prefix, "mcp_method": method, "requires": requires}));
    }
    for (tool, requires) in rule.tools().into_iter().flatten().zip(&mcp.tools) {
        let requires = serde_json::to_value(requires)?;
        lines.push(json!({"prefix": prefix, "mcp_tool": tool, "requires": requires}));
    }
    Ok(lines)
}

/// What will be in force, in words.
pub(super) fn describe(configuration: &Configuration) -> Result<Vec<String>> {
    let zones = configuration.accepted_zones();
    let resources = configuration.in_force();
    let mut lines = vec![
        match configuration.mode {
            Mode::Connector => "mode      connector: verifies resource mandates",
            Mode::Gateway => {
                "mode      gateway: verifies one-shot mandates, and has each exchanged at the STS"
            }
        }
        .to_owned(),
    ];
    for one in &zones {
        lines.push(format!("issuer    {}", one.zone.issuer));
        lines.push(format!("zone      {}", one.zone.id));
    }
    if !resources.are_named() {
        let all = resources.all().iter();
        lines.extend(all.map(|one| format!("audience  {}", one.audience)));
    }
    for one in &zones {
        let target = one.jwks_target();
        let (url, upstream) = (
            format!("{}://{}{}", target.scheme, target.authority, target.path),
            &one.jwks.upstream,
        );
        lines.push(format!("key set   {url} through {upstream}"));
    }
    lines.push(match &configuration.revocation {
        Revocation::Disabled(_) => {
            "revoked   NOT CHECKED: \"revocation\" is \"disabled\"".to_owned()
        }
        Revocation::Feed(feed)
            if configuration.gateway.is_some() && configuration.host == ProxyKind::Apisix =>
        {
            format!(
                "revoked   as the answer to the exchange says, at most {} s old",
                feed.max_staleness_s
            )
        }
        Revocation::Feed(feed) => format!(
            "revoked   as the companion behind {} says, at most {} s old, {}",
            feed.upstream,
            feed.max_staleness_s,
            with_token(feed.token.as_ref())
        ),
    });
    if let Some(gateway) = &configuration.gateway {
        lines.push(format!(
            "exchange  by the companion behind {}, in at most {} ms, {}, of mandates that are valid for {} s more",
            gateway.upstream,
            gateway.timeout_ms,
            with_token(gateway.token.as_ref()),
            gateway.min_remaining_s
        ));
        let urls = configuration.resources.values();
        let mut urls = urls.filter_map(|one| one.upstream_url.as_deref());
        if configuration.host == ProxyKind::Apisix && urls.any(|url| url.starts_with("https:")) {
            lines.push(
                "          over https: nginx verifies the upstream only with proxy_ssl_verify on, so check config.yaml too"
                    .to_owned(),
            );
        }
    }
    lines.extend(shadow(&resources));
    lines.extend(context(&configuration.forward));
    if let Some(audit) = &configuration.audit {
        let which = match audit.decisions {
            AuditDecisions::All => "each decision",
            AuditDecisions::Denied => "each refusal",
        };
        lines.push(format!(
            "audit     {which}, to the companion behind {}, {}",
            audit.upstream,
            with_token(audit.token.as_ref())
        ));
    }
    if let Some(path) = &configuration.readiness_path {
        lines.push(format!("readiness {path}, answered without a mandate"));
    }
    for resource in resources.all() {
        if resources.are_named() {
            let own = configuration.resources.get(&resource.id);
            let hosts = own.and_then(|own| own.hosts.clone()).unwrap_or_default();
            let at = match hosts.as_slice() {
                [] => "any host".to_owned(),
                hosts => hosts.join(", "),
            };
            lines.push(match own.and_then(|own| own.upstream_url.as_deref()) {
                Some(url) => format!("resource  {}, at {at}, goes on to {url}", resource.id),
                None => format!(
                    "resource  {}, for audience {}, at {at}",
                    resource.id, resource.audience
                ),
            });
            if let Some(zones) = own.and_then(|own| own.zones.as_ref()) {
                lines.push(format!("          of zones {}", zones.join(", ")));
            }
        }
        let own = configuration.resources.get(&resource.id);
        lines.extend(public_replies(
            resource,
            own.map_or(&configuration.metadata, |own| &own.metadata),
        ));
        lines.extend(in_force_of(resource)?.iter().map(rule_text));
    }
    Ok(lines)
}

/// What clients get without a mandate.
fn public_replies(resource: &Resource, metadata: &Option<MetadataSettings>) -> Vec<String> {
    let url = metadata.as_ref();
    let url = url.and_then(|metadata| ResourceUrl::parse(&metadata.resource));
    let document = url.map(|url| {
        format!(
            "metadata  {}, answered without a mandate",
            url.document_url()
        )
    });
    let challenge = resource.challenge.as_ref().map(|challenge| {
        let realm = challenge.realm.as_deref().unwrap_or("caracal");
        match &challenge.resource_metadata {
            Some(url) => format!(
                "challenge realm {}, the scopes of the operation, {url}",
                shown(realm)
            ),
            None => format!(
                "challenge realm {}, the scopes of the operation",
                shown(realm)
            ),
        }
    });
    document.into_iter().chain(challenge).collect()
}

/// Where nothing is refused.
fn shadow(resources: &Resources) -> Option<String> {
    let rules: Vec<String> = resources
        .all()
        .iter()
        .flat_map(|one| in_shadow(&one.rules))
        .collect();
    let places = match resources.in_shadow() {
        InShadow::Nothing => return None,
        InShadow::Everything => "everything".to_owned(),
        InShadow::Parts => rules.join(", "),
    };
    Some(format!(
        "shadow    NOTHING IS REFUSED for {places}: \"enforcement\" is \"shadow\""
    ))
}

/// What the upstream is told beside single claims, as far as it is not the usual.
fn context(forward: &Forward) -> Vec<String> {
    let baggage = match forward.baggage {
        Baggage::Remove => None,
        Baggage::Keep => Some("baggage   with the caller's caracal.* members, which nobody signed"),
        Baggage::Verified => Some("baggage   with caracal.* members that the mandate verifies"),
    };
    let claims = forward.claims.as_ref();
    let omits = forward.unsendable == Unsendable::Omit;
    [
        baggage.map(str::to_owned),
        claims.map(|name| format!("claims    all of them, in the header {name}")),
        omits.then(|| "omitted   claims that cannot be sent in a header".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn with_token(token: Option<&Secret>) -> &'static str {
    match token {
        Some(_) => "with a token",
        None => "without a token",
    }
}

fn rule_text(rule: &Value) -> String {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let prefix = text("prefix");
    let Some(requires) = rule.get("requires").and_then(Value::as_object) else {
        return format!("{prefix}: excluded, passes without a mandate");
    };
    let requires = request_rule::requires_text(requires);
    if let Some(mcp) = rule.get("mcp") {
        return mcp_text(prefix, mcp, &requires);
    }
    for (name, what) in [("mcp_tool", "tool"), ("mcp_method", "method of MCP")] {
        if let Some(operation) = rule.get(name).and_then(Value::as_str) {
            return format!("{prefix}, {what} {}: {requires}", shown(operation));
        }
    }
    match text("method") {
        "" => format!("{prefix}: {requires}"),
        method => format!("{method} {prefix}: {requires}"),
    }
}

fn mcp_text(prefix: &str, mcp: &Value, requires: &str) -> String {
    let of = |name: &str| mcp.get(name).and_then(Value::as_array);
    let origins = match of("origins") {
        None => "any origin".to_owned(),
        Some(origins) => format!("{} origins", origins.len()),
    };
    let tools = match of("tools") {
        None => format!("every tool may be called: {requires}"),
        Some(tools) => format!("only {} tools may be called", tools.len()),
    };
    let reads = mcp.get("reads").and_then(Value::as_str).unwrap_or_default();
    format!("{prefix}, MCP by its {reads}, from {origins}, {tools}")
}
