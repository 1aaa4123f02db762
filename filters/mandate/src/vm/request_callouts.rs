//! Requests that make callouts themselves (APISIX): there are no ticks, and no request
//! can wait for another's callout. If the key set is missing, a request calls the STS and
//! then, in the callback of that, the companion. It is decided when its last callout has
//! ended.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::Mandate;
use caracal_mandate::config::Limits;
use caracal_mandate::decision::verifier::{Credential, Missing, Verdict};
use caracal_mandate::jwks::refresh::FetchMark;
use caracal_mandate::zone::ZoneIndex;

use crate::abi::wasi;
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::authorizer::{Authorizer, WaitReason};
use crate::vm::key_set::KeySetCache;
use crate::vm::missing;
use crate::vm::pending_callouts;
use crate::vm::pending_fetch::PendingFetch;
use crate::vm::places::{Place, Places};
use crate::vm::request_info::{Authorization, RequestInfo, ResolvedRequest, StreamPhase};
use crate::vm::waiting::too_many_wait;

/// Most callouts of one request: one for the key set, one more for a key that is not in
/// it, and one to the companion.
const MAX_CALLS: u8 = 3;
/// Longest wait for a newer key set if the request does not need it.
const REFRESH_ONLY_TIMEOUT: Duration = Duration::from_millis(250);
/// If 250 ms was too short, one request in 10 s with a new mandate waits the whole STS
/// timeout.
const FULL_WAIT_EVERY_MS: u64 = 10_000;
/// Most requests of one worker that fetch the key set at the same time because it, or
/// their key, is missing. Otherwise every request would ask the STS.
const MAX_COLD_FETCHES: usize = 16;
/// Most requests that ask about one mandate at the same time. Otherwise many requests
/// with one unknown mandate could use up `limits.max_paused`.
const MAX_CHECKS_PER_MANDATE: usize = 16;
/// After this time no response is expected any more. It is much longer than the proxy's
/// own timeout.
const CALLOUT_LOST_AFTER_MS: u64 = 120_000;

/// A callout that a request has made.
enum Callout {
    KeySet(PendingFetch),
    Check(Rc<Mandate>),
}

/// What happens to a request after its callout has ended.
pub(crate) enum CalloutEnd {
    Decided(ResolvedRequest),
    /// It waits for the next callout, which it has made.
    AnotherCallout,
}

/// A request that waits for its own callout.
pub(crate) struct PendingRequest {
    stream: u32,
    request: RequestInfo,
    credential: Credential<'static>,
    phase: Rc<Cell<StreamPhase>>,
    _place: Place,
    zone: ZoneIndex,
    mark: FetchMark,
    call: Callout,
    began_ms: u64,
    /// The number of callouts that it has made, including this one.
    calls: u8,
    /// It has asked the companion, and that callout has ended.
    checked: bool,
}

/// The requests of one configuration that wait for their own callouts.
pub(crate) struct RequestCallouts {
    requests: Vec<PendingRequest>,
    /// The root context of the configuration.
    root: u32,
    places: Places,
}

impl RequestCallouts {
    pub(crate) fn new(limits: &Limits, zones: usize, root: u32) -> Self {
        RequestCallouts {
            requests: Vec::new(),
            root,
            places: Places::new(limits.max_paused, zones),
        }
    }

    /// Decides on a request, at once or after the callouts that it makes.
    #[cold]
    pub(crate) fn authorize(
        &mut self,
        authorizer: &mut Authorizer,
        stream: u32,
        request: &RequestInfo,
        credential: Credential<'_>,
        phase: &Rc<Cell<StreamPhase>>,
        now_ms: u64,
    ) -> Authorization {
        let Some(zone) = credential.zone() else {
            let verdict = authorizer.decide(&credential, false, now_ms);
            return Authorization::Decided(missing::refuse_if_missing(verdict));
        };
        // Another configuration in this worker may have fetched.
        authorizer.load_shared_key_set(zone, now_ms);
        let verdict = authorizer.decide(&credential, false, now_ms);
        let Some(key_set) = authorizer.key_sets.get(zone) else {
            return Authorization::Decided(missing::no_zone());
        };
        let mark = key_set.record.fetch_mark();
        if let Some(verdict) = refused_without_fetch(authorizer, &verdict, zone, mark, now_ms) {
            return Authorization::Decided(verdict);
        }
        let place = self.places.take(zone).or_else(|| {
            self.forget_lost(now_ms);
            self.places.take(zone)
        });
        let Some(place) = place else {
            return Authorization::Decided(match verdict {
                Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => too_many_wait(),
                verdict => verdict,
            });
        };
        let Some((call, token)) =
            self.reserve_and_start(authorizer, stream, phase, (&verdict, zone), now_ms)
        else {
            return Authorization::Decided(missing::refuse_if_missing(verdict));
        };
        pending_callouts::set_token(stream, token);
        self.requests.push(PendingRequest {
            stream,
            request: request.clone(),
            credential: credential.into_owned(),
            phase: Rc::clone(phase),
            _place: place,
            zone,
            mark,
            call,
            began_ms: now_ms,
            calls: 1,
            checked: false,
        });
        Authorization::Paused
    }

