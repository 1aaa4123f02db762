//! The filter's metrics. Names in Envoy are flat: labels are parts of a name, and
//! `stats_tags` in envoy.yaml turns them into labels again.

use std::cell::Cell;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::authority::Ended;
use caracal_mandate::reply::{ErrorCode, Reason, Refusal};
use caracal_mandate::zone::{Zone, Zones};

use crate::abi::hostcalls::{self, MetricType, Status};
use crate::proxy::adapter::MetricSupport;
use crate::vm::signatures::VerifiedBy;

thread_local! {
    /// The bytes of linear memory that this VM added to the gauge, for all its
    /// configurations.
    static COUNTED_MEMORY: Cell<i64> = const { Cell::new(0) };
}

/// Ids of the metrics in this VM. All labels come from fixed lists. So all metrics are
/// defined with the configuration, and the filter does not start if the proxy refuses
/// one. If this failed in a tick instead, it could trap again and again.
#[derive(Debug)]
pub(crate) struct Metrics {
    support: MetricSupport,
    /// By name, because several zones have hundreds.
    ids: Vec<(String, u32)>,
    /// What requests have counted since the last tick. A tick adds it to the proxy's
    /// counters, which costs less than a call for each request.
    unflushed: Vec<(RequestCounter, i64)>,
}

/// What is counted for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestCounter {
    Admitted,
    Excluded,
    Document,
    Refused(ErrorCode),
    /// A refusal, by [`Refusal::reason`].
    Reason(&'static str),
    Cache {
        hit: bool,
    },
    Signature {
        by_host: bool,
        valid: bool,
    },
}

impl RequestCounter {
    fn name(self) -> String {
        let decision =
            |outcome, code| ["caracal_decisions_total.outcome=", outcome, ".code=", code].concat();
        match self {
            RequestCounter::Admitted => decision("admitted", "none"),
            RequestCounter::Excluded => decision("excluded", "none"),
            RequestCounter::Document => DOCUMENTS.to_owned(),
            RequestCounter::Refused(code) => decision("refused", code.as_str()),
            RequestCounter::Reason(reason) => ["caracal_refusals_total.reason=", reason].concat(),
            RequestCounter::Cache { hit } => {
                let result = if hit { "hit" } else { "miss" };
                ["caracal_mandate_cache_total.result=", result].concat()
            }
            RequestCounter::Signature { by_host, valid } => {
                let by = if by_host { "host" } else { "wasm" };
                let result = if valid { "valid" } else { "invalid" };
                ["caracal_signature_checks_total.by=", by, ".result=", result].concat()
            }
        }
    }
}

impl Metrics {
    /// Defines all metrics that this proxy counts.
    ///
    /// # Errors The metric that the proxy refused.
    #[cold]
    pub(crate) fn define(
        support: MetricSupport,
        configuration: &Configuration,
        zones: &Zones,
    ) -> Result<Self, String> {
        let mut ids = Vec::new();
        for (kind, name) in names(support, configuration, zones) {
            let id = hostcalls::define_metric(kind, &name).map_err(|Status(status)| {
                format!("the proxy refuses the metric {name} (status {status})")
            })?;
            // Inserted one by one, because sorting would add 2 KiB to the filter.
            let place = ids.partition_point(|(known, _): &(String, u32)| *known < name);
            ids.insert(place, (name, id));
        }
        Ok(Metrics {
            support,
            ids,
            unflushed: Vec::new(),
        })
    }

    pub(crate) fn admitted(&mut self) {
        self.count_request(RequestCounter::Admitted);
    }

    pub(crate) fn excluded(&mut self) {
        self.count_request(RequestCounter::Excluded);
    }

    /// A public document was answered.
    pub(crate) fn document(&mut self) {
        self.count_request(RequestCounter::Document);
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.count_request(RequestCounter::Refused(refusal.code()));
        self.count_request(RequestCounter::Reason(refusal.reason()));
    }

    pub(crate) fn signature_check(&mut self, by: VerifiedBy, valid: bool) {
        let by_host = by == VerifiedBy::Proxy;
        self.count_request(RequestCounter::Signature { by_host, valid });
    }

    pub(crate) fn cache(&mut self, hit: bool) {
        self.count_request(RequestCounter::Cache { hit });
    }

    fn count_request(&mut self, which: RequestCounter) {
        if self.support == MetricSupport::None {
            return;
        }
        // There are few, and always the same ones, so a list is faster than a map.
        match self.unflushed.iter_mut().find(|(known, _)| *known == which) {
            Some((_, unflushed)) => *unflushed = unflushed.saturating_add(1),
            None => self.unflushed.push((which, 1)),
        }
    }

