//! The filter's metrics. Names in Envoy are flat: labels are parts of a name, and
//! `stats_tags` in envoy.yaml turns them into labels again.

mod names;

use std::cell::Cell;

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::authority::Ended;
use caracal_mandate::reply::Refusal;
use caracal_mandate::zone::Zones;

use self::names::{
    ADDED, AUDIT_DROPPED, AUDIT_SENT, FEED_POLLS, HEADERS_NOT_SENT, JWKS_AGE, JWKS_FETCHES,
    JWKS_SKIPPED, KEY_WAIT, PAUSED, RESULT, REVOCATION_AGE, REVOCATION_ANCHORS, RequestCounter,
    SHADOW, SHARED_DATA_REFUSED, STREAMS_CUT, VM_MEMORY, build_info, names, of_zone,
};
use crate::abi::hostcalls::{self, Status};
use crate::abi::wasi;
use crate::proxy::adapter::MetricSupport;
use crate::vm::shadow_counts::ShadowCounts;
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
    /// The name of the gauge of this build and configuration.
    build: String,
    /// What requests have counted since the last tick. A tick adds it to the proxy's
    /// counters, which costs less than a call for each request.
    unflushed: Vec<(RequestCounter, i64)>,
    in_shadow: ShadowCounts,
}

impl Metrics {
    /// Defines all metrics that this proxy counts.
    ///
    /// # Errors The metric that the proxy refused.
    #[cold]
    pub(crate) fn define(
        support: MetricSupport,
        configuration: &Configuration,
        digest: &str,
        zones: &Zones,
    ) -> Result<Self, String> {
        let mut ids = Vec::new();
        let build = build_info(digest);
        for (kind, name) in names(support, configuration, &build, zones) {
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
            build,
            unflushed: Vec::new(),
            in_shadow: ShadowCounts::default(),
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

    /// A request was refused that goes on in shadow.
    #[cold]
    pub(crate) fn refused_in_shadow(&mut self, refusal: &Refusal) {
        if self.support != MetricSupport::None {
            self.in_shadow.count(refusal);
        }
    }

    /// The gauge that says whether anything is in shadow.
    pub(crate) fn shadow_gauge(&self) -> Option<u32> {
        self.id(SHADOW)
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
        while let Some((names, count)) = self.in_shadow.pop() {
            for name in names {
                self.add(&name, count);
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
        self.record(&of_zone(JWKS_AGE, zone), age_ms / 1_000);
    }

    /// Keys in the key set that cannot be used.
    pub(crate) fn jwks_keys_skipped(&mut self, zone: Option<&str>, keys: usize) {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        self.record(&of_zone(JWKS_SKIPPED, zone), keys);
    }

    pub(crate) fn feed_poll(&mut self, result: &str) {
        self.count(&[FEED_POLLS, result].concat());
    }

    /// Time since the companion last confirmed its state, or since the filter's start if
    /// it has not yet. The gauge is in seconds.
    pub(crate) fn revocation_age(&mut self, age_ms: u64) {
        self.record(REVOCATION_AGE, age_ms / 1_000);
    }

    /// Revoked anchors that this VM holds. Every VM holds the same ones.
    pub(crate) fn revocation_anchors(&mut self, anchors: usize) {
        let anchors = u64::try_from(anchors).unwrap_or(u64::MAX);
        self.record(REVOCATION_ANCHORS, anchors);
    }

    /// This configuration is in force. It is said again and again, because an older VM that
    /// had the same one may take that back when it ends.
    pub(crate) fn in_force(&self) {
        self.record(&self.build, 1);
    }

    /// How long a request waited for keys or revocations.
    #[cold]
    pub(crate) fn key_wait(&self, waited_ms: u64) {
        self.record(KEY_WAIT, waited_ms);
    }

    /// A request that came at this time is decided.
    #[cold]
    #[inline(never)]
    pub(crate) fn added(&self, came_ns: u64) {
        if let Some(now_ns) = wasi::monotonic_ns() {
            self.record(ADDED, now_ns.saturating_sub(came_ns) / 1_000);
        }
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

    /// Sets a gauge, or adds a value to a histogram.
    fn record(&self, name: &str, value: u64) {
        if let Some(id) = self.id(name) {
            let _ = hostcalls::record_metric(id, value);
        }
    }

    fn count(&self, name: &str) {
        self.count_many(name, 1);
    }

    fn count_many(&self, name: &str, times: u64) {
        self.add(name, i64::try_from(times).unwrap_or(i64::MAX));
    }

    fn add(&self, name: &str, change: i64) {
        if let Some(id) = self.id(name) {
            let _ = hostcalls::increment_metric(id, change);
        }
    }

    fn id(&self, name: &str) -> Option<u32> {
        let found = self
            .ids
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        self.ids.get(found.ok()?).map(|(_, id)| *id)
    }
}

/// The configuration is gone from this VM: replaced, and its last request has ended.
impl Drop for Metrics {
    fn drop(&mut self) {
        self.record(&self.build, 0);
    }
}
