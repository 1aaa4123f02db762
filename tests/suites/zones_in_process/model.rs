//! Keys, epochs and outages of three zones change at random, and requests of all kinds
//! come. What is never admitted: a token whose key is not, and was not lately, one of its
//! own zone's; and one whose epoch its zone has overtaken. When all is well again,
//! everything that is good is admitted.

use caracal_tests::hosts::{APISIX, KONG};

use super::*;

/// How long a key may be used after it has left its zone: as long as a key set lives.
const WITHDRAWN: Duration = Duration::from_secs(60 + 60 + 1);
/// How long an epoch takes to get to every worker; on APISIX an answer is used so long.
const RAISED: Duration = Duration::from_secs(6);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn zone(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }
}

/// A key that a zone has or had, and since when it has it no more.
struct Known {
    zone: usize,
    key: Key,
    gone: Option<Duration>,
}

struct Model {
    random: Random,
    keys: Vec<Known>,
    /// Each zone's epochs, and when they were raised.
    epochs: [Vec<(u64, Duration)>; 3],
}

impl Model {
    fn change(&mut self, world: &World, now: Duration) {
        let zone = self.random.zone();
        match self.random.below(6) {
            0 => {
                for known in self.keys.iter_mut().filter(|known| known.zone == zone) {
                    known.gone.get_or_insert(now);
                }
                // Sometimes the kid is one that this or another zone had.
                let kid = format!("k{}", self.random.below(4));
                let seed = u8::try_from(self.keys.len() + 1).unwrap();
                let key = Key::new(&kid, seed);
                world
                    .keys
                    .borrow_mut()
                    .insert(ZONES[zone].to_owned(), vec![key.clone()]);
                self.keys.push(Known {
                    zone,
                    key,
                    gone: None,
                });
            }
            1 => {
                let next = self.epochs[zone].last().map_or(1, |(epoch, _)| epoch + 1);
                world.companion.borrow().raise(ZONES[zone], next);
                self.epochs[zone].push((next, now));
            }
            2 => world.outage(ZONES[zone], true),
            _ => world.outage(ZONES[zone], false),
        }
    }

    /// Sends a request, and checks what comes of it.
    fn ask(&mut self, world: &World, proxy: &mut Proxy, n: usize) -> bool {
        let zone = self.random.zone();
        let index = usize::try_from(self.random.below(self.keys.len() as u64)).unwrap();
        let epoch = self.epochs[zone].last().map_or(0, |(epoch, _)| *epoch);
        let epoch = epoch.saturating_sub(self.random.below(2));
        let claims = json!({
            "jti": n.to_string(), "delegation_edge_id": "e", "delegation_graph_epoch": epoch,
        });
        let token = mandate(&self.keys[index].key, ZONES[zone], claims);
        let worker = usize::try_from(self.random.below(2)).unwrap();
        // What was true before the request came can only get worse meanwhile.
        let before = proxy.now();
        if answer(world, proxy, worker, &token) != admitted() {
            return false;
        }
        let known = &self.keys[index];
        assert_eq!(
            known.zone, zone,
            "a key of {} for {}",
            ZONES[known.zone], ZONES[zone]
        );
        let is_withdrawn = known.gone.is_some_and(|gone| before > gone + WITHDRAWN);
        assert!(
            !is_withdrawn,
            "a key that left at {:?}, at {before:?}",
            known.gone
        );
        let raised = self.epochs[zone].iter().find(|(raised, _)| *raised > epoch);
        let is_stale = raised.is_some_and(|(_, at)| before > *at + RAISED);
        assert!(!is_stale, "epoch {epoch} beside {raised:?}, at {before:?}");
        true
    }
}

fn run(on: On, seed: u64) {
    let world = World::new(on, &ZONES);
    let mut proxy = start(
        &world,
        json!({"jwks": {"upstream": "sts", "ttl_s": 60, "max_stale_s": 60}}),
    );
    let keys = ZONES.iter().enumerate();
    let keys = keys.map(|(zone, id)| Known {
        zone,
        key: world.key(id),
        gone: None,
    });
    let mut model = Model {
        random: Random(seed),
        keys: keys.collect(),
        epochs: Default::default(),
    };
    let mut good = 0;
    for n in 0..150 {
        if model.random.below(4) == 0 {
            model.change(&world, proxy.now());
        }
        good += usize::from(model.ask(&world, &mut proxy, n));
        let pause = model.random.below(5_000);
        proxy.advance(Duration::from_millis(pause));
    }
    assert!(good > 5, "{good} were admitted");
    for zone in ZONES {
        world.outage(zone, false);
    }
    proxy.advance(Duration::from_secs(130));
    for (n, zone) in ZONES.into_iter().enumerate() {
        let epoch = model.epochs[n].last().map_or(0, |(epoch, _)| *epoch);
        let claims = json!({"delegation_edge_id": "e", "delegation_graph_epoch": epoch});
        let token = world.mandate(zone, claims);
        assert_eq!(
            judged(&world, &mut proxy, &token),
            admitted(),
            "{zone} in the end"
        );
    }
    proxy.assert_clean();
}

#[test]
fn random_changes_let_nothing_through() {
    for on in [ENVOY, KONG, APISIX] {
        for seed in 1..=4 {
            let failed = std::panic::catch_unwind(|| run(on, seed));
            assert!(failed.is_ok(), "{on:?}, seed {seed}");
        }
    }
}
