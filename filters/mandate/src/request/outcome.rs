//! Turns a verdict into an action. This is the only place where a request is let through
//! or refused.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::decision::authority::Ended;
use caracal_mandate::decision::verifier::Verdict;
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::reply::{Refusal, Reply};

use crate::abi::hostcalls::{self, LogLevel};
use crate::abi::wasi;
use crate::request::audit;
use crate::request::filter_state::write_filter_state;
use crate::request::local_reply;
use crate::request::shadow;
use crate::request::upstream;
use crate::vm::audit::records;
use crate::vm::framed_streams;
use crate::vm::live_streams::{self, CutStream};
use crate::vm::plugin::Plugin;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// The request that a verdict is about.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'r> {
    pub(crate) stream: u32,
    pub(crate) phase: &'r Rc<Cell<StreamPhase>>,
    pub(crate) request: &'r RequestInfo,
}

/// Applies a verdict to the request of the effective context, and returns its new phase.
/// If the verdict cannot be applied, the request is refused.
pub(crate) fn apply(
    plugin: &mut Plugin,
    of: Subject<'_>,
    verdict: Verdict,
    rewrite: Option<&Rewrite>,
) -> StreamPhase {
    let request = of.request;
    match verdict {
        Verdict::Admitted(mandate) => match let_go_on(plugin, of, &mandate, rewrite) {
            Ok(()) => {
                record(plugin, "admitted", None, request, Some(&mandate));
                audit::admitted(plugin, request, &mandate, rewrite);
                plugin.authorizer.metrics.admitted();
                settled(plugin, request.came_ns);
                StreamPhase::Continued
            }
            Err(why) => {
                let refusal = Refusal::unavailable(why);
                let refusal = match rewrite {
                    Some(_) => refusal.used_up(),
                    None => refusal,
                };
                refuse_always(plugin, request, &refusal, Some(&mandate))
            }
        },
        Verdict::Refused(refusal, mandate) => refuse(plugin, request, &refusal, mandate.as_ref()),
        // The caller has found out that waiting would not help.
        Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => refuse(
            plugin,
            request,
            &Refusal::unavailable("The key set or the revocation state is missing"),
            None,
        ),
    }
}

/// Makes all changes to an admitted request, which is watched from then on unless it is in
/// shadow.
fn let_go_on(
    plugin: &mut Plugin,
    of: Subject<'_>,
    mandate: &Rc<Mandate>,
    rewrite: Option<&Rewrite>,
) -> Result<(), &'static str> {
    if plugin.authorizer.is_in_shadow(of.request.matched) {
        shadow::hide_mandate(plugin)?;
    } else if let Some(live) = &mut plugin.live
        && !live.watch(of.stream, of.request, mandate, of.phase)
    {
        return Err("Too many requests are under way");
    }
    if plugin.live.is_some() {
        // The next tick has a request to watch.
        plugin.pace.hurry();
    }
    upstream::admit(plugin, of.request, mandate, rewrite).map_err(|_| {
        live_streams::forget(of.stream);
        framed_streams::forget(of.stream);
        "The edge could not set the principal's headers"
    })
}

/// Lets an excluded request through, without a principal.
pub(crate) fn pass_excluded(plugin: &mut Plugin, came_ns: Option<NonZeroU64>) -> StreamPhase {
    if upstream::open_gate(plugin).is_err() {
        let refusal = Refusal::unavailable("The edge could not open the gate");
        return refuse_always(plugin, &RequestInfo::UNKNOWN, &refusal, None);
    }
    record(plugin, "excluded", None, &RequestInfo::UNKNOWN, None);
    plugin.authorizer.metrics.excluded();
    settled(plugin, came_ns);
    StreamPhase::Continued
}

/// Answers a request for a public document. That is no decision: there is no event of it,
/// and nothing in the filter state. The request goes nowhere.
#[cold]
#[inline(never)]
pub(crate) fn answer_document(plugin: &mut Plugin, document: &Reply) -> StreamPhase {
    plugin.authorizer.metrics.document();
    local_reply::send_document(document, plugin.proxy);
    StreamPhase::Replied
}

