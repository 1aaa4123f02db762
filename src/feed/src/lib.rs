//! The companion's work: consumes Caracal's revocation streams from Redis,
//! verifies and orders them, and serves them to the filter.
//!
//! `event` reads one stream message; `state` is what the companion knows, in the
//! order it learned it; `redis` keeps it in touch with Redis; `api` serves it;
//! `memory` is the way without Redis, for development, and takes `revocation_request`s;
//! `exchange` is Gateway mode; `metrics` counts.

pub mod api;
pub mod event;
pub mod exchange;
pub mod memory;
pub mod metrics;
pub mod redis;
mod revocation_request;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

/// How long a revocation and an epoch are kept (contract, "Revocation streams").
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// What every part of one companion shares.
#[derive(Clone)]
pub struct Companion {
    /// What it knows.
    pub state: Arc<state::State>,
    /// What it counts.
    pub metrics: Arc<metrics::Metrics>,
    /// Comes true when it is told to stop.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}

impl Companion {
    /// Waits until it is told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // A sender that is gone is a reason to stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
