use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::redis::reply::{Body, Covered, Message};

const LIFE: u64 = 3_600_000;

/// A model of a stream in Redis.
#[derive(Debug, Clone, Default)]
struct Model {
    there: Vec<u64>,
    added: u64,
    next: u64,
    reign: u64,
    name: u64,
    deleted: u64,
}

impl Model {
    fn add(&mut self, count: u64) {
        for _ in 0..count {
            self.next += 1;
            self.added += 1;
            self.there.push(self.next);
        }
    }

    fn read(&self, after: Id, count: usize) -> Reading {
        let later = self.there.iter().filter(|id| (**id, 0) > after);
        let all: Vec<u64> = later.copied().collect();
        let messages = all.iter().take(count).map(|id| Message {
            id: (*id, 0),
            body: Body::Gone,
        });
        Reading {
            master: true,
            reign: format!("r{}", self.reign),
            name: self.name.to_string(),
            added: self.added,
            length: self.there.len() as u64,
            first: self.there.first().map(|id| (*id, 0)),
            last: (self.next, 0),
            covered: Covered::default(),
            time_ms: self.next,
            more: all.len() >= count,
            messages: messages.collect(),
            deleted: (self.deleted, 0),
            heavy: false,
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Add(u64),
    Trim(usize),
    Delete(usize),
    Read(usize),
    Failover(u64),
    Empty,
    Rename,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..6_u64).prop_map(Act::Add),
        2 => (0..6_usize).prop_map(Act::Trim),
        1 => (0..9_usize).prop_map(Act::Delete),
        5 => (1..5_usize).prop_map(Act::Read),
        1 => (0..3_u64).prop_map(Act::Failover),
        1 => Just(Act::Empty),
        1 => Just(Act::Rename),
    ];
    proptest::collection::vec(act, 1..60)
}

proptest! {
    /// Whatever happens to a stream: if it was read to its end and no gap was reported,
    /// every message that was ever added was read.
    #[test]
    fn nothing_is_missed_in_silence(acts in acts()) {
        let mut model = Model::default();
        let mut account = Account::new();
        let mut read = BTreeSet::new();
        let mut ever = BTreeSet::new();
        let mut told = false;
        // As many deletions as messages that a failover lost may stay hidden, until the
        // stream was read again.
        let (mut lossy, mut deleted) = (false, false);
        for act in acts {
            match act {
                Act::Add(count) => {
                    model.add(count);
                    ever.extend(model.there.iter().copied());
                }
                Act::Trim(keep) => {
                    let cut = model.there.len().saturating_sub(keep);
                    model.there.drain(..cut);
                }
                Act::Delete(at) => {
                    if at < model.there.len() && !lossy {
                        model.there.remove(at);
                        deleted = true;
                    }
                }
                Act::Failover(lost) => {
                    // The new master never had the newest messages. They were only on the
                    // old master, so the surviving one never acknowledged them.
                    model.reign += 1;
                    for _ in 0..if deleted { 0 } else { lost } {
                        if let Some(id) = model.there.pop() {
                            model.added -= 1;
                            ever.remove(&id);
                            lossy = true;
                        }
                    }
                }
                Act::Empty => {
                    model.there.clear();
                    model.added = 0;
                    model.reign += 1;
                    told = true;
                }
                Act::Rename => model.name += 1,
                Act::Read(count) => loop {
                    let reading = model.read(account.id(), count);
                    match account.judge(&reading, LIFE) {
                        Step::Take { gap } => {
                            read.extend(reading.messages.iter().map(|m| m.id.0));
                            told |= gap.is_some();
                            if !reading.more {
                                (lossy, deleted) = (false, false);
                                prop_assert!(told || ever.is_subset(&read), "{ever:?} {read:?}");
                                break;
                            }
                        }
                        Step::Restart | Step::Backwards => {}
                    }
                },
            }
        }
    }
}

fn take(account: &mut Account, model: &Model, count: usize) -> Step {
    account.judge(&model.read(account.id(), count), LIFE)
}

