//! What the companion counts of audit events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// See the module.
pub(crate) struct Counts {
    accepted: IntCounter,
    duplicates: IntCounter,
    rejected: IntCounter,
    conflicts: IntCounter,
    refused: IntCounterVec,
    delivered: IntCounter,
    failures: IntCounter,
    corrupt: IntCounter,
    bytes: IntGauge,
    events: IntGauge,
    age: IntGauge,
    /// When the oldest event was taken, in Unix microseconds; 0 if none waits.
    oldest_us: AtomicU64,
}

/// Why events were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue has no room.
    Full,
    /// The disk does not write.
    Disk,
    /// Too many are being written.
    Busy,
}

impl Refused {
    fn as_str(self) -> &'static str {
        match self {
            Refused::Full => "full",
            Refused::Disk => "disk",
            Refused::Busy => "busy",
        }
    }
}

impl Counts {
    pub(crate) fn new(registry: &Registry) -> anyhow::Result<Arc<Self>> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            anyhow::Ok(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            anyhow::Ok(gauge)
        };
        let refused = IntCounterVec::new(
            Opts::new(
                "caracal_feed_audit_refused_total",
                "Audit events that were good and not taken, by cause; their filter sends them again",
            ),
            &["cause"],
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Arc::new(Counts {
            accepted: counter(
                "caracal_feed_audit_accepted_total",
                "Audit events that were taken, duplicates included",
            )?,
            duplicates: counter(
                "caracal_feed_audit_duplicates_total",
                "Audit events that were there already",
            )?,
            rejected: counter(
                "caracal_feed_audit_rejected_total",
                "Audit events that were wrong",
            )?,
            conflicts: counter(
                "caracal_feed_audit_conflicts_total",
                "Audit events that were rejected because another one has their id",
            )?,
            refused,
            delivered: counter(
                "caracal_feed_audit_delivered_total",
                "Audit events that Redis has taken",
            )?,
            failures: counter(
                "caracal_feed_audit_delivery_failures_total",
                "Times that Redis did not take audit events",
            )?,
            corrupt: counter(
                "caracal_feed_audit_corrupt_total",
                "Damaged places in the files of audit events",
            )?,
            bytes: gauge(
                "caracal_feed_audit_queue_bytes",
                "Bytes of the files of audit events, of --audit-max-bytes",
            )?,
            events: gauge(
                "caracal_feed_audit_queue_events",
                "Audit events on disk that Redis has not taken",
            )?,
            age: gauge(
                "caracal_feed_audit_oldest_age_seconds",
                "How long the oldest of them has waited",
            )?,
            oldest_us: AtomicU64::new(0),
        }))
    }

    pub(super) fn accepted(&self, events: u64) {
        self.accepted.inc_by(events);
    }

    pub(super) fn duplicates(&self, events: u64) {
        self.duplicates.inc_by(events);
    }

    pub(super) fn rejected(&self, events: u64) {
        self.rejected.inc_by(events);
    }

    pub(super) fn conflicts(&self, events: u64) {
        self.conflicts.inc_by(events);
    }

    pub(super) fn refused(&self, why: Refused, events: u64) {
        self.refused
            .with_label_values(&[why.as_str()])
            .inc_by(events);
    }

    pub(super) fn delivered(&self, events: u64) {
        self.delivered.inc_by(events);
    }

    pub(super) fn not_delivered(&self) {
        self.failures.inc();
    }

    pub(super) fn corrupt(&self, places: u64) {
        self.corrupt.inc_by(places);
    }

    pub(super) fn queue(&self, bytes: u64, events: u64, oldest_us: Option<u64>) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.bytes.set(signed(bytes));
        self.events.set(signed(events));
        self.oldest_us
            .store(oldest_us.unwrap_or(0), Ordering::Relaxed);
    }

    /// The queue on disk: its bytes, its events, and the age of the oldest in seconds.
    pub(crate) fn waiting(&self) -> (u64, u64, u64) {
        self.refresh();
        let of = |gauge: &IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        (of(&self.bytes), of(&self.events), of(&self.age))
    }

    /// Brings the age up to the present.
    pub(crate) fn refresh(&self) {
        let age_s = match self.oldest_us.load(Ordering::Relaxed) {
            0 => 0,
            oldest => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                since
                    .as_secs()
                    .saturating_sub(oldest.checked_div(1_000_000).unwrap_or(0))
            }
        };
        self.age.set(i64::try_from(age_s).unwrap_or(i64::MAX));
    }
}
