//! One configuration in one VM. It owns the parts of this room and coordinates them; each
//! part has its own file. It uses all of this room, and nothing in this room uses it.
//! `exchanging` is what it does besides in Gateway mode.

mod exchanging;

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::verifier::{Credential, Verdict};
use caracal_mandate::exchange::answer;
use caracal_mandate::forwarding::Forwarding;
use caracal_mandate::jwks::key_set::MAX_DOCUMENT_BYTES;
use caracal_mandate::reply::Refusal;
use caracal_mandate::revocation::lookup_cache::MAX_ANSWER_BYTES;
use caracal_mandate::revocation::page::MAX_PAGE_BYTES;

use crate::abi::exports::HttpCallResponse;
use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::adapter::WhenMissing;
use crate::vm::audit::{AuditLog, MAX_ANSWER_BYTES as MAX_AUDIT_ANSWER_BYTES};
use crate::vm::authorizer::Authorizer;
use crate::vm::exchange::Exchanges;
use crate::vm::live_streams::{CutStream, LiveStreams};
use crate::vm::messages::Messages;
use crate::vm::missing;
use crate::vm::pace::{Need, Pace};
use crate::vm::request_callouts::{CalloutEnd, RequestCallouts};
use crate::vm::request_info::{Authorization, RequestInfo, ResolvedRequest, StreamPhase};
use crate::vm::shadow::{self, ShadowNotice};
use crate::vm::shared_data;
use crate::vm::waiting::WaitingRequests;

/// How often ages and sizes are reported.
const REPORT_INTERVAL_MS: u64 = 1_000;

/// One configuration in one VM.
pub(crate) struct Plugin {
    pub(crate) proxy: Proxy,
    /// The proxy was found to be the configured one.
    proxy_verified: bool,
    pub(crate) forwarding: Forwarding,
    pub(crate) max_token_bytes: usize,
    /// Whether decisions are written to the filter state.
    pub(crate) filter_state: bool,
    /// The log already says that a variable cannot be set.
    pub(crate) variable_missing: Cell<bool>,
    pub(crate) authorizer: Authorizer,
    waiting: WaitingRequests,
    /// The requests whose messages of MCP are being read.
    pub(crate) messages: Messages,
    /// A request has more that is looked at than the least: it is in Gateway mode, or a
    /// route has rules of MCP.
    pub(crate) reads_more: bool,
    callouts: RequestCallouts,
    /// Gateway mode: the requests that wait for their exchange.
    exchanges: Option<Exchanges>,
    /// Ends requests with their authority.
    pub(crate) live: Option<LiveStreams>,
    /// Whether the time is measured that each request is here.
    pub(crate) timings: bool,
    /// Sends events of decisions, if they are wanted.
    pub(crate) audit: Option<AuditLog>,
    pub(crate) pace: Pace,
    /// Something is in shadow.
    shadow: Option<ShadowNotice>,
    /// The root context of the configuration.
    root: u32,
    reported_ms: u64,
    /// When ages were first reported.
    started_ms: Option<u64>,
}

impl Plugin {
    #[cold]
    pub(crate) fn new(
        configuration: &Configuration,
        digest: &str,
        pace: Pace,
        root: u32,
    ) -> Result<Self, String> {
        let limits = &configuration.limits;
        let proxy = Proxy::of(configuration);
        let own_callouts = proxy.capabilities().when_missing == WhenMissing::CallOut;
        let authorizer = Authorizer::new(configuration, digest)?;
        let zones = authorizer.key_sets.count();
        let audit = configuration.audit.as_ref();
        let audit = audit.map(|settings| {
            let zones = configuration.zones_in_force();
            AuditLog::new(configuration, settings, &zones, &authorizer, root)
        });
        Ok(Plugin {
            proxy,
            proxy_verified: false,
            forwarding: Forwarding::from(&configuration.forward),
            max_token_bytes: usize::try_from(limits.max_token_bytes).unwrap_or(usize::MAX),
            filter_state: configuration.filter_state,
            variable_missing: Cell::new(false),
            shadow: authorizer.shadow_notice(),
            reads_more: configuration.gateway.is_some() || authorizer.has_mcp(),
            authorizer,
            waiting: WaitingRequests::new(limits, zones),
            messages: Messages::new(limits),
            callouts: RequestCallouts::new(limits, zones, root),
            exchanges: Exchanges::new(configuration, zones, root, own_callouts),
            live: LiveStreams::new(configuration, root),
            timings: configuration.metrics.is_some_and(|metrics| metrics.timings),
            audit,
            pace,
            root,
            reported_ms: 0,
            started_ms: None,
        })
    }

