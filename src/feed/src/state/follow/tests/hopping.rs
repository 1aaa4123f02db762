//! Several companions, each with its own lag, restarts and losses, and readers that ask any
//! of them each time. Whatever happens: after a whole answer of a companion, a reader has
//! everything that this companion has.
//!
//! An anchor is revoked for 24 hours from the newest message that names it. A reader that has
//! it by an older message than the companion which has just confirmed it would forget it too
//! soon. Where Redis's clock is set back, this much less is asked for: ids are times.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::RETENTION;
use crate::redis::account::{Account, Step};
use crate::redis::reply::{Body, Covered, Id, Message, Reading};
use crate::state::clock::{now, pass};
use crate::state::position::mark;

const COMPANIONS: usize = 3;
const READERS: usize = 2;
const ANCHORS: u8 = 6;
/// Every message matters.
const LIFE: u64 = u64::MAX / 4;
/// By how much the clocks go on, in milliseconds: longer than what counts as the same time.
const UNIT: u64 = 100_000;

/// A stream in Redis, with the anchor's number or the epoch of each message, and its time.
#[derive(Debug, Clone, Default)]
struct Log {
    there: Vec<(Id, u64, Instant)>,
    added: u64,
    last: Id,
    name: String,
}

#[derive(Debug, Clone)]
struct Redis {
    streams: [Log; 2],
    /// The shared store: anchors, and the time of each.
    store: BTreeMap<String, Instant>,
    epoch: u64,
    clock: u64,
    reign: u64,
    names: u64,
    /// By how much its clock was set back.
    back: Duration,
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Delegations)
}

impl Redis {
    fn add(&mut self, stream: Stream, what: u64) {
        let log = &mut self.streams[index(stream)];
        let id = match self.clock > log.last.0 {
            true => (self.clock, 0),
            false => (log.last.0, log.last.1 + 1),
        };
        (log.last, log.added) = (id, log.added + 1);
        log.there.push((id, what, now()));
    }

    /// What is trimmed is in the store: the companions confirm nothing before that.
    fn keep(&mut self, upto: usize) {
        for (_, what, at) in &self.streams[0].there[..upto] {
            let kept = self.store.entry(format!("a{what}")).or_insert(*at);
            *kept = (*kept).max(*at);
        }
    }

    fn pass(&mut self, units: u64) {
        self.clock += units * UNIT;
        pass(Duration::from_millis(units * UNIT));
    }

    fn set_back(&mut self, units: u64) {
        self.clock -= units * UNIT;
        self.back += Duration::from_millis(units * UNIT);
    }

    fn trim(&mut self, stream: Stream, keep: usize) {
        let cut = self.streams[index(stream)].there.len().saturating_sub(keep);
        if stream == Stream::Revocations {
            self.keep(cut);
        }
        self.streams[index(stream)].there.drain(..cut);
    }

    fn read(&mut self, stream: Stream, after: Id, count: usize, spoilt: &str) -> Reading {
        let log = &mut self.streams[index(stream)];
        if log.name.is_empty() || log.name == spoilt {
            self.names += 1;
            log.name = format!("n{}", self.names);
        }
        let later: Vec<Id> = log
            .there
            .iter()
            .map(|(id, ..)| *id)
            .filter(|id| *id > after)
            .collect();
        let messages = later.iter().take(count).map(|id| Message {
            id: *id,
            body: Body::Gone,
        });
        Reading {
            master: true,
            reign: format!("r{}", self.reign),
            name: log.name.clone(),
            added: log.added,
            length: log.there.len() as u64,
            first: log.there.first().map(|(id, ..)| *id),
            last: log.last,
            covered: Covered::default(),
            time_ms: self.clock,
            more: later.len() >= count,
            messages: messages.collect(),
            deleted: (0, 0),
            heavy: false,
        }
    }
}

/// Does what the tails and the scan do, with the state and the account that they use.
struct Companion {
    state: Arc<State>,
    accounts: [Account; 2],
    spoilt: [String; 2],
    /// The reign in which each stream was last read to its end.
    reigns: [Option<u64>; 2],
    /// Messages are missing, and the store was not read since.
    open: bool,
    /// What it has, and by the message of which time.
    anchors: BTreeMap<String, Instant>,
    epoch: u64,
}

