//! Bursts of revocations, smaller than those of `make bench` unless
//! `BURST_SESSIONS` says otherwise.

use std::time::Duration;

use caracal_tests::burst;

#[test]
fn a_burst_is_nowhere_lost() {
    let sessions = std::env::var("BURST_SESSIONS").ok();
    let sessions = sessions.map_or(20_000, |text| text.parse().unwrap());
    for delay in [0, 5] {
        let delay = Duration::from_millis(delay);
        let took = burst::run(sessions, sessions / 4, delay, Duration::from_secs(120));
        println!("{sessions} at {delay:?}: {took:.1?}");
    }
}