    /// Refuses requests if this is not the configured proxy.
    ///
    /// # Errors
    /// The reply, also if the proxy cannot be identified yet.
    pub(crate) fn verify_proxy(&mut self) -> Result<(), Refusal> {
        if !self.proxy_verified {
            self.proxy.verify_kind()?;
            self.proxy_verified = true;
        }
        Ok(())
    }

    /// Decides on a request at once, or lets it wait.
    pub(crate) fn authorize(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        credential: Credential<'_>,
        phase: &Rc<Cell<StreamPhase>>,
    ) -> Authorization {
        let Some(now_ms) = wasi::monotonic_ms() else {
            return Authorization::Decided(missing::no_clock());
        };
        let authorizer = &mut self.authorizer;
        let authorization = match self.proxy.capabilities().when_missing {
            WhenMissing::Pause => self
                .waiting
                .authorize(authorizer, stream, request, credential, phase, now_ms),
            WhenMissing::Refuse => {
                Authorization::Decided(authorizer.authorize_or_refuse(&credential, now_ms))
            }
            WhenMissing::CallOut => self
                .callouts
                .authorize(authorizer, stream, request, credential, phase, now_ms),
        };
        match authorization {
            Authorization::Paused => {
                self.pace.hurry();
                Authorization::Paused
            }
            Authorization::Decided(Verdict::Admitted(mandate)) if self.is_gateway() => {
                match self.begin_exchange(stream, request, mandate, phase, stream, now_ms) {
                    Ok(()) => Authorization::Paused,
                    Err(verdict) => Authorization::Decided(verdict),
                }
            }
            authorization => authorization,
        }
    }

    /// Says that something is in shadow, if it was not said for a minute.
    pub(crate) fn remind_of_shadow(&mut self) {
        if let Some(notice) = &mut self.shadow
            && let Some(now_ms) = wasi::monotonic_ms()
        {
            notice.remind(now_ms);
        }
    }

    /// Whether mandates are exchanged before requests go on.
    pub(crate) fn is_gateway(&self) -> bool {
        self.exchanges.is_some()
    }

    /// A stream has ended while its request waited.
    pub(crate) fn on_stream_closed(&mut self, stream: u32) {
        if self.messages.take(stream).is_some() {
            return;
        }
        self.callouts.cancel(&self.authorizer, stream);
        let exchanged = self
            .exchanges
            .as_mut()
            .is_some_and(|all| all.remove(stream));
        if exchanged || self.waiting.remove(stream) {
            self.authorizer.metrics.paused(-1);
        }
    }

