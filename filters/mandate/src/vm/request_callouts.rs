//! Requests that call out for themselves: on APISIX nothing ticks, and no request can
//! wait for another's call. Each waits for its own: one for the key set where that is
//! lacking, then, made in the callback of the first, one to the companion. It is decided
//! by what is there after the last.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use caracal_mandate::Mandate;
use caracal_mandate::decide::{Credential, Missing, Verdict};
use caracal_mandate::refresh::Seen;

use crate::abi::wasi;
use crate::contexts::callout_response;
use crate::request::outcome::Request;
use crate::vm::callouts::{Answer, Failure};
use crate::vm::key_set::Fetching;
use crate::vm::plugin::{Awaited, Engine, Outcome, Phase, Settled, unavailable};

/// Calls of one request: for the key set, once more for a key that it does not have, and
/// to the companion.
const MAX_CALLS: u8 = 3;
/// Longest wait for a key set that the request itself could do without.
const BY_THE_WAY: Duration = Duration::from_millis(250);
/// Where that was too short, a request with a mandate that is new to the worker waits for
/// as long as the STS may take; so often.
const PATIENT_EVERY_MS: u64 = 10_000;
/// Requests of one worker that may fetch the key set at once while there is none, or
/// while their key is not in it. The STS must not be asked by all that come in that time.
const MAX_COLD_FETCHES: usize = 16;
/// Requests with one mandate that may ask about it at once, where nothing is known of it
/// yet: they must not take every place.
const MAX_SAME_QUESTIONS: usize = 16;
/// Time after which a call's answer is not believed to come any more: the proxy's own
/// timeout has been over for long.
const LOST_MS: u64 = 120_000;

/// A request's own call.
enum Call {
    KeySet(Fetching),
    Check(Rc<Mandate>),
}

/// What became of a request whose call has ended.
pub(crate) enum Ended {
    Decided(Settled),
    /// It has made another call.
    CallsAgain,
}

/// A request that waits for its own call.
pub(crate) struct Own {
    stream: u32,
    request: Request,
    credential: Credential<'static>,
    phase: Rc<Cell<Phase>>,
    seen: Seen,
    call: Call,
    began_ms: u64,
    /// Calls that it has made, this one with them.
    calls: u8,
    /// One of those that have ended was to the companion.
    asked: bool,
}

impl Engine {
    /// Judges a request at once, or after the calls that it makes.
    #[cold]
    pub(crate) fn judge_or_call(
        &mut self,
        stream: u32,
        request: &Request,
        credential: Credential<'_>,
        phase: &Rc<Cell<Phase>>,
        now_ms: u64,
    ) -> Outcome {
        // Another configuration in this worker may have fetched.
        self.sync();
        self.note_key_set(now_ms);
        let verdict = self.decide(&credential, false, now_ms);
        let seen = self.control.seen();
        if let Verdict::NeedsKeySet(missing) = verdict
            && self.control.due(now_ms, missing == Missing::Key).is_none()
            && let Some(verdict) = self.without(Awaited::Keys(missing), seen, now_ms)
        {
            return Outcome::Decided(verdict);
        }
        if self.own.len() >= self.max_paused {
            self.own.retain(|own| {
                let waits = now_ms.saturating_sub(own.began_ms) < LOST_MS;
                if !waits {
                    // An answer that comes after all is nobody's, and so a refusal.
                    callout_response::forget(own.stream);
                }
                waits
            });
        }
        if self.own.len() >= self.max_paused {
            return Outcome::Decided(without_a_call(verdict));
        }
        let Some((call, token)) = self.expected_call(stream, phase, &verdict, now_ms) else {
            return Outcome::Decided(without_a_call(verdict));
        };
        callout_response::called(stream, token);
        self.own.push(Own {
            stream,
            request: request.clone(),
            credential: credential.into_owned(),
            phase: Rc::clone(phase),
            seen,
            call,
            began_ms: now_ms,
            calls: 1,
            asked: false,
        });
        Outcome::Waits
    }

    /// Makes the call that a verdict asks for, once its answer is expected.
    fn expected_call(
        &mut self,
        stream: u32,
        phase: &Rc<Cell<Phase>>,
        verdict: &Verdict,
        now_ms: u64,
    ) -> Option<(Call, u32)> {
        if !callout_response::expect(stream, self.root, phase) {
            return None;
        }
        let made = self.call_for(verdict, now_ms);
        if made.is_none() {
            callout_response::forget(stream);
        }
        made
    }

    /// Makes the call that a verdict asks for, or that is due anyway. None when there
    /// is nothing to call for, or the host did not take it.
    fn call_for(&mut self, verdict: &Verdict, now_ms: u64) -> Option<(Call, u32)> {
        match verdict {
            Verdict::NeedsKeySet(missing) => {
                let wanted = *missing == Missing::Key;
                let leased = self.begin_fetch(wanted, now_ms);
                let fetching = leased.or_else(|| self.help_out(now_ms))?;
                self.call_sts(fetching, None, now_ms)
            }
            Verdict::NeedsRevocations(mandate) => {
                // A key set that has outlived its life comes first, or it would never
                // be fetched where every mandate is new.
                if let Some(call) = self.by_the_way(now_ms) {
                    return Some(call);
                }
                let is_same = |own: &&Own| matches!(&own.call, Call::Check(one) if one.fingerprint() == mandate.fingerprint());
                if self.own.iter().filter(is_same).count() >= MAX_SAME_QUESTIONS {
                    return None;
                }
                let mut asking = self.asking.as_ref()?.try_borrow_mut().ok()?;
                match asking.ask(mandate, now_ms) {
                    Ok(token) => Some((Call::Check(Rc::clone(mandate)), token)),
                    Err(_) => {
                        asking.failed(&Failure::not_taken(), now_ms);
                        asking.refused(now_ms);
                        None
                    }
                }
            }
            Verdict::Admitted(_) => self.by_the_way(now_ms),
            Verdict::Refused(..) => None,
        }
    }

