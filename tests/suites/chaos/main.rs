//! Chaos: whatever befalls Redis, the companions and Envoy, in any order, under
//! revocations and requests. A model knows what may be admitted. `CHAOS_SECONDS` and
//! `CHAOS_SEED` choose how long and which; a failure prints both and what was done.

use std::time::{Duration, Instant};

use caracal_tests::redis_topology::{Cluster, Sentinels};

mod faults;
mod model;
mod random;
mod scene;
mod topology;
mod traffic;

use faults::Fault;
use random::Random;
use scene::Scene;
use topology::Redis;

/// In `make test`; `make chaos` takes an hour.
const SECONDS: u64 = 90;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_revoked_is_admitted_whatever_happens_with_sentinels() {
    chaos(Redis::Sentinels(Sentinels::default()));
}

#[test]
fn nothing_revoked_is_admitted_whatever_happens_with_a_cluster() {
    chaos(Redis::Cluster(Cluster::default()));
}

fn chaos(redis: Redis) {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap()
    });
    let length = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", length.as_secs());
    let mut random = Random::new(seed);
    let mut scene = Scene::new(seed, redis);
    let since = Instant::now();
    let mut rounds = 0;
    while since.elapsed() < length {
        rounds += 1;
        let faults: Vec<Fault> = (0..=random.below(3) / 2)
            .map(|_| Fault::any(&mut random))
            .collect();
        for fault in faults {
            scene.befalls(fault, &mut random);
        }
        std::thread::sleep(Duration::from_millis(1_000 + random.below(4_000)));
        scene.heals();
        scene.is_well();
    }
    let told = scene.ends();
    println!("{rounds} rounds in {:?}: {told}", since.elapsed());
}
