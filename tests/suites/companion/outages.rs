//! What it survives of Redis, and what it says of it.

use super::*;

#[test]
fn a_redis_that_is_killed_comes_back_and_loses_nothing() {
    let mut redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    revoke(&redis, "before");
    until("applied", SOON, || companion.has_revoked("before"));
    redis.kill();
    std::thread::sleep(Duration::from_millis(500));
    let age = || {
        companion.get("/readyz").json()["confirmed_age_ms"]
            .as_u64()
            .unwrap_or(u64::MAX)
    };
    assert!(age() >= 400, "it looks fresh: {}", age());
    assert!(companion.has_revoked("before"));
    redis.restart();
    revoke(&redis, "after");
    until("applied", SOON, || companion.has_revoked("after"));
    until("fresh again", SOON, || age() < 1_000);
    assert!(companion.has_revoked("before"));
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
}

#[test]
fn a_redis_that_is_emptied_un_revokes_nothing_and_is_named() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    // With an id far beyond what follows, as of a clock that was set back.
    let () = redis
        .ask::<String>(&["XADD", SESSIONS, "99999999999999-0", "sid", "s-1"])
        .parse()
        .map(|_: String| ())
        .unwrap();
    until("applied", SOON, || companion.has_revoked("s-1"));
    let () = redis.ask(&["FLUSHALL"]);
    until("noticed", SOON, || {
        companion.log().contains("the stream went backwards")
    });
    // While it reads again it answers nothing at all.
    until("still revoked", SOON, || companion.has_revoked("s-1"));
    revoke(&redis, "s-2");
    until("a new one counts", SOON, || companion.has_revoked("s-2"));
    until("its group is there again", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:s-2"])
    });
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    assert!(companion.has_revoked("s-1"));
}

/// Cuts a companion off, revokes, and trims the stream before it is back. The age that
/// it tells meanwhile is no young one.
fn cut_off(redis: &Redis, wire: &Wire, companion: &Companion, meanwhile: impl FnOnce()) {
    revoke(redis, "s-1");
    until("applied", SOON, || companion.has_revoked("s-1"));
    wire.set(Mode::Cut);
    revoke(redis, "trimmed");
    meanwhile();
    assert_eq!(redis.ask::<i64>(&["XTRIM", SESSIONS, "MAXLEN", "0"]), 2);
    std::thread::sleep(Duration::from_secs(2));
    let ready = companion.get("/readyz").json();
    let age = ready["confirmed_age_ms"].as_u64();
    assert!(age.is_none_or(|age| age >= 1_500), "{ready}");
    assert!(!companion.has_revoked("trimmed"));
    wire.set(Mode::Pass);
}

/// What another companion has read before it was trimmed is in the store, and it says
/// so there: from the first moment that the first one confirms again, it knows.
#[test]
fn what_was_trimmed_unread_is_found_where_another_companion_put_it() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let url = format!("redis://{}", wire.address);
    let companion = Companion::new(&["--redis-url", &url, "--consumer", "one"]).started();
    let other = Companion::new(&["--redis-url", &redis.url(), "--consumer", "two"]).started();
    cut_off(&redis, &wire, &companion, || {
        until("read by the other", SOON, || other.has_revoked("trimmed"));
        let covered = "caracal:edge:covered:{caracal.sessions.revoke}";
        until("and noted", SOON, || {
            redis.ask::<Option<u64>>(&["GET", covered]) == Some(2)
        });
    });
    let fresh = || {
        let ready = companion.get("/readyz").json();
        ready["confirmed_age_ms"]
            .as_u64()
            .is_some_and(|age| age < 1_000)
    };
    until("fresh again", SOON, fresh);
    assert!(companion.has_revoked("trimmed"));
    assert!(companion.log().contains("found in the shared store"));
}

/// Nobody has read it: it is lost, and a companion that does not know what it lacks
/// confirms nothing, and says why.
#[test]
fn what_nobody_has_read_is_not_confirmed_away() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let companion = Companion::of(&format!("redis://{}", wire.address)).started();
    cut_off(&redis, &wire, &companion, || {});
    until("noticed", SOON, || {
        companion.metric(r#"caracal_feed_missed_total{stream="caracal.sessions.revoke"}"#) == 1.0
    });
    for _ in 0..20 {
        let ready = companion.get("/readyz");
        assert_eq!(ready.status, 503);
        std::thread::sleep(Duration::from_millis(100));
    }
    let ready = companion.get("/readyz").json();
    let problem = &ready["problems"]["missed caracal.sessions.revoke"];
    assert!(
        problem.as_str().unwrap().starts_with("1 messages"),
        "{ready}"
    );
}

