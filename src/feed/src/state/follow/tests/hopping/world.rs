//! Redis, and companions that read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::RETENTION;
use crate::event::{Event, Stream};
use crate::redis::account::{Account, Step};
use crate::redis::reply::{Body, Covered, Id, Message, Reading};
use crate::state::State;
use crate::state::clock::{now, pass};
use crate::state::position::{Place, mark};

/// Every message matters.
const LIFE: u64 = u64::MAX / 4;
/// By how much the clocks go on, in milliseconds: longer than what counts as the same time.
pub(super) const UNIT: u64 = 100_000;

/// A stream in Redis, with the anchor's number or the epoch of each message, and its time.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) there: Vec<(Id, u64, Instant)>,
    pub(super) added: u64,
    pub(super) last: Id,
    pub(super) name: String,
}

#[derive(Debug, Clone)]
pub(super) struct Redis {
    pub(super) streams: [Log; 2],
    /// The shared store: anchors, and the time of each.
    pub(super) store: BTreeMap<String, Instant>,
    pub(super) epoch: u64,
    pub(super) clock: u64,
    pub(super) reign: u64,
    pub(super) names: u64,
    /// By how much its clock was set back.
    pub(super) back: Duration,
}

pub(super) fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Delegations)
}

impl Redis {
    pub(super) fn add(&mut self, stream: Stream, what: u64) {
        let log = &mut self.streams[index(stream)];
        let id = match self.clock > log.last.0 {
            true => (self.clock, 0),
            false => (log.last.0, log.last.1 + 1),
        };
        (log.last, log.added) = (id, log.added + 1);
        log.there.push((id, what, now()));
    }

    /// What is trimmed is in the store: the companions confirm nothing before that.
    pub(super) fn keep(&mut self, upto: usize) {
        for (_, what, at) in &self.streams[0].there[..upto] {
            let kept = self.store.entry(format!("a{what}")).or_insert(*at);
            *kept = (*kept).max(*at);
        }
    }

    pub(super) fn pass(&mut self, units: u64) {
        self.clock += units * UNIT;
        pass(Duration::from_millis(units * UNIT));
    }

    pub(super) fn set_back(&mut self, units: u64) {
        self.clock -= units * UNIT;
        self.back += Duration::from_millis(units * UNIT);
    }

    pub(super) fn trim(&mut self, stream: Stream, keep: usize) {
        let cut = self.streams[index(stream)].there.len().saturating_sub(keep);
        if stream == Stream::Revocations {
            self.keep(cut);
        }
        self.streams[index(stream)].there.drain(..cut);
    }

    pub(super) fn read(
        &mut self,
        stream: Stream,
        after: Id,
        count: usize,
        spoilt: &str,
    ) -> Reading {
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
pub(super) struct Companion {
    pub(super) state: Arc<State>,
    pub(super) accounts: [Account; 2],
    pub(super) spoilt: [String; 2],
    /// The reign in which each stream was last read to its end.
    pub(super) reigns: [Option<u64>; 2],
    /// Messages are missing, and the store was not read since.
    pub(super) open: bool,
    /// What it has, and by the message of which time.
    pub(super) anchors: BTreeMap<String, Instant>,
    pub(super) epoch: u64,
}

impl Companion {
    pub(super) fn new() -> Self {
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

    pub(super) fn step(&mut self, redis: &mut Redis, stream: Stream, count: usize) -> bool {
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

    pub(super) fn take(
        &mut self,
        stream: Stream,
        of: (Id, u64, Instant),
        mark: Option<u64>,
        again: bool,
    ) {
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

    pub(super) fn read_all(&mut self, redis: &mut Redis) {
        for stream in Stream::ALL {
            for _ in 0..100 {
                if !self.step(redis, stream, 3) {
                    break;
                }
            }
        }
    }

    pub(super) fn scan(&mut self, redis: &mut Redis) {
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
            self.state
                .found_epoch("z", redis.epoch, Duration::from_secs(100), scan);
        }
        self.epoch = self.epoch.max(redis.epoch);
        redis.epoch = self.epoch;
        self.state.scan_ended(scan, began);
        self.open = false;
    }
}
