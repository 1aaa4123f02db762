//! What all parts of one companion share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::edges::Edges;
use crate::metrics::Metrics;
use crate::state::State;

/// One companion, for its parts.
#[derive(Clone)]
pub struct Companion {
    /// What the companion knows.
    pub state: Arc<State>,
    /// What the companion counts.
    pub metrics: Arc<Metrics>,
    /// Who asks the companion.
    pub edges: Arc<Edges>,
    /// Becomes true when the companion is told to stop.
    pub stopping: watch::Receiver<bool>,
}

impl Companion {
    /// Waits until the companion is told to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // If the sender is gone, stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
