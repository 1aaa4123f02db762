//! What the upstream gets of an admitted request: headers with the principal, variables
//! of the proxy, and the gate that lets the request through.

use std::borrow::Cow;

use caracal_mandate::Mandate;
use caracal_mandate::baggage::{verified_members, with_verified};
use caracal_mandate::config::Baggage;
use caracal_mandate::exchange::rewrite::{Rewrite, is_same_header};
use caracal_mandate::forwarding::VariableValue;
use caracal_mandate::header_names::RESOURCE_HEADER;

use crate::abi::hostcalls::{self, LogLevel, MapType, Status};
use crate::request::gateway;
use crate::vm::plugin::Plugin;
use crate::vm::request_info::RequestInfo;

/// Makes all changes to an admitted request.
pub(crate) fn admit(
    plugin: &mut Plugin,
    request: &RequestInfo,
    mandate: &Mandate,
    rewrite: Option<&Rewrite>,
) -> Result<(), Status> {
    if plugin.is_gateway() {
        // Without its exchange no request goes on.
        let (Some(kept), Some(rewrite)) = (&request.gateway, rewrite) else {
            return Err(Status::UNIMPLEMENTED);
        };
        gateway::rewrite(plugin.proxy, kept, rewrite)?;
    }
    set_principal_headers(plugin, request, mandate, rewrite)?;
    for (name, value) in plugin.forwarding.variables(mandate.claims()) {
        let value = match value {
            VariableValue::Claim(value) => value,
            VariableValue::Absent => Cow::default(),
            VariableValue::Unsendable => {
                plugin.authorizer.metrics.header_not_sent();
                Cow::default()
            }
        };
        set_variable(plugin, name, &value)?;
    }
    open_gate(plugin)
}

/// Opens the gate to the upstream. This is the last step for a request that goes on.
pub(crate) fn open_gate(plugin: &Plugin) -> Result<(), Status> {
    match plugin.forwarding.gate() {
        Some(gate) => set_variable(plugin, &gate.variable, &gate.upstream),
        None => Ok(()),
    }
}

/// Sets an nginx variable. A variable that is not declared cannot be set, and a filter
/// can find this out only when a request comes.
fn set_variable(plugin: &Plugin, name: &str, value: &str) -> Result<(), Status> {
    let set = plugin.proxy.set_variable(name, value);
    if let Err(Status(status)) = set
        && !plugin.variable_missing.replace(true)
    {
        hostcalls::log(
            LogLevel::Error,
            &format!(
                "caracal: the nginx variable ${name} cannot be set (status {status}): is it declared? Every request is refused"
            ),
        );
    }
    set
}

/// Adds the headers with the principal, and the verified resource if there are several.
/// The client's headers of these names were hidden before the request was judged.
fn set_principal_headers(
    plugin: &mut Plugin,
    request: &RequestInfo,
    mandate: &Mandate,
    rewrite: Option<&Rewrite>,
) -> Result<(), Status> {
    let proxy = plugin.proxy;
    // A second value beside the credential would be the client's to choose.
    let is_credential = |name: &str| {
        let mut set = rewrite.iter().flat_map(|rewrite| &rewrite.headers);
        set.any(|(own, _)| is_same_header(own.as_bytes(), name.as_bytes()))
    };
    // In Gateway mode the upstream is often somebody else's, and is told nothing.
    if !plugin.is_gateway()
        && let Some(id) = request
            .resource
            .and_then(|resource| plugin.authorizer.forwarded_resource(resource))
    {
        proxy.set_header(RESOURCE_HEADER.as_bytes(), id.as_bytes())?;
    }
    for (name, value) in plugin.forwarding.principal(mandate.claims()) {
        if is_credential(name) {
            return Err(Status::BAD_ARGUMENT);
        }
        match value {
            Some(value) => proxy.set_header(name.as_bytes(), value.as_bytes())?,
            None => plugin.authorizer.metrics.header_not_sent(),
        }
    }
    match plugin.forwarding.all_claims(mandate) {
        None => {}
        Some((name, _)) if is_credential(name) => return Err(Status::BAD_ARGUMENT),
        Some((name, Some(claims))) => proxy.set_header(name.as_bytes(), claims)?,
        Some((_, None)) => plugin.authorizer.metrics.header_not_sent(),
    }
    match plugin.forwarding.baggage() {
        Baggage::Verified => write_baggage(plugin, mandate),
        Baggage::Keep | Baggage::Remove => Ok(()),
    }
}

/// Writes the verified members of `baggage` behind those of the caller that are left.
#[cold]
#[inline(never)]
fn write_baggage(plugin: &mut Plugin, mandate: &Mandate) -> Result<(), Status> {
    let Some(verified) = verified_members(mandate.claims()) else {
        plugin.authorizer.metrics.header_not_sent();
        return Ok(());
    };
    // What is left of the caller's is one line, or none.
    let foreign = hostcalls::get_map_value(MapType::RequestHeaders, "baggage")?;
    let all = with_verified(&foreign.unwrap_or_default(), &verified);
    hostcalls::replace_request_header(b"baggage", &all)
}
