//! Requests that call out for themselves: on APISIX nothing ticks, and no request can
//! wait for another's call. Each makes at most one, waits for its answer, and decides
//! by what is there then; what lacks two things gets 503 after the first.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::decide::{Credential, Missing, Verdict};
use caracal_mandate::refresh::Seen;

use crate::asking::TIMEOUT_MS;
use crate::callback;
use crate::calls::{Answer, Failure};
use crate::engine::{Awaited, Engine, Outcome, Phase, Settled, unavailable};
use crate::keys::Fetching;
use crate::request::Request;
use crate::system;

/// Requests of one worker that may fetch the key set at once while there is none. The
/// STS must not be asked by all that come in that time.
const MAX_COLD_FETCHES: usize = 16;
/// Requests with one mandate that may ask about it at once, where nothing is known of it
/// yet: they must not take every place.
const MAX_SAME_QUESTIONS: usize = 16;
/// Time after which a call's answer is not believed to come any more: the proxy's own
/// timeout has been over for long.
const LOST_MS: u64 = 120_000;

/// A request's own call.
enum Call {
    KeySet {
        fetching: Fetching,
        /// It is made by the way: the request lacked nothing.
        by_the_way: bool,
    },
    Check(Rc<Mandate>),
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
}

impl Engine {
    /// Judges a request at once, or after the one call that it makes.
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
                    callback::forget(own.stream);
                }
                waits
            });
        }
        let root = self.root;
        if self.own.len() >= self.max_paused || !callback::expect(stream, root, phase) {
            return Outcome::Decided(without_a_call(verdict));
        }
        match self.call_for(&verdict, now_ms) {
            Some((call, token)) => {
                callback::called(stream, token);
                self.own.push(Own {
                    stream,
                    request: request.clone(),
                    credential: credential.into_owned(),
                    phase: Rc::clone(phase),
                    seen,
                    call,
                    began_ms: now_ms,
                });
                Outcome::Waits
            }
            None => {
                callback::forget(stream);
                Outcome::Decided(without_a_call(verdict))
            }
        }
    }

    /// Makes the call that a verdict asks for, or that is due anyway. None when there
    /// is nothing to call for, or the host did not take it.
    fn call_for(&mut self, verdict: &Verdict, now_ms: u64) -> Option<(Call, u32)> {
        match verdict {
            Verdict::NeedsKeySet(missing) => {
                let wanted = *missing == Missing::Key;
                let leased = self.begin_fetch(wanted, now_ms);
                let fetching = leased.or_else(|| self.help_out(*missing, now_ms))?;
                self.call_sts(fetching, false, now_ms)
            }
            Verdict::NeedsRevocations(mandate) => {
                // A key set that has outlived its life comes first, or it would never
                // be fetched where every mandate is new.
                if self.is_overdue(now_ms)
                    && let Some(fetching) = self.begin_fetch(false, now_ms)
                {
                    return self.call_sts(fetching, false, now_ms);
                }
                let is_same = |own: &&Own| matches!(&own.call, Call::Check(one) if one.fingerprint() == mandate.fingerprint());
                if self.own.iter().filter(is_same).count() >= MAX_SAME_QUESTIONS {
                    return None;
                }
                let asking = self.asking.as_mut()?;
                match asking.ask(mandate, now_ms) {
                    Ok(token) => Some((Call::Check(Rc::clone(mandate)), token)),
                    Err(_) => {
                        asking.failed(&Failure::not_taken(), now_ms);
                        None
                    }
                }
            }
            // Nothing else refreshes the key set.
            Verdict::Admitted(_) => {
                let fetching = self.begin_fetch(false, now_ms)?;
                self.call_sts(fetching, true, now_ms)
            }
            Verdict::Refused(..) => None,
        }
    }

    /// A fetch beside another's, where there is no key set and nobody else is to wait
    /// for.
    fn help_out(&self, missing: Missing, now_ms: u64) -> Option<Fetching> {
        let fetches = self.own.iter();
        let fetches = fetches.filter(|own| matches!(own.call, Call::KeySet { .. }));
        let may = missing == Missing::KeySet
            && self.control.is_leased(now_ms)
            && fetches.count() < MAX_COLD_FETCHES;
        may.then(|| Fetching::without_lease(now_ms))
    }

    fn call_sts(
        &mut self,
        fetching: Fetching,
        by_the_way: bool,
        now_ms: u64,
    ) -> Option<(Call, u32)> {
        match self.sts.key_set() {
            Ok(token) => {
                let call = Call::KeySet {
                    fetching,
                    by_the_way,
                };
                Some((call, token))
            }
            Err(_) => {
                self.fetch_ended(&fetching, Err(Failure::not_taken()), now_ms);
                None
            }
        }
    }

    /// The call of a request was answered, or came to nothing: it is decided now.
    /// `None` when no such request waits.
    pub(crate) fn own_answer(&mut self, stream: u32, answer: Answer) -> Option<Settled> {
        let own = self.take_own(stream)?;
        let verdict = match system::monotonic_ms() {
            None => unavailable("The edge has no clock"),
            Some(now_ms) => {
                match &own.call {
                    Call::KeySet { fetching, .. } => self.fetch_ended(fetching, answer, now_ms),
                    Call::Check(mandate) => {
                        if let Some(asking) = &mut self.asking {
                            asking.answered(mandate, answer, own.began_ms, now_ms);
                        }
                    }
                }
                self.sync();
                self.note_key_set(now_ms);
                self.decide_after_call(&own, now_ms)
            }
        };
        Some(Settled {
            stream,
            request: own.request,
            phase: own.phase,
            verdict,
        })
    }

    /// A request has ended before its call was answered: what it asked, the next asks.
    pub(crate) fn forget_own(&mut self, stream: u32) {
        let own = self.take_own(stream);
        if let Some(Call::Check(mandate)) = own.map(|own| own.call)
            && let Some(asking) = &mut self.asking
        {
            asking.left(&mandate);
        }
    }

    /// Takes out a request that waits for its own call.
    fn take_own(&mut self, stream: u32) -> Option<Own> {
        let place = self.own.iter().position(|own| own.stream == stream)?;
        Some(self.own.swap_remove(place))
    }

    fn decide_after_call(&mut self, own: &Own, now_ms: u64) -> Verdict {
        // A call to the STS is no question to the companion, and what lacks both is told
        // to come again. But one that lacked nothing is not refused for a call that it
        // made for others, if that was short.
        let asked = match own.call {
            Call::Check(_) => true,
            Call::KeySet { by_the_way, .. } => {
                by_the_way && now_ms.saturating_sub(own.began_ms) <= TIMEOUT_MS
            }
        };
        let verdict = self.decide(&own.credential, asked, now_ms);
        match verdict {
            Verdict::NeedsKeySet(missing) => self
                .without(Awaited::Keys(missing), own.seen, now_ms)
                .unwrap_or_else(|| without_a_call(verdict)),
            verdict => without_a_call(verdict),
        }
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