/// The first message is old, as in any stream that lives. One that was added and deleted
/// while the companion was away is not.
#[test]
fn what_was_deleted_unread_is_missed_however_old_the_stream_is() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let _: String = redis.ask(&["XADD", SESSIONS, "1-1", "session_id", "old"]);
    let companion = Companion::of(&format!("redis://{}", wire.address)).started();
    until("applied", SOON, || companion.has_revoked("old"));
    wire.set(Mode::Cut);
    let deleted = revoke(&redis, "deleted");
    assert_eq!(redis.ask::<i64>(&["XDEL", SESSIONS, &deleted]), 1);
    wire.set(Mode::Pass);
    until("noticed", SOON, || {
        companion.metric(r#"caracal_feed_missed_total{stream="caracal.sessions.revoke"}"#) == 1.0
    });
    assert_eq!(companion.get("/readyz").status, 503);
}

/// What is noted of a stream goes with it: a new one of that name is not covered by it.
#[test]
fn a_note_of_what_is_covered_goes_with_its_stream() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    for n in 0..5 {
        revoke(&redis, &format!("s-{n}"));
    }
    let noted = || {
        let key = "caracal:edge:covered:{caracal.sessions.revoke}";
        redis.ask::<Option<u64>>(&["GET", key])
    };
    until("noted", SOON, || noted() == Some(5));
    assert_eq!(redis.ask::<i64>(&["DEL", SESSIONS]), 1);
    until("read again", SOON, || {
        companion.log().contains("the stream went backwards")
    });
    until("its group is there again", SOON, || {
        redis.ask::<bool>(&["EXISTS", SESSIONS])
    });
    assert!(noted().is_none_or(|noted| noted == 0), "{:?}", noted());
    revoke(&redis, "next");
    until("noted anew", SOON, || noted() == Some(1));
    until("known, and nothing forgotten", SOON, || {
        companion.has_revoked("next") && companion.has_revoked("s-4")
    });
}

/// It drops the epochs of other zones, so it cannot say that the store has them.
#[test]
fn who_leaves_zones_out_notes_nothing_of_epochs() {
    let redis = Redis::default();
    let companion = Companion::new(&["--redis-url", &redis.url(), "--zone", "z1"]).started();
    let noted = |stream: &str| {
        let key = format!("caracal:edge:covered:{{{stream}}}");
        redis.ask::<Option<u64>>(&["GET", &key])
    };
    let _: String = redis.ask(&["XADD", DELEGATIONS, "*", "zone_id", "z2", "epoch", "4"]);
    revoke(&redis, "s");
    until("noted", SOON, || noted(SESSIONS) == Some(1));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(noted(DELEGATIONS), None);
    assert!(companion.is_ready());
}

/// A companion with another key refuses other messages, and what it notes is of no use
/// to this one.
#[test]
fn a_note_is_of_the_key_that_it_was_made_with() {
    let redis = Redis::default();
    let other = "f".repeat(64);
    let keyed = |key: &str, name: &str| {
        Companion::new(&["--redis-url", &redis.url(), "--consumer", name])
            .environment("STREAMS_HMAC_KEY", key)
    };
    let wrong = keyed(&other, "wrong").started();
    add(&redis, SESSIONS, &[("session_id", b"s")], Some(KEY));
    let key = "caracal:edge:covered:{caracal.sessions.revoke}";
    let noted = || redis.ask::<Option<String>>(&["GET", key]);
    until("noted", SOON, || {
        noted().is_some_and(|note| note.starts_with("1 "))
    });
    assert_eq!(redis.ask::<i64>(&["XTRIM", SESSIONS, "MAXLEN", "0"]), 1);
    let mut right = keyed(KEY, "right");
    right.start();
    until("it knows what it lacks", SOON, || {
        let ready = right.get("/readyz").json();
        ready["problems"]
            .to_string()
            .contains("1 messages were missed")
    });
    assert!(wrong.is_ready() && !right.is_ready());
}

#[test]
fn the_store_is_read_again_every_minute() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    std::thread::sleep(Duration::from_secs(1));
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:store-only",
        "x",
        "PX",
        "600000",
    ]);
    until("found", Duration::from_secs(75), || {
        companion.has_revoked("store-only")
    });
}

#[test]
fn an_eviction_policy_that_drops_keys_is_named() {
    let redis = Redis::start(&["--maxmemory-policy", "allkeys-lru"]);
    let companion = Companion::of(&redis.url()).started();
    assert!(
        companion.log().contains("allkeys-lru"),
        "{}",
        companion.log()
    );
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    assert!(
        !companion.log().contains("noeviction"),
        "{}",
        companion.log()
    );
}
