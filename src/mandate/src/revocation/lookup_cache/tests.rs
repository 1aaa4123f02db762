use super::*;

const TIMING: LookupTiming = LookupTiming {
    interval_ms: 1_000,
    max_staleness_ms: 30_000,
    timeout_ms: 2_000,
};

fn ids<const N: usize>(names: [&str; N]) -> [AnchorId; N] {
    names.map(AnchorId::of)
}

fn answer(revoked: &[&str], epoch: u64, confirmed_age_ms: u64) -> LookupResponse {
    LookupResponse {
        revoked: revoked.iter().map(|one| AnchorId::of(one)).collect(),
        epoch,
        confirmed_age_ms,
    }
}

#[test]
fn refusing_is_told_once_and_not_again_at_once() {
    let mut answers = LookupCache::new(TIMING, 10);
    let cause = Cause::from_number(1);
    assert_eq!(answers.refuses(10), None, "nothing has failed");
    answers.failed(cause, 20);
    assert_eq!(answers.refuses(20), Some(Turn::Refused));
    assert_eq!((answers.refuses(30), answers.age_ms(30)), (None, None));
    answers.answered(&ids(["s"]), &answer(&[], 0, 0), 40, 50);
    assert_eq!(answers.judges(50), Some(Turn::Judged(30)));
    assert_eq!((answers.judges(60), answers.age_ms(70)), (None, Some(10)));
    assert_eq!(answers.cause(), cause);
    answers.failed(cause, 10_000);
    assert_eq!(answers.refuses(10_049), None, "told of a moment ago");
    assert_eq!(answers.refuses(10_050), Some(Turn::Refused));
}

#[test]
fn an_answer_is_used_then_asked_for_again_then_too_old() {
    let mut answers = LookupCache::new(TIMING, 10);
    let anchors = ids(["s", "r"]);
    let at = |answers: &LookupCache, asked, now| answers.availability(&anchors, asked, now);
    assert_eq!(at(&answers, false, 50), Availability::Pending);
    assert!(matches!(
        at(&answers, true, 50),
        Availability::Unavailable(_)
    ));
    assert!(answers.answered(&anchors, &answer(&[], 0, 100), 1_100, 1_200));
    assert_eq!(at(&answers, false, 2_000), Availability::Ready);
    assert_eq!(at(&answers, false, 2_001), Availability::Pending);
    assert_eq!(at(&answers, true, 31_000), Availability::Ready);
    answers.asked(&anchors, 2_001);
    assert_eq!(at(&answers, false, 2_001), Availability::Ready, "one asks");
    assert_eq!(
        at(&answers, false, 4_002),
        Availability::Pending,
        "it was lost"
    );
    assert!(matches!(
        at(&answers, true, 31_001),
        Availability::Unavailable(_)
    ));
    assert_eq!(at(&answers, false, 31_001), Availability::Pending);
    answers.left(&anchors);
    assert_eq!(at(&answers, false, 2_001), Availability::Pending, "nobody");
    answers.asked(&ids(["s"]), 2_001);
    assert_eq!(
        at(&answers, false, 2_001),
        Availability::Pending,
        "not of both"
    );
    let more = ids(["s", "unknown"]);
    assert_eq!(
        answers.availability(&more, false, 1_300),
        Availability::Pending
    );
}

