//! `make bench`: 100 000 signed revocations in one burst, at once and with 5 ms
//! to Redis, while companions are killed, paused and added. Fails if one is missing in
//! the store, in a companion or at the edge.

use std::time::Duration;

use caracal_tests::burst;

const SESSIONS: usize = 100_000;
/// As the control plane trims the stream.
const KEPT: usize = 100_000;

fn main() {
    for delay in [0, 5] {
        let delay = Duration::from_millis(delay);
        let took = burst::run(SESSIONS, KEPT, delay, Duration::from_secs(300));
        println!(
            "a burst of {SESSIONS} at {delay:?} to Redis: written in {:.1?}; in every companion after {:.1?}, \
             in the store and acknowledged after {:.1?}, refused by Envoy after {:.1?}",
            took.written, took.known, took.shared, took.refused,
        );
    }
}