    /// Refreshes a key set that has outlived its life, from a request that does not need
    /// it: nothing else would where all mandates are known. The wait is short, and whatever
    /// comes of it, the request is decided by what is there. An STS that is slower than
    /// that is heard by a new mandate's request: a known one must not wait for it.
    fn by_the_way(&mut self, now_ms: u64) -> Option<(Call, u32)> {
        if !self.is_overdue(now_ms) {
            return None;
        }
        let is_patient = self.was_new
            && self.control.is_failing()
            && now_ms.saturating_sub(self.patient_ms) >= PATIENT_EVERY_MS;
        let fetching = match is_patient {
            true => self.begin_fetch_or(true, false, now_ms)?,
            false => self.begin_fetch(false, now_ms)?,
        };
        if is_patient {
            self.patient_ms = now_ms;
        }
        let at_most = (!is_patient).then_some(BY_THE_WAY);
        self.call_sts(fetching, at_most, now_ms)
    }

    /// A fetch beside another's that is under way: nobody else is to wait for.
    fn help_out(&self, now_ms: u64) -> Option<Fetching> {
        let fetches = self.own.iter();
        let fetches = fetches.filter(|own| matches!(own.call, Call::KeySet(_)));
        let may = self.control.is_leased(now_ms) && fetches.count() < MAX_COLD_FETCHES;
        may.then(|| Fetching::without_lease(now_ms))
    }

    fn call_sts(
        &mut self,
        fetching: Fetching,
        at_most: Option<Duration>,
        now_ms: u64,
    ) -> Option<(Call, u32)> {
        match self.sts.key_set(at_most) {
            Ok(token) => Some((Call::KeySet(fetching), token)),
            Err(_) => {
                self.fetch_ended(&fetching, Err(Failure::not_taken()), now_ms);
                None
            }
        }
    }

    /// The call of a request was answered, or came to nothing: it is decided now, or makes
    /// the next call. `None` when no such request waits.
    pub(crate) fn own_answer(&mut self, stream: u32, answer: Answer) -> Option<Ended> {
        let mut own = self.take_own(stream)?;
        let Some(now_ms) = wasi::monotonic_ms() else {
            return Some(own.decided(unavailable("The edge has no clock")));
        };
        match &own.call {
            Call::KeySet(fetching) => self.fetch_ended(fetching, answer, now_ms),
            Call::Check(mandate) => {
                own.asked = true;
                if let Some(Ok(mut asking)) = self.asking.as_ref().map(|a| a.try_borrow_mut()) {
                    asking.answered(mandate, answer, own.began_ms, now_ms);
                }
            }
        }
        self.sync();
        self.note_key_set(now_ms);
        let verdict = self.decide(&own.credential, own.asked, now_ms);
        if let Verdict::NeedsKeySet(missing) = verdict
            && self.control.due(now_ms, missing == Missing::Key).is_none()
            && let Some(verdict) = self.without(Awaited::Keys(missing), own.seen, now_ms)
        {
            return Some(own.decided(verdict));
        }
        let lacks = matches!(
            verdict,
            Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_)
        );
        // What lacks nothing makes no call for others here: it has waited once.
        if !lacks || own.calls >= MAX_CALLS {
            return Some(own.decided(without_a_call(verdict)));
        }
        match self.expected_call(stream, &own.phase, &verdict, now_ms) {
            // Nothing may be replied now: the host would lose it.
            Some((call, token)) => {
                callout_response::called(stream, token);
                own.call = call;
                own.began_ms = now_ms;
                own.calls = own.calls.saturating_add(1);
                self.own.push(own);
                Some(Ended::CallsAgain)
            }
            None => Some(own.decided(without_a_call(verdict))),
        }
    }

    /// A request has ended before its call was answered: what it asked, the next asks.
    pub(crate) fn forget_own(&mut self, stream: u32) {
        let own = self.take_own(stream);
        if let Some(Call::Check(mandate)) = own.map(|own| own.call)
            && let Some(Ok(mut asking)) = self.asking.as_ref().map(|a| a.try_borrow_mut())
        {
            asking.left(&mandate);
        }
    }

    /// Takes out a request that waits for its own call.
    fn take_own(&mut self, stream: u32) -> Option<Own> {
        let place = self.own.iter().position(|own| own.stream == stream)?;
        Some(self.own.swap_remove(place))
    }
}

impl Own {
    fn decided(self, verdict: Verdict) -> Ended {
        Ended::Decided(Settled {
            stream: self.stream,
            request: self.request,
            phase: self.phase,
            verdict,
        })
    }
}

/// What becomes of a request that makes no call, or no other.
fn without_a_call(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::NeedsKeySet(_) => unavailable("The zone's key set is not there yet"),
        Verdict::NeedsRevocations(_) => {
            unavailable("The companion has not said yet whether it is revoked")
        }
        verdict => verdict,
    }
}
