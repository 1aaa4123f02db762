//! Audit: makes events of decisions, and sends them to the companion in batches. No request
//! waits for it. A VM that traps, or whose proxy is stopped, loses what it has not sent.

pub(crate) mod records;

use std::cell::Cell;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::audit::event::{
    Event, Status, mandate_members, resource_member, zone_members,
};
use caracal_mandate::audit::id::EventIds;
use caracal_mandate::audit::queue::AuditQueue;
use caracal_mandate::config::{Audit, AuditDecisions, Configuration};
use caracal_mandate::exchange::rewrite::Rewrite;
use caracal_mandate::fetch_failure::{Kind, Logged};
use caracal_mandate::json::{self, Number, Value};
use caracal_mandate::reply::{ErrorCode, Refusal};
use caracal_mandate::zone::Zones;

use crate::abi::hostcalls::{self, LogLevel};
use crate::abi::wasi;
use crate::proxy::Proxy;
use crate::proxy::adapter::SeenResponse;
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::audit::records::{Decided, Ended};
use crate::vm::authorizer::Authorizer;
use crate::vm::callouts::{CompanionClient, companion_error};
use crate::vm::metrics::Metrics;
use crate::vm::request_info::RequestInfo;

/// Longest wait for the companion, which answers when the events are on its disk.
const TIMEOUT_MS: u64 = 5_000;
/// Events about requests without a verified mandate: so many a second in a VM, and so many
/// at once.
const EACH_SECOND: u64 = 100;
const BURST: u64 = 1_000;
const MILLION: u64 = 1_000_000;
/// Largest answer.
pub(crate) const MAX_ANSWER_BYTES: usize = 4_096;

/// The audit of one configuration in one VM.
pub(crate) struct AuditLog {
    companion: CompanionClient,
    denied_only: bool,
    proxy: Proxy,
    /// The proxy's name for the companion.
    upstream: Rc<str>,
    /// Events about requests without a verified mandate that may come now, in millionths,
    /// and when that was computed.
    allowance: Cell<(u64, u64)>,
    /// The root context of the configuration.
    root: u32,
    /// What events say of each zone. A request that names none is the first one's.
    zones: Vec<Rc<str>>,
    queue: AuditQueue,
    /// The token of the callout that is under way.
    pending: Option<u32>,
    ids: EventIds,
    /// What events say of each resource, by its `ResourceId::place`.
    resources: Vec<Rc<str>>,
    logged: Logged,
}

/// Why the companion did not take a batch.
enum NotTaken {
    /// It may take the batch later.
    Failed(CalloutFailure),
    /// It will never take it.
    Refused(CalloutFailure),
}

impl AuditLog {
    #[cold]
    pub(crate) fn new(
        configuration: &Configuration,
        settings: &Audit,
        zones: &Zones,
        authorizer: &Authorizer,
        root: u32,
    ) -> Self {
        let mut seed = [0; 16];
        let started = [wasi::unix_time_us(), wasi::monotonic_ns()];
        for (part, number) in seed.chunks_mut(8).zip(started) {
            part.copy_from_slice(&number.unwrap_or_default().to_le_bytes());
        }
        records::register(root, &settings.upstream);
        let is_gateway = configuration.gateway.is_some();
        AuditLog {
            upstream: settings.upstream.as_str().into(),
            allowance: Cell::new((BURST.saturating_mul(MILLION), 0)),
            companion: CompanionClient::of_audit(settings),
            denied_only: settings.decisions == AuditDecisions::Denied,
            proxy: Proxy::of(configuration),
            root,
            zones: zones
                .iter()
                .map(|(_, zone)| zone_members(&zone.id, is_gateway).into())
                .collect(),
            queue: AuditQueue::default(),
            pending: None,
            ids: EventIds::new(seed),
            resources: authorizer
                .resource_names()
                .map(|name| resource_member(name).into())
                .collect(),
            logged: Logged::default(),
        }
    }

    /// Notes an admitted request.
    #[cold]
    #[inline(never)]
    pub(crate) fn admitted(
        &self,
        request: &RequestInfo,
        mandate: &Rc<Mandate>,
        rewrite: Option<&Rewrite>,
        in_shadow: bool,
    ) {
        if self.denied_only {
            return;
        }
        let Some(mut decided) = self.decided(request, Some(mandate)) else {
            return;
        };
        decided.is_allowed = true;
        decided.in_shadow = in_shadow;
        decided.status = Status::Executed;
        decided.upstream_host = rewrite.map(|rewrite| rewrite.authority.clone());
        records::begin(self.root, decided);
    }

