//! What the companion counts, for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::audit::count::Counts as AuditCounts;
use crate::event::{Refused, Stream};
use crate::exchange::count::Counts;
use crate::state::State;

/// One of the streams, as Redis last told of it.
pub struct StreamStanding {
    /// Its key in Redis.
    pub key: &'static str,
    /// How long ago that was; `None` if it never did, and then the numbers mean nothing.
    pub told_ago: Option<Duration>,
    /// Messages that were delivered to the consumer group and are not acknowledged.
    pub pending: u64,
    /// Messages that the group has not been given; `None` if Redis does not count them.
    pub behind: Option<u64>,
    /// Messages in it.
    pub length: u64,
}

/// What a proxy had when it asked for what is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// What another companion gave it.
    Another,
    /// What this one gave it.
    This,
}

impl After {
    const ALL: [After; 3] = [After::Nothing, After::Another, After::This];

    fn as_str(self) -> &'static str {
        match self {
            After::Nothing => "nothing",
            After::Another => "another",
            After::This => "this",
        }
    }
}

/// The companion's metrics, prefix `caracal_feed_`.
pub struct Metrics {
    registry: Registry,
    events: IntCounterVec,
    refused: IntCounterVec,
    dead_letters: IntCounterVec,
    acknowledged: IntCounterVec,
    reconnects: IntCounterVec,
    missed: IntCounterVec,
    skipped: IntCounterVec,
    data_errors: IntCounterVec,
    written_back: IntCounter,
    reads: IntCounterVec,
    sent: IntCounter,
    unauthorized: IntCounter,
    pending: IntGaugeVec,
    lag: IntGaugeVec,
    length: IntGaugeVec,
    /// When Redis last told of each stream.
    told: Mutex<BTreeMap<Stream, Instant>>,
    refusing_writes: IntGauge,
    anchors: IntGauge,
    age: IntGauge,
    filters: IntGauge,
    /// Those of exchanges.
    pub(crate) exchange: Counts,
    /// Those of audit events.
    pub(crate) audit: Arc<AuditCounts>,
}