impl Companion {
    fn new() -> Self {
        Companion {
            state: State::new(1_000, None),
            accounts: [Account::new(), Account::new()],
            spoilt: Default::default(),
            reigns: [None, None],
            open: false,
            anchors: BTreeMap::new(),
            epoch: 0,
        }
    }

    fn step(&mut self, redis: &mut Redis, stream: Stream, count: usize) -> bool {
        let n = index(stream);
        let asked = now();
        let reading = redis.read(stream, self.accounts[n].id(), count, &self.spoilt[n]);
        let mark = mark(stream, &reading.reign, &reading.name, "");
        match self.accounts[n].judge(&reading, LIFE) {
            Step::Take { gap } => {
                self.state.seen(stream, mark, reading.last, reading.time_ms);
                let known = self.accounts[n].before();
                for message in &reading.messages {
                    let there = &redis.streams[n].there;
                    let found = there.iter().find(|(id, ..)| *id == message.id).unwrap();
                    self.take(stream, *found, mark, found.0 <= known);
                }
                if gap.is_some() {
                    self.state.missed();
                    self.open = true;
                }
            }
            Step::Restart => {
                self.state.reads_again(stream);
                return true;
            }
            Step::Backwards => {
                self.state.unconfirm(stream);
                self.state.reads_again(stream);
                self.state.rename();
                self.spoilt[n] = reading.name;
                self.state.missed();
                self.open = true;
                return true;
            }
        }
        if !reading.more {
            self.reigns[n] = Some(redis.reign);
        }
        if self.open {
            self.state.unconfirm(stream);
        } else if !reading.more {
            let id = reading.last.max(self.accounts[n].id());
            let place = mark.map(|mark| Place { mark, id });
            self.state.reached(stream, place, asked);
            self.state.confirm(stream, asked);
        }
        reading.more
    }

    fn take(&mut self, stream: Stream, of: (Id, u64, Instant), mark: Option<u64>, again: bool) {
        let (id, what, at) = of;
        let source = mark.map(|mark| Place { mark, id });
        let event = match stream {
            Stream::Revocations => {
                let anchor = format!("a{what}");
                let known = self.anchors.entry(anchor.clone()).or_insert(at);
                *known = at.max(*known);
                Event::Revoked(vec![anchor].into_iter().collect())
            }
            Stream::Delegations => {
                self.epoch = self.epoch.max(what);
                let zone = "z".to_owned();
                Event::Epoch { zone, epoch: what }
            }
        };
        match again {
            true => self.state.apply_again(&event, source),
            false => self.state.apply(&event, source),
        }
    }

    fn read_all(&mut self, redis: &mut Redis) {
        for stream in Stream::ALL {
            for _ in 0..100 {
                if !self.step(redis, stream, 3) {
                    break;
                }
            }
        }
    }

    fn scan(&mut self, redis: &mut Redis) {
        let (scan, began) = (self.state.scan_begins(), now());
        for (anchor, at) in &redis.store {
            if self.state.is_expiry_wanted(anchor, scan) {
                let left = (*at + RETENTION).saturating_duration_since(now());
                self.state.found(anchor, left, scan);
                let known = self.anchors.entry(anchor.clone()).or_insert(*at);
                *known = (*known).max(*at);
            }
        }
        for (anchor, at) in &self.anchors {
            redis.store.entry(anchor.clone()).or_insert(*at);
        }
        if redis.epoch > 0 {
            self.state.found_epoch("z", redis.epoch, LONG, scan);
        }
        self.epoch = self.epoch.max(redis.epoch);
        redis.epoch = self.epoch;
        self.state.scan_ended(scan, began);
        self.open = false;
    }
}

#[derive(Default)]
struct Reader {
    position: String,
    /// Until when.
    anchors: BTreeMap<String, Instant>,
    epoch: u64,
}

