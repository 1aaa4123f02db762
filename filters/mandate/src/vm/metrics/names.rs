//! The names of the metrics, and which of them a configuration has.

use caracal_mandate::config::Configuration;
use caracal_mandate::decision::authority::Ended;
use caracal_mandate::reply::{ErrorCode, Reason};
use caracal_mandate::zone::{Zone, Zones};

use crate::abi::hostcalls::MetricType;
use crate::proxy::adapter::MetricSupport;
use crate::vm::shadow_counts;

/// What is counted for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RequestCounter {
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
    pub(super) fn name(self) -> String {
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

pub(super) const JWKS_FETCHES: &str = "caracal_jwks_fetches_total";
pub(super) const RESULT: &str = ".result=";
pub(super) const FEED_POLLS: &str = "caracal_feed_polls_total.result=";
pub(super) const HEADERS_NOT_SENT: &str = "caracal_headers_not_sent_total";
pub(super) const STREAMS_CUT: &str = "caracal_streams_cut_total.reason=";
pub(super) const DOCUMENTS: &str = "caracal_metadata_answers_total";
pub(super) const AUDIT_SENT: &str = "caracal_audit_sent_total";
pub(super) const SHARED_DATA_REFUSED: &str = "caracal_shared_data_refused_total";
pub(super) const AUDIT_DROPPED: &str = "caracal_audit_dropped_total";
pub(super) const SHADOW: &str = "caracal_shadow";
pub(super) const PAUSED: &str = "caracal_paused_requests";
pub(super) const JWKS_AGE: &str = "caracal_jwks_age_seconds";
pub(super) const JWKS_SKIPPED: &str = "caracal_jwks_keys_skipped";
pub(super) const REVOCATION_AGE: &str = "caracal_revocation_age_seconds";
pub(super) const REVOCATION_ANCHORS: &str = "caracal_revocation_anchors";
pub(super) const VM_MEMORY: &str = "caracal_vm_memory_bytes";
pub(super) const KEY_WAIT: &str = "caracal_key_wait_milliseconds";
pub(super) const ADDED: &str = "caracal_added_microseconds";

/// The gauge of this build with the configuration of this digest.
pub(super) fn build_info(digest: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    [
        "caracal_build_info.configuration=",
        digest,
        ".version=",
        version,
    ]
    .concat()
}

/// A metric of one zone among several.
pub(super) fn of_zone(name: &str, zone: Option<&str>) -> String {
    match zone {
        Some(zone) => [name, ".zone=", zone].concat(),
        None => name.to_owned(),
    }
}

/// All metrics of a proxy. The two gauges that are incremented and decremented come last.
pub(super) fn names(
    support: MetricSupport,
    configuration: &Configuration,
    build: &str,
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
    let codes = || ErrorCode::ALL.iter().chain(of_gateway).chain(of_mcp);
    for code in codes() {
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
    if configuration.has_shadow() {
        shadow_counts::each(codes(), &mut count);
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
    if configuration.metrics.is_some_and(|metrics| metrics.timings) {
        add(MetricType::Histogram, ADDED.to_owned());
    }
    // Other proxies keep a gauge when its configuration is gone, and let no request wait.
    if support == MetricSupport::All {
        add(MetricType::Histogram, KEY_WAIT.to_owned());
        add(MetricType::Gauge, build.to_owned());
    }
    let gauges = [
        SHADOW,
        REVOCATION_AGE,
        REVOCATION_ANCHORS,
        PAUSED,
        VM_MEMORY,
    ];
    let known = match support {
        MetricSupport::All => 5,
        MetricSupport::NoGaugeDeltas | MetricSupport::None => 3,
    };
    for name in gauges.into_iter().take(known) {
        add(MetricType::Gauge, name.to_owned());
    }
    all
}
