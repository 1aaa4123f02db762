//! Revocation in the in-process host, in each proxy that it plays: several workers, a
//! companion that comes, goes and is replaced, and faults at every turn. Whatever
//! happens, what was refused as revoked is never admitted again.
//!
//! `every_host` is what holds in all of them, `shared_data` what workers that share
//! their state know more, and `by_itself` those that do not.

mod bounds;
mod by_itself;
mod every_host;
mod live;
mod shared_data;
mod ticks;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::host::{Answer, Builder, Callout, Outcome, Proxy, Request, Stream};
use caracal_tests::hosts::{ENVOY, On, outcome};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
/// Time in which the first poll and fetch are done, and news get around.
const SOON: Duration = Duration::from_millis(300);

/// What the callouts are answered by; a test swaps parts of it.
#[derive(Clone)]
struct World {
    on: On,
    /// The zone's keys.
    keys: Rc<RefCell<Vec<Key>>>,
    companion: Rc<RefCell<InProcess>>,
    /// An answer in place of the companion's.
    instead: Rc<RefCell<Option<Answer>>>,
    polls: Rc<Cell<usize>>,
}

impl World {
    fn new(on: On) -> Self {
        World {
            on,
            keys: Rc::new(RefCell::new(vec![Key::new("k1", 1)])),
            companion: Rc::default(),
            instead: Rc::default(),
            polls: Rc::default(),
        }
    }

    fn answer(&self, callout: &Callout) -> Answer {
        if self.on.is_sts(callout) {
            let keys = self.keys.borrow();
            return Answer::json(&key_set(&keys.iter().collect::<Vec<_>>()));
        }
        self.polls.set(self.polls.get() + 1);
        match &*self.instead.borrow() {
            Some(answer) => answer.clone(),
            None => self.companion.borrow().answer(callout),
        }
    }

    fn revoke(&self, anchor: &str) {
        self.companion.borrow().revoke(anchor);
    }

    /// The companion does not answer any more, or answers otherwise.
    fn say(&self, answer: Option<Answer>) {
        *self.instead.borrow_mut() = answer;
    }
}

fn feed() -> Value {
    json!({"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 5})
}

fn builder(world: &World, changes: Value) -> Builder {
    let mut all = json!({"revocation": feed(), "exclude": ["/open"]});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    let (on, world) = (world.on, world.clone());
    on.builder(&on.configuration(all))
        .wall(Duration::from_secs(START))
        .workers(2)
        .on_callout(move |callout| world.answer(callout))
}

fn start(world: &World, changes: Value) -> Proxy {
    let mut proxy = builder(world, changes).start().unwrap();
    proxy.advance(SOON);
    proxy
}

fn request(claims: Value) -> Request {
    // A day and more passes in some tests; the mandates are good all along.
    let mut long = json!({"exp": START + 1_000_000});
    for (name, value) in claims.as_object().unwrap() {
        long[name] = value.clone();
    }
    Request::get("/").bearer(Key::new("k1", 1).mandate(START, long))
}

fn send(proxy: &mut Proxy, worker: usize, claims: Value) -> Stream {
    proxy.request(worker, request(claims))
}

/// The same of a mandate with these claims, in each worker.
fn judged(world: &World, proxy: &mut Proxy, claims: Value) -> (u32, String) {
    let streams = if world.on == ENVOY {
        let streams = [0, 1].map(|worker| send(proxy, worker, claims.clone()));
        proxy.advance(Duration::from_millis(20));
        streams
    } else {
        let request = request(claims);
        [0, 1].map(|worker| *world.on.send(proxy, worker, &request).last().unwrap())
    };
    let [one, two] = streams.map(|stream| outcome(proxy, stream));
    assert_eq!(one, two, "the workers do not agree");
    one
}

fn admitted() -> (u32, String) {
    (200, String::new())
}

fn revoked() -> (u32, String) {
    (401, "session_revoked".to_owned())
}

fn unavailable() -> (u32, String) {
    (503, "sts_unavailable".to_owned())
}
