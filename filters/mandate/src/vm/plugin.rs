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
use crate::request::outcome::RequestInfo;
use crate::vm::callouts::{CalloutResult, StsClient};
use crate::vm::key_set::{CurrentKeySet, PendingFetch};
use crate::vm::metrics::Metrics;
use crate::vm::request_callouts::PendingRequest;
use crate::vm::revocation::lookup::{LookupView, RevocationLookup};
use crate::vm::revocation::poller::{LogView, RevocationFeed, SLICE_MS};
use crate::vm::signatures::SignatureBackend;
use crate::vm::stores::KeySetStore;

/// How often the age of the key set is reported, and a damaged one is replaced.
pub(crate) const REPORT_INTERVAL_MS: u64 = 1_000;

/// Where a stream stands. Shared with the stream's context: a request that was
/// refused or still waits must not go on because a body arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamPhase {
    New,
    Paused,
    Continued,
    Replied,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    KeySet(Missing),
    Revocations,
}

/// A request that waits.
struct WaitingRequest {
    request: RequestInfo,
    credential: Credential<'static>,
    phase: Rc<Cell<StreamPhase>>,
    seen: Seen,
    reason: WaitReason,
    deadline_ms: u64,
    /// Completed fetches when it was last judged, and the key set it was judged
    /// by: no need to judge it twice.
    judged_at: u64,
    key_set: Option<(u64, u64)>,
}

/// What becomes of a request.
pub(crate) enum Authorization {
    Decided(Verdict),
    Paused,
}

/// A request that waited and is decided.
pub(crate) struct ResolvedRequest {
    pub(crate) stream: u32,
    pub(crate) request: RequestInfo,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    pub(crate) verdict: Verdict,
}

pub(crate) struct Plugin {
    verifier: Verifier,
    /// The root context whose configuration it is.
    pub(crate) root: u32,
    pub(crate) host: Host,
    /// It was found that the proxy is the configured one.
    proxy_verified: bool,
    pub(crate) forwarding: Forwarding,
    pub(crate) metrics: Metrics,
    pub(crate) sts: StsClient,
    pub(crate) timing: Timing,
    pub(crate) max_token_bytes: usize,
    /// Whether decisions are left in the filter state.
    pub(crate) filter_state: bool,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_paused: usize,
    pause_timeout_ms: u64,
    pub(crate) store: KeySetStore,
    /// The shared record as last read.
    pub(crate) record: Control,
    pub(crate) current: Option<CurrentKeySet>,
    pub(crate) stored_copy_damaged: bool,
    cache: MandateCache,
    signatures: SignatureBackend,
    waiting: BTreeMap<u32, WaitingRequest>,
    /// The requests that wait for calls of their own.
    pub(crate) callouts: Vec<PendingRequest>,
    /// A request that could not wait had a `kid` that is not in the key set.
    pub(crate) unknown_kid_seen: bool,
    pub(crate) pending_fetch: Option<PendingFetch>,
    /// The revocation state; none where revocation is disabled, or requests ask.
    pub(crate) feed: Option<RefCell<RevocationFeed>>,
    /// What requests were told by the companion, where they ask it themselves.
    pub(crate) lookup: Option<Rc<RefCell<RevocationLookup>>>,
    /// When the wall clock was read, on the monotonic one, and what it said.
    pub(crate) cached_unix_time: Option<(u64, u64)>,
    reported_ms: u64,
    /// When ages were first reported.
    started_ms: Option<u64>,
    /// The last decision checked a signature: the mandate is new in this VM.
    pub(crate) mandate_was_new: bool,
    /// When a request last waited for the key set as long as it takes, by the way.
    pub(crate) full_wait_ms: u64,
    pub(crate) shared_data_failed: bool,
    /// It was said that a variable cannot be set.
    pub(crate) variable_missing: Cell<bool>,
}

