//! One configuration's state in one VM, and how it decides: the requests that wait are
//! here. `key_set` is its part about the key set, `request_callouts` about requests that
//! call out for themselves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use caracal_mandate::cache::MandateCache;
use caracal_mandate::config::{Configuration, Host, Revocation};
use caracal_mandate::decide::{
    Context, Credential, Missing, RequestView, Screened, Verdict, Verifier,
};
use caracal_mandate::forward::Forwarding;
use caracal_mandate::keys::Algorithm;
use caracal_mandate::refresh::{Control, Outlook, Seen, Timing};
use caracal_mandate::refusal::Refusal;
use caracal_mandate::resources::ResourceId;
use caracal_mandate::revocation::{Availability, Disabled, RevocationView};

use crate::abi::hostcalls;
use crate::abi::wasi;
use crate::request::outcome::Request;
use crate::vm::callouts::{Answer, Sts};
use crate::vm::key_set::{Adopted, Fetching};
use crate::vm::metrics::Metrics;
use crate::vm::request_callouts::Own;
use crate::vm::revocation::lookup::{Asked, Asking};
use crate::vm::revocation::poller::{Feed, Live, SLICE_MS};
use crate::vm::signatures::Signatures;
use crate::vm::stores::Store;

/// How often the age of the key set is reported, and a damaged one is replaced.
pub(crate) const EVERY_MS: u64 = 1_000;

/// Where a stream stands. Shared with the stream's context: a request that was
/// refused or still waits must not go on because a body arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    Waiting,
    Continued,
    Refused,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    Keys(Missing),
    Revocations,
}

/// A request that waits.
struct Waiter {
    request: Request,
    credential: Credential<'static>,
    phase: Rc<Cell<Phase>>,
    seen: Seen,
    awaited: Awaited,
    deadline_ms: u64,
    /// Completed fetches when it was last judged, and the key set it was judged
    /// by: no need to judge it twice.
    judged_at: u64,
    key_set: Option<(u64, u64)>,
}

/// What becomes of a request.
pub(crate) enum Outcome {
    Decided(Verdict),
    Waits,
}

/// A request that waited and is decided.
pub(crate) struct Settled {
    pub(crate) stream: u32,
    pub(crate) request: Request,
    pub(crate) phase: Rc<Cell<Phase>>,
    pub(crate) verdict: Verdict,
}

pub(crate) struct Engine {
    verifier: Verifier,
    /// The root context whose configuration it is.
    pub(crate) root: u32,
    pub(crate) host: Host,
    /// It was found that the proxy is the configured one.
    proxy_is_right: bool,
    pub(crate) forwarding: Forwarding,
    pub(crate) metrics: Metrics,
    pub(crate) sts: Sts,
    pub(crate) timing: Timing,
    pub(crate) max_token_bytes: usize,
    /// Whether decisions are left in the filter state.
    pub(crate) filter_state: bool,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_paused: usize,
    pause_timeout_ms: u64,
    pub(crate) store: Store,
    /// The shared record as last read.
    pub(crate) control: Control,
    pub(crate) adopted: Option<Adopted>,
    pub(crate) damaged: bool,
    cache: MandateCache,
    signatures: Signatures,
    waiters: BTreeMap<u32, Waiter>,
    /// The requests that wait for calls of their own.
    pub(crate) own: Vec<Own>,
    /// A request that could not wait had a `kid` that is not in the key set.
    pub(crate) key_wanted: bool,
    pub(crate) fetching: Option<Fetching>,
    /// The revocation state; none where revocation is disabled, or requests ask.
    pub(crate) feed: Option<RefCell<Feed>>,
    /// What requests were told by the companion, where they ask it themselves.
    pub(crate) asking: Option<Rc<RefCell<Asking>>>,
    /// When the wall clock was read, on the monotonic one, and what it said.
    pub(crate) wall: Option<(u64, u64)>,
    reported_ms: u64,
    /// When ages were first reported.
    started_ms: Option<u64>,
    /// The last decision checked a signature: the mandate is new in this VM.
    pub(crate) was_new: bool,
    /// When a request last waited for the key set as long as it takes, by the way.
    pub(crate) patient_ms: u64,
    pub(crate) store_failed: bool,
    /// It was said that a variable cannot be set.
    pub(crate) variable_missing: Cell<bool>,
}

