//! The companion. It consumes Caracal's revocation streams from Redis, verifies and
//! orders them, and serves them to the filter.
//!
//! `event` reads one stream message. `state` is what the companion knows, in the order in
//! which it learned it. `redis` keeps it in touch with Redis. `api` serves it. `memory`
//! replaces Redis in development, and takes `revocation_request`s. `exchange` is Gateway
//! mode. `metrics` counts.

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

/// What all parts of one companion share.
#[derive(Clone)]
pub struct Companion {
    /// What the companion knows.
    pub state: Arc<state::State>,
    /// What the companion counts.
    pub metrics: Arc<metrics::Metrics>,
    /// Becomes true when the companion is told to stop.
    pub stopping: tokio::sync::watch::Receiver<bool>,
}

impl Companion {
    /// Waits until the companion is told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // If the sender is gone, stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
