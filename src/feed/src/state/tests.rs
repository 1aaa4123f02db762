use super::page::{Entry, NoPage, Page};
use super::*;

const LONG: Duration = Duration::from_secs(100);

fn alone(max: usize) -> Arc<State> {
    let state = State::new(max, Some("z".to_owned()));
    state.stand_alone();
    state
}

fn anchors(page: &Page) -> Vec<String> {
    let name = |entry: &Entry| match entry {
        Entry::Anchor { anchor, .. } => anchor.to_string(),
        Entry::Epoch { zone, epoch, .. } => format!("{zone}={epoch}"),
    };
    page.entries.iter().map(name).collect()
}

#[test]
fn the_log_has_each_once_where_it_was_last_news() {
    let state = alone(10);
    for anchor in ["a", "b", "a"] {
        state.revoke(anchor, LONG);
    }
    state.raise("z", 5, LONG);
    state.raise("z", 4, LONG * 2);
    state.raise("other", 9, LONG);
    let page = state.snapshot(0, 10).unwrap();
    assert_eq!(anchors(&page), ["a", "b", "z=5"]);
    state.revoke("a", LONG * 2);
    state.raise("z", 6, LONG);
    let next = state.page(&page.generation, page.head, 10).unwrap();
    assert_eq!(anchors(&next), ["a", "z=6"]);
    assert_eq!(anchors(&state.snapshot(0, 10).unwrap()), ["b", "a", "z=6"]);
    let one = state.snapshot(0, 1).unwrap();
    assert!(one.more);
    assert!(!next.more);
}

#[test]
fn a_cursor_of_another_log_or_beyond_the_end_is_gone() {
    let state = alone(10);
    state.revoke("a", LONG);
    let name = state.snapshot(0, 1).unwrap().generation;
    let gone = Err(NoPage::Gone(name.clone()));
    assert_eq!(state.page("other", 0, 1).map(|_| ()), gone);
    assert_eq!(state.page(&name, 2, 1).map(|_| ()), gone);
    assert!(state.page(&name, 1, 1).is_ok());
}

#[test]
fn it_is_as_fresh_as_its_oldest_source() {
    let state = State::new(10, None);
    let now = Instant::now();
    assert_eq!(state.confirmed_age_ms(), None);
    state.confirm(Stream::Revocations, now);
    state.confirm(Stream::Delegations, now);
    assert_eq!(
        state.confirmed_age_ms(),
        None,
        "the shared store was not read"
    );
    let scan = state.scan_begins();
    assert_eq!(state.scan_ended(scan, now), 0);
    assert!(state.confirmed_age_ms().is_some());
    state.unconfirm(Stream::Delegations);
    assert!(matches!(state.snapshot(0, 1), Err(NoPage::NotReady(_))));
}

#[test]
fn over_capacity_nothing_is_told_until_there_is_room() {
    let state = alone(20);
    for n in 0..21 {
        state.revoke(&n.to_string(), if n < 10 { Duration::ZERO } else { LONG });
    }
    assert!(state.not_ready().is_some());
    state.expire();
    assert_eq!(state.len(), 10);
    assert!(state.not_ready().is_some());
    state.scan_begins();
    assert_eq!(state.not_ready(), None);
}

#[test]
fn what_the_store_has_lost_is_counted_and_kept() {
    let state = alone(10);
    let long = Duration::from_secs(10_000);
    let (first, now) = (state.scan_begins(), Instant::now());
    state.found("a", long, first);
    state.found("b", long, first);
    state.revoke("streamed", long);
    assert_eq!(state.scan_ended(first, now), 0);
    let second = state.scan_begins();
    assert!(!state.is_expiry_wanted("a", second));
    assert_eq!(state.scan_ended(second, now), 1);
    assert_eq!(state.len(), 3);
}
