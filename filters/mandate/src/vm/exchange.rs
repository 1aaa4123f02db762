//! Gateway mode: requests that wait for their exchange at the companion. Each makes one
//! callout; it has a deadline, and the number of those that wait has a bound.
//!
//! In Envoy the root context makes the callouts. When a callback for a callout of a request
//! traps, Envoy leaves that request hanging; one of the root context it answers with 503. In
//! APISIX each request makes its own, because nothing else can let it go on.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::config::{Configuration, Revocation};
use caracal_mandate::decision::verifier::Verdict;
use caracal_mandate::exchange::answer::{self, Granted};
use caracal_mandate::exchange::rewrite::check_request;
use caracal_mandate::fetch_failure::Logged;
use caracal_mandate::reply::{ErrorCode, Refusal};

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::callouts::{CompanionClient, exchange_error};
use crate::vm::missing;
use crate::vm::pending_callouts;
use crate::vm::places::{Place, Places};
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// How much longer than the callout's own timeout a request waits for its response.
const LOST_AFTER_MS: u64 = 2_000;

/// How old the companion's knowledge may be where the edge itself checks no revocation.
const DEFAULT_MAX_AGE_MS: u64 = 30_000;

/// A request that waits for its exchange.
pub(crate) struct PendingExchange {
    pub(crate) stream: u32,
    pub(crate) request: RequestInfo,
    pub(crate) mandate: Rc<Mandate>,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    _place: Place,
    began_ms: u64,
}

/// The requests of one configuration that wait for their exchange.
pub(crate) struct Exchanges {
    companion: CompanionClient,
    timeout_ms: u64,
    /// How old the companion's knowledge of revocations may be.
    max_age_ms: u64,
    /// The root context of the configuration, which makes the callouts.
    root: u32,
    /// Requests make their callouts themselves.
    own_callouts: bool,
    places: Places,
    /// By the callout's token; by the stream if the request makes the callout.
    pending: BTreeMap<u32, PendingExchange>,
    /// The same number by stream.
    tokens: BTreeMap<u32, u32>,
    /// The fingerprints of the mandates. Many requests with one mandate must not use up
    /// `limits.max_paused`, and all but one would be replays.
    mandates: BTreeSet<[u8; 16]>,
    logged: Logged,
}

impl Exchanges {
    /// `None` in connector mode.
    #[cold]
    pub(crate) fn new(
        configuration: &Configuration,
        zones: usize,
        root: u32,
        own_callouts: bool,
    ) -> Option<Self> {
        let gateway = configuration.gateway.as_ref()?;
        let max_age_ms = match &configuration.revocation {
            Revocation::Feed(feed) => feed.max_staleness_s.saturating_mul(1_000),
            // The companion looks at revocations whatever this edge does.
            Revocation::Disabled(_) => DEFAULT_MAX_AGE_MS,
        };
        Some(Exchanges {
            companion: CompanionClient::of_gateway(gateway),
            timeout_ms: gateway.timeout_ms,
            max_age_ms,
            root,
            own_callouts,
            places: Places::new(configuration.limits.max_paused, zones),
            pending: BTreeMap::new(),
            tokens: BTreeMap::new(),
            mandates: BTreeSet::new(),
            logged: Logged::default(),
        })
    }