    /// Notes a refused request.
    #[cold]
    #[inline(never)]
    pub(crate) fn refused(
        &self,
        request: &RequestInfo,
        refusal: &Refusal,
        mandate: Option<&Rc<Mandate>>,
        in_shadow: bool,
    ) {
        let Some(mut decided) = self.decided(request, mandate) else {
            return;
        };
        if mandate.is_none() && !self.may_be_recorded(decided.at_us) {
            records::suppress();
            return;
        }
        let code = refusal.code();
        decided.in_shadow = in_shadow;
        decided.reason = Some(code.as_str());
        decided.diagnostic = Some(refusal.reason());
        decided.status = match code {
            ErrorCode::StsUnavailable | ErrorCode::ExchangeFailed => Status::Unavailable,
            ErrorCode::UpstreamMismatch => Status::UpstreamRejected,
            ErrorCode::UpstreamRequest if refusal.is_used_up() => Status::BuildFailed,
            _ => Status::Denied,
        };
        // The product's Gateway counts as allowed what the STS has allowed.
        decided.is_allowed = matches!(
            decided.status,
            Status::UpstreamRejected | Status::BuildFailed
        );
        records::begin(self.root, decided);
    }

    /// Whether one more event about a request without a verified mandate may come. Anybody
    /// can send such requests, and events stay in Redis.
    fn may_be_recorded(&self, now_us: u64) -> bool {
        let (left, since_us) = self.allowance.get();
        let grown = now_us.saturating_sub(since_us).saturating_mul(EACH_SECOND);
        let most = BURST.saturating_mul(MILLION);
        let left = left.saturating_add(grown).min(most);
        let rest = left.checked_sub(MILLION);
        self.allowance.set((rest.unwrap_or(left), now_us));
        rest.is_some()
    }

    fn decided(&self, request: &RequestInfo, mandate: Option<&Rc<Mandate>>) -> Option<Decided> {
        // What a token says of its zone counts when it is verified.
        let zone = match (mandate, request.zone) {
            (Some(_), Some(zone)) => self.zones.get(zone.place()),
            _ => self.zones.first(),
        };
        let facts = request.audit.as_ref()?;
        Some(Decided {
            proxy: self.proxy,
            at_us: wasi::unix_time_us()?,
            facts: Rc::clone(facts),
            is_allowed: false,
            in_shadow: false,
            was_cut: false,
            was_interrupted: false,
            status: Status::Denied,
            reason: None,
            diagnostic: None,
            zone: Rc::clone(zone?),
            companion: Rc::clone(&self.upstream),
            request_id: request.gateway.as_ref().map(|kept| kept.request_id.clone()),
            seen: SeenResponse {
                began_ns: facts.began_ns,
                ..SeenResponse::default()
            },
            resource: request
                .resource
                .and_then(|id| self.resources.get(id.place()).cloned()),
            fingerprint: request.fingerprint,
            mandate: mandate.map(Rc::clone),
            upstream_host: None,
        })
    }

    /// Makes events of the streams that have ended, and sends the batch that is due.
    #[cold]
    #[inline(never)]
    pub(crate) fn on_tick(&mut self, metrics: &mut Metrics, now_ms: u64) {
        let taken = records::take(self.root, &self.upstream);
        let mut dropped = taken.dropped;
        for batch in taken.unsent {
            let events = u64::try_from(batch.events()).unwrap_or(u64::MAX);
            if !self.queue.push_batch(batch, now_ms) {
                dropped = dropped.saturating_add(events);
            }
        }
        for one in taken.ended {
            let has_room = self.queue.has_room(one.decided.mandate.is_some());
            let ids = &mut self.ids;
            if !has_room || !self.queue.push(now_ms, |out| write_event(&one, ids, out)) {
                dropped = dropped.saturating_add(1);
            }
        }
        if dropped > 0 {
            metrics.audit_dropped(dropped);
            let words = "the companion does not take them fast enough; they are lost";
            self.log(&CalloutFailure::new(Kind::Capacity, words), now_ms);
        }
        let Some(batch) = self.queue.next_batch(now_ms) else {
            return;
        };
        self.pending = self.companion.audit(batch, TIMEOUT_MS).ok();
        if self.pending.is_none() {
            self.queue.failed(now_ms);
            self.log(&CalloutFailure::dispatch_failed(), now_ms);
        }
    }

    /// Whether there are events to send.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a callout sends events.
    pub(crate) fn is_pending(&self, token: u32) -> bool {
        self.pending == Some(token)
    }

