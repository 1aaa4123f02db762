//! Refusals before a mandate is looked at: for what a request's headers or its path are.

use caracal_mandate::reply::Refusal;

use crate::proxy::adapter::RequestHeaders;
use crate::request::head::RequestHead;
use crate::request::outcome;
use crate::request::sanitizer::{self, Unfit};
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// Refuses a request for what its headers are. If something in it could not be hidden, it
/// does not go on in shadow either.
#[cold]
#[inline(never)]
pub(crate) fn refuse_unfit(
    plugin: &mut Plugin,
    headers: &RequestHeaders,
    head: &RequestHead<'_>,
    request: RequestInfo,
    unfit: &Unfit,
) -> StreamPhase {
    match unfit.is_hidden {
        true => refuse_early(plugin, headers, head, request, &unfit.refusal),
        false => outcome::refuse(plugin, &request, &unfit.refusal, None),
    }
}

/// Refuses a request before its mandate is looked at. Reserved headers are hidden already.
/// In shadow the caller's `caracal.*` baggage is hidden too, as of every request that is
/// judged.
#[inline]
pub(crate) fn refuse_early(
    plugin: &mut Plugin,
    headers: &RequestHeaders,
    head: &RequestHead<'_>,
    mut request: RequestInfo,
    refusal: &Refusal,
) -> StreamPhase {
    if plugin.authorizer.is_in_shadow(request.matched) {
        match sanitizer::hide_baggage(plugin.proxy, headers, head, &plugin.forwarding) {
            Ok(()) => request.is_clean = true,
            Err(not_hidden) => return outcome::refuse(plugin, &request, &not_hidden, None),
        }
    }
    outcome::refuse(plugin, &request, refusal, None)
}
