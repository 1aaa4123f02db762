//! The bounds of every number, text and list in a configuration.

use crate::routing::routes::DEFAULT_MAX_HOP_COUNT;

/// An inclusive range of integers and the default within it.
pub(super) struct Bounds {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) default: u64,
}

const fn bounds(min: u64, max: u64, default: u64) -> Bounds {
    Bounds { min, max, default }
}

pub(super) const JWKS_TIMEOUT_MS: Bounds = bounds(100, 60_000, 5_000);
pub(super) const JWKS_TTL_S: Bounds = bounds(10, 86_400, 300);
pub(super) const JWKS_MAX_STALE_S: Bounds = bounds(0, 86_400, 600);
pub(super) const CLOCK_SKEW_S: Bounds = bounds(0, 300, 60);
pub(super) const MAX_HOP_COUNT: Bounds = bounds(0, 1_000, DEFAULT_MAX_HOP_COUNT);
pub(super) const MAX_TOKEN_BYTES: Bounds = bounds(512, 65_536, 8_192);
pub(super) const MAX_PAUSED: Bounds = bounds(0, 100_000, 1_000);
pub(super) const MAX_STREAMS: Bounds = bounds(1, 1_000_000, 50_000);
pub(super) const PAUSE_TIMEOUT_MS: Bounds = bounds(10, 60_000, 5_000);
// A message of many short members takes some twenty-five times its bytes when it is read.
pub(super) const MAX_BODY_BYTES: Bounds = bounds(1_024, 1_048_576, 262_144);
pub(super) const BODY_TIMEOUT_MS: Bounds = bounds(100, 60_000, 10_000);
pub(super) const MAX_CACHED_MANDATES: Bounds = bounds(0, 1_000_000, 10_000);
pub(super) const MAX_ANCHORS: Bounds = bounds(1, 8_000_000, 1_000_000);
pub(super) const MAX_LIFETIME_S: Bounds = bounds(60, 86_400, 86_400);
pub(super) const MAX_STALENESS_S: Bounds = bounds(1, 3_600, 30);
pub(super) const POLL_INTERVAL_MS: Bounds = bounds(10, 60_000, 1_000);
pub(super) const EXCHANGE_TIMEOUT_MS: Bounds = bounds(100, 60_000, 5_000);
pub(super) const MIN_REMAINING_S: Bounds = bounds(0, 3_600, 35);

/// Most entries of one list.
pub(super) const MAX_LIST: usize = 256;
/// Most routes, and most excluded prefixes.
pub(super) const MAX_ROUTES: usize = 1_024;
/// Most headers, and most variables, that carry the principal.
pub(super) const MAX_FORWARDED: usize = 64;
/// Longest string, in bytes.
pub(super) const MAX_STRING: usize = 2_048;