    /// The companion has answered.
    #[cold]
    #[inline(never)]
    pub(crate) fn on_response(
        &mut self,
        answer: CalloutResult,
        metrics: &mut Metrics,
        now_ms: u64,
    ) {
        self.pending = None;
        match taken(answer) {
            Ok(rejected) => {
                let sent = u64::try_from(self.queue.done(now_ms)).unwrap_or(u64::MAX);
                metrics.audit_sent(sent.saturating_sub(rejected));
                if rejected > 0 {
                    metrics.audit_dropped(rejected);
                    let words = format!("it refuses {rejected} of {sent} events; they are lost");
                    self.log(&CalloutFailure::new(Kind::Unreadable, words), now_ms);
                }
            }
            Err(NotTaken::Failed(why)) => {
                self.queue.failed(now_ms);
                self.log(&why, now_ms);
            }
            Err(NotTaken::Refused(why)) => {
                let lost = self.queue.done(now_ms);
                metrics.audit_dropped(u64::try_from(lost).unwrap_or(u64::MAX));
                self.log(&why, now_ms);
            }
        }
    }

    fn log(&mut self, why: &CalloutFailure, now_ms: u64) {
        if self.logged.is_news(why.cause(), now_ms) {
            let upstream = &self.companion.upstream;
            hostcalls::log(
                LogLevel::Error,
                &format!("caracal: audit events for {upstream}: {}", why.words),
            );
        }
    }
}

/// Its events are not lost with it.
impl Drop for AuditLog {
    fn drop(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        records::unregister(self.root, &self.upstream, queue.into_batches());
    }
}

#[inline(never)]
fn write_event(ended: &Ended, ids: &mut EventIds, out: &mut Vec<u8>) {
    let decided = &ended.decided;
    let facts = &decided.facts;
    let hex = decided.fingerprint.map(|fingerprint| fingerprint.to_hex());
    let hex = hex.as_ref().and_then(|hex| std::str::from_utf8(hex).ok());
    let of_client = facts.request_id.as_deref();
    let parts: [&[u8]; 4] = [
        &facts.stream.to_le_bytes(),
        &decided.at_us.to_le_bytes(),
        of_client.unwrap_or_default().as_bytes(),
        hex.unwrap_or_default().as_bytes(),
    ];
    let id = ids.next(decided.at_us / 1_000, &parts);
    let id = std::str::from_utf8(&id).unwrap_or_default();
    let mandate = decided.mandate.as_ref();
    Event {
        id,
        occurred_at_us: decided.at_us,
        zone: &decided.zone,
        request_id: decided.request_id.as_deref().or(of_client).unwrap_or(id),
        is_allowed: decided.is_allowed,
        status: Some(decided.status),
        answered: ended.answered,
        mandate: mandate.map_or("", |mandate| mandate.audited(mandate_members)),
        resource: decided.resource.as_deref().unwrap_or_default(),
        subject_fingerprint: hex,
        method: Some(&*facts.method).filter(|method| !method.is_empty()),
        trace_id: facts.trace_id.as_deref(),
        was_interrupted: decided.was_interrupted,
        in_shadow: decided.in_shadow,
        error_kind: ended.error_kind,
        reason: decided.reason,
        diagnostic: decided.diagnostic,
        upstream_host: decided.upstream_host.as_deref(),
    }
    .write(out);
}

/// How many events of a batch the companion has not taken.
fn taken(answer: CalloutResult) -> Result<u64, NotTaken> {
    let unreadable = || {
        let words = "its answer cannot be read";
        NotTaken::Failed(CalloutFailure::new(Kind::Unreadable, words))
    };
    match answer.map_err(NotTaken::Failed)? {
        (200, body) => {
            let members = json::parse_object(&body).map_err(|_| unreadable())?;
            match json::member(&members, "rejected") {
                Some(Value::Number(Number::Integer(rejected))) => Ok(*rejected),
                _ => Err(unreadable()),
            }
        }
        // What a batch is made of does not change when it is sent again.
        (status @ (400 | 413 | 422), _) => Err(NotTaken::Refused(CalloutFailure::new(
            Kind::Status,
            format!("it refuses a batch with status {status}; its events are lost"),
        ))),
        (404, _) => Err(NotTaken::Failed(CalloutFailure::new(
            Kind::Status,
            "the companion takes none: caracal-edge feed --audit-dir",
        ))),
        (status, body) => Err(NotTaken::Failed(companion_error(status, &body))),
    }
}
