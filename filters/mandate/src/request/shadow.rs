//! Requests in shadow that are refused: they go on to the service, without a principal and
//! without anything that only the filter may set.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::header_names::RESOURCE_HEADER;
use caracal_mandate::reply::Refusal;

use crate::abi::hostcalls::Status;
use crate::request::filter_state;
use crate::request::local_reply;
use crate::request::{audit, upstream};
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// Hides the mandate of a request that is admitted, as configured. Until now it was there.
///
/// # Errors
/// It cannot be hidden.
#[cold]
#[inline(never)]
pub(super) fn hide_mandate(plugin: &Plugin) -> Result<(), &'static str> {
    if plugin.forwarding.keeps_mandate() {
        return Ok(());
    }
    let hidden = plugin.proxy.hide_only(b"authorization");
    hidden.map_err(|_| "The edge could not remove the mandate")
}

/// Lets a refused request go on, and notes what would have become of it.
///
/// # Errors
/// The proxy did not set the resource's header or did not open its gate. Nothing is noted
/// then.
#[cold]
#[inline(never)]
pub(super) fn let_go_on(
    plugin: &mut Plugin,
    request: &RequestInfo,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
) -> Result<StreamPhase, Status> {
    // Routes go by it. The client's own was hidden.
    if let Some(matched) = request.matched
        && let Some(id) = plugin.authorizer.forwarded_resource(matched.resource)
    {
        let (name, id) = (RESOURCE_HEADER.as_bytes(), id.as_bytes());
        plugin.proxy.set_header(name, id)?;
    }
    upstream::open_gate(plugin)?;
    local_reply::log_refusal("caracal: in shadow, not refused: ", request, refusal);
    if plugin.filter_state {
        filter_state::write_filter_state("shadow_refused", Some(refusal), request, mandate);
    }
    audit::refused(plugin, request, refusal, mandate, true);
    plugin.authorizer.metrics.refused_in_shadow(refusal);
    Ok(StreamPhase::Continued)
}