    /// Adds what requests have counted to the proxy's counters. If a VM traps or a
    /// configuration is replaced, the counts since the last tick are lost.
    pub(crate) fn flush(&mut self) {
        while let Some((which, count)) = self.unflushed.pop() {
            if let Some(id) = self.id(&which.name()) {
                let _ = hostcalls::increment_metric(id, count);
            }
        }
    }

    /// `zone` is the zone's id, if there are several.
    pub(crate) fn jwks_fetch(&mut self, zone: Option<&str>, result: &str) {
        self.count(&[&of_zone(JWKS_FETCHES, zone), RESULT, result].concat());
    }

    pub(crate) fn stream_cut(&self, reason: Ended) {
        self.count(&[STREAMS_CUT, reason.as_str()].concat());
    }

    pub(crate) fn audit_sent(&self, events: u64) {
        self.count_many(AUDIT_SENT, events);
    }

    pub(crate) fn audit_dropped(&self, events: u64) {
        self.count_many(AUDIT_DROPPED, events);
    }

    /// Values in shared data that were refused.
    pub(crate) fn shared_data_refused(&self, values: u64) {
        if values > 0 {
            self.count_many(SHARED_DATA_REFUSED, values);
        }
    }

    pub(crate) fn header_not_sent(&mut self) {
        self.count(HEADERS_NOT_SENT);
    }

    /// Changes the number of waiting requests, in all VMs together.
    pub(crate) fn paused(&mut self, change: i64) {
        if let Some(id) = self.id(PAUSED) {
            let _ = hostcalls::increment_metric(id, change);
        }
    }

    /// Time since the key set was requested, or since the filter's start if there was
    /// none yet. The gauge is in seconds.
    pub(crate) fn jwks_age(&mut self, zone: Option<&str>, age_ms: u64) {
        self.gauge(&of_zone(JWKS_AGE, zone), age_ms / 1_000);
    }

    /// Keys in the key set that cannot be used.
    pub(crate) fn jwks_keys_skipped(&mut self, zone: Option<&str>, keys: usize) {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        self.gauge(&of_zone(JWKS_SKIPPED, zone), keys);
    }

    pub(crate) fn feed_poll(&mut self, result: &str) {
        self.count(&[FEED_POLLS, result].concat());
    }

    /// Time since the companion last confirmed its state, or since the filter's start if
    /// it has not yet. The gauge is in seconds.
    pub(crate) fn revocation_age(&mut self, age_ms: u64) {
        self.gauge(REVOCATION_AGE, age_ms / 1_000);
    }

    /// Revoked anchors that this VM holds. Every VM holds the same ones.
    pub(crate) fn revocation_anchors(&mut self, anchors: usize) {
        let anchors = u64::try_from(anchors).unwrap_or(u64::MAX);
        self.gauge(REVOCATION_ANCHORS, anchors);
    }

    /// Linear memory of all VMs together. It still includes VMs that have trapped.
    pub(crate) fn memory(&mut self) {
        if self.support != MetricSupport::All {
            return;
        }
        const PAGE_BYTES: usize = 65_536;
        let pages = core::arch::wasm32::memory_size::<0>();
        let size = i64::try_from(pages.saturating_mul(PAGE_BYTES)).unwrap_or(i64::MAX);
        let grown = size.saturating_sub(COUNTED_MEMORY.get());
        if grown > 0
            && let Some(id) = self.id(VM_MEMORY)
            && hostcalls::increment_metric(id, grown).is_ok()
        {
            COUNTED_MEMORY.set(size);
        }
    }

    fn gauge(&self, name: &str, value: u64) {
        if let Some(id) = self.id(name) {
            let _ = hostcalls::record_metric(id, value);
        }
    }

    fn count(&self, name: &str) {
        self.count_many(name, 1);
    }

    fn count_many(&self, name: &str, times: u64) {
        if let Some(id) = self.id(name) {
            let times = i64::try_from(times).unwrap_or(i64::MAX);
            let _ = hostcalls::increment_metric(id, times);
        }
    }

    fn id(&self, name: &str) -> Option<u32> {
        let found = self
            .ids
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        self.ids.get(found.ok()?).map(|(_, id)| *id)
    }
}

