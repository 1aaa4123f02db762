//! What can happen.

use super::random::Random;

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    CompanionKilled,
    CompanionPaused,
    EnvoyKilled,
    EnvoyPaused,
    MasterKilled,
    MasterPaused,
    ReplicaKilled,
    /// Any server but the stream's master.
    ServerPaused,
    SentinelKilled,
    SentinelPaused,
    /// `SENTINEL FAILOVER`, or `CLUSTER FAILOVER`.
    PlannedFailover,
    /// The companions with the master and one Sentinel, and all others.
    SplitBrain,
    /// The companions, and all others.
    CompanionsCutOff,
    /// Any split of the nodes into two; the companions stand with one part.
    AnySplit,
    /// The master does not reach its replicas nor they it.
    ReplicationCut,
    /// Everything takes a while.
    Slow,
}

impl Fault {
    const ALL: [Fault; 16] = [
        Fault::CompanionKilled,
        Fault::CompanionPaused,
        Fault::EnvoyKilled,
        Fault::EnvoyPaused,
        Fault::MasterKilled,
        Fault::MasterPaused,
        Fault::ReplicaKilled,
        Fault::ServerPaused,
        Fault::SentinelKilled,
        Fault::SentinelPaused,
        Fault::PlannedFailover,
        Fault::SplitBrain,
        Fault::CompanionsCutOff,
        Fault::AnySplit,
        Fault::ReplicationCut,
        Fault::Slow,
    ];

    pub fn any(random: &mut Random) -> Self {
        Fault::ALL[random.index(Fault::ALL.len())]
    }
}