#[test]
fn failures_back_off_and_the_last_answer_lasts_to_its_limit() {
    let mut answers = LookupCache::new(TIMING, 10);
    let anchors = ids(["s"]);
    answers.answered(&anchors, &answer(&[], 0, 0), 0, 0);
    let other = ids(["t"]);
    let at = |answers: &LookupCache, now| {
        [&anchors, &other].map(|ids| answers.availability(ids, false, now))
    };
    assert!(answers.failed(Cause::from_number(1), 5_000));
    assert!(
        !answers.failed(Cause::from_number(1), 5_010),
        "one failure with the first"
    );
    let [known, unknown] = at(&answers, 5_019);
    assert_eq!(known, Availability::Ready);
    assert!(matches!(unknown, Availability::Unavailable(_)));
    assert_eq!(at(&answers, 5_020), [Availability::Pending; 2]);
    // One request asks. The others use what is known, or are refused.
    answers.asked(&other, 5_020);
    let [known, unknown] = at(&answers, 5_030);
    assert_eq!(known, Availability::Ready);
    assert!(matches!(unknown, Availability::Unavailable(_)));
    assert_eq!(at(&answers, 7_021), [Availability::Pending; 2], "lost");
    answers.failed(Cause::from_number(1), 5_100);
    assert_eq!(at(&answers, 5_139)[0], Availability::Ready);
    assert_eq!(at(&answers, 5_140), [Availability::Pending; 2]);
    answers.answered(&other, &answer(&[], 0, 0), 5_140, 5_150);
    assert_eq!(
        answers.availability(&ids(["u"]), false, 5_150),
        Availability::Pending
    );
    let mut now = 10_000;
    for _ in 0..20 {
        answers.failed(Cause::from_number(1), now);
        now += MAX_BACKOFF_MS;
    }
    assert_eq!(at(&answers, now), [Availability::Pending; 2], "5 s at most");
}

#[test]
fn what_was_revoked_stays_so() {
    let mut answers = LookupCache::new(TIMING, 3);
    let anchors = ids(["s", "r"]);
    answers.answered(&anchors, &answer(&["r", "strange"], 7, 0), 0, 0);
    assert!(answers.is_revoked(AnchorId::of("r"), 10));
    assert!(!answers.is_revoked(AnchorId::of("s"), 10));
    answers.answered(&anchors, &answer(&[], 3, 0), 10, 10);
    assert!(answers.is_revoked(AnchorId::of("r"), 10));
    assert_eq!(answers.delegation_epoch(), 7);
    // Only anchors that are not revoked make room.
    for name in ["a", "b", "c", "d"] {
        assert!(answers.answered(&ids([name]), &answer(&[name], 7, 0), 10, 10) || name > "b");
    }
    assert!(answers.is_revoked(AnchorId::of("r"), 10));
    assert_eq!(answers.known.len(), 3);
    assert!(
        !answers.answered(&ids(["e"]), &answer(&[], 7, 0), 10, 10),
        "full"
    );
    answers.hear_epoch(2, REMEMBERED_MS + 100);
    assert_eq!(answers.delegation_epoch(), 2, "a day later");
    assert!(answers.answered(&ids(["e"]), &answer(&[], 7, 0), 10, REMEMBERED_MS + 100));
}

#[test]
fn an_older_answer_that_comes_late_does_not_make_it_fresh() {
    let mut answers = LookupCache::new(TIMING, 3);
    let anchors = ids(["s"]);
    answers.answered(&anchors, &answer(&[], 0, 0), 5_000, 5_100);
    answers.answered(&anchors, &answer(&[], 0, 0), 1_000, 5_200);
    assert_eq!(
        answers.availability(&anchors, false, 6_000),
        Availability::Ready
    );
    assert_eq!(
        answers.availability(&anchors, false, 6_001),
        Availability::Pending
    );
}

#[test]
fn only_an_answer_is_read() {
    let good = br#"{"revoked":["s"],"epoch":3,"confirmed_age_ms":12,"more":1}"#;
    assert_eq!(LookupResponse::parse(good), Some(answer(&["s"], 3, 12)));
    for bad in [
        &b""[..],
        b"{}",
        br#"[["s"],3,12]"#,
        br#"{"revoked":["s"],"epoch":3}"#,
        br#"{"revoked":"s","epoch":3,"confirmed_age_ms":12}"#,
        br#"{"revoked":["s"],"epoch":-3,"confirmed_age_ms":12}"#,
    ] {
        assert_eq!(LookupResponse::parse(bad), None);
    }
    let mut long = good.to_vec();
    long.resize(MAX_ANSWER_BYTES + 1, b' ');
    assert_eq!(LookupResponse::parse(&long), None);
}

