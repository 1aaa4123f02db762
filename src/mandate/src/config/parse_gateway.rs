//! Reads what a configuration says of Gateway mode.

use std::collections::BTreeMap;

use super::bounds::{EXCHANGE_TIMEOUT_MS, MIN_REMAINING_S};
use super::gateway::{Gateway, Mode};
use super::model::{ProxyKind, Revocation};
use super::reader::{Object, quoted};
use super::rules::Protected;
use super::secret::Secret;
use super::{parse_host, values};
use crate::routing::upstream_url::UpstreamUrl;

/// The mode that is configured; connector mode where it cannot be read.
pub(super) fn mode(object: &Object<'_, '_, '_>, host: ProxyKind) -> Mode {
    let Some(at) = object.get("mode") else {
        return Mode::Connector;
    };
    let Some(text) = at.text() else {
        return Mode::Connector;
    };
    let Some((_, mode)) = Mode::ALL.iter().find(|(name, _)| *name == text) else {
        at.fail::<()>(format!(
            "expected \"connector\" or \"gateway\", found {}",
            quoted(text)
        ));
        return Mode::Connector;
    };
    if *mode == Mode::Gateway && host == ProxyKind::Kong {
        at.fail::<()>(
            "kong forwards a request whose callout fails, so no request can wait there for its exchange; use Envoy or APISIX",
        );
    }
    *mode
}

/// The companion that exchanges. `None` in connector mode.
pub(super) fn gateway(
    object: &Object<'_, '_, '_>,
    mode: Mode,
    host: ProxyKind,
    revocation: Option<&Revocation>,
) -> Option<Gateway> {
    if mode == Mode::Connector {
        if let Some(at) = object.get("gateway") {
            at.fail::<()>("is for Gateway mode; set \"mode\": \"gateway\", or remove the key");
        }
        return None;
    }
    let what =
        "an object with upstream, the proxy's name for the companion that exchanges mandates";
    let gateway = object.require("gateway", what)?.object()?;
    let upstream = gateway
        .require("upstream", "the proxy's name for the companion")
        .and_then(|at| parse_host::upstream(&at, host));
    let tls = parse_host::tls(&gateway, host, upstream.as_deref());
    let token = companion_token(&gateway, revocation);
    let (timeout_ms, min_remaining_s) = (
        gateway.integer("timeout_ms", &EXCHANGE_TIMEOUT_MS),
        gateway.integer("min_remaining_s", &MIN_REMAINING_S),
    );
    gateway.finish();
    Some(Gateway {
        upstream: upstream?,
        tls,
        token: token?,
        timeout_ms,
        min_remaining_s,
    })
}

/// The token of a companion, which is the one for revocations unless another is named.
/// `None` if it is no token.
pub(super) fn companion_token(
    object: &Object<'_, '_, '_>,
    revocation: Option<&Revocation>,
) -> Option<Option<Secret>> {
    let Some(at) = object.get("token") else {
        return Some(match revocation {
            Some(Revocation::Feed(feed)) => feed.token.clone(),
            _ => None,
        });
    };
    let text = at.text()?;
    match values::bearer_token(text) {
        Ok(()) => Some(Some(Secret::new(text.to_owned()))),
        Err(problem) => at.fail(problem),
    }
}

/// What of the other keys has no place in Gateway mode.
pub(super) fn check(object: &Object<'_, '_, '_>, protected: &Protected, host: ProxyKind) {
    if host == ProxyKind::Apisix {
        check_one_server(object, protected);
    }
    if object.has("audience") {
        object.fail::<()>(
            "audience",
            "Gateway mode needs resources, each with its upstream_url; a mandate's aud is the issuer there",
        );
    }
    const USE: &str = "is gateway for every mandate in Gateway mode; remove the key";
    if object.has("required_use") {
        object.fail::<()>("required_use", USE);
    }
    for (id, resource) in &protected.resources {
        let own = std::iter::once(&resource.requirements);
        let routes = resource.routes.values().flat_map(|route| {
            let mcp = route.mcp.iter();
            let of_mcp = mcp.flat_map(|mcp| {
                let tools = mcp.tools.iter().flat_map(BTreeMap::values);
                tools.chain(mcp.methods.values())
            });
            let own = std::iter::once(&route.requirements).chain(route.methods.values());
            own.chain(of_mcp)
        });
        if own.chain(routes).any(|one| one.required_use.is_some()) {
            object.fail::<()>(&format!("resources[{}].required_use", quoted(id)), USE);
        }
    }
}

/// An APISIX route has chosen its upstream before the filter sees the request, and sends
/// all requests to it. A second server's credential would go to the first.
fn check_one_server(object: &Object<'_, '_, '_>, protected: &Protected) {
    let mut first = None;
    for (id, resource) in &protected.resources {
        let url = resource.upstream_url.as_deref();
        let Some(url) = url.and_then(UpstreamUrl::parse) else {
            continue;
        };
        if !first
            .get_or_insert_with(|| url.clone())
            .is_same_server(&url)
        {
            object.fail::<()>(
                &format!("resources[{}].upstream_url", quoted(id)),
                "names another server than the resource before it; an APISIX route has one upstream, so give each server a route and a configuration of its own",
            );
        }
    }
}

/// The upstream of a resource: required in Gateway mode, and only there.
pub(super) fn upstream_url(object: &Object<'_, '_, '_>, mode: Mode) -> Option<String> {
    if mode == Mode::Connector {
        if let Some(at) = object.get("upstream_url") {
            at.fail::<()>("is for Gateway mode; set \"mode\": \"gateway\", or remove the key");
        }
        return None;
    }
    if let Some(at) = object.get("audience") {
        at.fail::<()>("a mandate's aud is the issuer in Gateway mode; remove the key");
    }
    let what = "the URL that the STS must name as this resource's upstream";
    let at = object.require("upstream_url", what)?;
    let text = at.text()?;
    match UpstreamUrl::parse(text).filter(UpstreamUrl::has_plain_path) {
        Some(_) => Some(text.to_owned()),
        // What may hold a password is not repeated.
        None => at.fail("expected http:// or https://, a host, and a path that every server reads alike, if any; no user information and no fragment"),
    }
}