fn gap(missing: u64, until: u64) -> Step {
    Step::Take {
        gap: Some(Gap { missing, until }),
    }
}

const WHOLE: Step = Step::Take { gap: None };

#[test]
fn trimmed_unread_messages_are_counted_in_the_middle_of_a_burst() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(10);
    assert_eq!(take(&mut account, &model, 4), WHOLE);
    model.add(10);
    model.there.drain(..12);
    assert_eq!(take(&mut account, &model, 4), gap(8, 16));
    assert_eq!(take(&mut account, &model, 10), WHOLE);
    assert_eq!(account.counted(), 20);
}

#[test]
fn a_late_start_lacks_what_was_trimmed_before_it() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(10);
    model.there.drain(..7);
    assert_eq!(take(&mut account, &model, 10), gap(7, 10));
    // Old messages concern no valid mandate.
    let mut account = Account::new();
    let mut reading = model.read((0, 0), 10);
    reading.time_ms = 2 * LIFE + 1_000;
    assert_eq!(account.judge(&reading, LIFE), WHOLE);
}

#[test]
fn deleted_messages_are_counted_at_the_end() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(5);
    assert_eq!(take(&mut account, &model, 2), WHOLE);
    model.there.remove(3);
    assert_eq!(take(&mut account, &model, 9), gap(1, 5));
    assert_eq!(take(&mut account, &model, 9), WHOLE);
}

/// The first message is old, as in any long-running stream. The deleted one is not.
#[test]
fn a_message_that_was_just_deleted_is_missed_however_old_the_first_one_is() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(3);
    assert_eq!(take(&mut account, &model, 9), WHOLE);
    model.add(1);
    model.there.pop();
    model.deleted = 4;
    let mut reading = model.read(account.id(), 9);
    reading.time_ms = 2 * LIFE + 4;
    assert_eq!(account.judge(&reading, LIFE), gap(1, 4));
}

#[test]
fn another_master_is_read_from_the_beginning_and_lacks_nothing() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(10);
    model.there.drain(..3);
    assert_eq!(take(&mut account, &model, 20), gap(3, 10));
    model.reign = 1;
    model.there.drain(..2);
    assert_eq!(take(&mut account, &model, 20), Step::Restart);
    assert_eq!(take(&mut account, &model, 20), WHOLE);
    assert_eq!(account.counted(), 10);
}

#[test]
fn what_was_deleted_during_a_failover_is_counted() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(3);
    assert_eq!(take(&mut account, &model, 9), WHOLE);
    model.reign = 1;
    model.add(2);
    model.there = vec![3, 5];
    assert_eq!(take(&mut account, &model, 9), Step::Restart);
    assert_eq!(take(&mut account, &model, 9), gap(1, 5));
}

#[test]
fn an_emptied_stream_went_backwards() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(10);
    assert_eq!(take(&mut account, &model, 20), WHOLE);
    model.there.clear();
    model.added = 0;
    model.add(1);
    assert_eq!(take(&mut account, &model, 20), Step::Backwards);
    assert_eq!(take(&mut account, &model, 20), WHOLE);
}

/// A stream that replaced another one, and has grown beyond it since.
#[test]
fn a_stream_with_another_name_is_read_from_its_beginning() {
    let (mut model, mut account) = (Model::default(), Account::new());
    model.add(2);
    assert_eq!(take(&mut account, &model, 9), WHOLE);
    model = Model {
        name: 1,
        ..Model::default()
    };
    model.add(5);
    assert_eq!(take(&mut account, &model, 9), Step::Restart);
    assert_eq!(take(&mut account, &model, 9), WHOLE);
    assert_eq!((account.counted(), account.id()), (5, (5, 0)));
    // The same after a failover, with the ids and the count of the old one: what was trimmed
    // is not what was read.
    model = Model {
        name: 2,
        reign: 1,
        ..Model::default()
    };
    model.add(5);
    model.there.clear();
    assert_eq!(take(&mut account, &model, 9), Step::Restart);
    assert_eq!(take(&mut account, &model, 9), gap(5, 5));
}