    /// Asks the companion for a request whose mandate was admitted. `current` is the
    /// context of this callback: the callout is made in the root's name.
    ///
    /// # Errors
    /// The verdict on a request that cannot wait for its exchange. Its mandate is not used
    /// up.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        mandate: Rc<Mandate>,
        phase: &Rc<Cell<StreamPhase>>,
        current: u32,
        now_ms: u64,
    ) -> Result<(), Verdict> {
        let refuse = |refusal| Verdict::Refused(refusal, Some(Rc::clone(&mandate)));
        let lost = || missing::unavailable("The edge could not ask for the exchange");
        let gateway = request.gateway.as_ref().ok_or_else(lost)?;
        let place = self.places.take(request.zone.ok_or_else(lost)?);
        let place =
            place.ok_or_else(|| missing::waited("Too many requests wait for their exchange"))?;
        let exchange = gateway.exchange.as_ref().ok_or_else(lost)?;
        let resource = gateway.resource.as_ref().ok_or_else(lost)?;
        check_request(&exchange.method, &exchange.target).map_err(refuse)?;
        let fingerprint = mandate.fingerprint().to_hex();
        if self.mandates.contains(&fingerprint) {
            let what = "The mandate is being exchanged for another request";
            return Err(refuse(Refusal::new(ErrorCode::TokenReplay, what)));
        }
        let question = exchange
            .question(resource, self.max_age_ms)
            .ok_or_else(lost)?;
        let token = match self.own_callouts {
            true => self.dispatch_own(stream, phase, &question),
            false => self.dispatch(&question, current),
        };
        let token = token.map_err(|_| {
            self.log_failure(&CalloutFailure::dispatch_failed(), now_ms);
            missing::unavailable("The edge could not reach the companion")
        })?;
        let pending = PendingExchange {
            stream,
            request: request.clone(),
            mandate,
            phase: Rc::clone(phase),
            _place: place,
            began_ms: now_ms,
        };
        self.mandates.insert(fingerprint);
        self.tokens.insert(stream, token);
        self.pending.insert(token, pending);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn dispatch(&self, question: &[u8], current: u32) -> Result<u32, Status> {
        if current == self.root {
            return self.companion.exchange(question, self.timeout_ms);
        }
        hostcalls::set_effective_context(self.root)?;
        let token = self.companion.exchange(question, self.timeout_ms);
        // If this fails and the callout was made, the request waits, and nothing more is done
        // in this callback. If none was made, the refusal acts on the root context, which has
        // no request: none is let go on by that.
        let _ = hostcalls::set_effective_context(current);
        token
    }

    /// The request of this callback makes the callout. No reply may follow: APISIX would
    /// lose it.
    #[cold]
    #[inline(never)]
    fn dispatch_own(
        &self,
        stream: u32,
        phase: &Rc<Cell<StreamPhase>>,
        question: &[u8],
    ) -> Result<u32, Status> {
        if !pending_callouts::reserve(stream, self.root, phase) {
            return Err(Status::BAD_ARGUMENT);
        }
        match self.companion.exchange(question, self.timeout_ms) {
            Ok(token) => {
                pending_callouts::set_token(stream, token);
                Ok(stream)
            }
            Err(failed) => {
                pending_callouts::cancel(stream);
                Err(failed)
            }
        }
    }

    /// Without ticks, requests whose response is overdue are forgotten when there is no
    /// room for another one. If a response still comes, its request gets 503. Returns how
    /// many were forgotten.
    #[cold]
    #[inline(never)]
    pub(crate) fn forget_lost(&mut self, request: &RequestInfo, now_ms: u64) -> i64 {
        let is_full = |zone| self.places.take(zone).is_none();
        if !self.own_callouts || !request.zone.is_some_and(is_full) {
            return 0;
        }
        let mut lost = 0_i64;
        for (pending, _) in self.expired(now_ms) {
            pending_callouts::cancel(pending.stream);
            lost = lost.saturating_add(1);
        }
        lost
    }

    /// Takes out the request that a response is for.
    #[cold]
    #[inline(never)]
    pub(crate) fn take(&mut self, token: u32) -> Option<PendingExchange> {
        let pending = self.pending.remove(&token)?;
        self.tokens.remove(&pending.stream);
        self.mandates
            .remove(&pending.mandate.fingerprint().to_hex());
        Some(pending)
    }

    /// Forgets a request whose stream has ended. True when it waited.
    #[cold]
    #[inline(never)]
    pub(crate) fn remove(&mut self, stream: u32) -> bool {
        let token = self.tokens.get(&stream).copied();
        token.is_some_and(|token| self.take(token).is_some())
    }

    /// Takes out the requests for which no response will come any more. Each is looked at:
    /// a proxy may start its numbers of callouts again, and then the lowest is not the
    /// oldest.
    #[cold]
    #[inline(never)]
    pub(crate) fn expired(&mut self, now_ms: u64) -> Vec<(PendingExchange, Refusal)> {
        let longest_ms = self.longest_ms();
        let is_lost = |one: &PendingExchange| now_ms.saturating_sub(one.began_ms) >= longest_ms;
        let lost = self.pending.iter().filter(|(_, one)| is_lost(one));
        let lost: Vec<u32> = lost.map(|(token, _)| *token).collect();
        let taken = lost.into_iter().filter_map(|token| self.take(token));
        taken.map(|one| (one, answer::timed_out())).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// After this time no response is waited for.
    fn longest_ms(&self) -> u64 {
        self.timeout_ms.saturating_add(LOST_AFTER_MS)
    }

    /// What the companion has granted. A response that comes too late grants nothing: what
    /// it says of revocations is as old as it is.
    ///
    /// # Errors
    /// The reply to the client.
    #[cold]
    #[inline(never)]
    pub(crate) fn read(
        &mut self,
        pending: &PendingExchange,
        answer: CalloutResult,
        now_ms: u64,
    ) -> Result<Granted, Refusal> {
        let lasted_ms = now_ms.saturating_sub(pending.began_ms);
        if lasted_ms >= self.longest_ms() {
            return Err(answer::timed_out());
        }
        let why = match answer {
            Ok((200, body)) => return answer::parse(&body, self.max_age_ms),
            Ok((status, body)) => exchange_error(status, &body),
            Err(why) => why,
        };
        self.log_failure(&why, now_ms);
        Err(match lasted_ms >= self.timeout_ms {
            true => answer::timed_out(),
            false => answer::unreachable(),
        })
    }

    #[cold]
    fn log_failure(&mut self, why: &CalloutFailure, now_ms: u64) {
        if self.logged.is_news(why.cause(), now_ms) {
            let upstream = &self.companion.upstream;
            hostcalls::log(
                LogLevel::Error,
                &format!("caracal: no exchange at {upstream}: {}", why.words),
            );
        }
    }
}
