use super::*;
use crate::event::Event;
use std::sync::Arc;
use std::time::Duration;

mod hopping;

const LONG: Duration = Duration::from_secs(100);

fn place(mark: u64, id: u64) -> Place {
    Place { mark, id: (id, 0) }
}

fn revoked(anchors: &[&str]) -> Event {
    Event::Revoked(anchors.iter().map(|anchor| (*anchor).to_owned()).collect())
}

/// A companion that has read the messages `1..=last` of the stream 1, each with an anchor of
/// its number.
fn reader(last: u64) -> Arc<State> {
    let state = State::new(100_000, None);
    let scan = state.scan_begins();
    state.scan_ended(scan, Instant::now());
    for id in 1..=last {
        state.apply(&revoked(&[&id.to_string()]), Some(place(1, id)));
    }
    ends(&state, last);
    state
}

/// Both streams were read to their ends.
fn ends(state: &State, last: u64) {
    let now = Instant::now();
    for stream in Stream::ALL {
        state.seen(stream, Some(1), (last, 0), last);
        state.reached(stream, Some(place(1, last)), now);
        state.confirm(stream, now);
    }
}

fn names(page: &Page) -> Vec<String> {
    let name = |entry: &Entry| match entry {
        Entry::Anchor { anchor, .. } => anchor.to_string(),
        Entry::Epoch { zone, epoch, .. } => format!("{zone}={epoch}"),
    };
    page.entries.iter().map(name).collect()
}

fn ask(state: &State, position: &Position) -> Page {
    state.follow(position, Instant::now(), 1_000).unwrap()
}

fn next(page: &Page) -> Position {
    Position::read(&page.position.clone().unwrap().text())
}

#[test]
fn what_one_companion_gave_no_other_one_sends_again() {
    let all = [reader(50_000), reader(50_000), reader(50_000)];
    let mut position = Position::default();
    let mut sent = 0;
    // The first is read from its beginning. There is no need to stay with it.
    loop {
        let page = ask(&all[0], &position);
        sent += page.entries.len();
        position = next(&page);
        if !page.more {
            break;
        }
    }
    assert_eq!(sent, 50_000);
    for state in all.iter().cycle().take(12) {
        let page = ask(state, &position);
        assert!(page.entries.is_empty() && !page.more);
        position = next(&page);
    }
    all[1].apply(&revoked(&["new"]), Some(place(1, 50_001)));
    ends(&all[1], 50_001);
    let page = ask(&all[1], &position);
    assert_eq!(names(&page), ["new"]);
    position = next(&page);
    // A companion in place of another one.
    let page = ask(&reader(50_001), &position);
    assert!(page.entries.is_empty());
}

#[test]
fn a_companion_behind_waits_and_never_takes_a_reader_back() {
    let (ahead, behind) = (reader(9), reader(7));
    let position = next(&ask(&ahead, &Position::default()));
    let behind_of = |asked| behind.follow(&position, asked, 10).map(|page| next(&page));
    assert_eq!(behind_of(Instant::now()), Err(NoPage::Behind));
    // It has seen that there are more.
    behind.seen(Stream::Revocations, Some(1), (9, 0), 9);
    behind.seen(Stream::Delegations, Some(1), (9, 0), 9);
    let after = behind_of(Instant::now()).unwrap();
    for stream in Stream::ALL {
        assert_eq!(after.place(stream), Some(place(1, 9)));
    }
}

#[test]
fn messages_that_do_not_exist_are_not_held_by_anybody() {
    let (ahead, other) = (reader(9), reader(7));
    let position = next(&ask(&ahead, &Position::default()));
    let asked = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    // Redis was asked after the reader came, and the stream ends at 7.
    ends(&other, 7);
    let page = other.follow(&position, asked, 10).unwrap();
    assert_eq!(page.entries.len(), 7);
    assert_eq!(next(&page).place(Stream::Revocations), Some(place(1, 7)));
}

#[test]
fn what_is_in_no_stream_comes_once_from_each_companion() {
    let (one, two) = (reader(3), reader(3));
    let mut position = next(&ask(&one, &Position::default()));
    two.found("stored", LONG, 2);
    two.revoke("told", LONG);
    two.raise("z", 4, LONG);
    let page = ask(&two, &position);
    assert_eq!(names(&page), ["stored", "told", "z=4"]);
    position = next(&page);
    for state in [&one, &two, &one] {
        let page = ask(state, &position);
        assert!(page.entries.is_empty());
        position = next(&page);
    }
}

#[test]
fn an_anchor_that_is_revoked_again_is_sent_again() {
    let (one, two) = (reader(3), reader(3));
    let position = next(&ask(&one, &Position::default()));
    // So soon that its end hardly differs.
    two.apply(&revoked(&["2"]), Some(place(1, 4)));
    assert_eq!(names(&ask(&two, &position)), ["2"]);
    // The same of an epoch.
    let epoch = Event::Epoch {
        zone: "z".to_owned(),
        epoch: 5,
    };
    two.apply(&epoch, Some(place(1, 4)));
    ends(&two, 4);
    let position = next(&ask(&two, &position));
    two.apply(&epoch, Some(place(1, 5)));
    assert_eq!(names(&ask(&two, &position)), ["z=5"]);
    assert_eq!(names(&ask(&two, &next(&ask(&two, &position)))), [""; 0]);
}

