//! One configuration's state in one VM: the parsed key set, the requests that
//! wait for another, and the part this VM plays in fetching it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use caracal_mandate::cache::MandateCache;
use caracal_mandate::config::{Configuration, Host, JwksTarget, Revocation};
use caracal_mandate::decide::{
    Context, Credential, Missing, RequestView, Screened, Verdict, Verifier,
};
use caracal_mandate::forward::Forwarding;
use caracal_mandate::keys::{Algorithm, KeySet};
use caracal_mandate::refresh::{Control, Fetch, Lease, Outlook, Seen, Timing};
use caracal_mandate::refusal::Refusal;
use caracal_mandate::resources::ResourceId;
use caracal_mandate::revocation::{Availability, Disabled, RevocationView};

use crate::host::{self, Failed, Level};
use crate::metrics::Metrics;
use crate::request::Request;
use crate::revocation::{Feed, Live, SLICE_MS};
use crate::signature::Signatures;
use crate::store::{Store, StoredKeySet};

/// Attempts to write the control record when another VM writes it too.
const WRITE_ATTEMPTS: usize = 4;
/// How often the age of the key set is reported, and a damaged one is replaced.
const EVERY_MS: u64 = 1_000;

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
enum Awaited {
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

/// A fetch that this VM has under way.
struct Fetching {
    lease: Lease,
    started_ms: u64,
    token: Option<u32>,
}

/// The key set that this VM decides by, and the record that it came with.
struct Adopted {
    control: Control,
    keys: KeySet,
}

pub(crate) struct Engine {
    verifier: Verifier,
    pub(crate) forwarding: Forwarding,
    pub(crate) metrics: Metrics,
    pub(crate) upstream: String,
    pub(crate) target: JwksTarget,
    pub(crate) timing: Timing,
    pub(crate) max_token_bytes: usize,
    /// Whether decisions are left in the filter state.
    pub(crate) filter_state: bool,
    algorithms: Vec<Algorithm>,
    max_paused: usize,
    pause_timeout_ms: u64,
    store: Store,
    /// The shared record as last read.
    control: Control,
    adopted: Option<Adopted>,
    damaged: bool,
    cache: MandateCache,
    signatures: Signatures,
    waiters: BTreeMap<u32, Waiter>,
    fetching: Option<Fetching>,
    /// The revocation state; none where revocation is disabled.
    pub(crate) feed: Option<RefCell<Feed>>,
    /// When the wall clock was read, on the monotonic one, and what it said.
    wall: Option<(u64, u64)>,
    reported_ms: u64,
    store_failed: bool,
}

impl Engine {
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let limits = &configuration.limits;
        let jwks = &configuration.jwks;
        Engine {
            verifier: Verifier::from(configuration),
            forwarding: Forwarding::from(&configuration.forward),
            metrics: Metrics::default(),
            upstream: jwks.upstream.clone(),
            target: configuration.jwks_target(),
            timing: Timing {
                timeout_ms: jwks.timeout_ms,
                ttl_ms: jwks.ttl_s.saturating_mul(1_000),
                max_stale_ms: jwks.max_stale_s.saturating_mul(1_000),
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
            signatures: match configuration.host {
                Host::Envoy => Signatures::of_host(),
            },
            waiters: BTreeMap::new(),
            fetching: None,
            feed: match &configuration.revocation {
                Revocation::Disabled(_) => None,
                Revocation::Feed(settings) => {
                    Some(RefCell::new(Feed::new(configuration, settings)))
                }
            },
            wall: None,
            reported_ms: 0,
            store_failed: false,
        }
    }

    /// Reads the shared record, and the key set when it is another one. Also at
    /// the start of a VM, which is warm that way where others have fetched.
    pub(crate) fn sync(&mut self) {
        // A monotonic clock that stood still must not make the other one do so.
        self.wall = None;
        match self.read_shared() {
            Ok(()) => self.store_failed = false,
            Err(Failed(status)) => {
                // Once, not at every tick: the next success arms it again.
                if !std::mem::replace(&mut self.store_failed, true) {
                    host::log(
                        Level::Error,
                        &format!("caracal: shared data cannot be read (status {status})"),
                    );
                }
            }
        }
    }