/// Says whether decisions can be made. That is no decision either.
#[cold]
#[inline(never)]
pub(crate) fn answer_readiness(plugin: &mut Plugin) -> StreamPhase {
    let reply = plugin.authorizer.lacking(wasi::monotonic_ms()).reply();
    local_reply::send_readiness(&reply, plugin.proxy);
    StreamPhase::Replied
}

/// Replies to a refused request. In shadow it goes on, if nothing is left in it that only the
/// filter may set.
pub(crate) fn refuse(
    plugin: &mut Plugin,
    request: &RequestInfo,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
) -> StreamPhase {
    if request.is_clean && plugin.authorizer.is_in_shadow(request.matched) {
        return match shadow::let_go_on(plugin, request, refusal, mandate) {
            Ok(phase) => {
                settled(plugin, request.came_ns);
                phase
            }
            Err(_) => {
                let refusal = Refusal::unavailable("The edge could not let the request go on");
                refuse_always(plugin, request, &refusal, mandate)
            }
        };
    }
    refuse_always(plugin, request, refusal, mandate)
}

/// Replies to a refused request, in shadow too.
fn refuse_always(
    plugin: &mut Plugin,
    request: &RequestInfo,
    refusal: &Refusal,
    mandate: Option<&Rc<Mandate>>,
) -> StreamPhase {
    record(plugin, "refused", Some(refusal), request, mandate);
    audit::refused(plugin, request, refusal, mandate, false);
    plugin.authorizer.metrics.refused(refusal);
    settled(plugin, request.came_ns);
    let challenge = plugin.authorizer.challenge(request.matched);
    local_reply::send(request, refusal, challenge, Some(plugin.proxy));
    StreamPhase::Replied
}

/// Measures how long a request was here, if that is wanted.
#[inline]
fn settled(plugin: &Plugin, came_ns: Option<NonZeroU64>) {
    if let Some(came_ns) = came_ns {
        plugin.authorizer.metrics.added(came_ns.get());
    }
}

/// What has become of a request whose authority has ended.
pub(crate) enum Cut {
    Ended,
    /// Its client is being told. Until then none of its bytes pass.
    Parts,
    /// The proxy did not take the reply: the response goes on.
    Failed,
}

/// Ends an admitted request whose authority has ended. If its response has begun, the proxy
/// breaks it off; otherwise the client gets the refusal. Further bytes of its body are held.
/// A stream that can still be told why it ends is told first.
#[cold]
#[inline(never)]
pub(crate) fn cut(plugin: &mut Plugin, one: &mut CutStream) -> Cut {
    let CutStream {
        stream,
        live,
        reason,
        can_part,
    } = one;
    let refusal = &reason.refusal();
    let mandate = Some(&live.mandate);
    record(plugin, "admitted", Some(refusal), &live.request, mandate);
    let is_revoked = matches!(reason, Ended::Revoked | Ended::DelegationStale);
    records::cut(*stream, is_revoked);
    let how = if *can_part && framed_streams::part(*stream, refusal, is_revoked) {
        live.phase.set(StreamPhase::Parting);
        Cut::Parts
    } else {
        live.phase.set(StreamPhase::Replied);
        let proxy = plugin.proxy;
        let challenge = plugin.authorizer.challenge(live.request.matched);
        match local_reply::send_end(&live.request, refusal, challenge, is_revoked, proxy) {
            true => Cut::Ended,
            false => Cut::Failed,
        }
    };
    if !matches!(how, Cut::Failed) && !std::mem::replace(&mut live.is_counted, true) {
        plugin.authorizer.metrics.stream_cut(*reason);
    }
    how
}

/// Lets a request go on that waited.
pub(crate) fn resume() {
    if hostcalls::resume_http_request().is_err() {
        hostcalls::log(
            LogLevel::Error,
            "caracal: an admitted request could not be resumed",
        );
    }
}

fn record(
    plugin: &Plugin,
    decision: &str,
    refused: Option<&Refusal>,
    request: &RequestInfo,
    mandate: Option<&Rc<Mandate>>,
) {
    if plugin.filter_state {
        write_filter_state(decision, refused, request, mandate);
    }
}
