//! What is taken from the streams, once, by whichever companion lives.

use super::*;

#[test]
fn events_are_applied_shared_and_acknowledged() {
    let redis = Redis::default();
    // Before the companion starts, while it runs, and in the store only.
    revoke(&redis, "early");
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:by-another",
        "anything",
        "PX",
        "60000",
    ]);
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:delegation-epoch:z",
        "9007199254740993",
        "PX",
        "60000",
    ]);
    let companion = Companion::of(&redis.url()).started();
    for anchor in ["early", "by-another"] {
        assert!(companion.has_revoked(anchor), "{anchor}");
    }
    let fields: [(&str, &[u8]); 5] = [
        ("sid", b"s"),
        ("root_sid", b"r"),
        ("agent_session_id", b"a"),
        ("edge_id", b"d"),
        ("session_id", b"s"),
    ];
    add(&redis, SESSIONS, &fields, None);
    for anchor in ["s", "r", "a", "d"] {
        until(anchor, SOON, || companion.has_revoked(anchor));
        let ttl = || redis.ask::<i64>(&["PTTL", &format!("caracal:revoked:sessions:{anchor}")]);
        until("its key", SOON, || {
            (86_300_000..=86_400_000).contains(&ttl())
        });
        let value: String = redis.ask(&["GET", &format!("caracal:revoked:sessions:{anchor}")]);
        assert_eq!(value, "1");
    }
    let epoch = || {
        companion
            .post("/v1/check", &json!({"zone": "z"}), None)
            .json()["epoch"]
            .clone()
    };
    let stored = || redis.ask::<String>(&["GET", "caracal:revoked:sessions:delegation-epoch:z"]);
    assert_eq!(epoch(), json!(9_007_199_254_740_993_u64));
    // One more than a double can tell, then less, then the most there is.
    for (text, expected) in [
        ("9007199254740994", "9007199254740994"),
        ("5", "9007199254740994"),
        ("9223372036854775807", "9223372036854775807"),
    ] {
        add(
            &redis,
            DELEGATIONS,
            &[("zone_id", b"z"), ("epoch", text.as_bytes())],
            None,
        );
        until("acknowledged", SOON, || {
            pending(&redis, DELEGATIONS) == 0 && stored() == expected
        });
        until("known", SOON, || {
            epoch() == json!(expected.parse::<u64>().unwrap())
        });
    }
    // An anchor that looks like an epoch's key must not lower it.
    add(&redis, SESSIONS, &[("sid", b"delegation-epoch:z")], None);
    until("it is revoked", SOON, || {
        companion.has_revoked("delegation-epoch:z")
    });
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    assert_eq!(stored(), "9223372036854775807");
    assert!(companion.log().contains("STREAMS_HMAC_KEY is not set"));
    assert!(companion.metric("caracal_feed_anchors") >= 7.0);
}

