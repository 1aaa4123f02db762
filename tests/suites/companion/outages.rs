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

/// Messages that are trimmed while the network is cut are found in the store,
/// where other connectors wrote them; until then nothing is confirmed.
#[test]
fn a_cut_network_makes_it_stale_and_a_trimmed_stream_loses_nothing() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let companion = Companion::of(&format!("redis://{}", wire.address)).started();
    revoke(&redis, "s-1");
    until("applied", SOON, || companion.has_revoked("s-1"));
    wire.set(Mode::Cut);
    revoke(&redis, "trimmed");
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:trimmed",
        "1",
        "PX",
        "60000",
    ]);
    let () = redis
        .ask::<i64>(&["XTRIM", SESSIONS, "MAXLEN", "0"])
        .checked_abs()
        .map(|_| ())
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let ready = companion.get("/readyz").json();
    let age = ready["confirmed_age_ms"].as_u64();
    assert!(age.is_none_or(|age| age >= 1_500), "{ready}");
    assert!(!companion.has_revoked("trimmed"));
    wire.set(Mode::Pass);
    // From the first moment that it is confirmed again, it knows.
    let fresh = || {
        let ready = companion.get("/readyz").json();
        ready["confirmed_age_ms"]
            .as_u64()
            .is_some_and(|age| age < 1_000)
    };
    until("fresh again", SOON, fresh);
    assert!(companion.has_revoked("trimmed"));
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
