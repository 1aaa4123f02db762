//! Gateway mode: admitted requests wait for their exchange, and are judged once more when
//! it has ended.

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::decision::verifier::{Credential, Verdict};
use caracal_mandate::exchange::answer::{self, Granted};
use caracal_mandate::exchange::question::ExchangeRequest;
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::reply::Refusal;
use caracal_mandate::request::RequestView;

use crate::abi::exports::HttpCallResponse;
use crate::abi::wasi;
use crate::vm::exchange::PendingExchange;
use crate::vm::missing;
use crate::vm::plugin::Plugin;
use crate::vm::request_callouts::CalloutEnd;
use crate::vm::request_info::{RequestInfo, ResolvedRequest, StreamPhase};

impl Plugin {
    /// Gateway mode: keeps what the exchange needs, as long as the headers are there.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep_for_exchange(
        &self,
        request: &mut RequestInfo,
        view: &RequestView<'_>,
        credential: &Credential<'_>,
    ) {
        let Some(kept) = request.gateway.as_mut().and_then(Rc::get_mut) else {
            return;
        };
        let name = self.authorizer.resource_name(credential.resource());
        kept.resource = name.map(str::to_owned);
        kept.exchange = Some(ExchangeRequest {
            token: credential.token().to_vec(),
            method: view.method.unwrap_or_default().to_vec(),
            target: view.target.unwrap_or_default().to_vec(),
            request_id: kept.request_id.clone(),
        });
    }

    /// # Errors
    /// The verdict on a request that cannot wait for its exchange.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_exchange(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        mandate: Rc<Mandate>,
        phase: &Rc<Cell<StreamPhase>>,
        current: u32,
        now_ms: u64,
    ) -> Result<(), Verdict> {
        let Some(exchanges) = &mut self.exchanges else {
            return Err(missing::unavailable("The edge exchanges no mandates"));
        };
        let lost = exchanges.forget_lost(request, now_ms);
        let begun = exchanges.begin(stream, request, mandate, phase, current, now_ms);
        match i64::from(begun.is_ok()).saturating_sub(lost) {
            0 => {}
            change => self.authorizer.metrics.paused(change),
        }
        begun
    }

    /// Lets requests that waited and were admitted go on to their exchange. The others are
    /// decided.
    #[cold]
    #[inline(never)]
    pub(super) fn exchange_admitted(
        &mut self,
        resolved: Vec<ResolvedRequest>,
        now_ms: u64,
    ) -> Vec<ResolvedRequest> {
        if !self.is_gateway() {
            return resolved;
        }
        let root = self.root;
        let mut decided = Vec::with_capacity(resolved.len());
        for mut one in resolved {
            if let Verdict::Admitted(mandate) = one.verdict {
                let begun = self.begin_exchange(
                    one.stream,
                    &one.request,
                    mandate,
                    &one.phase,
                    root,
                    now_ms,
                );
                match begun {
                    Ok(()) => continue,
                    Err(verdict) => one.verdict = verdict,
                }
            }
            decided.push(one);
        }
        decided
    }

    /// The exchange of a request has ended.
    #[cold]
    #[inline(never)]
    pub(super) fn on_exchanged(
        &mut self,
        pending: PendingExchange,
        granted: Result<Granted, Refusal>,
        now_ms: u64,
    ) -> ResolvedRequest {
        self.authorizer.metrics.paused(-1);
        let (verdict, rewrite) = match self.judge_exchange(&pending, granted, now_ms) {
            Ok((verdict, rewrite)) => (verdict, Some(rewrite)),
            Err(verdict) => (verdict, None),
        };
        ResolvedRequest {
            stream: pending.stream,
            request: pending.request,
            phase: pending.phase,
            verdict,
            rewrite,
        }
    }

    /// What changed while the request waited refuses it: it was revoked, it has expired, its
    /// key has gone.
    #[cold]
    #[inline(never)]
    pub(super) fn judge_exchange(
        &mut self,
        pending: &PendingExchange,
        granted: Result<Granted, Refusal>,
        now_ms: u64,
    ) -> Result<(Verdict, Rewrite), Verdict> {
        let mandate = &pending.mandate;
        let refuse = |refusal| Verdict::Refused(refusal, Some(Rc::clone(mandate)));
        let granted = granted.map_err(refuse)?;
        // From here on a refusal is one in vain: the mandate is used up.
        let lost = || {
            let what = "The edge has lost the request that was exchanged";
            refuse(Refusal::unavailable(what).used_up())
        };
        let gateway = pending.request.gateway.as_ref().ok_or_else(lost)?;
        let matched = pending.request.matched.ok_or_else(lost)?;
        let exchange = gateway.exchange.as_ref().ok_or_else(lost)?;
        let mandate = self
            .authorizer
            .decide_again(mandate, matched, &granted, now_ms)
            .map_err(|refusal| refuse(refusal.used_up()))?;
        let url = self
            .authorizer
            .upstream_url(matched.resource)
            .ok_or_else(lost)?;
        let expires_at = mandate.claims().exp;
        let rewrite = Rewrite::new(granted, url, &exchange.target, expires_at);
        let rewrite = rewrite.map_err(|refusal| refuse(refusal.used_up()))?;
        Ok((Verdict::Admitted(mandate), rewrite))
    }

    /// The exchange that a request has asked for itself has ended. `None` if it has asked
    /// for something else.
    #[cold]
    #[inline(never)]
    pub(super) fn on_own_exchange(
        &mut self,
        stream: u32,
        response: HttpCallResponse,
    ) -> Option<CalloutEnd> {
        let exchanges = self.exchanges.as_mut()?;
        let pending = exchanges.take(stream)?;
        let answer = self.proxy.read_callout(response, answer::MAX_ANSWER_BYTES);
        let (granted, now_ms) = match wasi::monotonic_ms() {
            Some(now_ms) => (exchanges.read(&pending, answer, now_ms), now_ms),
            None => (Err(answer::unreachable()), 0),
        };
        let resolved = self.on_exchanged(pending, granted, now_ms);
        Some(CalloutEnd::Decided(resolved))
    }

    /// A request that has fetched the key set is exchanged if it was admitted.
    #[cold]
    #[inline(never)]
    pub(super) fn exchange_decided(&mut self, mut resolved: ResolvedRequest) -> CalloutEnd {
        let Verdict::Admitted(mandate) = &resolved.verdict else {
            return CalloutEnd::Decided(resolved);
        };
        let (stream, mandate) = (resolved.stream, Rc::clone(mandate));
        let now_ms = wasi::monotonic_ms().ok_or_else(missing::no_clock);
        let begun = now_ms.and_then(|now_ms| {
            let phase = Rc::clone(&resolved.phase);
            self.begin_exchange(stream, &resolved.request, mandate, &phase, stream, now_ms)
        });
        match begun {
            Ok(()) => CalloutEnd::AnotherCallout,
            Err(verdict) => {
                resolved.verdict = verdict;
                CalloutEnd::Decided(resolved)
            }
        }
    }
}
