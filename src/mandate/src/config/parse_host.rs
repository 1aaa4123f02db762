//! Reads the options that depend on the proxy. An option that the proxy cannot do is an
//! error.

use std::collections::BTreeMap;

use super::forward::{Gate, PrincipalClaim};
use super::model::{Measured, ProxyKind, Streams};
use super::parse_forward::forwarded;
use super::reader::{At, Object, one_of, quoted};
use super::values;
use crate::metadata::WELL_KNOWN;
use crate::readiness::MAX_PATH_BYTES;
use crate::routing::path::is_plain;

pub(super) fn host(object: &Object<'_, '_, '_>) -> Option<ProxyKind> {
    let Some(at) = object.get("host") else {
        return (!object.has("host")).then_some(ProxyKind::Envoy);
    };
    let text = at.text()?;
    let known = ProxyKind::ALL.iter().find(|(name, _)| *name == text);
    match known {
        Some((_, host)) => Some(*host),
        None => at.fail(format!(
            "expected {}, found {}",
            one_of(ProxyKind::ALL.map(|(name, _)| name)),
            quoted(text)
        )),
    }
}

/// A proxy's name for a server.
pub(super) fn upstream(at: &At<'_, '_, '_>, host: ProxyKind) -> Option<String> {
    let text = at.text()?;
    if host.is_nginx()
        && let Err(problem) = values::address(text)
    {
        return at.fail(format!("{problem}; found {}", quoted(text)));
    }
    Some(text.to_owned())
}

/// Whether the companion is called over TLS; none on Envoy.
pub(super) fn tls(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
    upstream: Option<&str>,
) -> Option<bool> {
    if !host.is_nginx() {
        if let Some(at) = object.get("tls") {
            at.fail::<()>("Envoy's cluster decides about TLS; remove the key");
        }
        return None;
    }
    let name = upstream.and_then(|text| text.rsplit_once(':'));
    let local = name.is_some_and(|(name, _)| values::is_loopback(name));
    Some(object.boolean("tls", !local))
}

pub(super) fn filter_state(object: &Object<'_, '_, '_>, host: ProxyKind) -> bool {
    let set = object.boolean("filter_state", !host.is_nginx());
    if set && host.is_nginx() {
        object.fail::<()>(
            "filter_state",
            "only Envoy has filter state; remove the key",
        );
    }
    set
}

/// Where readiness is answered.
pub(super) fn readiness_path(object: &Object<'_, '_, '_>, host: ProxyKind) -> Option<String> {
    let at = object.get("readiness_path")?;
    if host == ProxyKind::Apisix {
        return at.fail(
            "in APISIX a filter does nothing between requests, so it would never become ready without them; remove the key",
        );
    }
    let path = at.text()?;
    let is_fit = (2..=MAX_PATH_BYTES).contains(&path.len()) && !path.contains(['?', '#']);
    if !is_fit || !is_plain(path.as_bytes()) {
        return at.fail(format!(
            "{} is no path that everybody reads alike; expected one such as /caracal/ready, of at most {MAX_PATH_BYTES} bytes",
            quoted(path)
        ));
    }
    if path.starts_with(WELL_KNOWN) {
        return at.fail(format!("{WELL_KNOWN} is for metadata; choose another path"));
    }
    Some(path.to_owned())
}

/// When requests under way end; none where the proxy cannot end them.
pub(super) fn streams(object: &Object<'_, '_, '_>, host: ProxyKind) -> Option<Streams> {
    const ONLY: &str = "only Envoy lets a filter end a request under way; remove the key";
    let Some(at) = object.get("streams") else {
        return (!host.is_nginx()).then_some(Streams {
            end_when_revoked: true,
            end_when_expired: true,
        });
    };
    if host.is_nginx() {
        return at.fail(ONLY);
    }
    let streams = at.object()?;
    let read = Streams {
        end_when_revoked: streams.boolean("end_when_revoked", true),
        end_when_expired: streams.boolean("end_when_expired", true),
    };
    streams.finish();
    Some(read)
}

/// What is measured besides what is counted.
pub(super) fn measured(object: &Object<'_, '_, '_>, host: ProxyKind) -> Option<Measured> {
    let at = object.get("metrics")?;
    let metrics = at.object()?;
    let timings = metrics.boolean("timings", false);
    if timings && host == ProxyKind::Apisix {
        metrics.fail::<()>(
            "timings",
            "APISIX counts nothing for a filter; remove the key",
        );
    }
    metrics.finish();
    Some(Measured { timings })
}

pub(super) fn limits(object: &Object<'_, '_, '_>, host: ProxyKind, max_paused: u64) {
    if host == ProxyKind::Kong && object.has("max_paused") {
        object.fail::<()>("max_paused", "no request waits on kong; remove the key");
    }
    if host.is_nginx() && object.has("max_streams") {
        let what = "only Envoy lets a filter end a request under way; remove the key";
        object.fail::<()>("max_streams", what);
    }
    for name in ["max_body_bytes", "body_timeout_ms"] {
        if host.is_nginx() && object.has(name) {
            object.fail::<()>(name, "only Envoy shows a filter the body; remove the key");
        }
    }
    if host == ProxyKind::Apisix && max_paused == 0 {
        object.fail::<()>("max_paused", "must be at least 1 on apisix");
    }
    if host.is_nginx() && object.has("pause_timeout_ms") {
        let what = "only the call's own timeout can end a wait on this host; remove the key";
        object.fail::<()>("pause_timeout_ms", what);
    }
}

/// The nginx variables that are set, and the gate.
pub(super) fn forward(
    object: &Object<'_, '_, '_>,
    host: ProxyKind,
) -> (BTreeMap<String, PrincipalClaim>, Option<Gate>) {
    let (variables, gate) = (object.get("variables"), object.get("gate"));
    if let Some(at) = variables.as_ref().filter(|_| host != ProxyKind::Kong) {
        at.fail::<()>("only kong sets variables; remove the key");
        return (BTreeMap::new(), None);
    }
    if let Some(at) = gate.as_ref().filter(|_| !host.is_nginx()) {
        at.fail::<()>("only kong and apisix have a gate; remove the key");
        return (BTreeMap::new(), None);
    }
    let variables = variables.and_then(|at| forwarded(&at, values::variable));
    let variables = variables.unwrap_or_default();
    let gate = gate.and_then(|at| read_gate(&at));
    if gate
        .as_ref()
        .is_some_and(|gate| variables.contains_key(&gate.variable))
    {
        object.fail::<()>("gate", "its variable carries a claim too; choose another");
    }
    (variables, gate)
}

fn read_gate(at: &At<'_, '_, '_>) -> Option<Gate> {
    let object = at.object()?;
    let variable = object.require("variable", "the variable in proxy_pass");
    let upstream = object.require("upstream", "its value for an admitted request");
    object.finish();
    let (variable, upstream) = (variable?, upstream?);
    if let Err(problem) = values::variable(variable.text()?) {
        return variable.fail(problem);
    }
    let name = upstream.text()?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if !name.bytes().all(fits) {
        return upstream.fail("expected the name of an upstream block, or host:port");
    }
    Some(Gate {
        variable: variable.text()?.to_owned(),
        upstream: name.to_owned(),
    })
}
