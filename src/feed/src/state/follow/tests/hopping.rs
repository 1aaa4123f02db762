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
use crate::state::clock::now;

mod world;

use world::{Companion, Log, Redis, UNIT, index};

const COMPANIONS: usize = 3;
const READERS: usize = 2;
const ANCHORS: u8 = 6;
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
