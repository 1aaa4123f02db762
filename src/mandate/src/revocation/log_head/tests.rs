use super::*;

const TIMING: PollTiming = PollTiming {
    poll_interval_ms: 1_000,
    max_staleness_ms: 30_000,
};
const CAUSE: Cause = Cause::from_number(1);

fn page(epoch: u64, ttl_s: u32) -> Page {
    let text = format!(
        r#"{{"generation":"g","head":1,"confirmed_age_ms":0,"entries":[{{"seq":1,"zone":"z","epoch":{epoch},"ttl_s":{ttl_s}}}]}}"#
    );
    Page::parse(text.as_bytes(), 0, "z").unwrap()
}

#[test]
fn one_polls_and_another_takes_over_when_it_is_gone() {
    let (held, lease) = LogHead::default().leased(100, TIMING);
    assert!(held.holds(lease));
    assert_ne!(held.image, 0);
    assert!(!held.is_due(3_599));
    assert!(held.is_due(3_600));
    let (taken, other) = held.leased(3_600, TIMING);
    assert!(!taken.holds(lease));
    assert!(taken.holds(other));
    assert_eq!(taken.image, held.image);
    let back = taken.released(3_700);
    assert!(!back.holds(other));
    assert!(back.is_due(3_700));
}

#[test]
fn the_wait_leaves_time_to_confirm_before_the_state_is_stale() {
    let short = PollTiming {
        poll_interval_ms: 60_000,
        max_staleness_ms: 2_000,
    };
    assert_eq!(short.wait_ms(), 500);
    assert_eq!(TIMING.wait_ms(), 1_000);
}

#[test]
fn failures_back_off_and_are_logged_once_a_minute() {
    let (mut head, mut now) = (LogHead::default(), 1_010);
    let mut waits = Vec::new();
    let mut logged = 0;
    for _ in 0..6 {
        let (next, log) = head.leased(now, TIMING).0.failed(now, TIMING, CAUSE);
        logged += u64::from(log);
        waits.push((next.next_poll_ms - now) / 450);
        assert!(next.is_failing());
        now = next.next_poll_ms;
        head = next;
    }
    assert_eq!(logged, 1);
    assert!(waits.is_sorted() || waits[5] >= 10, "{waits:?}");
    assert!(!head.answered().is_failing());
}

#[test]
fn a_poll_that_is_not_taken_is_made_again_soon_and_not_for_ever() {
    let (mut head, mut now, mut tries) = (LogHead::default(), 1_000, 0);
    loop {
        let (leased, lease) = head.leased(now, TIMING);
        let Some(next) = leased.again(now) else { break };
        assert!(!next.holds(lease) && !next.is_failing());
        assert!(!next.is_due(now + 49));
        now += 100;
        assert!(next.is_due(now));
        (head, tries) = (next, tries + 1);
    }
    assert_eq!(tries, MAX_AGAIN);
    let failing = head.failed(now, TIMING, CAUSE).0;
    assert_eq!(failing.again(now), None, "it fails anyway");
    assert!(failing.answered().again(now).is_some());
}

#[test]
fn refusing_for_want_of_freshness_begins_and_ends_once() {
    let cold = LogHead::default();
    assert_eq!(cold.turned(1, TIMING), None, "a first poll is awaited");
    let failing = cold.failed(1, TIMING, CAUSE).0;
    let (mut head, turn) = failing.turned(2, TIMING).unwrap();
    assert_eq!(turn, Turn::Refused);
    head.confirm(500);
    let (head, turn) = head.answered().turned(1_002, TIMING).unwrap();
    assert_eq!(turn, Turn::Judged(1_000));
    assert_eq!(head.turned(30_500, TIMING), None);
    let (old, turn) = head.turned(30_501, TIMING).unwrap();
    assert_eq!((turn, old.cause().words()), (Turn::Refused, None));
    assert_eq!(old.turned(30_502, TIMING), None);
    assert_eq!(
        head.overflowed().turned(600, TIMING).unwrap().1,
        Turn::Refused
    );
}

#[test]
fn the_epoch_goes_up_only_and_ends_with_its_life() {
    let mut head = LogHead::default();
    head.raise(&page(5, 10), 1_000);
    assert_eq!(head.delegation_epoch(1_000), 5);
    head.raise(&page(4, 100), 2_000);
    assert_eq!(head.delegation_epoch(10_999), 5);
    assert_eq!(head.delegation_epoch(11_000), 0);
    head.raise(&page(5, 20), 3_000);
    assert_eq!(head.delegation_epoch(22_999), 5);
    head.raise(&page(9, 1), 4_000);
    assert_eq!(
        head.delegation_epoch(22_999),
        9,
        "no sooner than the lower one"
    );
    head.raise(&page(3, 1), 30_000);
    assert_eq!(head.delegation_epoch(30_000), 3);
}

#[test]
fn only_its_own_bytes_are_read_back() {
    let (mut head, _) = LogHead::default().leased(77, TIMING);
    head.generation = Cursor::new("gen-1").unwrap();
    head.confirm(70);
    let bytes = head.encode();
    assert_eq!(LogHead::decode(&bytes), Some(head));
    for n in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[n] ^= 1;
        assert_eq!(LogHead::decode(&broken), None);
        assert_eq!(LogHead::decode(&bytes[..n]), None);
    }
}

#[test]
fn a_reset_state_is_confirmed_by_nobody() {
    let (mut head, _) = LogHead::default().leased(5, TIMING);
    head.confirm(5);
    head.len = 9;
    let reset = head.reset(5);
    assert_ne!(reset.image, head.image);
    assert_ne!(reset.set, head.set);
    assert_eq!((reset.len, reset.age_ms(9)), (0, None));
    assert!(reset.generation.is_empty());
}