impl Plugin {
    #[cold]
    pub(crate) fn new(configuration: &Configuration, root: u32) -> Result<Self, String> {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let limits = &configuration.limits;
        let jwks = &configuration.jwks;
        let host = configuration.host;
        let (mut feed, mut lookup) = (None, None);
        if let Revocation::Feed(settings) = &configuration.revocation {
            match host {
                Host::Envoy | Host::Kong => {
                    feed = Some(RefCell::new(RevocationFeed::new(configuration, settings)));
                }
                Host::Apisix => lookup = Some(RevocationLookup::in_worker(configuration, settings)),
            }
        }
        Ok(Plugin {
            verifier: Verifier::from(configuration),
            root,
            host,
            proxy_verified: false,
            forwarding: Forwarding::from(&configuration.forward),
            metrics: Metrics::define(host)?,
            sts: StsClient::new(configuration),
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
            store: KeySetStore::new(configuration),
            record: Control::default(),
            current: None,
            stored_copy_damaged: false,
            cache: MandateCache::new(size(limits.max_cached_mandates)),
            signatures: match host {
                Host::Envoy => SignatureBackend::probe_host(),
                Host::Kong | Host::Apisix => SignatureBackend::in_wasm(),
            },
            waiting: BTreeMap::new(),
            callouts: Vec::new(),
            unknown_kid_seen: false,
            pending_fetch: None,
            feed,
            lookup,
            cached_unix_time: None,
            reported_ms: 0,
            started_ms: None,
            mandate_was_new: false,
            full_wait_ms: 0,
            shared_data_failed: false,
            variable_missing: Cell::new(false),
        })
    }