impl Reader {
    /// Asks a companion, and says whether the answer was whole.
    fn ask(&mut self, companion: &Companion, asked: Instant, max: usize) -> bool {
        let position = Position::read(&self.position);
        let Ok(page) = companion.state.follow(&position, asked, max) else {
            return false;
        };
        for entry in &page.entries {
            match entry {
                Entry::Anchor { anchor, ttl_s, .. } => {
                    let until = now() + Duration::from_secs(*ttl_s);
                    let known = self.anchors.entry(anchor.to_string()).or_insert(until);
                    *known = until.max(*known);
                }
                Entry::Epoch { epoch, .. } => self.epoch = self.epoch.max(*epoch),
            }
        }
        self.position = page.position.unwrap().text();
        !page.more
    }

    fn lacks(&self, companion: &Companion, back: Duration) -> Vec<String> {
        let slack = Duration::from_secs(62) + back;
        let lacking = companion.anchors.iter().filter(|(anchor, at)| {
            let until = self.anchors.get(*anchor);
            until.is_none_or(|until| *until + slack < **at + RETENTION)
        });
        let mut all: Vec<String> = lacking.map(|(anchor, _)| anchor.clone()).collect();
        if self.epoch < companion.epoch {
            all.push(format!("epoch {}", companion.epoch));
        }
        all
    }
}