impl Engine {
    #[cold]
    pub(crate) fn new(configuration: &Configuration, root: u32) -> Result<Self, String> {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let limits = &configuration.limits;
        let jwks = &configuration.jwks;
        let host = configuration.host;
        let (mut feed, mut asking) = (None, None);
        if let Revocation::Feed(settings) = &configuration.revocation {
            match host {
                Host::Envoy | Host::Kong => {
                    feed = Some(RefCell::new(Feed::new(configuration, settings)));
                }
                Host::Apisix => asking = Some(Asking::in_worker(configuration, settings)),
            }
        }
        Ok(Engine {
            verifier: Verifier::from(configuration),
            root,
            host,
            proxy_is_right: false,
            forwarding: Forwarding::from(&configuration.forward),
            metrics: Metrics::define(host)?,
            sts: Sts::new(configuration),
            timing: Timing {
                timeout_ms: jwks.timeout_ms,
                ttl_ms: jwks.ttl_s.saturating_mul(1_000),
                max_stale_ms: jwks.max_stale_s.saturating_mul(1_000),
                retry_ms: match host {
                    Host::Envoy | Host::Kong => 1_000,
                    // There a request that lacks it is refused, and none waits for it.
                    Host::Apisix => 20,
                },
            },
            max_token_bytes: size(limits.max_token_bytes),
            filter_state: configuration.filter_state,
            algorithms: configuration.algorithms.clone(),
            max_paused: size(limits.max_paused),
            pause_timeout_ms: limits.pause_timeout_ms,
            store: Store::new(configuration),
            control: Control::default(),
            adopted: None,
            damaged: false,
            cache: MandateCache::new(size(limits.max_cached_mandates)),
            signatures: match host {
                Host::Envoy => Signatures::of_host(),
                Host::Kong | Host::Apisix => Signatures::in_wasm(),
            },
            waiters: BTreeMap::new(),
            own: Vec::new(),
            key_wanted: false,
            fetching: None,
            feed,
            asking,
            wall: None,
            reported_ms: 0,
            started_ms: None,
            was_new: false,
            patient_ms: 0,
            store_failed: false,
            variable_missing: Cell::new(false),
        })
    }

    /// Refuses requests where a configuration for Envoy is in Kong: what it does to
    /// headers does not hold there. Found out once: Envoy knows no such property.
    ///
    /// # Errors
    /// The reply, also while the host does not say.
    pub(crate) fn check_proxy(&mut self) -> Result<(), Refusal> {
        if self.host != Host::Envoy || self.proxy_is_right {
            return Ok(());
        }
        match hostcalls::property("ngx\0request_uri") {
            Ok(None) => {
                self.proxy_is_right = true;
                Ok(())
            }
            Ok(Some(_)) => Err(Refusal::unavailable(
                "The edge is configured for another proxy (host)",
            )),
            Err(_) => Err(Refusal::unavailable(
                "The edge could not find out in which proxy it is",
            )),
        }
    }

    /// What the upstream is told of the resource that a request is for.
    pub(crate) fn told(&self, resource: ResourceId) -> Option<&str> {
        self.verifier.resources().told(resource)
    }

