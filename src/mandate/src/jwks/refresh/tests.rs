use super::*;
use crate::fetch_failure::MAX_AGAIN;

const TIMING: FetchTiming = FetchTiming {
    timeout_ms: 5_000,
    ttl_ms: 300_000,
    max_stale_ms: 600_000,
    retry_ms: 1_000,
};
const CAUSE: Cause = Cause::from_number(1);

fn fetch_ok(control: Control, fetch: Fetch, at: u64) -> Control {
    let (leased, lease) = control.leased(fetch, at, TIMING);
    assert!(leased.holds(lease));
    leased.succeeded(at, at.saturating_add(10), TIMING, 5)
}

fn fetch_fails(control: Control, fetch: Fetch, at: u64) -> Control {
    control
        .leased(fetch, at, TIMING)
        .0
        .failed(at.saturating_add(10), TIMING, 10, CAUSE)
        .0
}

#[test]
fn the_first_fetch_is_due_at_once_and_made_once() {
    let cold = Control::default();
    assert_eq!(cold.due(0, false), Some(Fetch::Scheduled));
    assert_eq!(cold.without_key_set(), FetchOutlook::Wait);
    let (leased, _) = cold.leased(Fetch::Scheduled, 0, TIMING);
    assert_eq!(leased.due(5_999, true), None);
    assert_eq!(
        leased.due(6_000, false),
        Some(Fetch::Scheduled),
        "a lost lease is taken over"
    );
}

#[test]
fn a_key_set_is_refreshed_at_about_80_percent_and_ends_after_max_stale() {
    let warm = fetch_ok(Control::default(), Fetch::Scheduled, 1_000);
    assert_eq!(warm.due(240_999, false), None);
    assert_eq!(warm.due(241_000, false), Some(Fetch::Scheduled));
    for jitter in 0..30 {
        let next = Control::default()
            .succeeded(0, 0, TIMING, jitter)
            .failures
            .next_ms;
        assert!((225_000..=255_000).contains(&next), "{next}");
    }
    assert!(warm.is_usable(901_000, TIMING));
    assert!(!warm.is_usable(901_001, TIMING));
    assert!(!Control::default().is_usable(0, TIMING));
}

#[test]
fn failures_back_off_up_to_ten_seconds_and_a_success_forgets_them() {
    let mut control = Control::default();
    assert!(!control.is_failing());
    let mut at = 0;
    for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        control = fetch_fails(control, Fetch::Scheduled, at);
        assert_eq!(control.failures.next_ms, at + 10 + wait);
        assert_eq!(control.without_key_set(), FetchOutlook::Unavailable);
        assert!(control.is_failing());
        at = control.failures.next_ms;
    }
    control = fetch_ok(control, Fetch::Scheduled, at);
    assert_eq!(control.without_key_set(), FetchOutlook::Wait);
    assert_eq!(
        fetch_fails(control, Fetch::Scheduled, at).failures.next_ms,
        at + 10 + 1_000
    );
}

#[test]
fn an_unknown_kid_forces_one_fetch_in_thirty_seconds() {
    let warm = fetch_ok(Control::default(), Fetch::Scheduled, 0);
    let seen = warm.fetch_mark();
    assert_eq!(warm.without_key(seen, 100), FetchOutlook::Wait);
    assert_eq!(warm.due(100, true), Some(Fetch::Forced));
    assert_eq!(warm.due(100, false), None);
    let forced = fetch_ok(warm, Fetch::Forced, 100);
    assert_eq!(forced.without_key(seen, 110), FetchOutlook::UnknownKey);
    assert_eq!(
        forced.without_key(forced.fetch_mark(), 110),
        FetchOutlook::UnknownKey
    );
    assert_eq!(forced.due(30_109, true), None);
    assert_eq!(forced.due(30_110, true), Some(Fetch::Forced));
    assert_eq!(
        forced.without_key(forced.fetch_mark(), 30_110),
        FetchOutlook::Wait
    );
}

#[test]
fn a_forced_fetch_that_fails_answers_503_to_those_who_waited() {
    let warm = fetch_ok(Control::default(), Fetch::Scheduled, 0);
    let failed = fetch_fails(warm, Fetch::Forced, 100);
    assert_eq!(
        failed.without_key(warm.fetch_mark(), 110),
        FetchOutlook::Unavailable
    );
    assert_eq!(
        failed.without_key(failed.fetch_mark(), 110),
        FetchOutlook::UnknownKey
    );
    assert_eq!(failed.due(110, true), None);
    assert_eq!(
        failed.due(1_110, false),
        Some(Fetch::Scheduled),
        "it recovers by itself"
    );
}

#[test]
fn a_scheduled_fetch_starts_no_cooldown() {
    let warm = fetch_ok(Control::default(), Fetch::Scheduled, 0);
    let again = fetch_ok(warm, Fetch::Scheduled, 240_000);
    assert_eq!(again.due(240_011, true), Some(Fetch::Forced));
}

#[test]
fn a_lease_that_was_taken_over_or_given_back_is_lost() {
    let (first, lease) = Control::default().leased(Fetch::Scheduled, 0, TIMING);
    let (second, other) = first.leased(Fetch::Scheduled, 6_000, TIMING);
    assert!(!second.holds(lease) && second.holds(other));
    assert!(!second.succeeded(6_000, 6_010, TIMING, 0).holds(other));
}

