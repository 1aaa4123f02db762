//! The message of a request to an MCP server, which the proxy shows before the request goes
//! on.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::decision::verifier::{Credential, Missing, Verdict};
use caracal_mandate::mcp::rule::{Mirrored, too_large};
use caracal_mandate::reply::{ErrorCode, Reason, Refusal};

use crate::abi::hostcalls::{self, BufferType};
use crate::abi::wasi;
use crate::request::outcome::{self, Subject};
use crate::vm::messages::UnreadRequest;
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{Authorization, RequestInfo, StreamPhase};

/// Begins to read the message of a request. A mandate that is refused for every message is
/// refused at once: who has none cannot make the proxy hold messages. Nor can who signs one
/// with a key of his own: while a key is fetched that the key set lacks, the request is
/// refused and not read.
#[cold]
#[inline(never)]
pub(crate) fn begin(
    plugin: &mut Plugin,
    stream: u32,
    phase: &Rc<Cell<StreamPhase>>,
    request: RequestInfo,
    credential: Credential<'_>,
    mirrored: Mirrored,
) -> StreamPhase {
    let Some(now_ms) = wasi::monotonic_ms() else {
        let refusal = Refusal::unavailable("The edge has no clock");
        return outcome::refuse(plugin, &request, &refusal, None);
    };
    let credential = plugin.authorizer.at_least(credential);
    let mut verdict = plugin.authorizer.decide(&credential, false, now_ms);
    let lacks_key = matches!(verdict, Verdict::NeedsKeySet(Missing::Key));
    if lacks_key {
        verdict = plugin.authorizer.authorize_or_refuse(&credential, now_ms);
    }
    if let Verdict::Refused(refusal, mandate) = verdict
        && (lacks_key || refusal.code() != ErrorCode::StsUnavailable)
    {
        return outcome::refuse(plugin, &request, &refusal, mandate.as_ref());
    }
    let unread = UnreadRequest {
        max_bytes: plugin.authorizer.max_body(&credential),
        credential: credential.into_owned(),
        request: request.clone(),
        mirrored,
        phase: Rc::clone(phase),
    };
    match plugin.messages.begin(stream, unread, now_ms) {
        true => StreamPhase::Reading,
        false => {
            let refusal = Refusal::unavailable("Too many messages are being read");
            let refusal = refusal.because(Reason::Waiting);
            outcome::refuse(plugin, &request, &refusal, None)
        }
    }
}

/// A part of the message has come. `size`: of all that the proxy holds. `is_last`: there is
/// no more.
#[cold]
#[inline(never)]
pub(crate) fn on_part(plugin: &mut Plugin, stream: u32, size: usize, is_last: bool) -> StreamPhase {
    let Some(max) = plugin.messages.on_part(stream) else {
        // It was refused meanwhile.
        return StreamPhase::Replied;
    };
    let is_too_large = size > max;
    if !is_last && !is_too_large {
        return StreamPhase::Reading;
    }
    let Some(unread) = plugin.messages.take(stream) else {
        return StreamPhase::Replied;
    };
    if is_too_large {
        return outcome::refuse(plugin, &unread.request, &too_large(), None);
    }
    decide(plugin, stream, unread, size)
}

/// A request of which a message was being read ends with trailers. Its message is complete,
/// but what a server takes from trailers is nothing that was checked.
#[cold]
#[inline(never)]
pub(crate) fn on_trailers(plugin: &mut Plugin, stream: u32) -> StreamPhase {
    let Some(unread) = plugin.messages.take(stream) else {
        return StreamPhase::Replied;
    };
    let refusal = Refusal::new(ErrorCode::InvalidRequest, "The message has trailers");
    let refusal = refusal.because(Reason::Message);
    outcome::refuse(plugin, &unread.request, &refusal, None)
}

fn decide(plugin: &mut Plugin, stream: u32, unread: UnreadRequest, size: usize) -> StreamPhase {
    let UnreadRequest {
        mut request,
        credential,
        mirrored,
        phase,
        ..
    } = unread;
    let body = hostcalls::get_buffer(BufferType::RequestBody, size);
    let body = match body {
        // What was not read must not be forwarded.
        Ok(body) if body.len() == size => body,
        Ok(_) | Err(_) => {
            let refusal = Refusal::unavailable("The edge could not read the message");
            return outcome::refuse(plugin, &request, &refusal, None);
        }
    };
    let credential = match plugin.authorizer.with_body(credential, &mirrored, &body) {
        Ok(credential) => credential,
        Err(refusal) => return outcome::refuse(plugin, &request, &refusal, None),
    };
    drop(body);
    request.matched = Some(credential.matched());
    match plugin.authorize(stream, &request, credential, &phase) {
        Authorization::Decided(verdict) => {
            let of = Subject {
                stream,
                phase: &phase,
                request: &request,
            };
            outcome::apply(plugin, of, verdict, None)
        }
        Authorization::Paused => StreamPhase::Paused,
    }
}