    /// Judges what needs no dependency.
    pub(crate) fn screen<'t>(&self, request: &RequestView<'t>) -> Result<Screened<'t>, Refusal> {
        self.verifier.screen(request, &self.cache)
    }

    /// Judges a request at once, or lets it wait.
    pub(crate) fn judge(
        &mut self,
        stream: u32,
        request: &Request,
        credential: Credential<'_>,
        phase: &Rc<Cell<Phase>>,
    ) -> Outcome {
        let Some(now_ms) = wasi::monotonic_ms() else {
            return Outcome::Decided(no_clock());
        };
        match self.host {
            Host::Envoy => {}
            Host::Kong => return Outcome::Decided(self.judge_at_once(&credential, now_ms)),
            Host::Apisix => return self.judge_or_call(stream, request, credential, phase, now_ms),
        }
        let verdict = self.decide(&credential, false, now_ms);
        let awaited = match verdict {
            Verdict::NeedsKeySet(missing) => Awaited::Keys(missing),
            Verdict::NeedsRevocations(_) => Awaited::Revocations,
            verdict => return Outcome::Decided(verdict),
        };
        let seen = self.control.seen();
        if let Some(verdict) = self.without(awaited, seen, now_ms) {
            return Outcome::Decided(verdict);
        }
        if self.waiters.len() >= self.max_paused {
            return Outcome::Decided(unavailable("Too many requests wait at this edge"));
        }
        let deadline_ms = now_ms.saturating_add(self.pause_timeout_ms);
        let waiter = Waiter {
            request: request.clone(),
            credential: credential.into_owned(),
            phase: Rc::clone(phase),
            seen,
            awaited,
            deadline_ms,
            judged_at: self.control.attempts,
            key_set: self.key_set_id(),
        };
        self.waiters.insert(stream, waiter);
        self.metrics.paused(1);
        Outcome::Waits
    }

    /// Judges a request that cannot wait: what it lacks it is answered, and the next
    /// tick fetches.
    #[cold]
    fn judge_at_once(&mut self, credential: &Credential<'_>, now_ms: u64) -> Verdict {
        match self.decide(credential, false, now_ms) {
            Verdict::NeedsKeySet(missing) => {
                let awaited = Awaited::Keys(missing);
                self.without(awaited, self.control.seen(), now_ms)
                    .unwrap_or_else(|| {
                        self.key_wanted |= missing == Missing::Key;
                        unavailable("The zone's key set is being fetched")
                    })
            }
            Verdict::NeedsRevocations(_) => unavailable("The revocation state is being read"),
            verdict => verdict,
        }
    }

    /// A stream has ended. It can do so while its request waits.
    pub(crate) fn forget(&mut self, stream: u32) {
        self.forget_own(stream);
        if self.waiters.remove(&stream).is_some() {
            self.metrics.paused(-1);
        }
    }

    /// Unix time in whole seconds. Read once in a millisecond.
    fn wall_s(&mut self, now_ms: u64) -> Option<u64> {
        if let Some((read_ms, wall_s)) = self.wall
            && read_ms == now_ms
        {
            return Some(wall_s);
        }
        let wall_s = wasi::unix_time_s()?;
        self.wall = Some((now_ms, wall_s));
        Some(wall_s)
    }

    /// Decides by what there is. `asked`: the request has asked the companion, and has
    /// to do with what it was told.
    pub(crate) fn decide(
        &mut self,
        credential: &Credential<'_>,
        asked: bool,
        now_ms: u64,
    ) -> Verdict {
        let Some(now) = self.wall_s(now_ms) else {
            return no_clock();
        };
        let usable = self
            .adopted
            .as_ref()
            .filter(|adopted| adopted.control.is_usable(now_ms, self.timing));
        let signatures = self.signatures.counted();
        let live = self.feed.as_ref().map(|feed| Live { feed, now_ms });
        let asking = self.asking.as_ref().map(|asking| asking.try_borrow());
        let answers = match &asking {
            None => None,
            Some(Ok(asking)) => Some(Asked {
                asking,
                asked,
                now_ms,
                lacked: Cell::new(false),
            }),
            Some(Err(_)) => return unavailable("The edge is busy with itself"),
        };
        let revocation: &dyn RevocationView = match (&live, &answers) {
            (Some(live), _) => live,
            (None, Some(answers)) => answers,
            (None, None) => &Disabled,
        };
        let context = Context {
            keys: usable.map(|adopted| &adopted.keys),
            revocation,
            signatures: &signatures,
            now,
        };
        let verdict = self.verifier.decide(credential, context, &mut self.cache);
        let lacked = answers.is_some_and(|answers| answers.lacked.get());
        drop(asking);
        if lacked {
            self.note_asking(now_ms);
        }
        let checks = signatures.into_results();
        self.was_new = !checks.is_empty();
        for (by, valid) in &checks {
            self.metrics.signature_check(*by, *valid);
        }
        if let Verdict::Admitted(_) | Verdict::Refused(_, Some(_)) = verdict {
            self.metrics.cache(checks.is_empty());
        }
        verdict
    }

    /// A request is refused because the companion has not answered about its mandate.
    #[cold]
    pub(crate) fn note_asking(&self, now_ms: u64) {
        if let Some(Ok(mut asking)) = self.asking.as_ref().map(|a| a.try_borrow_mut()) {
            asking.refused(now_ms);
        }
    }

    /// What a request is answered that lacks something; `None` when it waits.
    pub(crate) fn without(&self, awaited: Awaited, seen: Seen, now_ms: u64) -> Option<Verdict> {
        let outlook = match awaited {
            Awaited::Keys(Missing::KeySet) => self.control.without_key_set(),
            Awaited::Keys(Missing::Key) => self.control.without_key(seen, now_ms),
            // Whoever decides finds out whether they will come.
            Awaited::Revocations => Outlook::Wait,
        };
        match outlook {
            Outlook::Wait => None,
            Outlook::UnknownKey => Some(Verdict::Refused(Verifier::unknown_key(), None)),
            Outlook::Unavailable => Some(unavailable("The zone's key set cannot be fetched")),
        }
    }

    /// Takes out the requests that can be decided now, as far as the time for one
    /// callback goes.
    pub(crate) fn settle(&mut self, now_ms: u64) -> Vec<Settled> {
        let mut settled = Vec::new();
        let revocations_pending = self.feed.as_ref().is_some_and(|feed| {
            let live = Live { feed, now_ms };
            !self.waiters.is_empty() && live.availability() == Availability::Pending
        });
        let key_set = self.key_set_id();
        let due: Vec<u32> = self
            .waiters
            .iter()
            .filter(|(_, waiter)| {
                let news = match waiter.awaited {
                    Awaited::Keys(_) => {
                        waiter.judged_at != self.control.attempts || waiter.key_set != key_set
                    }
                    Awaited::Revocations => !revocations_pending,
                };
                news || waiter.deadline_ms <= now_ms
            })
            .map(|(stream, _)| *stream)
            .collect();
        for stream in due {
            let Some(now_ms) =
                wasi::monotonic_ms().filter(|now| now.saturating_sub(now_ms) <= SLICE_MS)
            else {
                break;
            };
            let Some(mut waiter) = self.waiters.remove(&stream) else {
                continue;
            };
            let mut verdict = self.decide(&waiter.credential, false, now_ms);
            let awaited = match verdict {
                Verdict::NeedsKeySet(missing) => Some(Awaited::Keys(missing)),
                Verdict::NeedsRevocations(_) => Some(Awaited::Revocations),
                Verdict::Admitted(_) | Verdict::Refused(..) => None,
            };
            if let Some(awaited) = awaited {
                waiter.awaited = awaited;
                waiter.judged_at = self.control.attempts;
                waiter.key_set = key_set;
                verdict = match self.without(awaited, waiter.seen, now_ms) {
                    Some(verdict) => verdict,
                    None if waiter.deadline_ms <= now_ms => unavailable(match awaited {
                        Awaited::Keys(_) => "The zone's key set did not come in time",
                        Awaited::Revocations => "The revocation state did not come in time",
                    }),
                    None => {
                        self.waiters.insert(stream, waiter);
                        continue;
                    }
                };
            }
            self.metrics.paused(-1);
            settled.push(Settled {
                stream,
                request: waiter.request,
                phase: waiter.phase,
                verdict,
            });
        }
        settled
    }

    /// Whether a request waits for a key that the key set does not have.
    pub(crate) fn is_key_wanted(&self) -> bool {
        let waits = |waiter: &Waiter| waiter.awaited == Awaited::Keys(Missing::Key);
        self.key_wanted || self.waiters.values().any(waits)
    }

    /// Whether an answer is to a poll of the companion under way.
    pub(crate) fn is_poll(&self, token: u32) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.try_borrow().is_ok_and(|feed| feed.is_poll(token)))
    }

    pub(crate) fn poll_ended(&mut self, answer: Answer, now_ms: u64) {
        if let Some(feed) = &self.feed
            && let Ok(mut feed) = feed.try_borrow_mut()
        {
            feed.poll_ended(answer, &mut self.metrics, now_ms);
        }
    }

    /// Reports what was counted, and ages and sizes once a second.
    pub(crate) fn report(&mut self, now_ms: u64) {
        self.metrics.tell();
        if now_ms.saturating_sub(self.reported_ms) < EVERY_MS {
            return;
        }
        self.reported_ms = now_ms;
        // What has no age yet is as old as this: a limit on an age holds for it too.
        let started_ms = *self.started_ms.get_or_insert(now_ms);
        let since_start_ms = now_ms.saturating_sub(started_ms);
        self.metrics.memory();
        if let Some(feed) = &self.feed
            && let Ok(feed) = feed.try_borrow()
        {
            feed.report(&mut self.metrics, since_start_ms, now_ms);
        }
        let adopted = self.adopted.as_ref();
        let age_ms = adopted.and_then(|adopted| adopted.control.age_ms(now_ms));
        let skipped = adopted.map_or(0, |adopted| adopted.keys.skipped());
        self.metrics.jwks_age(age_ms.unwrap_or(since_start_ms));
        self.metrics.jwks_keys_skipped(skipped);
    }
}

/// A mandate is not refused for what the edge lacks: 503, and it can be retried.
pub(crate) fn unavailable(what: &'static str) -> Verdict {
    Verdict::Refused(Refusal::unavailable(what), None)
}

fn no_clock() -> Verdict {
    unavailable("The edge has no clock")
}
