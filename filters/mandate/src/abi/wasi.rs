//! The host's clocks and environment, by WASI, each call with its failure as a value.
#![allow(unsafe_code, reason = "raw host calls")]

/// Unix time in whole seconds, floored; `None` where there is no clock.
pub(crate) fn unix_time_s() -> Option<u64> {
    wasi_clock(wasi::CLOCKID_REALTIME).map(|ns| ns / 1_000_000_000)
}

/// Some clocks begin at 0 with the VM. What was before has an age all the same, which
/// must not look like none. Records of what is shared count by this clock: another
/// number here is another version in the names of shared values.
const CLOCK_OFFSET_MS: u64 = 86_400_000;

/// Milliseconds on a clock that never goes back and is one for all VMs on Envoy.
pub(crate) fn monotonic_ms() -> Option<u64> {
    let ns = wasi_clock(wasi::CLOCKID_MONOTONIC)?;
    Some((ns / 1_000_000).saturating_add(CLOCK_OFFSET_MS))
}

/// Most variables, and most bytes of them all, that are read of the environment.
const MAX_ENVIRONMENT: (usize, usize) = (4_096, 1024 * 1024);

/// What the host lets the filter see of its environment. Not by the standard library's
/// way, which traps when the host's call fails.
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
