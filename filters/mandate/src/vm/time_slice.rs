//! Limits the time of one callback. The proxy's worker serves nobody else meanwhile.

use crate::abi::wasi;

/// Time that one callback spends on shared state. The rest is left to the next one.
pub(crate) const SLICE_MS: u64 = 5;

/// Whether a callback that began at `began_ms` has used its time. Without a clock it has.
pub(crate) fn slice_exhausted(began_ms: u64) -> bool {
    wasi::monotonic_ms().is_none_or(|now| now.saturating_sub(began_ms) > SLICE_MS)
}