    /// Frees the places of requests whose responses are lost.
    fn forget_lost(&mut self, now_ms: u64) {
        self.requests.retain(|pending| {
            let waits = now_ms.saturating_sub(pending.began_ms) < CALLOUT_LOST_AFTER_MS;
            if !waits {
                // If a response still comes, it matches no request and is answered with
                // 503.
                pending_callouts::cancel(pending.stream);
            }
            waits
        });
    }

    /// Makes the callout that a verdict asks for. Its response is registered before it is
    /// made.
    fn reserve_and_start(
        &mut self,
        authorizer: &mut Authorizer,
        stream: u32,
        phase: &Rc<Cell<StreamPhase>>,
        verdict: (&Verdict, ZoneIndex),
        now_ms: u64,
    ) -> Option<(Callout, u32)> {
        if !pending_callouts::reserve(stream, self.root, phase) {
            return None;
        }
        let made = self.start_callout(authorizer, verdict, now_ms);
        if made.is_none() {
            pending_callouts::cancel(stream);
        }
        made
    }

    /// Makes the callout that a verdict asks for, or that is due anyway. None if no
    /// callout is needed, or if the proxy did not accept it.
    fn start_callout(
        &mut self,
        authorizer: &mut Authorizer,
        (verdict, zone): (&Verdict, ZoneIndex),
        now_ms: u64,
    ) -> Option<(Callout, u32)> {
        match verdict {
            Verdict::NeedsKeySet(missing) => {
                let unknown_kid = *missing == Missing::Key;
                let key_set = authorizer.key_sets.get_mut(zone)?;
                let leased = key_set.begin_fetch(unknown_kid, now_ms);
                let fetch = leased.or_else(|| self.fetch_without_lease(key_set, zone, now_ms))?;
                fetch_key_set(authorizer, fetch, zone, None, now_ms)
            }
            Verdict::NeedsRevocations(mandate) => {
                // A key set past its time to live is fetched first. If every mandate were
                // new, it would otherwise never be fetched.
                if let Some(call) = self.refresh_only(authorizer, zone, now_ms) {
                    return Some(call);
                }
                let is_same = |pending: &&PendingRequest| matches!(&pending.call, Callout::Check(one) if one.fingerprint() == mandate.fingerprint());
                if self.requests.iter().filter(is_same).count() >= MAX_CHECKS_PER_MANDATE {
                    return None;
                }
                let mut lookup = authorizer.lookup(zone)?.try_borrow_mut().ok()?;
                match lookup.query(mandate, now_ms) {
                    Ok(token) => Some((Callout::Check(Rc::clone(mandate)), token)),
                    Err(_) => {
                        lookup.record_failure(&CalloutFailure::dispatch_failed(), now_ms);
                        lookup.record_refusal(now_ms);
                        None
                    }
                }
            }
            Verdict::Admitted(_) => self.refresh_only(authorizer, zone, now_ms),
            Verdict::Refused(..) => None,
        }
    }

    /// Fetches a key set that is past its time to live, from a request that does not need
    /// a newer one. If all mandates are known, no other request would fetch it. The wait
    /// is short, and then the request is decided with what is there. If the STS is slower
    /// than that, a request with a new mandate sometimes waits longer. A request with a
    /// known mandate never does.
    fn refresh_only(
        &self,
        authorizer: &mut Authorizer,
        zone: ZoneIndex,
        now_ms: u64,
    ) -> Option<(Callout, u32)> {
        let was_new = authorizer.mandate_was_new;
        let key_set = authorizer.key_sets.get_mut(zone)?;
        if !key_set.is_past_ttl(now_ms) {
            return None;
        }
        let waits_fully = was_new
            && key_set.record.is_failing()
            && now_ms.saturating_sub(key_set.full_wait_ms) >= FULL_WAIT_EVERY_MS;
        let pending_fetch = match waits_fully {
            true => key_set.begin_fetch_anyway(true, false, now_ms)?,
            false => key_set.begin_fetch(false, now_ms)?,
        };
        if waits_fully {
            key_set.full_wait_ms = now_ms;
        }
        let at_most = (!waits_fully).then_some(REFRESH_ONLY_TIMEOUT);
        fetch_key_set(authorizer, pending_fetch, zone, at_most, now_ms)
    }

