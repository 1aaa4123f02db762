//! The monotonic clock. Tests can move it on.

use std::time::Instant;

#[cfg(not(test))]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
thread_local! {
    static AHEAD: std::cell::Cell<std::time::Duration> = const { std::cell::Cell::new(std::time::Duration::ZERO) };
}

#[cfg(test)]
pub(super) fn now() -> Instant {
    let now = Instant::now();
    now.checked_add(AHEAD.get()).unwrap_or(now)
}

#[cfg(test)]
pub(super) fn pass(time: std::time::Duration) {
    AHEAD.set(AHEAD.get().saturating_add(time));
}
