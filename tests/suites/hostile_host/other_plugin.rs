//! Another plugin with the same `vm_id`. It knows every name, keeps what it has seen, and writes
//! at any moment: a key set of its own, old values, values of other names, cut ones, all values
//! of a former moment. Random, and compared with a model: nobody is ever admitted with its key,
//! nor by a VM that has already refused the session or the key, nor by any VM with a state older
//! than the configuration allows.

use std::collections::BTreeMap;

use caracal_mandate::shared_record::seal::TAG_BYTES;
use caracal_tests::host::{Stream, Values};

use super::random::Random;
use super::*;

/// The oldest revocation state and key set that the configuration allows, and some time to learn.
const STALE: Duration = Duration::from_secs(2);
const WITHDRAWN: Duration = Duration::from_secs(10);
const LEARNED: Duration = Duration::from_secs(1);
const STEPS: usize = 250;
/// Values of a name, and moments, that the plugin keeps.
const KEPT: usize = 64;

type Write = (Vec<u8>, Vec<u8>);

struct Plugin {
    random: Random,
    is_active: bool,
    /// One call in so many is used.
    seldom: u64,
    seen: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    moments: Vec<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What is left to write of a former moment.
    pending: Vec<Write>,
}

impl Plugin {
    fn new(seed: u64) -> Self {
        Plugin {
            random: Random::new(seed),
            is_active: false,
            seldom: 8,
            seen: BTreeMap::new(),
            moments: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn look(&mut self, values: &Values) {
        for (key, (value, _)) in values {
            let seen = self.seen.entry(key.clone()).or_default();
            if seen.last() != Some(value) && seen.len() < KEPT {
                seen.push(value.clone());
            }
        }
        if self.moments.len() < KEPT && self.random.below(20) == 0 {
            let now = values
                .iter()
                .map(|(k, (value, _))| (k.clone(), value.clone()));
            self.moments.push(now.collect());
        }
    }

    fn write(&mut self, values: &Values) -> Option<Write> {
        self.look(values);
        if !self.is_active {
            return None;
        }
        if let Some(next) = self.pending.pop() {
            return Some(next);
        }
        if self.random.below(self.seldom) != 0 || values.is_empty() {
            return None;
        }
        let (key, (value, _)) = values.iter().nth(self.random.index(values.len()))?;
        let seen = &self.seen[key];
        let made = match self.random.below(10) {
            0..=2 => seen[self.random.index(seen.len())].clone(),
            3 => {
                let moment = self
                    .moments
                    .get(self.random.index(self.moments.len().max(1)))?;
                self.pending = moment.clone().into_iter().collect();
                return self.pending.pop();
            }
            4 => {
                let others = values.values().nth(self.random.index(values.len()));
                others?.0.clone()
            }
            5 => value[..self.random.index(value.len() + 1)].to_vec(),
            6 => {
                let mut turned = value.clone();
                let at = self.random.index(turned.len().max(1));
                *turned.get_mut(at)? ^= 1 << self.random.below(8);
                turned
            }
            7 => Vec::new(),
            _ => planted(value, self.random.below(2) == 0)?,
        };
        Some((key.clone(), made))
    }
}

/// The value with the plugin's key in the place of the STS's, or with other numbers. The sum is
/// right; the tag is the old one, or is missing as before there were tags.
fn planted(value: &[u8], with_tag: bool) -> Option<Vec<u8>> {
    let (own, tag) = value.split_at_checked(value.len().checked_sub(TAG_BYTES)?)?;
    let body = own.get(..own.len().checked_sub(4)?)?;
    let mut made = match body.get(..4)? {
        b"CRK2" => {
            let keys = key_set(&[&Key::new("k1", 9), &Key::new("k2", 9)]).to_string();
            [body.get(..20)?, keys.as_bytes()].concat()
        }
        _ => {
            let mut other = body.to_vec();
            other.get_mut(4..12)?.fill(0x7f);
            other
        }
    };
    made.extend(crc32fast::hash(&made).to_le_bytes());
    made.extend(tag.iter().filter(|_| with_tag));
    Some(made)
}

#[derive(Default)]
struct Session {
    revoked_at: Option<Duration>,
    /// The workers whose VM has refused it.
    refused_by: [bool; WORKERS],
}

struct Sent {
    stream: Stream,
    worker: usize,
    /// The number of the worker's VM then.
    life: usize,
    what: What,
    never: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum What {
    Session(usize),
    OldKey,
    Other,
}

struct Model {
    proxy: Proxy,
    companion: Rc<InProcess>,
    random: Random,
    sessions: Vec<Session>,
    /// When the STS withdrew `k2`, and who has refused it since.
    withdrawn: Rc<RefCell<Option<Duration>>>,
    gone_at: [bool; WORKERS],
    lives: [usize; WORKERS],
    open: Vec<Sent>,
    forwarded: usize,
}

impl Model {
    fn new(seed: u64) -> (Self, Rc<RefCell<Plugin>>) {
        let plugin = Rc::new(RefCell::new(Plugin::new(seed)));
        let companion = Rc::new(InProcess::default());
        companion.revoke("revoked");
        let withdrawn: Rc<RefCell<Option<Duration>>> = Rc::default();
        let changes = json!({
            "revocation": {"upstream": "feed", "poll_interval_ms": 100, "max_staleness_s": 2},
            "jwks": {"upstream": "sts", "ttl_s": 10, "max_stale_s": 0},
        });
        let (of, keys) = (Rc::clone(&companion), Rc::clone(&withdrawn));
        let mut proxy = Proxy::envoy(Module::from_file(filter_wasm()).unwrap())
            .configuration(configuration(changes).to_string())
            .wall(Duration::from_secs(START))
            .workers(WORKERS)
            .failure_policy(FailurePolicy::Reload)
            .on_callout(move |callout| match callout.cluster.as_str() {
                "sts" => {
                    let (k1, k2) = (Key::new("k1", 1), Key::new("k2", 2));
                    let all = match *keys.borrow() {
                        Some(_) => key_set(&[&k1]),
                        None => key_set(&[&k1, &k2]),
                    };
                    Answer::json(&all).after(5 * MS)
                }
                _ => of.answer(callout),
            })
            .start()
            .unwrap();
        let shared = Rc::clone(&plugin);
        let act = move |values: &Values| shared.borrow_mut().write(values);
        proxy.other_plugin(Some(Box::new(act)));
        proxy.advance(SOON);
        let sessions = (0..12).map(|_| Session::default()).collect();
        let model = Model {
            proxy,
            companion,
            random: Random::new(seed ^ 0xabcd),
            sessions,
            withdrawn,
            gone_at: [false; WORKERS],
            lives: [0; WORKERS],
            open: Vec::new(),
            forwarded: 0,
        };
        (model, plugin)
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0 => {
                let n = self.random.index(self.sessions.len());
                let now = self.proxy.now();
                if self.sessions[n].revoked_at.replace(now).is_none() {
                    self.companion.revoke(&format!("s{n}"));
                }
            }
            1 => {
                let worker = self.random.index(WORKERS);
                self.proxy.restart_worker(worker).unwrap();
                self.lives[worker] += 1;
                self.gone_at[worker] = false;
                self.sessions
                    .iter_mut()
                    .for_each(|one| one.refused_by[worker] = false);
            }
            _ => {}
        }
        for worker in 0..WORKERS {
            self.send(worker);
        }
        let step = match self.random.below(10) {
            0 => 700,
            n => n * 6,
        };
        self.proxy.advance(Duration::from_millis(step));
        self.settle();
    }

    fn send(&mut self, worker: usize) {
        let now = self.proxy.now();
        let since =
            |at: Option<Duration>, longest| at.is_some_and(|at| now > at + longest + LEARNED);
        let n = self.random.index(self.sessions.len());
        let session = &self.sessions[n];
        let is_stale = since(session.revoked_at, STALE);
        let late = is_stale.then_some("revoked long ago");
        let known = session.refused_by[worker].then_some("this VM has refused the session");
        let of_session = (
            Key::new("k1", 1),
            format!("s{n}"),
            What::Session(n),
            late.or(known),
        );
        let is_gone = since(*self.withdrawn.borrow(), WITHDRAWN);
        let late = is_gone.then_some("its key was withdrawn long ago");
        let known = self.gone_at[worker].then_some("this VM has refused the key");
        let of_old_key = (
            Key::new("k2", 2),
            "free".to_owned(),
            What::OldKey,
            late.or(known),
        );
        let stranger = |kid| {
            (
                Key::new(kid, 9),
                "free".to_owned(),
                What::Other,
                Some("planted key"),
            )
        };
        for (key, sid, what, never) in [of_session, of_old_key, stranger("k1"), stranger("k2")] {
            let token = mandate(&key, &sid);
            let stream = self.proxy.request(worker, Request::get("/").bearer(token));
            let life = self.lives[worker];
            self.open.push(Sent {
                stream,
                worker,
                life,
                what,
                never,
            });
        }
    }

    /// Looks at what has been decided.
    fn settle(&mut self) {
        for sent in std::mem::take(&mut self.open) {
            let outcome = self.proxy.outcome(sent.stream);
            let lives = sent.life == self.lives[sent.worker];
            match outcome {
                Outcome::Forwarded(_) => {
                    assert_eq!(sent.never, None);
                    self.forwarded += 1;
                }
                Outcome::Replied(reply) if reply.status == 401 && lives => match sent.what {
                    What::Session(n) => {
                        let error = reply.json()["error"].as_str().map(str::to_owned);
                        let revoked = error.as_deref() == Some("session_revoked");
                        self.sessions[n].refused_by[sent.worker] |= revoked;
                    }
                    What::OldKey => {
                        let withdrawn = self.withdrawn.borrow().is_some();
                        self.gone_at[sent.worker] |= withdrawn;
                    }
                    What::Other => {}
                },
                // A worker that is made anew forgets what waited there.
                outcome if outcome.is_paused() && lives => self.open.push(sent),
                _ => {}
            }
        }
    }
}

#[test]
fn another_plugin_gets_nobody_admitted_and_nobody_back() {
    let (mut refused, mut forwarded) = (0, 0);
    for seed in 0..12 {
        let (mut model, plugin) = Model::new(seed);
        plugin.borrow_mut().seldom = [2, 8, 40, 200][usize::try_from(seed % 4).unwrap()];
        for step in 0..STEPS {
            // It rests at times, so that there is something to be put back.
            plugin.borrow_mut().is_active = step % 50 > 20;
            if step == STEPS / 4 {
                let now = model.proxy.now();
                *model.withdrawn.borrow_mut() = Some(now);
            }
            model.step();
        }
        plugin.borrow_mut().is_active = false;
        model.proxy.advance(WELL);
        model.settle();
        let what = format!("after the plugin has stopped, seed {seed}");
        is_well(&mut model.proxy, &what);
        no_vm_is_dead(&model.proxy, &what);
        model.proxy.assert_clean();
        let minutes = model.proxy.now().as_secs() / 60 + 1;
        let lines = model.proxy.logs().iter();
        let lines = lines.filter(|line| line.text.contains("shared data is refused"));
        let vms = 1 + WORKERS + model.lives.iter().sum::<usize>();
        let lines = lines.count();
        assert!(
            lines > 0 && lines as u64 <= minutes * vms as u64,
            "{lines} lines"
        );
        refused += model
            .proxy
            .metric_value("caracal_shared_data_refused_total");
        forwarded += model.forwarded;
    }
    println!("{refused} values refused, {forwarded} requests admitted meanwhile");
    assert!(
        refused > 1_000 && forwarded > 1_000,
        "{refused} {forwarded}"
    );
}
