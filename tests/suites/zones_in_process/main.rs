//! Several zones behind one listener, in the in-process host, in each proxy that it plays:
//! each zone has its keys, its epoch, its outages and its metrics, and none of them judges
//! for another.
//!
//! `each_host` is what holds in all of them, `many` is about 64 zones, and `model` lets
//! random things happen.

mod each_host;
mod many;
mod model;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Builder, Callout, Proxy, Request, Stream};
use caracal_tests::hosts::{ENVOY, On, outcome};
use caracal_tests::mint::{ISSUER, Key, configuration, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Time in which first polls and fetches are done, and news get around.
const SOON: Duration = Duration::from_millis(300);
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];

/// What an STS of several zones and a companion answer; a test changes it.
#[derive(Clone)]
struct World {
    on: On,
    /// The keys of each zone.
    keys: Rc<RefCell<BTreeMap<String, Vec<Key>>>>,
    /// What the STS answers for a zone in place of its keys.
    instead: Rc<RefCell<BTreeMap<String, Answer>>>,
    companion: Rc<RefCell<InProcess>>,
    fetches: Rc<RefCell<Vec<String>>>,
    checks: Rc<Cell<usize>>,
}

impl World {
    /// Every zone has a key of its own under the same `kid`.
    fn new(on: On, zones: &[&str]) -> Self {
        let key = |(n, zone): (usize, &&str)| {
            let seed = u8::try_from(n).unwrap() + 1;
            ((*zone).to_owned(), vec![Key::new("k1", seed)])
        };
        World {
            on,
            keys: Rc::new(RefCell::new(zones.iter().enumerate().map(key).collect())),
            instead: Rc::default(),
            companion: Rc::default(),
            fetches: Rc::default(),
            checks: Rc::default(),
        }
    }

    fn answer(&self, callout: &Callout) -> Answer {
        if !self.on.is_sts(callout) {
            self.checks.set(self.checks.get() + 1);
            return self.companion.borrow().answer(callout);
        }
        let (path, zone) = callout.path.split_once("?zone_id=").unwrap();
        assert_eq!(path, "/.well-known/jwks.json");
        self.fetches.borrow_mut().push(zone.to_owned());
        if let Some(answer) = self.instead.borrow().get(zone) {
            return answer.clone();
        }
        match self.keys.borrow().get(zone) {
            Some(keys) => Answer::json(&key_set(&keys.iter().collect::<Vec<_>>())),
            None => Answer::with(404, "{}"),
        }
    }

    fn key(&self, zone: &str) -> Key {
        self.keys.borrow()[zone].last().unwrap().clone()
    }

    /// The STS of a zone is gone, or there again.
    fn outage(&self, zone: &str, is_out: bool) {
        let mut instead = self.instead.borrow_mut();
        match is_out {
            true => drop(instead.insert(zone.to_owned(), Answer::with(503, "{}"))),
            false => drop(instead.remove(zone)),
        }
    }

    /// A mandate of a zone, by its own key, with these claims.
    fn mandate(&self, zone: &str, changes: Value) -> String {
        mandate(&self.key(zone), zone, changes)
    }

    fn fetches_of(&self, zone: &str) -> usize {
        let fetches = self.fetches.borrow();
        fetches.iter().filter(|one| *one == zone).count()
    }
}

fn mandate(key: &Key, zone: &str, changes: Value) -> String {
    // A day and more passes in some tests; the mandates are good all along.
    let mut claims = json!({"zone_id": zone, "exp": START + 1_000_000});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    key.mandate(START, claims)
}

fn several(zones: &[&str], changes: Value) -> Value {
    let zones: serde_json::Map<_, _> = zones
        .iter()
        .map(|one| ((*one).to_owned(), json!({})))
        .collect();
    let mut all = json!({
        "zone_id": null, "zones": zones,
        "revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5},
    });
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    configuration(all)
}

fn builder(world: &World, zones: &[&str], changes: Value) -> Builder {
    let (on, world) = (world.on, world.clone());
    on.builder(&on.adapt(several(zones, changes)).to_string())
        .wall(Duration::from_secs(START))
        .workers(2)
        .on_callout(move |callout| world.answer(callout))
}

fn start(world: &World, changes: Value) -> Proxy {
    let mut proxy = builder(world, &ZONES, changes).start().unwrap();
    proxy.advance(SOON);
    proxy
}

/// What one worker answers in the end.
fn answer(world: &World, proxy: &mut Proxy, worker: usize, token: &str) -> (u32, String) {
    let request = Request::get("/").bearer(token);
    let last = *world.on.send(proxy, worker, &request).last().unwrap();
    outcome(proxy, last)
}

/// The same in each worker.
fn judged(world: &World, proxy: &mut Proxy, token: &str) -> (u32, String) {
    let [one, two] = [0, 1].map(|worker| answer(world, proxy, worker, token));
    assert_eq!(one, two, "the workers do not agree");
    one
}

fn admitted() -> (u32, String) {
    (200, String::new())
}

fn refused(status: u32, error: &str) -> (u32, String) {
    (status, error.to_owned())
}