    /// A fetch beside the one that another request has begun, because no request can wait
    /// for another's.
    fn fetch_without_lease(
        &self,
        key_set: &KeySetCache,
        zone: ZoneIndex,
        now_ms: u64,
    ) -> Option<PendingFetch> {
        let fetches = self.requests.iter().filter(|pending| pending.zone == zone);
        let fetches = fetches.filter(|pending| matches!(pending.call, Callout::KeySet(_)));
        let may = key_set.record.is_leased(now_ms) && fetches.count() < MAX_COLD_FETCHES;
        may.then(|| PendingFetch::without_lease(now_ms))
    }

    /// A request's callout has ended. The request is decided now, or makes the next
    /// callout. `None` if no such request waits.
    pub(crate) fn on_response(
        &mut self,
        authorizer: &mut Authorizer,
        stream: u32,
        response: CalloutResult,
    ) -> Option<CalloutEnd> {
        let mut pending = self.remove(stream)?;
        let Some(now_ms) = wasi::monotonic_ms() else {
            return Some(pending.decided(missing::no_clock()));
        };
        let zone = pending.zone;
        match &pending.call {
            Callout::KeySet(fetch) => {
                let metrics = &mut authorizer.metrics;
                if let Some(key_set) = authorizer.key_sets.get_mut(zone) {
                    key_set.on_fetch_response(fetch, response, metrics, now_ms);
                }
            }
            Callout::Check(mandate) => {
                pending.checked = true;
                if let Some(Ok(mut lookup)) = authorizer.lookup(zone).map(|a| a.try_borrow_mut()) {
                    lookup.on_response(mandate, response, pending.began_ms, now_ms);
                }
            }
        }
        authorizer.load_shared_key_set(zone, now_ms);
        let verdict = authorizer.decide(&pending.credential, pending.checked, now_ms);
        let mark = pending.mark;
        if let Some(verdict) = refused_without_fetch(authorizer, &verdict, zone, mark, now_ms) {
            return Some(pending.decided(verdict));
        }
        let lacks = matches!(
            verdict,
            Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_)
        );
        // If the request lacks nothing, it does not make a callout for others here. It
        // has waited once.
        if !lacks || pending.calls >= MAX_CALLS {
            return Some(pending.decided(missing::refuse_if_missing(verdict)));
        }
        let verdict_and_zone = (&verdict, zone);
        match self.reserve_and_start(authorizer, stream, &pending.phase, verdict_and_zone, now_ms) {
            // No reply may be sent now: the proxy loses a reply that is sent after a
            // callout.
            Some((call, token)) => {
                pending_callouts::set_token(stream, token);
                pending.call = call;
                pending.began_ms = now_ms;
                pending.calls = pending.calls.saturating_add(1);
                self.requests.push(pending);
                Some(CalloutEnd::AnotherCallout)
            }
            None => Some(pending.decided(missing::refuse_if_missing(verdict))),
        }
    }

    /// A request has ended before its callout did. The next request may ask again about the
    /// same mandate.
    pub(crate) fn cancel(&mut self, authorizer: &Authorizer, stream: u32) {
        let Some(pending) = self.remove(stream) else {
            return;
        };
        if let Callout::Check(mandate) = &pending.call
            && let Some(Ok(mut lookup)) =
                authorizer.lookup(pending.zone).map(|a| a.try_borrow_mut())
        {
            lookup.abandon(mandate);
        }
    }

    /// Removes and returns a request that waits for its own callout.
    fn remove(&mut self, stream: u32) -> Option<PendingRequest> {
        let index = self
            .requests
            .iter()
            .position(|pending| pending.stream == stream)?;
        Some(self.requests.swap_remove(index))
    }
}

impl PendingRequest {
    fn decided(self, verdict: Verdict) -> CalloutEnd {
        CalloutEnd::Decided(ResolvedRequest {
            stream: self.stream,
            request: self.request,
            phase: self.phase,
            verdict,
            rewrite: None,
        })
    }
}

fn fetch_key_set(
    authorizer: &mut Authorizer,
    fetch: PendingFetch,
    zone: ZoneIndex,
    at_most: Option<Duration>,
    now_ms: u64,
) -> Option<(Callout, u32)> {
    let metrics = &mut authorizer.metrics;
    let key_set = authorizer.key_sets.get_mut(zone)?;
    let token = key_set.dispatch(&fetch, at_most, metrics, now_ms)?;
    Some((Callout::KeySet(fetch), token))
}

/// The verdict on a request whose key is missing, if no fetch may be made and none would
/// help.
fn refused_without_fetch(
    authorizer: &Authorizer,
    verdict: &Verdict,
    zone: ZoneIndex,
    mark: FetchMark,
    now_ms: u64,
) -> Option<Verdict> {
    let Verdict::NeedsKeySet(missing) = verdict else {
        return None;
    };
    let record = &authorizer.key_sets.get(zone)?.record;
    if record.due(now_ms, *missing == Missing::Key).is_some() {
        return None;
    }
    authorizer.verdict_without(WaitReason::KeySet(*missing), zone, mark, now_ms)
}