    /// Refuses requests where a configuration for Envoy is in Kong: what it does to
    /// headers does not hold there. Found out once: Envoy knows no such property.
    ///
    /// # Errors
    /// The reply, also while the host does not say.
    pub(crate) fn verify_proxy(&mut self) -> Result<(), Refusal> {
        if self.host != Host::Envoy || self.proxy_verified {
            return Ok(());
        }
        match hostcalls::get_property("ngx\0request_uri") {
            Ok(None) => {
                self.proxy_verified = true;
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
    pub(crate) fn forwarded_resource(&self, resource: ResourceId) -> Option<&str> {
        self.verifier.resources().told(resource)
    }

    /// Judges what needs no dependency.
    pub(crate) fn screen<'t>(&self, request: &RequestView<'t>) -> Result<Screened<'t>, Refusal> {
        self.verifier.screen(request, &self.cache)
    }

    /// Judges a request at once, or lets it wait.
    pub(crate) fn authorize(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        credential: Credential<'_>,
        phase: &Rc<Cell<StreamPhase>>,
    ) -> Authorization {
        let Some(now_ms) = wasi::monotonic_ms() else {
            return Authorization::Decided(no_clock());
        };
        match self.host {
            Host::Envoy => {}
            Host::Kong => {
                return Authorization::Decided(self.authorize_or_refuse(&credential, now_ms));
            }
            Host::Apisix => {
                return self.authorize_with_callout(stream, request, credential, phase, now_ms);
            }
        }
        let verdict = self.decide(&credential, false, now_ms);
        let reason = match verdict {
            Verdict::NeedsKeySet(missing) => WaitReason::KeySet(missing),
            Verdict::NeedsRevocations(_) => WaitReason::Revocations,
            verdict => return Authorization::Decided(verdict),
        };
        let seen = self.record.seen();
        if let Some(verdict) = self.verdict_without(reason, seen, now_ms) {
            return Authorization::Decided(verdict);
        }
        if self.waiting.len() >= self.max_paused {
            return Authorization::Decided(unavailable("Too many requests wait at this edge"));
        }
        let deadline_ms = now_ms.saturating_add(self.pause_timeout_ms);
        let waiting_request = WaitingRequest {
            request: request.clone(),
            credential: credential.into_owned(),
            phase: Rc::clone(phase),
            seen,
            reason,
            deadline_ms,
            judged_at: self.record.attempts,
            key_set: self.key_set_id(),
        };
        self.waiting.insert(stream, waiting_request);
        self.metrics.paused(1);
        Authorization::Paused
    }

    /// Judges a request that cannot wait: what it lacks it is answered, and the next
    /// tick fetches.
    #[cold]
    fn authorize_or_refuse(&mut self, credential: &Credential<'_>, now_ms: u64) -> Verdict {
        match self.decide(credential, false, now_ms) {
            Verdict::NeedsKeySet(missing) => {
                let reason = WaitReason::KeySet(missing);
                self.verdict_without(reason, self.record.seen(), now_ms)
                    .unwrap_or_else(|| {
                        self.unknown_kid_seen |= missing == Missing::Key;
                        unavailable("The zone's key set is being fetched")
                    })
            }
            Verdict::NeedsRevocations(_) => unavailable("The revocation state is being read"),
            verdict => verdict,
        }
    }

    /// A stream has ended. It can do so while its request waits.
    pub(crate) fn on_stream_closed(&mut self, stream: u32) {
        self.cancel_callout(stream);
        if self.waiting.remove(&stream).is_some() {
            self.metrics.paused(-1);
        }
    }

    /// Unix time in whole seconds. Read once in a millisecond.
    fn unix_time_s(&mut self, now_ms: u64) -> Option<u64> {
        if let Some((read_ms, wall_s)) = self.cached_unix_time
            && read_ms == now_ms
        {
            return Some(wall_s);
        }
        let wall_s = wasi::unix_time_s()?;
        self.cached_unix_time = Some((now_ms, wall_s));
        Some(wall_s)
    }

    /// Decides by what there is. `already_checked`: the request has asked the companion, and has
    /// to do with what it was told.
    pub(crate) fn decide(
        &mut self,
        credential: &Credential<'_>,
        already_checked: bool,
        now_ms: u64,
    ) -> Verdict {
        let Some(now) = self.unix_time_s(now_ms) else {
            return no_clock();
        };
        let usable = self
            .current
            .as_ref()
            .filter(|current| current.control.is_usable(now_ms, self.timing));
        let signatures = self.signatures.recorder();
        let view = self.feed.as_ref().map(|feed| LogView { feed, now_ms });
        let lookup = self.lookup.as_ref().map(|lookup| lookup.try_borrow());
        let answers = match &lookup {
            None => None,
            Some(Ok(lookup)) => Some(LookupView {
                lookup,
                already_checked,
                now_ms,
                was_unavailable: Cell::new(false),
            }),
            Some(Err(_)) => return unavailable("The edge is busy with itself"),
        };
        let revocation: &dyn RevocationView = match (&view, &answers) {
            (Some(view), _) => view,
            (None, Some(answers)) => answers,
            (None, None) => &Disabled,
        };
        let context = Context {
            keys: usable.map(|current| &current.keys),
            revocation,
            signatures: &signatures,
            now,
        };
        let verdict = self.verifier.decide(credential, context, &mut self.cache);
        let was_unavailable = answers.is_some_and(|answers| answers.was_unavailable.get());
        drop(lookup);
        if was_unavailable {
            self.report_lookup_refusal(now_ms);
        }
        let checks = signatures.into_results();
        self.mandate_was_new = !checks.is_empty();
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
    pub(crate) fn report_lookup_refusal(&self, now_ms: u64) {
        if let Some(Ok(mut lookup)) = self.lookup.as_ref().map(|a| a.try_borrow_mut()) {
            lookup.record_refusal(now_ms);
        }
    }

    /// What a request is answered that lacks something; `None` when it waits.
    pub(crate) fn verdict_without(
        &self,
        reason: WaitReason,
        seen: Seen,
        now_ms: u64,
    ) -> Option<Verdict> {
        let outlook = match reason {
            WaitReason::KeySet(Missing::KeySet) => self.record.without_key_set(),
            WaitReason::KeySet(Missing::Key) => self.record.without_key(seen, now_ms),
            // Whoever decides finds out whether they will come.
            WaitReason::Revocations => Outlook::Wait,
        };
        match outlook {
            Outlook::Wait => None,
            Outlook::UnknownKey => Some(Verdict::Refused(Verifier::unknown_key(), None)),
            Outlook::Unavailable => Some(unavailable("The zone's key set cannot be fetched")),
        }
    }

    /// Takes out the requests that can be decided now, as far as the time for one
    /// callback goes.
    pub(crate) fn resolve_waiting(&mut self, now_ms: u64) -> Vec<ResolvedRequest> {
        let mut resolved = Vec::new();
        let revocations_pending = self.feed.as_ref().is_some_and(|feed| {
            let view = LogView { feed, now_ms };
            !self.waiting.is_empty() && view.availability() == Availability::Pending
        });
        let key_set = self.key_set_id();
        let due: Vec<u32> = self
            .waiting
            .iter()
            .filter(|(_, waiting_request)| {
                let news = match waiting_request.reason {
                    WaitReason::KeySet(_) => {
                        waiting_request.judged_at != self.record.attempts
                            || waiting_request.key_set != key_set
                    }
                    WaitReason::Revocations => !revocations_pending,
                };
                news || waiting_request.deadline_ms <= now_ms
            })
            .map(|(stream, _)| *stream)
            .collect();
        for stream in due {
            let Some(now_ms) =
                wasi::monotonic_ms().filter(|now| now.saturating_sub(now_ms) <= SLICE_MS)
            else {
                break;
            };
            let Some(mut waiting_request) = self.waiting.remove(&stream) else {
                continue;
            };
            let mut verdict = self.decide(&waiting_request.credential, false, now_ms);
            let reason = match verdict {
                Verdict::NeedsKeySet(missing) => Some(WaitReason::KeySet(missing)),
                Verdict::NeedsRevocations(_) => Some(WaitReason::Revocations),
                Verdict::Admitted(_) | Verdict::Refused(..) => None,
            };
            if let Some(reason) = reason {
                waiting_request.reason = reason;
                waiting_request.judged_at = self.record.attempts;
                waiting_request.key_set = key_set;
                verdict = match self.verdict_without(reason, waiting_request.seen, now_ms) {
                    Some(verdict) => verdict,
                    None if waiting_request.deadline_ms <= now_ms => unavailable(match reason {
                        WaitReason::KeySet(_) => "The zone's key set did not come in time",
                        WaitReason::Revocations => "The revocation state did not come in time",
                    }),
                    None => {
                        self.waiting.insert(stream, waiting_request);
                        continue;
                    }
                };
            }
            self.metrics.paused(-1);
            resolved.push(ResolvedRequest {
                stream,
                request: waiting_request.request,
                phase: waiting_request.phase,
                verdict,
            });
        }
        resolved
    }

    /// Whether a request waits for a key that the key set does not have.
    pub(crate) fn has_unknown_kid(&self) -> bool {
        let waits = |waiting_request: &WaitingRequest| {
            waiting_request.reason == WaitReason::KeySet(Missing::Key)
        };
        self.unknown_kid_seen || self.waiting.values().any(waits)
    }

    /// Whether an answer is to a poll of the companion under way.
    pub(crate) fn is_pending_poll(&self, token: u32) -> bool {
        self.feed.as_ref().is_some_and(|feed| {
            feed.try_borrow()
                .is_ok_and(|feed| feed.is_pending_poll(token))
        })
    }

    pub(crate) fn on_poll_response(&mut self, answer: CalloutResult, now_ms: u64) {
        if let Some(feed) = &self.feed
            && let Ok(mut feed) = feed.try_borrow_mut()
        {
            feed.on_poll_response(answer, &mut self.metrics, now_ms);
        }
    }

    /// Reports what was counted, and ages and sizes once a second.
    pub(crate) fn report(&mut self, now_ms: u64) {
        self.metrics.flush();
        if now_ms.saturating_sub(self.reported_ms) < REPORT_INTERVAL_MS {
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
        let current = self.current.as_ref();
        let age_ms = current.and_then(|current| current.control.age_ms(now_ms));
        let skipped = current.map_or(0, |current| current.keys.skipped());
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