#[test]
fn what_is_forged_malformed_or_huge_changes_nothing_and_is_kept_as_a_dead_letter() {
    let redis = Redis::default();
    let companion = Companion::new(&["--redis-url", &redis.url(), "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
        .started();
    let other = "ff".repeat(32);
    let huge = vec![b'x'; 2_000_000];
    let cases: Vec<(&str, Vec<(&str, &[u8])>, Option<&str>, &str)> = vec![
        (
            SESSIONS,
            vec![("sid", b"forged")],
            None,
            "invalid_signature",
        ),
        (
            SESSIONS,
            vec![("sid", b"forged")],
            Some(&other),
            "invalid_signature",
        ),
        (
            SESSIONS,
            vec![("sid", b"forged"), ("_sig", b"00")],
            None,
            "invalid_signature",
        ),
        (
            SESSIONS,
            vec![("zone_id", b"z"), ("reason", b"r")],
            Some(KEY),
            "missing_revocation_anchor",
        ),
        (
            SESSIONS,
            vec![("sid", b""), ("zone_id", b"z")],
            Some(KEY),
            "missing_revocation_anchor",
        ),
        (
            SESSIONS,
            vec![("sid", &[0xff, 0xfe])],
            Some(KEY),
            "missing_revocation_anchor",
        ),
        (
            SESSIONS,
            vec![("sid", &huge)],
            Some(KEY),
            "missing_revocation_anchor",
        ),
        (
            DELEGATIONS,
            vec![("zone_id", b"z"), ("epoch", b"-1")],
            Some(KEY),
            "invalid_delegation_epoch",
        ),
        (
            DELEGATIONS,
            vec![("zone_id", b"z"), ("epoch", b"9223372036854775808")],
            Some(KEY),
            "invalid_delegation_epoch",
        ),
        (
            DELEGATIONS,
            vec![("epoch", b"1")],
            Some(KEY),
            "invalid_delegation_epoch",
        ),
        (
            DELEGATIONS,
            vec![("zone_id", b"z"), ("epoch", b"7")],
            Some(&other),
            "invalid_signature",
        ),
    ];
    let mut expected: BTreeMap<(String, String), String> = BTreeMap::new();
    for (to, fields, key, why) in &cases {
        let id = add(&redis, to, fields, *key);
        expected.insert(((*to).to_owned(), id), (*why).to_owned());
    }
    // A good one, twice, behind them all.
    for _ in 0..2 {
        add(&redis, SESSIONS, &[("sid", b"good")], Some(KEY));
    }
    until("the good one counts", SOON, || {
        companion.has_revoked("good")
    });
    until("all are acknowledged", SOON, || {
        let count = |stream| dead_letters(&redis, stream).len();
        count(SESSIONS) + count(DELEGATIONS) == cases.len()
            && pending(&redis, SESSIONS) + pending(&redis, DELEGATIONS) == 0
    });
    for stream in [SESSIONS, DELEGATIONS] {
        for dead in dead_letters(&redis, stream) {
            let place = (stream.to_owned(), dead["source_id"].clone());
            assert_eq!(dead["reason"], expected[&place]);
            assert!(serde_json::from_str::<BTreeMap<String, String>>(&dead["payload"]).is_ok());
            assert!(dead["payload"].len() < 10_000);
            assert_eq!(dead.len(), 3);
        }
    }
    let keys: Vec<String> = redis.ask(&["KEYS", "caracal:revoked:*"]);
    assert_eq!(keys, ["caracal:revoked:sessions:good"]);
    assert_eq!(companion.metric("caracal_feed_anchors"), 1.0);
    let refused = r#"caracal_feed_dead_letters_total{reason="invalid_signature",stream="caracal.sessions.revoke"}"#;
    assert_eq!(companion.metric(refused), 3.0);
    assert!(!companion.log().contains(&KEY[..20]));
}

/// Killed after the effect and before the acknowledgement: nothing is lost, and
/// nothing is left over.
#[test]
fn a_companion_killed_before_it_acknowledged_finishes_when_it_is_back() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let mut companion = Companion::of(&format!("redis://{}", wire.address)).started();
    wire.set(Mode::SwallowAcknowledgements);
    revoke(&redis, "s-1");
    until("its effect", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:s-1"])
    });
    companion.kill();
    assert_eq!(pending(&redis, SESSIONS), 1);
    wire.set(Mode::Pass);
    companion.start();
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    until("known", SOON, || companion.has_revoked("s-1"));
    assert!(dead_letters(&redis, SESSIONS).is_empty());
}

#[test]
fn another_companion_finishes_what_a_dead_one_left_and_both_know_everything() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let url = format!("redis://{}", wire.address);
    let mut dying = Companion::new(&["--redis-url", &url, "--consumer", "one"]).started();
    wire.set(Mode::SwallowAcknowledgements);
    revoke(&redis, "s-1");
    until("it is pending", SOON, || pending(&redis, SESSIONS) == 1);
    let other = Companion::new(&["--redis-url", &redis.url(), "--consumer", "two"]).started();
    dying.kill();
    let since = Instant::now();
    until("claimed", Duration::from_secs(50), || {
        pending(&redis, SESSIONS) == 0
    });
    assert!(
        since.elapsed() > Duration::from_secs(20),
        "claimed too early"
    );
    assert!(other.has_revoked("s-1"));
    assert!(other.log().contains("took over"));
    wire.set(Mode::Pass);
    dying.start();
    revoke(&redis, "s-2");
    for companion in [&dying, &other] {
        until("both know it", SOON, || companion.has_revoked("s-2"));
    }
}