    /// Fetches and polls what is due, and returns the requests that can be decided now.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> Vec<ResolvedRequest> {
        let (wanted, _) = self.waiting.wanted();
        self.authorizer.forget_unix_time();
        self.authorizer.key_sets.load_some(wanted, now_ms);
        let resolved = self.waiting.resolve(&mut self.authorizer, now_ms);
        let mut resolved = self.exchange_admitted(resolved, now_ms);
        let expired = self.exchanges.as_mut().map(|all| all.expired(now_ms));
        for (pending, refusal) in expired.unwrap_or_default() {
            resolved.push(self.on_exchanged(pending, Err(refusal), now_ms));
        }
        resolved.extend(self.messages.expired(now_ms));
        let (wanted, unknown_kids) = self.waiting.wanted();
        self.authorizer
            .fetch_key_sets_if_due(wanted, unknown_kids, now_ms);
        self.authorizer.poll_companion_if_due(now_ms);
        if let Some(audit) = &mut self.audit {
            audit.on_tick(&mut self.authorizer.metrics, now_ms);
        }
        self.report(now_ms);
        resolved
    }

    /// Sets when the next tick comes. Called when a tick or the answer of a callout has been
    /// dealt with.
    pub(crate) fn settle_pace(&mut self, now_ms: u64) {
        if self.pace.can_change() {
            let need = self.need(now_ms);
            self.pace.settle(need, now_ms);
        }
    }

    fn need(&mut self, now_ms: u64) -> Need {
        let soon_ms = Pace::next_slow_ms(now_ms);
        let is_busy = !self.waiting.is_empty()
            || !self.messages.is_empty()
            || self.exchanges.as_ref().is_some_and(|all| !all.is_empty())
            || self.live.as_ref().is_some_and(LiveStreams::is_watching)
            || self.audit.as_ref().is_some_and(AuditLog::is_busy);
        let feed = self.authorizer.feed.as_ref();
        let feed = feed.map(|feed| match feed.try_borrow_mut() {
            Ok(mut feed) => feed.need(soon_ms),
            Err(_) => Need::Due,
        });
        match feed {
            _ if is_busy => Need::Busy,
            Some(Need::Busy) => Need::Busy,
            Some(Need::Due) => Need::Due,
            _ if self.authorizer.key_sets.is_due(soon_ms) => Need::Due,
            _ => Need::Nothing,
        }
    }

    /// The admitted requests whose authority has ended since.
    pub(crate) fn ended_streams(&mut self, now_ms: u64) -> Vec<CutStream> {
        let live = self.live.as_mut();
        live.map_or_else(Vec::new, |live| live.ended(&mut self.authorizer, now_ms))
    }

    /// A callout of a tick has ended. Returns the requests that can be decided now.
    pub(crate) fn on_callout_response(
        &mut self,
        response: HttpCallResponse,
        now_ms: u64,
    ) -> Vec<ResolvedRequest> {
        if let Some(exchanges) = self.exchanges.as_mut()
            && let Some(pending) = exchanges.take(response.token)
        {
            let answer = self.proxy.read_callout(response, answer::MAX_ANSWER_BYTES);
            let granted = exchanges.read(&pending, answer, now_ms);
            return vec![self.on_exchanged(pending, granted, now_ms)];
        }
        if let Some(audit) = &mut self.audit
            && audit.is_pending(response.token)
        {
            let answer = self.proxy.read_callout(response, MAX_AUDIT_ANSWER_BYTES);
            audit.on_response(answer, &mut self.authorizer.metrics, now_ms);
            return Vec::new();
        }
        let Authorizer {
            key_sets, metrics, ..
        } = &mut self.authorizer;
        if let Some((key_set, fetch)) = key_sets.take_fetch(response.token) {
            let answer = self.proxy.read_callout(response, MAX_DOCUMENT_BYTES);
            key_set.on_fetch_response(&fetch, answer, metrics, now_ms);
        } else if let Some(feed) = &self.authorizer.feed
            && let Ok(mut feed) = feed.try_borrow_mut()
            && feed.is_pending_poll(response.token)
        {
            let answer = self.proxy.read_callout(response, MAX_PAGE_BYTES);
            feed.on_poll_response(answer, &mut self.authorizer.metrics, now_ms);
        } else {
            // Nobody waits for this response any more.
            return Vec::new();
        }
        let resolved = self.waiting.resolve(&mut self.authorizer, now_ms);
        self.exchange_admitted(resolved, now_ms)
    }

    /// A request's own callout has ended. `None` if no such request waits.
    pub(crate) fn on_request_callout_response(
        &mut self,
        stream: u32,
        response: HttpCallResponse,
    ) -> Option<CalloutEnd> {
        if self.is_gateway()
            && let Some(end) = self.on_own_exchange(stream, response)
        {
            return Some(end);
        }
        let max = MAX_DOCUMENT_BYTES.max(MAX_ANSWER_BYTES);
        let response = self.proxy.read_callout(response, max);
        let end = self
            .callouts
            .on_response(&mut self.authorizer, stream, response)?;
        match end {
            CalloutEnd::Decided(resolved) if self.is_gateway() => {
                Some(self.exchange_decided(resolved))
            }
            end => Some(end),
        }
    }

    /// Flushes the counters, and reports ages and sizes once a second.
    fn report(&mut self, now_ms: u64) {
        self.authorizer.metrics.flush();
        let refused = shared_data::take_refused();
        self.authorizer.metrics.shared_data_refused(refused);
        if now_ms.saturating_sub(self.reported_ms) < REPORT_INTERVAL_MS {
            return;
        }
        self.reported_ms = now_ms;
        match &mut self.shadow {
            Some(notice) => {
                notice.report();
                notice.remind(now_ms);
            }
            None if self.started_ms.is_none() => shadow::report_none(&self.authorizer.metrics),
            None => {}
        }
        // If there is no age yet, report the time since the start, so that an alert on
        // the age works from the beginning.
        let started_ms = *self.started_ms.get_or_insert(now_ms);
        let since_start_ms = now_ms.saturating_sub(started_ms);
        self.authorizer.report(since_start_ms, now_ms);
    }
}
