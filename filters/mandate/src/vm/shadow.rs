//! Says again and again that something is in shadow: nobody may take such an edge for one
//! that protects.

use std::cell::Cell;

use caracal_mandate::decision::verifier::Verifier;
use caracal_mandate::routing::resources::InShadow;

use crate::abi::hostcalls::{self, LogLevel};
use crate::vm::metrics::Metrics;

/// How often it is said.
const AGAIN_MS: u64 = 60_000;
/// Most rules that are named.
const MAX_NAMED: usize = 8;

thread_local! {
    /// How many configurations of this VM are in shadow. They share one gauge.
    static IN_SHADOW: Cell<usize> = const { Cell::new(0) };
}

/// What a configuration of which something is in shadow says of itself.
pub(crate) struct ShadowNotice {
    line: String,
    /// When it was said, on the monotonic clock.
    said_ms: Option<u64>,
    /// The gauge, where the proxy has gauges.
    gauge: Option<u32>,
}

impl ShadowNotice {
    /// None if nothing is in shadow.
    #[cold]
    pub(crate) fn of(verifier: &Verifier, metrics: &Metrics) -> Option<Self> {
        if verifier.in_shadow() == InShadow::Nothing {
            return None;
        }
        IN_SHADOW.set(IN_SHADOW.get().saturating_add(1));
        Some(ShadowNotice {
            line: line(verifier),
            said_ms: None,
            gauge: metrics.shadow_gauge(),
        })
    }

    /// Says it, unless it was said less than a minute ago.
    #[cold]
    #[inline(never)]
    pub(crate) fn remind(&mut self, now_ms: u64) {
        let is_new = |said_ms: u64| now_ms.saturating_sub(said_ms) < AGAIN_MS;
        if !self.said_ms.is_some_and(is_new) {
            self.said_ms = Some(now_ms);
            hostcalls::log(LogLevel::Warn, &self.line);
        }
    }

    /// Reports it as a metric.
    #[cold]
    pub(crate) fn report(&self) {
        set(self.gauge, 1);
    }
}

/// A configuration reports for the first time that nothing of it is in shadow. If one before
/// it was, the proxy may have kept the gauge.
#[cold]
pub(crate) fn report_none(metrics: &Metrics) {
    if IN_SHADOW.get() == 0 {
        set(metrics.shadow_gauge(), 0);
    }
}

fn set(gauge: Option<u32>, value: u64) {
    if let Some(gauge) = gauge {
        let _ = hostcalls::record_metric(gauge, value);
    }
}

/// The configuration is gone. What replaces it may have reported before.
impl Drop for ShadowNotice {
    fn drop(&mut self) {
        IN_SHADOW.set(IN_SHADOW.get().saturating_sub(1));
        if IN_SHADOW.get() == 0 {
            set(self.gauge, 0);
        }
    }
}

#[cold]
#[inline(never)]
fn line(verifier: &Verifier) -> String {
    let mut line = "caracal: SHADOW MODE on ".to_owned();
    let rules = match verifier.in_shadow() {
        InShadow::Everything => Vec::new(),
        InShadow::Parts | InShadow::Nothing => verifier.resources().rules_in_shadow(),
    };
    if rules.is_empty() {
        line.push_str("everything");
    }
    for (n, (id, prefix)) in rules.iter().take(MAX_NAMED).enumerate() {
        line.push_str(if n == 0 { "" } else { ", " });
        line.push_str(prefix.unwrap_or("every path outside routes"));
        if let Some(id) = id {
            line.push_str(" of ");
            line.push_str(id);
        }
    }
    let more = rules.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        line.push_str(&format!(" and {more} more"));
    }
    line.push_str(": what is refused there goes on to the service unverified (configuration key \"enforcement\")");
    line
}
