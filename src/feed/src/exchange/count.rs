//! What the companion counts of exchanges.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::wire::Outcome;

/// See the module.
pub(crate) struct Counts {
    results: IntCounterVec,
    shed: IntCounter,
    circuit_opened: IntCounter,
    circuit_open: IntGauge,
    under_way: IntGauge,
    seconds: Histogram,
}

impl Counts {
    pub(crate) fn new(registry: &Registry) -> anyhow::Result<Self> {
        let counts = Counts {
            results: IntCounterVec::new(
                Opts::new(
                    "caracal_feed_exchanges_total",
                    "Exchanges in Gateway mode, by result and cause",
                ),
                &["result", "cause"],
            )?,
            shed: IntCounter::new(
                "caracal_feed_exchanges_shed_total",
                "Exchanges that were not begun because --max-exchanges were under way",
            )?,
            circuit_opened: IntCounter::new(
                "caracal_feed_sts_circuit_opened_total",
                "Times that the STS failed so often that it was not asked for a while",
            )?,
            circuit_open: IntGauge::new(
                "caracal_feed_sts_circuit_open",
                "1 while the STS is not asked, because it failed",
            )?,
            under_way: IntGauge::new("caracal_feed_exchanges_under_way", "Exchanges under way")?,
            seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "caracal_feed_sts_seconds",
                    "How long the STS took to answer, or not to",
                )
                .buckets(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                ]),
            )?,
        };
        registry.register(Box::new(counts.results.clone()))?;
        registry.register(Box::new(counts.shed.clone()))?;
        registry.register(Box::new(counts.circuit_opened.clone()))?;
        registry.register(Box::new(counts.circuit_open.clone()))?;
        registry.register(Box::new(counts.under_way.clone()))?;
        registry.register(Box::new(counts.seconds.clone()))?;
        Ok(counts)
    }

    pub(super) fn result(&self, outcome: &Outcome) {
        let labels = match outcome {
            Outcome::Granted(_) => ["granted", ""],
            Outcome::Refused(refused) => ["refused", refused.cause.as_str()],
        };
        self.results.with_label_values(&labels).inc();
    }

    pub(super) fn shed(&self) {
        self.shed.inc();
    }

    pub(super) fn circuit(&self, is_open: bool, has_opened: bool) {
        self.circuit_open.set(i64::from(is_open));
        if has_opened {
            self.circuit_opened.inc();
        }
    }

    pub(super) fn took(&self, seconds: f64) {
        self.seconds.observe(seconds);
    }

    /// One is under way as long as this lives.
    pub(super) fn under_way(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }
}

pub(super) struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
