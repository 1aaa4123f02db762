//! The request-header phase: how a verdict is carried out.

use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::decide::Verdict;
use caracal_mandate::forward::{self, RESOURCE_HEADER};
use caracal_mandate::refusal::{Refusal, Reply, ReplyFormat};

use caracal_mandate::config::Host;

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// Carries out a verdict for the request of the effective context, and says
/// where that leaves it. What cannot be carried out refuses.
pub(crate) fn apply(plugin: &mut Plugin, request: &RequestInfo, verdict: Verdict) -> StreamPhase {
    match verdict {
        Verdict::Admitted(mandate) => match admit(plugin, request, &mandate) {
            Ok(()) => {
                write_filter_state(plugin, "admitted", None, request, Some(&mandate));
                plugin.authorizer.metrics.admitted();
                StreamPhase::Continued
            }
            Err(_) => {
                let refusal =
                    Refusal::unavailable("The edge could not set the principal's headers");
                refuse(plugin, request, &refusal, Some(&mandate))
            }
        },
        Verdict::Refused(refusal, mandate) => refuse(plugin, request, &refusal, mandate.as_ref()),
        // Whoever calls has found out whether to wait.
        Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => refuse(
            plugin,
            request,
            &Refusal::unavailable("The key set or the revocation state is missing"),
            None,
        ),
    }
}

/// Lets an excluded request through, without a principal.
pub(crate) fn pass_excluded(plugin: &mut Plugin) -> StreamPhase {
    if open_gate(plugin).is_err() {
        let refusal = Refusal::unavailable("The edge could not open the way to the upstream");
        return refuse(plugin, &RequestInfo::UNKNOWN, &refusal, None);
    }
    write_filter_state(plugin, "excluded", None, &RequestInfo::UNKNOWN, None);
    plugin.authorizer.metrics.excluded();
    StreamPhase::Continued
}

/// Answers a refused request. Nothing may be done to it in the same callback
/// after this: a second reply would hang the client.
pub(crate) fn refuse(
    plugin: &mut Plugin,
    request: &RequestInfo,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
) -> StreamPhase {
    let code = refusal.code();
    write_filter_state(plugin, "refused", Some(code.as_str()), request, mandate);
    plugin.authorizer.metrics.refused(code);
    send_local_reply(request, refusal, Some(plugin.host));
    StreamPhase::Replied
}

/// The reply alone, for where there is no plugin to count with.
fn send_local_reply(request: &RequestInfo, refusal: &Refusal, host: Option<Host>) {
    let code = refusal.code().as_str();
    let fingerprint = request
        .fingerprint
        .map(|f| f.to_string())
        .unwrap_or_default();
    hostcalls::log(
        LogLevel::Debug,
        &format!(
            "caracal: refused: {code}: {} [{fingerprint}]",
            refusal.description()
        ),
    );
    let reply = Reply::new(refusal, request.format);
    let grpc_status = (request.format == ReplyFormat::Grpc).then_some(reply.grpc_status);
    let details = match host {
        // There the details are the reason phrase of HTTP/1.1.
        Some(Host::Kong) => phrase(reply.status).to_owned(),
        _ => format!("caracal_{code}"),
    };
    let sent = hostcalls::send_local_response(
        reply.status,
        &details,
        &reply.headers,
        &reply.body,
        grpc_status,
    )
    // Once more with what no host can object to: where the request's own call has been
    // answered, APISIX lets one go on that has no reply.
    .or_else(|_| hostcalls::send_local_response(503, &details, &[], b"refused", grpc_status));
    if let Err(Status(status)) = sent {
        // The request stays paused: better to hang until the proxy's own timeout
        // than to go on.
        hostcalls::log(
            LogLevel::Error,
            &format!("caracal: a reply could not be sent (status {status})"),
        );
    }
}

/// The usual words for a status of ours.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        _ => "Service Unavailable",
    }
}

/// Refuses a request that comes when there is no plugin to decide.
pub(crate) fn reply_unavailable(why: &'static str) -> StreamPhase {
    send_local_reply(&RequestInfo::UNKNOWN, &Refusal::unavailable(why), None);
    StreamPhase::Replied
}

/// Lets a request that waited go on.
pub(crate) fn resume() {
    if hostcalls::resume_http_request().is_err() {
        hostcalls::log(
            LogLevel::Error,
            "caracal: an admitted request could not be resumed",
        );
    }
}

fn admit(plugin: &mut Plugin, request: &RequestInfo, mandate: &Mandate) -> Result<(), Status> {
    set_principal_headers(plugin, request, mandate)?;
    for (name, value) in plugin.forwarding.variables(mandate.claims()) {
        set_nginx_variable(plugin, name, value.as_deref().unwrap_or_default())?;
    }
    open_gate(plugin)
}

/// The last that is done to a request which goes on.
fn open_gate(plugin: &Plugin) -> Result<(), Status> {
    match plugin.forwarding.gate() {
        Some(gate) => set_nginx_variable(plugin, &gate.variable, &gate.upstream),
        None => Ok(()),
    }
}

/// Sets a variable of nginx. One that is not declared cannot be set, and neither host
/// lets a filter find that out before the first request.
fn set_nginx_variable(plugin: &Plugin, name: &str, value: &str) -> Result<(), Status> {
    let set = match plugin.host {
        Host::Apisix => hostcalls::set_property(name, value.as_bytes()),
        _ => hostcalls::set_property(&format!("ngx\0{name}"), value.as_bytes()),
    };
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

/// Adds the principal's headers, and which resource was verified where there are
/// several. There is none of these names, since the client's were removed before the
/// request was judged; or, on nginx, an empty one.
fn set_principal_headers(
    plugin: &mut Plugin,
    request: &RequestInfo,
    mandate: &Mandate,
) -> Result<(), Status> {
    let set = if plugin.host.is_nginx() {
        hostcalls::replace_request_header
    } else {
        hostcalls::add_request_header
    };
    if let Some(id) = request
        .resource
        .and_then(|resource| plugin.authorizer.forwarded_resource(resource))
    {
        set(RESOURCE_HEADER.as_bytes(), id.as_bytes())?;
    }
    for (name, value) in plugin.forwarding.principal(mandate.claims()) {
        match value {
            Some(value) => set(name.as_bytes(), value.as_bytes())?,
            None => plugin.authorizer.metrics.header_not_sent(),
        }
    }
    Ok(())
}

/// Leaves the decision in the filter state, for access logs.
fn write_filter_state(
    plugin: &Plugin,
    decision: &str,
    error: Option<&str>,
    request: &RequestInfo,
    mandate: Option<&Rc<Mandate>>,
) {
    if !plugin.filter_state {
        return;
    }
    let set = |name: &str, value: &str| {
        // A host that keeps no state loses a log field, not a decision.
        let _ = hostcalls::set_property(name, value.as_bytes());
    };
    set("caracal_decision", decision);
    if let Some(error) = error {
        set("caracal_error", error);
    }
    if let Some(fingerprint) = request.fingerprint {
        let hex = fingerprint.to_hex();
        set(
            "caracal_subject_fingerprint",
            std::str::from_utf8(&hex).unwrap_or_default(),
        );
    }
    if let Some(mandate) = mandate {
        let claims = mandate.claims();
        for (name, value) in [
            ("caracal_client_id", &claims.client_id),
            ("caracal_jti", &claims.jti),
        ] {
            // Somebody chose these; a log line must stay one line.
            if forward::is_sendable(value) {
                set(name, value);
            }
        }
    }
}
