//! Replies that the filter sends instead of the upstream. After a reply, nothing may be
//! done to the request in the same callback: a second reply would hang the client.

use caracal_mandate::header_names::REVOKED_TRAILER;
use caracal_mandate::reply::{Challenge, Refusal, Reply, ReplyFormat};

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::proxy::Proxy;
use crate::proxy::adapter::default_reply_details;
use crate::vm::pending_callouts;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// Replies with a refusal. There is no proxy if there is no configuration. `false` if the
/// proxy takes no reply: a request that waits then hangs until the proxy's own timeout, which
/// is better than to let it go on.
///
/// `challenge` is what the challenge says besides, and the scopes of the operation.
pub(crate) fn send(
    request: &RequestInfo,
    refusal: &Refusal,
    challenge: Option<(&Challenge, &[String])>,
    proxy: Option<Proxy>,
) -> bool {
    send_with(request, refusal, challenge, proxy, None)
}

/// Ends a request whose authority has ended. Its headers are the trailers of a gRPC client,
/// which is told there that it was revoked.
#[cold]
#[inline(never)]
pub(crate) fn send_end(
    request: &RequestInfo,
    refusal: &Refusal,
    challenge: Option<(&Challenge, &[String])>,
    is_revoked: bool,
    proxy: Proxy,
) -> bool {
    let is_told = is_revoked && request.format == ReplyFormat::Grpc;
    let trailer = is_told.then_some(REVOKED_TRAILER);
    send_with(request, refusal, challenge, Some(proxy), trailer)
}

fn send_with(
    request: &RequestInfo,
    refusal: &Refusal,
    challenge: Option<(&Challenge, &[String])>,
    proxy: Option<Proxy>,
    trailer: Option<&'static str>,
) -> bool {
    let code = refusal.code().as_str();
    log_refusal("caracal: refused: ", request, refusal);
    let mut reply = match &request.gateway {
        None => Reply::new(refusal, request.format),
        Some(gateway) => Reply::of_gateway(refusal, request.format, &gateway.request_id),
    };
    if let Some((challenge, scopes)) = challenge {
        reply.say_in_challenge(refusal, challenge, scopes);
    }
    if let Some(trailer) = trailer {
        reply.headers.push((trailer, "true".to_owned()));
    }
    let grpc_status = (request.format == ReplyFormat::Grpc).then_some(reply.grpc_status);
    let details = match proxy {
        Some(proxy) => proxy.reply_details(reply.status, code),
        None => default_reply_details(code),
    };
    send_reply(&reply, &details, grpc_status)
}

/// Logs a refusal. The line begins with what is done about it.
#[inline(never)]
pub(crate) fn log_refusal(done: &str, request: &RequestInfo, refusal: &Refusal) {
    let hex = request.fingerprint.map(|fingerprint| fingerprint.to_hex());
    let hex = hex.as_ref().map_or(&[][..], |hex| hex);
    let fingerprint = std::str::from_utf8(hex).unwrap_or_default();
    let line = [
        done,
        refusal.code().as_str(),
        ": ",
        refusal.description(),
        " (",
        refusal.reason(),
        ") [",
        fingerprint,
        "]",
    ];
    hostcalls::log(LogLevel::Debug, &line.concat());
}

/// Answers with a public document.
#[cold]
#[inline(never)]
pub(crate) fn send_document(document: &Reply, proxy: Proxy) {
    let details = proxy.reply_details(document.status, "metadata");
    send_reply(document, &details, None);
}

/// Says whether the edge is ready.
#[cold]
#[inline(never)]
pub(crate) fn send_readiness(answer: &Reply, proxy: Proxy) {
    let details = proxy.reply_details(answer.status, "readiness");
    send_reply(answer, &details, None);
}

/// `false` if the proxy takes no reply.
fn send_reply(reply: &Reply, details: &str, grpc_status: Option<u8>) -> bool {
    let sent = hostcalls::send_local_response(
        reply.status,
        details,
        &reply.headers,
        &reply.body,
        grpc_status,
    )
    // Try again with a reply that no proxy can object to: APISIX forwards a request whose
    // own callout has ended if it gets no reply.
    .or_else(|_| hostcalls::send_local_response(503, details, &[], b"refused", grpc_status));
    if let Err(Status(status)) = sent {
        hostcalls::log(
            LogLevel::Error,
            &format!("caracal: a reply could not be sent (status {status})"),
        );
    }
    sent.is_ok()
}

/// Refuses a request because there is no configuration.
pub(crate) fn send_unavailable(why: &'static str) -> StreamPhase {
    send(
        &RequestInfo::UNKNOWN,
        &Refusal::unavailable(why),
        None,
        None,
    );
    StreamPhase::Replied
}

/// Refuses a request whose callout has ended, and of which nothing more is known. If the
/// callout was an exchange, the mandate may be used up, and to send it again is a replay.
#[cold]
#[inline(never)]
pub(crate) fn send_lost(why: &'static str) -> StreamPhase {
    let mut refusal = Refusal::unavailable(why);
    if pending_callouts::may_be_exchanges() {
        let description = [why, "; the mandate may be used up"].concat();
        refusal = Refusal::new(refusal.code(), description).used_up();
    }
    send(&RequestInfo::UNKNOWN, &refusal, None, None);
    StreamPhase::Replied
}
