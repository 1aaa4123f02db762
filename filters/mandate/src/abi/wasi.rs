//! The host's clocks and environment, through WASI. Each call returns its failure as a
//! value.
#![allow(unsafe_code, reason = "raw host calls")]

/// Unix time in whole seconds, rounded down; `None` if there is no clock.
pub(crate) fn unix_time_s() -> Option<u64> {
    wasi_clock(wasi::CLOCKID_REALTIME).map(|ns| ns / 1_000_000_000)
}

/// Unix time in microseconds.
pub(crate) fn unix_time_us() -> Option<u64> {
    wasi_clock(wasi::CLOCKID_REALTIME).map(|ns| ns / 1_000)
}

/// Some clocks start at 0 with the VM. The filter computes times that are earlier than
/// now, and 0 means "never" in shared records. So a day is added to the clock. Shared
/// records use this clock: if you change this number, change the version in the names of
/// shared values too.
const CLOCK_OFFSET_MS: u64 = 86_400_000;

/// Milliseconds on a clock that never goes back. On Envoy all VMs have the same one.
pub(crate) fn monotonic_ms() -> Option<u64> {
    let ns = wasi_clock(wasi::CLOCKID_MONOTONIC)?;
    Some((ns / 1_000_000).saturating_add(CLOCK_OFFSET_MS))
}

/// Nanoseconds on the same clock, where two requests in one millisecond must differ.
pub(crate) fn monotonic_ns() -> Option<u64> {
    wasi_clock(wasi::CLOCKID_MONOTONIC)
}

/// Most variables that are read from the environment, and most bytes of all of them.
const MAX_ENVIRONMENT: (usize, usize) = (4_096, 1024 * 1024);

/// The environment, as far as the host shows it. The standard library is not used for
/// this, because it traps if the host's call fails.
pub(crate) fn environment() -> Vec<(String, String)> {
    read_environment().unwrap_or_default()
}

fn read_environment() -> Option<Vec<(String, String)>> {
    // SAFETY: no pointers of ours.
    let (count, size) = unsafe { wasi::environ_sizes_get() }.ok()?;
    if count > MAX_ENVIRONMENT.0 || size > MAX_ENVIRONMENT.1 {
        return None;
    }
    let mut pointers = vec![std::ptr::null_mut(); count];
    let mut bytes = vec![0_u8; size];
    // SAFETY: there is room for as many pointers and bytes as the host said.
    unsafe { wasi::environ_get(pointers.as_mut_ptr(), bytes.as_mut_ptr()) }.ok()?;
    let entry = |entry: &[u8]| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some(bytes.split(|b| *b == 0).filter_map(entry).collect())
}

fn wasi_clock(clock: wasi::Clockid) -> Option<u64> {
    // SAFETY: no pointers of ours.
    unsafe { wasi::clock_time_get(clock, 1) }.ok()
}