    fn read_shared(&mut self) -> Result<(), Failed> {
        (self.control, _) = self.store.control()?;
        let own = self.key_set_id();
        // Without an id the record was lost: what this VM holds ages by itself.
        if self.control.key_set_id().is_none_or(|id| Some(id) == own) {
            return Ok(());
        }
        match self.store.key_set(self.control.generation)? {
            StoredKeySet::Document(document) => match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => self.adopt(keys),
                Err(_) => self.damaged = true,
            },
            // A write is under way, or whoever made it is gone.
            StoredKeySet::OtherGeneration => {
                self.damaged |=
                    host::monotonic_ms().is_none_or(|now_ms| !self.control.is_leased(now_ms));
            }
            StoredKeySet::Damaged => self.damaged = true,
        }
        Ok(())
    }

    fn adopt(&mut self, keys: KeySet) {
        self.damaged = false;
        self.adopted = Some(Adopted {
            control: self.control,
            keys,
        });
    }

    /// The key set that this VM decides by.
    fn key_set_id(&self) -> Option<(u64, u64)> {
        self.adopted
            .as_ref()
            .and_then(|adopted| adopted.control.key_set_id())
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
        let Some(now_ms) = host::monotonic_ms() else {
            return Outcome::Decided(no_clock());
        };
        let verdict = self.decide(&credential, now_ms);
        let awaited = match verdict {
            Verdict::NeedsKeySet(missing) => Awaited::Keys(missing),
            Verdict::NeedsRevocations => Awaited::Revocations,
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

    /// A stream has ended. It can do so while its request waits.
    pub(crate) fn forget(&mut self, stream: u32) {
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
        let wall_s = host::unix_time_s()?;
        self.wall = Some((now_ms, wall_s));
        Some(wall_s)
    }

    fn decide(&mut self, credential: &Credential<'_>, now_ms: u64) -> Verdict {
        let Some(now) = self.wall_s(now_ms) else {
            return no_clock();
        };
        let usable = self
            .adopted
            .as_ref()
            .filter(|adopted| adopted.control.is_usable(now_ms, self.timing));
        let signatures = self.signatures.counted();
        let live = self.feed.as_ref().map(|feed| Live { feed, now_ms });
        let revocation: &dyn RevocationView = match &live {
            Some(live) => live,
            None => &Disabled,
        };
        let context = Context {
            keys: usable.map(|adopted| &adopted.keys),
            revocation,
            signatures: &signatures,
            now,
        };
        let verdict = self.verifier.decide(credential, context, &mut self.cache);
        let checks = signatures.into_results();
        for (by, valid) in &checks {
            self.metrics.signature_check(*by, *valid);
        }
        if let Verdict::Admitted(_) | Verdict::Refused(_, Some(_)) = verdict {
            self.metrics.cache(checks.is_empty());
        }
        verdict
    }

    /// What a request is answered that lacks something; `None` when it waits.
    fn without(&self, awaited: Awaited, seen: Seen, now_ms: u64) -> Option<Verdict> {
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
                host::monotonic_ms().filter(|now| now.saturating_sub(now_ms) <= SLICE_MS)
            else {
                break;
            };
            let Some(mut waiter) = self.waiters.remove(&stream) else {
                continue;
            };
            let mut verdict = self.decide(&waiter.credential, now_ms);
            let awaited = match verdict {
                Verdict::NeedsKeySet(missing) => Some(Awaited::Keys(missing)),
                Verdict::NeedsRevocations => Some(Awaited::Revocations),
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

    /// Takes the lease for a fetch if one is due. The caller makes the call, and
    /// says with [`Engine::fetch_ended`] what came of it.
    pub(crate) fn begin_fetch(&mut self, now_ms: u64) -> bool {
        let key_wanted = self
            .waiters
            .values()
            .any(|waiter| waiter.awaited == Awaited::Keys(Missing::Key));
        let heal = self.damaged
            && self
                .control
                .age_ms(now_ms)
                .is_some_and(|age| age > EVERY_MS);
        if self.control.due(now_ms, key_wanted).is_none() && !heal {
            return false;
        }
        // Once more, with the version to write against.
        let Ok((control, cas)) = self.store.control() else {
            return false;
        };
        let fetch = match control.due(now_ms, key_wanted) {
            Some(fetch) => fetch,
            None if heal && !control.is_leased(now_ms) => Fetch::Scheduled,
            None => return false,
        };
        let (leased, lease) = control.leased(fetch, now_ms, self.timing);
        match self.store.write_control(&leased, cas) {
            Ok(true) => {
                self.control = leased;
                self.fetching = Some(Fetching {
                    lease,
                    started_ms: now_ms,
                    token: None,
                });
                true
            }
            // Another VM was faster; its fetch serves this one too.
            Ok(false) | Err(_) => false,
        }
    }

    /// The call's token, by which its answer is known.
    pub(crate) fn fetch_began(&mut self, token: u32) {
        if let Some(fetching) = &mut self.fetching {
            fetching.token = Some(token);
        }
    }

    /// Whether an answer is to the fetch under way. A late one, to a lease that
    /// this VM has lost and taken again, is not.
    pub(crate) fn is_fetch(&self, token: u32) -> bool {
        self.fetching
            .as_ref()
            .is_some_and(|fetching| fetching.token == Some(token))
    }

    /// The fetch brought a document, or failed for a reason in words.
    pub(crate) fn fetch_ended(&mut self, answer: Result<Vec<u8>, String>, now_ms: u64) {
        let Some(fetching) = self.fetching.take() else {
            return;
        };
        let parsed = answer.and_then(
            |document| match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => Ok((document, keys)),
                Err(why) => Err(why.to_string()),
            },
        );
        self.metrics
            .jwks_fetch(if parsed.is_ok() { "ok" } else { "error" });
        for _ in 0..WRITE_ATTEMPTS {
            let (Ok(version), Ok((control, cas))) =
                (self.store.key_set_version(), self.store.control())
            else {
                return;
            };
            if !control.holds(fetching.lease) {
                // Another VM took over; what it writes counts.
                return;
            }
            let (next, log) = match &parsed {
                Ok((document, _)) => {
                    let next = control.succeeded(fetching.started_ms, now_ms, self.timing, now_ms);
                    if self.store.write_key_set(next.generation, document, version) != Ok(true) {
                        continue;
                    }
                    (next, false)
                }
                Err(_) => control.failed(now_ms, now_ms),
            };
            if self.store.write_control(&next, cas) != Ok(true) {
                continue;
            }
            self.control = next;
            match parsed {
                Ok((_, keys)) => {
                    let (kept, skipped) = (keys.keys().len(), keys.skipped());
                    host::log(
                        Level::Info,
                        &format!("caracal: key set fetched: {kept} keys usable, {skipped} skipped"),
                    );
                    self.adopt(keys);
                }
                Err(why) if log => {
                    let (upstream, path) = (&self.upstream, &self.target.path);
                    host::log(
                        Level::Error,
                        &format!("caracal: key set not fetched from {upstream}{path}: {why}"),
                    );
                }
                Err(_) => {}
            }
            return;
        }
        host::log(
            Level::Error,
            "caracal: the key set that was fetched could not be shared",
        );
    }

    /// Whether an answer is to a poll of the companion under way.
    pub(crate) fn is_poll(&self, token: u32) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.try_borrow().is_ok_and(|feed| feed.is_poll(token)))
    }

    pub(crate) fn poll_ended(&mut self, answer: Result<(u16, Vec<u8>), String>, now_ms: u64) {
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
        self.metrics.memory();
        if let Some(feed) = &self.feed
            && let Ok(feed) = feed.try_borrow()
        {
            feed.report(&mut self.metrics, now_ms);
        }
        if let Some(age) = self
            .adopted
            .as_ref()
            .and_then(|adopted| adopted.control.age_ms(now_ms))
        {
            self.metrics.jwks_age(age / 1_000);
        }
    }
}

/// A mandate is not refused for what the edge lacks: 503, and it can be retried.
fn unavailable(what: &'static str) -> Verdict {
    Verdict::Refused(Refusal::unavailable(what), None)
}

fn no_clock() -> Verdict {
    unavailable("The edge has no clock")
}
