use super::*;
use crate::fetch_failure::MAX_AGAIN;
use crate::revocation::page::{MAX_CURSOR_BYTES, MAX_POSITION_BYTES};

const TIMING: PollTiming = PollTiming {
    poll_interval_ms: 1_000,
    max_staleness_ms: 30_000,
};
const CAUSE: Cause = Cause::from_number(1);

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
        waits.push((next.failures.next_ms - now) / 450);
        assert!(next.is_failing());
        now = next.failures.next_ms;
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
fn only_its_own_bytes_are_read_back() {
    let (mut head, _) = LogHead::default().leased(77, TIMING);
    head.generation = Cursor::new("gen-1").unwrap();
    head.confirm(70);
    for zones in [1, 2, 64] {
        let epochs = Epochs::none(zones);
        let bytes = head.encode(&epochs);
        assert_eq!(LogHead::decode(&bytes, zones), Some((head, epochs)));
        for n in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[n] ^= 1;
            assert_eq!(LogHead::decode(&broken, zones), None);
            assert_eq!(LogHead::decode(&bytes[..n], zones), None);
        }
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

#[test]
fn a_failure_waits_about_its_interval_and_has_a_cause() {
    let (head, _) = LogHead::default().leased(1_010, TIMING);
    assert_eq!(head.cause(), Cause::default());
    let (failed, _) = head.failed(1_010, TIMING, CAUSE);
    // 92 % of a second, by the time of the failure.
    assert_eq!(failed.failures.next_ms, 1_010 + 920);
    assert_eq!((failed.cause(), failed.attempts), (CAUSE, 1));
    assert_eq!(failed.answered().cause(), Cause::default());
    // A state that does not fit is not requested again so soon.
    let (over, _) = failed.overflowed().failed(1_010, TIMING, CAUSE);
    assert_eq!(over.failures.next_ms, 1_010 + 27_600);
}

/// A head in use.
fn used() -> LogHead {
    let (mut head, _) = LogHead::default().leased(5_000, TIMING);
    head.generation = Cursor::new("g").unwrap();
    head.cursor = 7;
    head.base = 2;
    head.len = 9;
    head.confirm(4_000);
    head
}

#[test]
fn what_is_forgotten_is_only_where_the_companion_was() {
    let head = used();
    let forgotten = head.forgotten();
    assert_eq!((forgotten.generation.as_str(), forgotten.cursor), ("", 0));
    let back = LogHead {
        generation: head.generation,
        cursor: head.cursor,
        ..forgotten
    };
    assert_eq!(back, head);
    let over = head.overflowed();
    assert!(over.over_capacity && !over.is_fresh(5_000, TIMING) && over.cursor == 0);
    assert_eq!((over.image, over.len), (head.image, head.len));

    // A companion that lost its log is asked again only after a pause.
    let (failed, _) = head.failed(5_000, TIMING, CAUSE);
    let gone = failed.gone(9_000);
    assert_eq!(
        (gone.cursor, gone.attempts, gone.is_failing()),
        (0, 2, false)
    );
    assert_eq!((gone.is_due(9_049), gone.is_due(9_050)), (false, true));
    assert_eq!((gone.len, gone.age_ms(9_000)), (9, Some(5_000)));
}

#[test]
fn a_log_is_replaced_in_the_other_set_of_chunks() {
    let head = used();
    let (image, set) = (head.image, head.set);
    let next = head.replaced(head.new_image(6_000), 4, 44);
    assert_ne!(next.image, image);
    assert_eq!((next.prev_image, next.prev_len), (image, 9));
    assert_eq!((next.base, next.len, next.set), (4, 4, 1 - set));
    assert_eq!(next.replaced(1, 0, 0).set, set);
    assert_eq!(next.age_ms(6_000), Some(2_000));

    let reset = next.reset(7_000);
    assert!(reset.image != next.image && reset.image != 0);
    assert_eq!((reset.base, reset.len, reset.set), (0, 0, set));
    assert_eq!((reset.prev_image, reset.prev_len), (0, 0));
    assert_eq!((reset.cursor, reset.age_ms(7_000)), (0, None));
    assert!(reset.is_due(7_000) && !reset.is_due(6_999));
}

#[test]
fn no_two_images_are_alike() {
    let head = used();
    let id = head.new_image(5_000);
    // The image with that time and lease is in force, so another id is made.
    assert_eq!(id, head.image + 1);
    assert_eq!(head.new_image(6_000), (6_000 << 20) + head.leases);
    let (again, _) = head.leased(6_000, TIMING);
    assert_ne!(again.new_image(6_000), head.new_image(6_000));
    assert_eq!(LogHead::default().new_image(0), 1);
}

#[test]
fn a_confirmation_is_never_undone_nor_later_than_it_is_known() {
    let mut head = LogHead::default();
    assert_eq!(head.age_ms(9), None);
    head.confirm(0);
    assert_eq!(head.age_ms(9), Some(8));
    head.confirm(7);
    head.confirm(5);
    assert_eq!((head.age_ms(9), head.age_ms(3)), (Some(2), Some(0)));
    let oldest = 7 + TIMING.max_staleness_ms;
    assert!(head.is_fresh(oldest, TIMING) && !head.is_fresh(oldest + 1, TIMING));
}

#[test]
fn the_longest_cursor_and_position_are_read_back() {
    let mut head = used();
    head.generation = Cursor::new(&"x".repeat(MAX_CURSOR_BYTES)).unwrap();
    head.position = Position::new(&"y".repeat(MAX_POSITION_BYTES)).unwrap();
    let epochs = Epochs::none(1);
    let bytes = head.encode(&epochs);
    assert_eq!(LogHead::decode(&bytes, 1), Some((head, epochs.clone())));
    let texts = epochs.encode("x".repeat(300).as_bytes());
    let record = |generation| {
        let mut numbers = [1; NUMBERS];
        numbers[0] = generation;
        shared_record::encode(MAGIC, &numbers, &texts)
    };
    let (read, _) = LogHead::decode(&record(44), 1).unwrap();
    assert_eq!(read.position.as_str().len(), MAX_POSITION_BYTES);
    assert_eq!(LogHead::decode(&record(43), 1), None);
    assert_eq!(LogHead::decode(&record(65), 1), None);
}
