//! What is noted of a request for its audit event.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::audit::event::{method_text, trace_id};
use caracal_mandate::exchange::request_id::usable_id;
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::reply::Refusal;

use crate::abi::wasi;
use crate::proxy::adapter::RequestHeaders;
use crate::vm::audit::records::AuditFacts;
use crate::vm::plugin::Plugin;
use crate::vm::request_info::RequestInfo;

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
    let (mut method, mut request_id, mut trace) = (None, None, None);
    for (name, value) in headers
        .map(|headers| headers.map.iter())
        .into_iter()
        .flatten()
    {
        let (found, wanted): (&mut Option<&[u8]>, &[u8]) = match name.len() {
            7 => (&mut method, b":method"),
            11 => (&mut trace, b"traceparent"),
            12 => (&mut request_id, b"x-request-id"),
            _ => continue,
        };
        // The first one counts.
        if found.is_none() && name.eq_ignore_ascii_case(wanted) {
            *found = Some(value);
        }
    }
    AuditFacts {
        stream,
        began_ns: wasi::monotonic_ns().unwrap_or_default(),
        request_id: request_id.and_then(usable_id).map(str::to_owned),
        method: method_text(method.unwrap_or_default()),
        trace_id: trace.and_then(trace_id).map(str::to_owned),
    }
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
        audit.admitted(request, mandate, rewrite, in_shadow);
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
        audit.refused(request, refusal, mandate, in_shadow);
    }
}