impl Metrics {
    /// All metrics, at 0.
    ///
    /// # Errors A name that is already used; there is none.
    pub fn new() -> anyhow::Result<Arc<Self>> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            anyhow::Ok(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            anyhow::Ok(gauge)
        };
        let by_stream = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["stream"])?;
            registry.register(Box::new(gauges.clone()))?;
            anyhow::Ok(gauges)
        };
        let written_back = IntCounter::new(
            "caracal_feed_written_back_total",
            "Revocations that the shared store had lost and this companion wrote again",
        )?;
        registry.register(Box::new(written_back.clone()))?;
        let sent = IntCounter::new(
            "caracal_feed_sent_entries_total",
            "Revocations and epochs sent to proxies",
        )?;
        registry.register(Box::new(sent.clone()))?;
        let unauthorized = IntCounter::new(
            "caracal_feed_unauthorized_total",
            "Requests of /v1 without the companion's token, and of the page with a wrong one",
        )?;
        registry.register(Box::new(unauthorized.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("caracal_feed_build_info", "1, with this program's version"),
            &["version"],
        )?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Metrics {
            events: counter(
                "caracal_feed_events_total",
                "Messages applied to this companion's state",
                &["stream"],
            )?,
            refused: counter(
                "caracal_feed_refused_total",
                "Messages that changed nothing",
                &["stream", "reason"],
            )?,
            dead_letters: counter(
                "caracal_feed_dead_letters_total",
                "Messages copied to the dead letters by this companion",
                &["stream", "reason"],
            )?,
            acknowledged: counter(
                "caracal_feed_acknowledged_total",
                "Messages acknowledged by this companion",
                &["stream"],
            )?,
            reconnects: counter(
                "caracal_feed_reconnects_total",
                "Times that a task lost Redis",
                &["task"],
            )?,
            missed: counter(
                "caracal_feed_missed_total",
                "Messages trimmed or deleted before this companion read them",
                &["stream"],
            )?,
            skipped: counter(
                "caracal_feed_group_skipped_total",
                "Messages trimmed before the consumer group had finished them",
                &["stream"],
            )?,
            data_errors: counter(
                "caracal_feed_data_errors_total",
                "Keys of a wrong type in the shared store",
                &["task"],
            )?,
            written_back,
            reads: counter(
                "caracal_feed_reads_total",
                "Questions of proxies for what is revoked, by what they had before: nothing (they read the whole state), the news of another companion, or of this one",
                &["after"],
            )?,
            sent,
            unauthorized,
            pending: by_stream(
                "caracal_feed_pending",
                "Messages delivered to the consumer group and not acknowledged",
            )?,
            lag: by_stream(
                "caracal_feed_group_lag",
                "Messages that the consumer group has not been given, as Redis counts; -1 if it does not count",
            )?,
            length: by_stream("caracal_feed_stream_length", "Messages in the stream")?,
            told: Mutex::default(),
            refusing_writes: gauge(
                "caracal_feed_redis_refusing_writes",
                "1 while Redis refuses writes (full, replica, cannot save, too few replicas)",
            )?,
            anchors: gauge("caracal_feed_anchors", "Revoked anchors held")?,
            age: gauge(
                "caracal_feed_confirmed_age_ms",
                "Milliseconds since the state was known to be complete; -1 when it is not",
            )?,
            filters: gauge(
                "caracal_feed_connected_filters",
                "Proxies that wait for new revocations",
            )?,
            exchange: Counts::new(&registry)?,
            audit: AuditCounts::new(&registry)?,
            registry,
        };
        metrics.begin();
        Ok(Arc::new(metrics))
    }

    /// Begins each series at 0. Prometheus sees no rise from nothing to 1, so that an alert on
    /// the first message that was missed would not fire.
    fn begin(&self) {
        for after in After::ALL {
            self.reads.with_label_values(&[after.as_str()]).inc_by(0);
        }
        for stream in Stream::ALL {
            for counter in [
                &self.events,
                &self.acknowledged,
                &self.missed,
                &self.skipped,
            ] {
                counter.with_label_values(&[stream.key()]).inc_by(0);
            }
            for why in Refused::ALL {
                for counter in [&self.refused, &self.dead_letters] {
                    counter
                        .with_label_values(&[stream.key(), why.as_str()])
                        .inc_by(0);
                }
            }
        }
    }

    pub(crate) fn applied(&self, stream: Stream) {
        self.events.with_label_values(&[stream.key()]).inc();
    }

    pub(crate) fn refused(&self, stream: Stream, why: Refused) {
        self.refused
            .with_label_values(&[stream.key(), why.as_str()])
            .inc();
    }

    pub(crate) fn dead_letter(&self, stream: Stream, why: Refused) {
        self.dead_letters
            .with_label_values(&[stream.key(), why.as_str()])
            .inc();
    }

    pub(crate) fn acknowledged(&self, stream: Stream, messages: u64) {
        self.acknowledged
            .with_label_values(&[stream.key()])
            .inc_by(messages);
    }

    pub(crate) fn reconnect(&self, task: &str) {
        self.reconnects.with_label_values(&[task]).inc();
    }

    pub(crate) fn group(&self, stream: Stream, pending: u64, lag: Option<u64>, length: u64) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let label = &[stream.key()];
        self.pending.with_label_values(label).set(signed(pending));
        self.lag
            .with_label_values(label)
            .set(lag.map_or(-1, signed));
        self.length.with_label_values(label).set(signed(length));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(stream, Instant::now());
    }

    pub(crate) fn missed(&self, stream: Stream, messages: u64) {
        self.missed
            .with_label_values(&[stream.key()])
            .inc_by(messages);
    }

    pub(crate) fn skipped(&self, stream: Stream, messages: u64) {
        self.skipped
            .with_label_values(&[stream.key()])
            .inc_by(messages);
    }

    pub(crate) fn written_back(&self, revocations: u64) {
        self.written_back.inc_by(revocations);
    }

    /// A proxy was sent so many entries.
    pub(crate) fn read(&self, after: After, entries: usize) {
        self.reads.with_label_values(&[after.as_str()]).inc();
        self.sent.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    /// A request without the companion's token.
    pub fn unauthorized(&self) {
        self.unauthorized.inc();
    }

    pub(crate) fn data_errors<T, E>(&self, task: &str, answers: &[Result<T, E>]) {
        let errors = answers.iter().filter(|answer| answer.is_err()).count();
        let errors = u64::try_from(errors).unwrap_or(u64::MAX);
        self.data_errors.with_label_values(&[task]).inc_by(errors);
    }

    /// What Redis last told of each stream.
    pub(crate) fn streams(&self) -> Vec<StreamStanding> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = |stream: Stream| {
            let read = |gauges: &IntGaugeVec| {
                u64::try_from(gauges.with_label_values(&[stream.key()]).get()).ok()
            };
            StreamStanding {
                key: stream.key(),
                told_ago: told.get(&stream).map(Instant::elapsed),
                pending: read(&self.pending).unwrap_or(0),
                behind: read(&self.lag),
                length: read(&self.length).unwrap_or(0),
            }
        };
        Stream::ALL.into_iter().map(standing).collect()
    }

    /// Whether Redis refused the last write.
    pub(crate) fn refuses_writes(&self) -> bool {
        self.refusing_writes.get() != 0
    }

    pub(crate) fn refusing_writes(&self, refusing: bool) {
        self.refusing_writes.set(i64::from(refusing));
    }

    pub(crate) fn filter_waits(self: &Arc<Self>) -> Waiting {
        self.filters.inc();
        Waiting(Arc::clone(self))
    }

    /// The metrics in Prometheus's text format, with the current values of the state.
    pub(crate) fn render(&self, state: &State) -> Vec<u8> {
        self.anchors
            .set(i64::try_from(state.len()).unwrap_or(i64::MAX));
        let age = state.confirmed_age_ms();
        self.age
            .set(age.map_or(-1, |age| i64::try_from(age).unwrap_or(i64::MAX)));
        self.audit.refresh();
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

/// Counts one waiting filter for as long as this value lives.
pub(crate) struct Waiting(Arc<Metrics>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.filters.dec();
    }
}