const JWKS_FETCHES: &str = "caracal_jwks_fetches_total";
const RESULT: &str = ".result=";
const FEED_POLLS: &str = "caracal_feed_polls_total.result=";
const HEADERS_NOT_SENT: &str = "caracal_headers_not_sent_total";
const STREAMS_CUT: &str = "caracal_streams_cut_total.reason=";
const DOCUMENTS: &str = "caracal_metadata_answers_total";
const AUDIT_SENT: &str = "caracal_audit_sent_total";
const AUDIT_DROPPED: &str = "caracal_audit_dropped_total";
const SHARED_DATA_REFUSED: &str = "caracal_shared_data_refused_total";
const PAUSED: &str = "caracal_paused_requests";
const JWKS_AGE: &str = "caracal_jwks_age_seconds";
const JWKS_SKIPPED: &str = "caracal_jwks_keys_skipped";
const REVOCATION_AGE: &str = "caracal_revocation_age_seconds";
const REVOCATION_ANCHORS: &str = "caracal_revocation_anchors";
const VM_MEMORY: &str = "caracal_vm_memory_bytes";

/// A metric of one zone among several.
fn of_zone(name: &str, zone: Option<&str>) -> String {
    match zone {
        Some(zone) => [name, ".zone=", zone].concat(),
        None => name.to_owned(),
    }
}

/// All metrics of a proxy. The two gauges that are incremented and decremented come last.
fn names(
    support: MetricSupport,
    configuration: &Configuration,
    zones: &Zones,
) -> Vec<(MetricType, String)> {
    let mut all = Vec::new();
    if support == MetricSupport::None {
        return all;
    }
    let mut add = |kind, name| all.push((kind, name));
    let mut count = |name: &str| add(MetricType::Counter, name.to_owned());
    for counter in [
        RequestCounter::Admitted,
        RequestCounter::Excluded,
        RequestCounter::Cache { hit: true },
        RequestCounter::Cache { hit: false },
    ] {
        count(&counter.name());
    }
    let of_gateway: &[ErrorCode] = match configuration.gateway {
        Some(_) => &ErrorCode::GATEWAY,
        None => &[],
    };
    let of_mcp: &[ErrorCode] = match configuration.has_mcp() {
        true => &ErrorCode::MCP,
        false => &[],
    };
    for code in ErrorCode::ALL.iter().chain(of_gateway).chain(of_mcp) {
        count(&RequestCounter::Refused(*code).name());
        count(&RequestCounter::Reason(code.as_str()).name());
    }
    for reason in Reason::ALL {
        count(&RequestCounter::Reason(reason.as_str()).name());
    }
    for (by_host, valid) in [(true, true), (true, false), (false, true), (false, false)] {
        count(&RequestCounter::Signature { by_host, valid }.name());
    }
    for (name, result) in [
        (FEED_POLLS, "ok"),
        (FEED_POLLS, "gone"),
        (FEED_POLLS, "error"),
        (HEADERS_NOT_SENT, ""),
    ] {
        count(&[name, result].concat());
    }
    if configuration.shared_data_secret().is_some() && support == MetricSupport::All {
        count(SHARED_DATA_REFUSED);
    }
    let mut own = configuration.resources.values();
    if configuration.metadata.is_some() || own.any(|one| one.metadata.is_some()) {
        count(DOCUMENTS);
    }
    if configuration.streams.is_some() {
        for reason in Ended::ALL {
            count(&[STREAMS_CUT, reason.as_str()].concat());
        }
    }
    if configuration.audit.is_some() {
        for name in [AUDIT_SENT, AUDIT_DROPPED] {
            count(name);
        }
    }
    let id = |zone: &Zone| zones.are_chosen().then(|| zone.id.clone());
    let ids: Vec<Option<String>> = zones.iter().map(|(_, zone)| id(zone)).collect();
    for zone in &ids {
        for result in ["ok", "error"] {
            count(&[&of_zone(JWKS_FETCHES, zone.as_deref()), RESULT, result].concat());
        }
    }
    for zone in &ids {
        for gauge in [JWKS_AGE, JWKS_SKIPPED] {
            add(MetricType::Gauge, of_zone(gauge, zone.as_deref()));
        }
    }
    let gauges = [REVOCATION_AGE, REVOCATION_ANCHORS, PAUSED, VM_MEMORY];
    let known = match support {
        MetricSupport::All => 4,
        MetricSupport::NoGaugeDeltas | MetricSupport::None => 2,
    };
    for name in gauges.into_iter().take(known) {
        add(MetricType::Gauge, name.to_owned());
    }
    all
}
