//! Decides with what this VM has now: the key set, the revocation state, known mandates
//! and the time. It does not wait and makes no callouts. If something is missing, the
//! verdict says so.

mod mcp;
mod public_replies;
pub(crate) mod under_way;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::decision::context::Context;
use caracal_mandate::decision::verifier::{Credential, Missing, Screened, Verdict, Verifier};
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::refresh::{FetchMark, FetchOutlook};
use caracal_mandate::reply::Refusal;
use caracal_mandate::request::RequestView;
use caracal_mandate::revocation::{Disabled, RevocationView};
use caracal_mandate::routing::resources::{ResourceId, RouteMatch};
use caracal_mandate::routing::upstream_url::UpstreamUrl;
use caracal_mandate::token::cache::MandateCache;
use caracal_mandate::zone::{ZoneIndex, ZoneSet};

use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::adapter::RevocationSource;
use crate::vm::key_sets::KeySets;
use crate::vm::metrics::Metrics;
use crate::vm::missing;
use crate::vm::revocation::log_view::LogView;
use crate::vm::revocation::lookup::{LookupView, RevocationLookup};
use crate::vm::revocation::poller::RevocationFeed;
use crate::vm::signatures::SignatureBackend;

/// What a decision needs and this VM does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    KeySet(Missing),
    Revocations,
}

/// Everything that one configuration needs for a decision.
pub(crate) struct Authorizer {
    verifier: Verifier,
    known_mandates: MandateCache,
    signatures: SignatureBackend,
    pub(crate) key_sets: KeySets,
    /// A copy of the companion's log. None if revocation is disabled, or if requests ask
    /// the companion.
    pub(crate) feed: Option<RefCell<RevocationFeed>>,
    /// The companion's answers for each zone, if requests ask it.
    lookups: Vec<Rc<RefCell<RevocationLookup>>>,
    pub(crate) metrics: Metrics,
    /// The wall clock when it was last read, and the monotonic time of that.
    cached_unix_time: Option<(u64, u64)>,
    /// The last decision checked a signature, so its mandate is new in this VM.
    pub(crate) mandate_was_new: bool,
}

impl Authorizer {
    #[cold]
    pub(crate) fn new(configuration: &Configuration, digest: &str) -> Result<Self, String> {
        let proxy = Proxy::of(configuration);
        let zones = configuration.zones_in_force();
        let (mut feed, mut lookups) = (None, Vec::new());
        if let Revocation::Feed(settings) = &configuration.revocation {
            match proxy.capabilities().revocation {
                RevocationSource::Feed => {
                    feed = Some(RefCell::new(RevocationFeed::new(
                        configuration,
                        settings,
                        &zones,
                    )));
                }
                // In Gateway mode the answer to the exchange says what is revoked.
                RevocationSource::Lookup if configuration.gateway.is_some() => {}
                RevocationSource::Lookup => {
                    let of_zone = |(_, zone)| {
                        RevocationLookup::in_worker(configuration, settings, zone, zones.len())
                    };
                    lookups = zones.iter().map(of_zone).collect();
                }
            }
        }
        let max_cached = configuration.limits.max_cached_mandates;
        Ok(Authorizer {
            verifier: Verifier::from(configuration),
            known_mandates: MandateCache::new(usize::try_from(max_cached).unwrap_or(usize::MAX)),
            signatures: SignatureBackend::probe(proxy),
            key_sets: KeySets::new(configuration, &zones)?,
            feed,
            lookups,
            metrics: Metrics::define(proxy.capabilities().metrics, configuration, digest, &zones)?,
            cached_unix_time: None,
            mandate_was_new: false,
        })
    }

    /// The id of a resource in the form for the upstream.
    pub(crate) fn forwarded_resource(&self, resource: ResourceId) -> Option<&str> {
        self.verifier.resources().forwarded_id(resource)
    }