#[derive(Debug, Clone)]
enum Act {
    Revoke(u8, u64),
    Raise(u64),
    Store(u8),
    Api(usize, u8),
    Trim(Stream, usize),
    Step(usize, Stream, usize),
    ReadAll(usize),
    Scan(usize),
    Replace(usize),
    Restart,
    Failover(usize, u64),
    Remove(u64),
    Restore(usize),
    Ask(usize, usize, usize),
    AskAndRead(usize, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let stream = || prop_oneof![Just(Stream::Revocations), Just(Stream::Delegations)];
    let (companion, reader) = (0..COMPANIONS, 0..READERS);
    let act = prop_oneof![
        8 => (0..ANCHORS, 0..3_u64).prop_map(|(a, ms)| Act::Revoke(a, ms)),
        3 => (0..3_u64).prop_map(Act::Raise),
        1 => (0..ANCHORS).prop_map(Act::Store),
        1 => (companion.clone(), 0..ANCHORS).prop_map(|(c, a)| Act::Api(c, a)),
        2 => (stream(), 0..5_usize).prop_map(|(s, keep)| Act::Trim(s, keep)),
        6 => (companion.clone(), stream(), 1..5_usize).prop_map(|(c, s, n)| Act::Step(c, s, n)),
        6 => companion.clone().prop_map(Act::ReadAll),
        4 => companion.clone().prop_map(Act::Scan),
        1 => companion.clone().prop_map(Act::Replace),
        1 => Just(Act::Restart),
        1 => (0..4_usize, 0..9_u64).prop_map(|(lost, back)| Act::Failover(lost, back)),
        1 => (0..9_u64).prop_map(Act::Remove),
        1 => (0..6_usize).prop_map(Act::Restore),
        14 => (reader.clone(), companion.clone(), 1..6_usize).prop_map(|(r, c, n)| Act::Ask(r, c, n)),
        6 => (reader, companion).prop_map(|(r, c)| Act::AskAndRead(r, c)),
    ];
    proptest::collection::vec(act, 1..120)
}

/// Runs the acts. Returns what a reader lacked after a whole answer.
fn run(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut redis = Redis {
        streams: Default::default(),
        store: BTreeMap::new(),
        epoch: 0,
        clock: 1_000 * UNIT * 1_000,
        reign: 0,
        names: 0,
        back: Duration::ZERO,
    };
    let mut all: Vec<Companion> = (0..COMPANIONS).map(|_| Companion::new()).collect();
    let mut readers: Vec<Reader> = (0..READERS).map(|_| Reader::default()).collect();
    let mut raised = 0;
    for act in acts {
        match act {
            Act::Revoke(anchor, ms) => {
                redis.pass(ms);
                redis.add(Stream::Revocations, u64::from(anchor));
            }
            Act::Raise(ms) => {
                redis.pass(ms);
                raised += 1;
                redis.add(Stream::Delegations, raised);
            }
            Act::Store(anchor) => {
                // Another verifier has it from elsewhere: a name that is in no stream.
                redis.store.entry(format!("s{anchor}")).or_insert_with(now);
            }
            Act::Api(n, anchor) => {
                let name = format!("m{anchor}");
                all[n].state.revoke(&name, RETENTION);
                all[n].anchors.insert(name, now());
            }
            Act::Trim(stream, keep) => {
                // What a failover lost and what a new master got in its place may have the
                // same ids and the same number. So one who reads it again sees the difference
                // only in the messages themselves; 100 000 of them are kept.
                let behind = |one: &Companion| {
                    one.reigns[index(stream)].is_some_and(|reign| reign != redis.reign)
                };
                if all.iter().any(behind) {
                    continue;
                }
                if stream == Stream::Delegations {
                    redis.epoch = redis.epoch.max(raised);
                }
                redis.trim(stream, keep);
            }
            Act::Step(n, stream, count) => {
                all[n].step(&mut redis, stream, count);
            }
            Act::ReadAll(n) => all[n].read_all(&mut redis),
            Act::Scan(n) => all[n].scan(&mut redis),
            Act::Replace(n) => all[n] = Companion::new(),
            Act::Restart => redis.reign += 1,
            Act::Failover(lost, back) => {
                redis.reign += 1;
                redis.set_back(back);
                for log in &mut redis.streams {
                    for _ in 0..lost.min(log.there.len()) {
                        log.there.pop();
                        log.added -= 1;
                    }
                    if lost > 0
                        && let Some((last, ..)) = log.there.last()
                    {
                        log.last = *last;
                    }
                }
            }
            Act::Remove(back) => {
                // Its groups are gone too, so it has no name.
                redis.set_back(back);
                redis.streams[0] = Log::default();
            }
            Act::Restore(lost) => {
                // An older copy in place of the stream, with its groups. The clock goes on.
                let log = &mut redis.streams[0];
                let keep = log.there.len().saturating_sub(lost);
                if keep > 0 && lost > 0 {
                    redis.clock = redis.clock.max(log.last.0 + 1);
                    log.added -= (log.there.len() - keep) as u64;
                    log.there.truncate(keep);
                    log.last = log.there[keep - 1].0;
                    // Those who read further notice it within a quarter of a second, which
                    // is not enough for a second copy.
                    for companion in &mut all {
                        companion.step(&mut redis, Stream::Revocations, 3);
                    }
                }
            }
            Act::Ask(reader, n, max) => {
                if readers[reader].ask(&all[n], now(), max) {
                    let lacks = readers[reader].lacks(&all[n], redis.back);
                    prop_assert!(lacks.is_empty(), "of {n}: {lacks:?}");
                }
            }
            Act::AskAndRead(reader, n) => {
                let asked = now();
                while now() == asked {}
                all[n].read_all(&mut redis);
                if readers[reader].ask(&all[n], asked, 1_000) {
                    let lacks = readers[reader].lacks(&all[n], redis.back);
                    prop_assert!(lacks.is_empty(), "of {n}: {lacks:?}");
                }
            }
        }
    }
    // In the end everybody has everything, whichever companion is asked.
    for _ in 0..3 {
        for companion in &mut all {
            companion.read_all(&mut redis);
            companion.scan(&mut redis);
            companion.read_all(&mut redis);
        }
    }
    for (n, reader) in readers.iter_mut().enumerate() {
        let companion = &all[n % COMPANIONS];
        let asked = now() - Duration::from_secs(1);
        prop_assert!(reader.ask(companion, asked, 1_000), "no whole answer");
        let there = redis.streams[0].there.iter();
        for (_, what, _) in there {
            let anchor = format!("a{what}");
            prop_assert!(reader.anchors.contains_key(&anchor), "{anchor}");
        }
        for anchor in redis.store.keys() {
            prop_assert!(reader.anchors.contains_key(anchor), "{anchor}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_reader_that_hops_misses_nothing(acts in acts()) {
        run(acts)?;
    }
}

/// `PROPTEST_CASES` for a long run.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(256)
}