#[test]
fn what_the_store_keeps_longer_than_its_message_says_is_sent() {
    let state = State::keeping(10, None, LONG);
    let scan = state.scan_begins();
    state.scan_ended(scan, Instant::now());
    state.raise("z", 1, Duration::from_secs(10));
    state.apply(&revoked(&["a"]), Some(place(1, 1)));
    ends(&state, 1);
    let mut elsewhere = Position::default();
    for stream in Stream::ALL {
        elsewhere.set_place(stream, Some(place(1, 1)));
    }
    assert_eq!(names(&ask(&state, &elsewhere)), ["z=1"]);
    let epoch = Event::Epoch {
        zone: "z".to_owned(),
        epoch: 1,
    };
    state.apply_again(&epoch, Some(place(1, 1)));
    assert!(names(&ask(&state, &elsewhere)).is_empty());
    state.raise("z", 1, crate::RETENTION + LONG);
    assert_eq!(names(&ask(&state, &elsewhere)), ["z=1"]);
    state.apply_again(&epoch, Some(place(1, 1)));
    assert_eq!(names(&ask(&state, &elsewhere)), ["z=1"]);
}

#[test]
fn under_another_mark_ids_say_nothing() {
    let (one, two) = (reader(5), reader(5));
    let position = next(&ask(&one, &Position::default()));
    // A failover: the stream is read again, and one message is another one.
    two.reads_again(Stream::Revocations);
    for id in 1..=3 {
        two.apply_again(&revoked(&[&id.to_string()]), Some(place(2, id)));
    }
    two.apply_again(&revoked(&["another"]), Some(place(2, 4)));
    // While it reads, nothing is held back.
    assert_eq!(ask(&two, &position).entries.len(), 6);
    two.reached(Stream::Revocations, Some(place(2, 4)), Instant::now());
    assert_eq!(ask(&two, &position).entries.len(), 6);
    // A reader of its own log gets only what is new there.
    let mut known = position.clone();
    known.set_log(two.lock().name, 5);
    assert_eq!(names(&ask(&two, &known)), ["another"]);
    assert_eq!(
        next(&ask(&two, &known)).place(Stream::Revocations),
        Some(place(2, 4))
    );
}

#[test]
fn an_older_message_does_not_say_how_long_a_newer_one_keeps() {
    let state = reader(0);
    state.apply(&revoked(&["a"]), Some(place(1, 9)));
    // The stream went backwards, and what is there counts from now on.
    crate::state::clock::pass(Duration::from_secs(10));
    state.reads_again(Stream::Revocations);
    state.apply(&revoked(&["a"]), Some(place(2, 3)));
    state.reached(Stream::Revocations, Some(place(2, 3)), Instant::now());
    let mut elsewhere = Position::default();
    elsewhere.set_place(Stream::Revocations, Some(place(2, 3)));
    assert_eq!(names(&ask(&state, &elsewhere)), ["a"]);
}

#[test]
fn what_is_read_again_rests_on_the_newest_message_that_was_ever_read() {
    let state = reader(0);
    state.apply(&revoked(&["a"]), Some(place(1, 9)));
    state.reads_again(Stream::Revocations);
    state.apply_again(&revoked(&["a"]), Some(place(2, 3)));
    state.reached(Stream::Revocations, Some(place(2, 3)), Instant::now());
    let mut elsewhere = Position::default();
    elsewhere.set_place(Stream::Revocations, Some(place(2, 3)));
    assert_eq!(names(&ask(&state, &elsewhere)), ["a"]);
    // The newest one is there again.
    state.apply_again(&revoked(&["a"]), Some(place(2, 9)));
    state.reached(Stream::Revocations, Some(place(2, 9)), Instant::now());
    elsewhere.set_place(Stream::Revocations, Some(place(2, 9)));
    assert!(names(&ask(&state, &elsewhere)).is_empty());
}

/// A companion that starts late keeps what it reads for 24 hours from then. The reader was
/// told the right time by another one.
#[test]
fn what_the_store_has_from_a_later_revocation_is_sent_by_a_companion_that_started_late() {
    let state = reader(0);
    let hour = 3_600_000;
    for (name, left) in [("once", 14), ("again", 24)] {
        state.apply(&revoked(&[name]), Some(place(1, 100 * hour)));
        let now = (100 * hour, 0);
        state.seen(Stream::Revocations, Some(1), now, 110 * hour);
        state.found(name, Duration::from_secs(left * 3_600), 2);
    }
    ends(&state, 100 * hour);
    let mut elsewhere = Position::default();
    elsewhere.set_place(Stream::Revocations, Some(place(1, 100 * hour)));
    assert_eq!(names(&ask(&state, &elsewhere)), ["again"]);
}

#[test]
fn after_a_loss_of_data_a_log_is_another_one_for_those_who_read_it() {
    let state = reader(5);
    let page = ask(&state, &Position::default());
    let (old, position) = (page.generation.clone(), next(&page));
    assert!(state.position_in(&old, 5).is_some());
    state.reads_again(Stream::Revocations);
    state.rename();
    assert_eq!(ask(&state, &position).entries.len(), 5);
    assert_eq!(state.position_in(&old, 5), None);
    assert!(matches!(state.page(&old, 5, 1), Err(NoPage::Gone(new)) if new != old));
}

#[test]
fn pages_are_read_from_several_companions_in_turn() {
    let all = [reader(30), reader(30), reader(30)];
    all[2].revoke("only here", LONG);
    let (mut position, mut got, mut asked) = (Position::default(), BTreeSet::new(), 0);
    for state in all.iter().cycle() {
        let page = state.follow(&position, Instant::now(), 4).unwrap();
        got.extend(names(&page));
        position = next(&page);
        asked += 1;
        if !page.more && got.contains("only here") {
            break;
        }
    }
    assert_eq!(got.len(), 31);
    assert!(asked <= 3 * 8 + 2, "{asked}");
}

use std::collections::BTreeSet;
