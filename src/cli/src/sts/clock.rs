//! The time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in seconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