    /// Decides as far as that is possible without keys and revocations.
    pub(crate) fn screen<'t>(
        &self,
        request: &RequestView<'t>,
        at: &mut Option<RouteMatch>,
    ) -> Result<Screened<'t>, Refusal> {
        self.verifier.screen_at(request, &self.known_mandates, at)
    }

    /// The companion's answers for a zone, if requests ask it.
    pub(crate) fn lookup(&self, zone: ZoneIndex) -> Option<&Rc<RefCell<RevocationLookup>>> {
        self.lookups.get(zone.place())
    }

    /// If the monotonic clock stands still, the wall clock must not stand still too.
    pub(crate) fn forget_unix_time(&mut self) {
        self.cached_unix_time = None;
    }

    /// Loads the shared key set of a zone if it has changed.
    pub(crate) fn load_shared_key_set(&mut self, zone: ZoneIndex, now_ms: u64) {
        self.forget_unix_time();
        if let Some(key_set) = self.key_sets.get_mut(zone) {
            key_set.load_shared();
            key_set.report_turn(now_ms);
        }
    }

    /// Unix time in whole seconds. It is read once in a millisecond.
    pub(crate) fn unix_time_s(&mut self, now_ms: u64) -> Option<u64> {
        if let Some((read_ms, unix_s)) = self.cached_unix_time
            && read_ms == now_ms
        {
            return Some(unix_s);
        }
        let unix_s = wasi::unix_time_s()?;
        self.cached_unix_time = Some((now_ms, unix_s));
        Some(unix_s)
    }

    /// Decides with what is there. `already_checked` means that the request has asked the
    /// companion, and is decided with its answer.
    pub(crate) fn decide(
        &mut self,
        credential: &Credential<'_>,
        already_checked: bool,
        now_ms: u64,
    ) -> Verdict {
        let Some(now) = self.unix_time_s(now_ms) else {
            return missing::no_clock();
        };
        let signatures = self.signatures.recorder();
        let zone = credential.zone();
        let log = log_view(self.feed.as_ref(), zone, now_ms);
        let lookup = zone.and_then(|zone| self.lookups.get(zone.place()));
        let lookup = lookup.map(|lookup| lookup.try_borrow());
        let answers = match &lookup {
            None => None,
            Some(Ok(lookup)) => Some(LookupView {
                lookup,
                already_checked,
                now_ms,
                was_unavailable: Cell::new(false),
            }),
            Some(Err(_)) => return missing::unavailable("Re-entrant call at the edge"),
        };
        let revocation: &dyn RevocationView = match (&log, &answers) {
            (Some(log), _) => log,
            (None, Some(answers)) => answers,
            (None, None) => &Disabled,
        };
        let context = Context {
            keys: usable_keys(&self.key_sets, zone, now_ms),
            revocation,
            signatures: &signatures,
            now,
        };
        let verdict = self
            .verifier
            .decide(credential, context, &mut self.known_mandates);
        let was_unavailable = answers.is_some_and(|answers| answers.was_unavailable.get());
        drop(lookup);
        if was_unavailable {
            self.record_lookup_refusal(zone, now_ms);
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

    /// Decides once more on a request whose exchange has ended. `granted` says what is
    /// revoked, unless this VM has a copy of the companion's log.
    ///
    /// # Errors
    /// The refusal, also when the VM does not have now what it decides by: it cannot wait,
    /// because its mandate is used up.
    #[cold]
    pub(crate) fn decide_again(
        &mut self,
        mandate: &Rc<Mandate>,
        matched: RouteMatch,
        granted: &dyn RevocationView,
        now_ms: u64,
    ) -> Result<Rc<Mandate>, Refusal> {
        let now = self
            .unix_time_s(now_ms)
            .ok_or_else(|| Refusal::unavailable(missing::NO_CLOCK))?;
        let signatures = self.signatures.recorder();
        let zone = self.verifier.zone_again(mandate, matched);
        let log = log_view(self.feed.as_ref(), zone, now_ms);
        let context = Context {
            keys: usable_keys(&self.key_sets, zone, now_ms),
            revocation: log
                .as_ref()
                .map_or(granted, |log| log as &dyn RevocationView),
            signatures: &signatures,
            now,
        };
        match self.verifier.decide_again(mandate, matched, context) {
            Verdict::Admitted(mandate) => Ok(mandate),
            Verdict::Refused(refusal, _) => Err(refusal),
            Verdict::NeedsKeySet(_) | Verdict::NeedsRevocations(_) => {
                let what = "The edge lost what it decides by while the mandate was exchanged";
                Err(Refusal::unavailable(what))
            }
        }
    }

    /// The upstream that the configuration has for a resource in Gateway mode.
    pub(crate) fn upstream_url(&self, resource: ResourceId) -> Option<&UpstreamUrl> {
        self.verifier
            .resources()
            .get(resource)?
            .upstream_url
            .as_ref()
    }

    /// The identifier of a resource.
    pub(crate) fn resource_name(&self, resource: ResourceId) -> Option<&str> {
        let found = self.verifier.resources().get(resource);
        found.map(|resource| resource.id.as_str())
    }

    /// The identifiers of the resources, each at its [`ResourceId::place`].
    pub(crate) fn resource_names(&self) -> impl Iterator<Item = &str> {
        let resources = self.verifier.resources();
        let all = resources.ids().filter_map(|id| resources.get(id));
        all.map(|resource| resource.id.as_str())
    }

    /// A request is refused because the companion has not answered about its mandate.
    #[cold]
    fn record_lookup_refusal(&self, zone: Option<ZoneIndex>, now_ms: u64) {
        let lookup = zone.and_then(|zone| self.lookup(zone));
        if let Some(Ok(mut lookup)) = lookup.map(|a| a.try_borrow_mut()) {
            lookup.record_refusal(now_ms);
        }
    }

    /// The verdict on a request for which something is missing; `None` if it is worth
    /// waiting for that.
    pub(crate) fn verdict_without(
        &self,
        reason: WaitReason,
        zone: ZoneIndex,
        mark: FetchMark,
        now_ms: u64,
    ) -> Option<Verdict> {
        let Some(key_set) = self.key_sets.get(zone) else {
            return Some(missing::no_zone());
        };
        let outlook = match reason {
            WaitReason::KeySet(Missing::KeySet) => key_set.record.without_key_set(),
            WaitReason::KeySet(Missing::Key) => key_set.record.without_key(mark, now_ms),
            // The next decision finds out whether they will come.
            WaitReason::Revocations => FetchOutlook::Wait,
        };
        match outlook {
            FetchOutlook::Wait => None,
            FetchOutlook::UnknownKey => Some(Verdict::Refused(Verifier::unknown_key(), None)),
            FetchOutlook::Unavailable => {
                Some(missing::no_key_set("The zone's key set cannot be fetched"))
            }
        }
    }

    /// Decides on a request that cannot wait. If something is missing, it gets 503, and
    /// the next tick fetches.
    #[cold]
    pub(crate) fn authorize_or_refuse(
        &mut self,
        credential: &Credential<'_>,
        now_ms: u64,
    ) -> Verdict {
        match self.decide(credential, false, now_ms) {
            Verdict::NeedsKeySet(missing) => {
                let Some(zone) = credential.zone() else {
                    return missing::no_zone();
                };
                let mark = self.key_sets.get(zone).map(|one| one.record.fetch_mark());
                let Some(mark) = mark else {
                    return missing::no_zone();
                };
                let reason = WaitReason::KeySet(missing);
                self.verdict_without(reason, zone, mark, now_ms)
                    .unwrap_or_else(|| {
                        self.key_sets.ask_for(zone, missing == Missing::Key);
                        missing::no_key_set("The zone's key set is being fetched")
                    })
            }
            Verdict::NeedsRevocations(_) => {
                missing::no_revocations("The revocation state is being read")
            }
            verdict => verdict,
        }
    }

    /// Fetches key sets that are due. Called in a tick.
    pub(crate) fn fetch_key_sets_if_due(
        &mut self,
        wanted: ZoneSet,
        unknown_kids: ZoneSet,
        now_ms: u64,
    ) {
        self.key_sets
            .fetch_if_due(wanted, unknown_kids, &mut self.metrics, now_ms);
    }

    /// Polls the companion if that is due. Called in a tick.
    pub(crate) fn poll_companion_if_due(&mut self, now_ms: u64) {
        if let Some(feed) = &self.feed
            && let Ok(mut feed) = feed.try_borrow_mut()
        {
            feed.on_tick(&mut self.metrics, now_ms);
        }
    }

    /// Lets another VM poll the companion at once, because this configuration goes.
    pub(crate) fn give_back(&self, now_ms: u64) {
        if let Some(feed) = &self.feed
            && let Ok(mut feed) = feed.try_borrow_mut()
        {
            feed.give_back(now_ms);
        }
    }

    /// Reports ages and sizes.
    pub(crate) fn report(&mut self, since_start_ms: u64, now_ms: u64) {
        self.metrics.memory();
        self.metrics.in_force();
        if let Some(feed) = &self.feed
            && let Ok(feed) = feed.try_borrow()
        {
            feed.report(&mut self.metrics, since_start_ms, now_ms);
        }
        self.key_sets
            .report(&mut self.metrics, since_start_ms, now_ms);
    }
}

/// The key set of a zone, unless there is none or it is too old.
fn usable_keys(key_sets: &KeySets, zone: Option<ZoneIndex>, now_ms: u64) -> Option<&KeySet> {
    key_sets.get(zone?)?.usable(now_ms)
}

/// The revocation log for a decision, if this VM has a copy. A mandate without a zone is
/// refused before the log is read.
fn log_view(
    feed: Option<&RefCell<RevocationFeed>>,
    zone: Option<ZoneIndex>,
    now_ms: u64,
) -> Option<LogView<'_>> {
    let zone = zone.unwrap_or(ZoneIndex::FIRST);
    Some(LogView {
        feed: feed?,
        zone,
        now_ms,
    })
}
