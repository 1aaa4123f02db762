//! How a companion stands: whether filters can decide with what it knows, how old that is,
//! and what it still has to do.

use std::collections::BTreeMap;

use crate::Companion;
use crate::metrics::StreamStanding;
use crate::state::State;

/// If the state was confirmed longer ago than this, the companion is not ready, in
/// milliseconds.
const MAX_READY_AGE_MS: u64 = 10_000;

/// Why a companion is not ready, if it is not, and the age of its state in milliseconds, if it
/// has one.
pub fn readiness(state: &State) -> (Option<&'static str>, Option<u64>) {
    let age = state.confirmed_age_ms();
    let why = match (state.not_ready(), age) {
        (Some(why), _) => Some(why),
        (None, Some(age)) if age > MAX_READY_AGE_MS => Some("not connected to Redis"),
        _ => None,
    };
    (why, age)
}

/// See the module.
pub struct Standing {
    /// Why it is not ready, as `/readyz` says it; `None` if it is.
    pub not_ready: Option<&'static str>,
    /// Milliseconds since Redis confirmed that everything is here; `None` if it never did.
    pub confirmed_age_ms: Option<u64>,
    /// Whether there is no Redis.
    pub is_alone: bool,
    /// What keeps its tasks from their work, by their names. The texts quote nothing.
    pub problems: BTreeMap<String, String>,
    /// Whether Redis refuses writes.
    pub refuses_writes: bool,
    /// Revoked anchors that are held.
    pub anchors: usize,
    /// Most of them.
    pub max_anchors: usize,
    /// The zone whose epochs are kept, if they are not kept of all zones.
    pub zone: Option<String>,
    /// Each of them.
    pub streams: Vec<StreamStanding>,
    /// Bytes of audit events on disk.
    pub audit_bytes: u64,
    /// Audit events on disk that Redis has not taken.
    pub audit_events: u64,
    /// How long the oldest of them has waited, in seconds.
    pub audit_age_s: u64,
}

impl Standing {
    /// How it stands now.
    pub fn of(companion: &Companion) -> Self {
        let (state, metrics) = (&companion.state, &companion.metrics);
        let (not_ready, confirmed_age_ms) = readiness(state);
        let (audit_bytes, audit_events, audit_age_s) = metrics.audit.waiting();
        Standing {
            not_ready,
            confirmed_age_ms,
            is_alone: state.is_alone(),
            problems: state.problems(),
            refuses_writes: metrics.refuses_writes(),
            anchors: state.len(),
            max_anchors: state.max_anchors(),
            zone: state.only_zone().map(str::to_owned),
            streams: metrics.streams(),
            audit_bytes,
            audit_events,
            audit_age_s,
        }
    }
}
