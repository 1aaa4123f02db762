//! Why requests under way are ended: a label of a metric.

/// Why a request under way is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CutReason {
    Revoked,
    DelegationStale,
    KeyGone,
    Expired,
}

impl CutReason {
    pub(crate) const ALL: [CutReason; 4] = [
        CutReason::Revoked,
        CutReason::DelegationStale,
        CutReason::KeyGone,
        CutReason::Expired,
    ];

    /// The label of the metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CutReason::Revoked => "session_revoked",
            CutReason::DelegationStale => "delegation_stale",
            CutReason::KeyGone => "key_gone",
            CutReason::Expired => "expired",
        }
    }
}
