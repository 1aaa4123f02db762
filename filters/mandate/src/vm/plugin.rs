//! One configuration in one VM. It owns the parts of this room and coordinates them; each
//! part has its own file. It uses all of this room, and nothing in this room uses it.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::verifier::Credential;
use caracal_mandate::jwks::key_set::MAX_DOCUMENT_BYTES;
use caracal_mandate::reply::Refusal;
use caracal_mandate::revocation::lookup_cache::MAX_ANSWER_BYTES;
use caracal_mandate::revocation::page::MAX_PAGE_BYTES;
use caracal_mandate::upstream::Forwarding;

use crate::abi::exports::HttpCallResponse;
use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::adapter::WhenMissing;
use crate::vm::authorizer::{Authorizer, no_clock};
use crate::vm::request_callouts::{CalloutEnd, RequestCallouts};
use crate::vm::request_info::{Authorization, RequestInfo, ResolvedRequest, StreamPhase};
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
    callouts: RequestCallouts,
    reported_ms: u64,
    /// When ages were first reported.
    started_ms: Option<u64>,
}

impl Plugin {
    #[cold]
    pub(crate) fn new(configuration: &Configuration, root: u32) -> Result<Self, String> {
        let limits = &configuration.limits;
        Ok(Plugin {
            proxy: Proxy::of(configuration),
            proxy_verified: false,
            forwarding: Forwarding::from(&configuration.forward),
            max_token_bytes: usize::try_from(limits.max_token_bytes).unwrap_or(usize::MAX),
            filter_state: configuration.filter_state,
            variable_missing: Cell::new(false),
            authorizer: Authorizer::new(configuration)?,
            waiting: WaitingRequests::new(limits),
            callouts: RequestCallouts::new(limits, root),
            reported_ms: 0,
            started_ms: None,
        })
    }

    /// Refuses requests if this is not the configured proxy.
    ///
    /// # Errors The reply, also if the proxy cannot be identified yet.
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
            return Authorization::Decided(no_clock());
        };
        let authorizer = &mut self.authorizer;
        match self.proxy.capabilities().when_missing {
            WhenMissing::Pause => self
                .waiting
                .authorize(authorizer, stream, request, credential, phase, now_ms),
            WhenMissing::Refuse => {
                Authorization::Decided(authorizer.authorize_or_refuse(&credential, now_ms))
            }
            WhenMissing::CallOut => self
                .callouts
                .authorize(authorizer, stream, request, credential, phase, now_ms),
        }
    }

    /// A stream has ended while its request waited.
    pub(crate) fn on_stream_closed(&mut self, stream: u32) {
        self.callouts.cancel(&self.authorizer, stream);
        if self.waiting.remove(stream) {
            self.authorizer.metrics.paused(-1);
        }
    }

    /// Fetches and polls what is due, and returns the requests that can be decided now.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> Vec<ResolvedRequest> {
        self.authorizer.load_shared_key_set();
        self.authorizer.key_set.report_turn(now_ms);
        let resolved = self.waiting.resolve(&mut self.authorizer, now_ms);
        let unknown_kid = self.waiting.has_unknown_kid();
        self.authorizer.fetch_key_set_if_due(unknown_kid, now_ms);
        self.authorizer.poll_companion_if_due(now_ms);
        self.report(now_ms);
        resolved
    }

    /// A callout of a tick has ended. Returns the requests that can be decided now.
    pub(crate) fn on_callout_response(
        &mut self,
        response: HttpCallResponse,
        now_ms: u64,
    ) -> Vec<ResolvedRequest> {
        if let Some(fetch) = self.authorizer.key_set.take_fetch(response.token) {
            let answer = self.proxy.read_callout(response, MAX_DOCUMENT_BYTES);
            let metrics = &mut self.authorizer.metrics;
            let key_set = &mut self.authorizer.key_set;
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
        self.waiting.resolve(&mut self.authorizer, now_ms)
    }

    /// A request's own callout has ended. `None` if no such request waits.
    pub(crate) fn on_request_callout_response(
        &mut self,
        stream: u32,
        response: HttpCallResponse,
    ) -> Option<CalloutEnd> {
        let max = MAX_DOCUMENT_BYTES.max(MAX_ANSWER_BYTES);
        let response = self.proxy.read_callout(response, max);
        self.callouts
            .on_response(&mut self.authorizer, stream, response)
    }

    /// Flushes the counters, and reports ages and sizes once a second.
    fn report(&mut self, now_ms: u64) {
        self.authorizer.metrics.flush();
        if now_ms.saturating_sub(self.reported_ms) < REPORT_INTERVAL_MS {
            return;
        }
        self.reported_ms = now_ms;
        // If there is no age yet, report the time since the start, so that an alert on
        // the age works from the beginning.
        let started_ms = *self.started_ms.get_or_insert(now_ms);
        let since_start_ms = now_ms.saturating_sub(started_ms);
        self.authorizer.report(since_start_ms, now_ms);
    }
}