#[test]
fn failures_are_logged_once_a_minute() {
    let (first, logged) = Control::default().failed(0, TIMING, 0, CAUSE);
    assert!(logged);
    let (second, logged) = first.failed(59_000, TIMING, 0, CAUSE);
    assert!(!logged);
    let (third, logged) = second.failed(59_001, TIMING, 0, Cause::from_number(2));
    assert!(logged, "another cause");
    assert!(!third.failed(119_000, TIMING, 0, Cause::from_number(2)).1);
    assert!(third.failed(119_001, TIMING, 0, Cause::from_number(2)).1);
}

#[test]
fn a_call_that_is_not_taken_is_made_again_soon_and_not_for_ever() {
    let (mut control, mut now, mut tries) = (Control::default(), 1_000, 0);
    loop {
        let (leased, lease) = control.leased(Fetch::Scheduled, now, TIMING);
        let Some(next) = leased.again(now) else { break };
        assert!(!next.holds(lease));
        assert_eq!(next.without_key_set(), FetchOutlook::Wait);
        assert_eq!(next.due(now + 49, false), None);
        now += 100;
        assert_eq!(next.due(now, false), Some(Fetch::Scheduled));
        (control, tries) = (next, tries + 1);
    }
    assert_eq!(tries, MAX_AGAIN);
    let failing = fetch_fails(control, Fetch::Scheduled, now);
    assert_eq!(failing.without_key_set(), FetchOutlook::Unavailable);
    assert_eq!(failing.again(now), None, "it fails anyway");
}

#[test]
fn a_forced_one_that_is_not_taken_is_not_made_again_at_once_either() {
    let warm = fetch_ok(Control::default(), Fetch::Scheduled, 0);
    let (leased, _) = warm.leased(Fetch::Forced, 100, TIMING);
    let next = leased.again(100).unwrap();
    assert_eq!(next.without_key(next.fetch_mark(), 110), FetchOutlook::Wait);
    assert_eq!(next.due(149, true), None);
    assert_eq!(next.due(150, true), Some(Fetch::Forced));
    let taken = fetch_ok(next, Fetch::Forced, 150);
    assert_eq!(taken.due(30_160, true), Some(Fetch::Forced));
}

#[test]
fn refusing_for_want_of_keys_begins_and_ends_once() {
    let cold = Control::default();
    assert_eq!(cold.turned(0, TIMING), None, "a first fetch is awaited");
    let failing = fetch_fails(cold, Fetch::Scheduled, 0);
    let (refusing, turn) = failing.turned(20, TIMING).unwrap();
    assert_eq!(turn, Turn::Refused);
    assert_eq!(refusing.turned(30, TIMING), None);
    let warm = fetch_ok(refusing, Fetch::Scheduled, 1_000);
    let (judging, turn) = warm.turned(1_020, TIMING).unwrap();
    assert_eq!(turn, Turn::Judged(1_000));
    assert_eq!(judging.turned(1_030, TIMING), None);
    let stale = fetch_fails(judging, Fetch::Scheduled, 240_000);
    assert_eq!(stale.turned(901_000, TIMING), None, "it still serves");
    assert_eq!(stale.turned(901_001, TIMING).unwrap().1, Turn::Refused);
}

#[test]
fn bytes_that_were_damaged_are_no_record() {
    let control = fetch_fails(
        fetch_ok(Control::default(), Fetch::Forced, 77),
        Fetch::Forced,
        99_999,
    );
    let bytes = control.encode();
    assert_eq!(Control::decode(&bytes), Some(control));
    assert_eq!(Control::decode(&[]), None);
    assert_eq!(Control::decode(&bytes[1..]), None);
    for n in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[n] ^= 1;
        assert_eq!(Control::decode(&damaged), None, "{n}");
    }
}

#[test]
fn one_key_set_is_told_from_another() {
    let cold = Control::default();
    assert_eq!((cold.key_set_id(), cold.age_ms(7)), (None, None));
    let first = fetch_ok(cold, Fetch::Scheduled, 1_000);
    assert_eq!(
        (first.key_set_id(), first.age_ms(1_007)),
        (Some((1, 1_000)), Some(7))
    );
    let second = fetch_ok(first, Fetch::Scheduled, 241_000);
    assert_eq!(second.key_set_id(), Some((2, 241_000)));
    // A failed fetch does not change the key set.
    let failed = fetch_fails(first, Fetch::Scheduled, 241_000);
    assert_eq!(failed.key_set_id(), Some((1, 1_000)));

    // A fetch that began later, at the same time, and earlier.
    let older: Vec<bool> = [1_001, 1_000, 999]
        .map(|started| first.is_older_than(started))
        .into();
    assert_eq!(older, [true, false, false]);
    assert!(!cold.is_older_than(1));
}

#[test]
fn a_failure_has_a_cause_that_others_can_read() {
    let cold = Control::default();
    assert_eq!(cold.cause(), Cause::default());
    assert_eq!(fetch_fails(cold, Fetch::Scheduled, 0).cause(), CAUSE);
}
