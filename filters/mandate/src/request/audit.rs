//! What is noted of a request for its audit event.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::audit::event::trace_id;
use caracal_mandate::exchange::request_id::usable_id;
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::reply::Refusal;

use crate::proxy::adapter::RequestHeaders;
use crate::vm::audit::records::AuditFacts;
use crate::vm::plugin::Plugin;
use crate::vm::request_info::RequestInfo;

/// Longest part of a method that is recorded.
const MAX_METHOD_BYTES: usize = 64;

/// What is known of a request before it is judged. None if there is no audit.
pub(crate) fn facts(
    plugin: &Plugin,
    headers: Option<&RequestHeaders>,
    stream: u32,
) -> Option<Rc<AuditFacts>> {
    plugin.audit.as_ref()?;
    Some(Rc::new(read(headers, stream)))
}

#[cold]
#[inline(never)]
fn read(headers: Option<&RequestHeaders>, stream: u32) -> AuditFacts {
    let first = |name| first(headers?, name);
    AuditFacts {
        stream,
        request_id: first("x-request-id").and_then(usable_id).map(str::to_owned),
        method: method(first(":method").unwrap_or_default()),
        trace_id: first("traceparent").and_then(trace_id).map(str::to_owned),
    }
}

/// HTTP/2 has no bound on a method, and the event is kept for as long as the stream is open.
fn method(method: &[u8]) -> Vec<u8> {
    method.get(..MAX_METHOD_BYTES).unwrap_or(method).to_vec()
}

#[inline(never)]
fn first<'h>(headers: &'h RequestHeaders, name: &str) -> Option<&'h [u8]> {
    headers.all(name).next()
}

/// Notes an admitted request.
pub(crate) fn admitted(
    plugin: &Plugin,
    request: &RequestInfo,
    mandate: &Rc<Mandate>,
    rewrite: Option<&Rewrite>,
) {
    if let Some(audit) = &plugin.audit {
        let in_shadow = plugin.authorizer.is_in_shadow(request.matched);
        let resource = resource(plugin, request);
        audit.admitted(request, mandate, resource, rewrite, in_shadow);
    }
}

/// Notes a refused request. `in_shadow`: it goes on all the same.
pub(crate) fn refused(
    plugin: &Plugin,
    request: &RequestInfo,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
    in_shadow: bool,
) {
    if let Some(audit) = &plugin.audit {
        let resource = resource(plugin, request);
        audit.refused(request, refusal, mandate, resource, in_shadow);
    }
}

fn resource<'p>(plugin: &'p Plugin, request: &RequestInfo) -> Option<&'p str> {
    plugin.authorizer.resource_name(request.resource?)
}
