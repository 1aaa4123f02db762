//! Bursts of revocations, smaller than those of `make bench`.

use std::time::Duration;

use caracal_tests::burst;

#[test]
fn a_burst_is_nowhere_lost() {
    for delay in [0, 5] {
        let delay = Duration::from_millis(delay);
        let took = burst::run(20_000, delay, Duration::from_secs(60));
        println!("20 000 at {delay:?}: {took:.1?}");
    }
}