#[test]
fn the_question_names_every_anchor_and_the_zone() {
    let asked = |changes| {
        let claims = crate::mint::claims(1_000, changes).to_string();
        let claims = Claims::parse(claims.as_bytes()).unwrap();
        String::from_utf8(question(&claims, "zone-\"1\"")).unwrap()
    };
    assert_eq!(
        asked(serde_json::json!({})),
        r#"{"anchors":["sid-1","root-1"],"zone":"zone-\"1\""}"#
    );
    let all = serde_json::json!({"agent_session_id": "a", "delegation_edge_id": "e"});
    assert_eq!(
        asked(all),
        r#"{"anchors":["sid-1","root-1","a","e"],"zone":"zone-\"1\""}"#
    );
}

#[test]
fn an_answer_has_a_largest_size() {
    let mut text = br#"{"revoked":[],"epoch":1,"confirmed_age_ms":0}"#.to_vec();
    text.resize(65_536, b' ');
    assert!(LookupResponse::parse(&text).is_some());
    text.push(b' ');
    assert!(LookupResponse::parse(&text).is_none());
}

#[test]
fn anchors_are_hashed_by_themselves() {
    use std::hash::BuildHasher as _;
    let hash = BuildHasherDefault::<AsItIs>::default().hash_one(AnchorId(0x1234_5678_9abc_def0));
    assert_eq!(hash, 0x1234_5678_9abc_def0);
}

#[test]
fn an_epoch_is_forgotten_when_it_was_not_heard_of_for_its_life() {
    let mut cache = LookupCache::new(TIMING, 10);
    let mut hear = |epoch, now| {
        cache.answered(&[], &answer(&[], epoch, 0), now, now);
        cache.delegation_epoch()
    };
    assert_eq!(hear(5, 1_000), 5);
    assert_eq!(hear(4, 1_000 + REMEMBERED_MS), 5);
    assert_eq!(hear(4, 1_001 + REMEMBERED_MS), 4);
}

#[test]
fn as_many_are_remembered_as_there_is_room_for() {
    let mut cache = LookupCache::new(TIMING, 3);
    for id in ids(["a", "b", "c"]) {
        assert!(cache.answered(&[id], &answer(&[], 0, 0), 0, 0));
    }
    assert_eq!(cache.known.len(), 3);
    let ready = |cache: &LookupCache, name: &str| {
        cache.availability(&[AnchorId::of(name)], true, 0) == Availability::Ready
    };
    assert!(["a", "b", "c"].iter().all(|name| ready(&cache, name)));
    assert!(cache.answered(&ids(["d"]), &answer(&[], 0, 0), 0, 0));
    assert_eq!(cache.known.len(), 3);
    assert!(ready(&cache, "d"));
}

#[test]
fn room_is_made_of_what_is_too_old_and_not_revoked() {
    let mut cache = LookupCache::new(TIMING, 4);
    let stale = TIMING.max_staleness_ms + 1;
    cache.answered(&ids(["revoked"]), &answer(&["revoked"], 0, 0), 0, 0);
    cache.answered(&ids(["old", "older"]), &answer(&[], 0, 0), 0, 0);
    cache.answered(&ids(["fresh"]), &answer(&[], 0, 0), stale, stale);
    assert_eq!(cache.known.len(), 4);
    cache.answered(&ids(["new"]), &answer(&[], 0, 0), stale, stale);
    let left: Vec<bool> = ["revoked", "old", "older", "fresh", "new"]
        .iter()
        .map(|name| cache.known.contains_key(&AnchorId::of(name)))
        .collect();
    assert_eq!(left, [true, false, false, true, true]);
}
