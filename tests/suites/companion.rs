//! `caracal-edge feed` with a real Redis: what it takes from the streams, what it
//! leaves there, and what it survives.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use caracal_feed::event::{Fields, HmacKey, Stream};
use caracal_tests::processes::{Companion, Mode, Redis, Wire, folder, free_address, until};
use caracal_tests::servers::{Client, request};
use redis::Value as RedisValue;
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SESSIONS: &str = "caracal.sessions.revoke";
const DELEGATIONS: &str = "caracal.delegations.invalidate";
const SOON: Duration = Duration::from_secs(10);

fn stream(key: &str) -> Stream {
    if key == SESSIONS {
        Stream::Revocations
    } else {
        Stream::Delegations
    }
}

/// Adds a message, signed with a key if there is one.
fn add(redis: &Redis, to: &str, pairs: &[(&str, &[u8])], key: Option<&str>) -> String {
    let pairs = pairs
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()));
    let mut fields: Fields = pairs.collect();
    if let Some(key) = key {
        HmacKey::from_hex(key)
            .unwrap()
            .sign(stream(to), &mut fields);
    }
    let mut command = redis::cmd("XADD");
    command.arg(to).arg("*");
    for (name, value) in &fields {
        command.arg(name).arg(value);
    }
    command.query(&mut redis.connection()).unwrap()
}

fn revoke(redis: &Redis, sid: &str) -> String {
    add(
        redis,
        SESSIONS,
        &[("zone_id", b"z"), ("session_id", sid.as_bytes())],
        None,
    )
}

fn pending(redis: &Redis, stream: &str) -> i64 {
    let (pending, ..): (i64, RedisValue, RedisValue, RedisValue) =
        redis.ask(&["XPENDING", stream, "caracal-edge"]);
    pending
}

fn dead_letters(redis: &Redis, stream: &str) -> Vec<BTreeMap<String, String>> {
    let dead: Vec<(String, BTreeMap<String, String>)> =
        redis.ask(&["XRANGE", &format!("{stream}.dead"), "-", "+"]);
    dead.into_iter().map(|(_, fields)| fields).collect()
}

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
fn it_is_reached_with_a_password_an_acl_user_tls_sentinel_and_cluster() {
    // A password, and an ACL user who may do just what is needed.
    let redis = Redis::start(&[
        "--requirepass",
        "secret-pass",
        "--user",
        "edge",
        "on",
        ">edge-pass",
        "~caracal*",
        "+@all",
        "-@dangerous",
        "+info",
    ]);
    let port = redis.address.port();
    for user in ["default:secret-pass", "edge:edge-pass"] {
        let companion = Companion::of(&format!("redis://{user}@127.0.0.1:{port}")).started();
        assert!(!companion.log().contains("-pass"));
    }
    let mut wrong = Companion::of(&format!("redis://default:wrong-pass@127.0.0.1:{port}"));
    wrong.start();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!wrong.is_ready());
    assert!(!wrong.log().contains("wrong-pass"), "{}", wrong.log());

    // TLS, by a CA of its own.
    let tls = folder("tls");
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (pem, key) = (tls.join("cert.pem"), tls.join("key.pem"));
    std::fs::write(&pem, certificate.cert.pem()).unwrap();
    std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
    let (pem, key) = (pem.to_str().unwrap(), key.to_str().unwrap());
    let tls_port = free_address().port().to_string();
    let redis = Redis::start(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        pem,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    let companion = Companion::new(&["--redis-url", &url, "--redis-ca-file", pem]).started();
    revoke(&redis, "by-tls");
    until("by TLS", SOON, || companion.has_revoked("by-tls"));
    let mut distrusting = Companion::of(&url);
    distrusting.start();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!distrusting.is_ready(), "an unknown CA is trusted");

    // The master that a Sentinel names.
    let redis = Redis::default();
    let sentinel = Redis::start_sentinel(redis.address);
    let url = format!("redis://{}", sentinel.address);
    let companion =
        Companion::new(&["--redis-url", &url, "--redis-sentinel-master", "caracal"]).started();
    revoke(&redis, "by-sentinel");
    until("by Sentinel", SOON, || companion.has_revoked("by-sentinel"));

    // A cluster of one.
    let redis = Redis::start(&["--cluster-enabled", "yes"]);
    let () = redis.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until("the cluster is up", SOON, || {
        redis
            .ask::<String>(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:in-store",
        "1",
        "PX",
        "60000",
    ]);
    let companion = Companion::new(&["--redis-url", &redis.url(), "--redis-cluster"]).started();
    revoke(&redis, "by-cluster");
    until("by the cluster", SOON, || {
        companion.has_revoked("by-cluster")
    });
    assert!(companion.has_revoked("in-store"));
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
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

#[test]
fn a_token_guards_v1_and_is_needed_beyond_loopback() {
    let companion = Companion::new(&[])
        .environment("CARACAL_FEED_TOKEN", "right")
        .started();
    let status = |path: &str, token: Option<&str>| {
        Client::connect(companion.address)
            .get(path, token, &[])
            .status
    };
    for path in ["/v1/feed", "/v1/snapshot"] {
        assert_eq!(status(path, None), 401);
        assert_eq!(status(path, Some("wrong")), 401);
        assert_eq!(status(path, Some("righ")), 401);
    }
    assert_eq!(status("/v1/snapshot", Some("right")), 200);
    assert_eq!(companion.post("/v1/check", &json!({}), None).status, 401);
    assert_eq!(
        companion
            .post("/v1/revocations", &json!({"anchors": ["a"]}), None)
            .status,
        401
    );
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(open, None), 200);
    }
    assert!(!companion.log().contains("right"));
    let (code, said) = Companion::new(&["--listen", "0.0.0.0:0"]).fails();
    assert_eq!(code, Some(2), "{said}");
    let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
        .args(["feed", "--listen", "0.0.0.0:0"])
        .env_remove("CARACAL_FEED_TOKEN")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("CARACAL_FEED_TOKEN"));
}

#[test]
fn bad_options_are_named() {
    let said = |companion: Companion| {
        let (code, said) = companion.fails();
        assert_eq!(code, Some(1), "{said}");
        said
    };
    assert!(said(Companion::new(&["--require-signature"])).contains("STREAMS_HMAC_KEY"));
    let short = Companion::new(&[]).environment("STREAMS_HMAC_KEY", "abcd");
    assert!(said(short).contains("at least 32 bytes"));
    assert!(said(Companion::of("http://x")).contains("redis://"));
    let two = Companion::of("redis://127.0.0.1:1,redis://127.0.0.1:2");
    assert!(said(two).contains("--redis-cluster"));
}

#[test]
fn without_redis_it_keeps_revocations_in_a_file_and_says_that_they_are_not_shared() {
    let file = folder("state").join("state.jsonl");
    let name = file.to_str().unwrap();
    let mut companion = Companion::new(&["--state-file", name]).started();
    assert_eq!(companion.get("/readyz").json()["shared"], json!(false));
    assert!(companion.log().contains("not shared"));
    let edge = |words: &[&str]| {
        let feed = format!("http://{}", companion.address);
        let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
            .arg("revoke")
            .args(words)
            .args(["--feed", &feed])
            .output()
            .unwrap();
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stderr).into_owned(),
        )
    };
    assert_eq!(
        edge(&["--session", "s-1", "--agent-session", "a-1"]).0,
        Some(0)
    );
    assert_eq!(edge(&["--epoch", "4", "--zone", "z"]).0, Some(0));
    assert!(edge(&["--epoch", "4"]).1.contains("--zone"));
    assert!(edge(&[]).1.contains("nothing to revoke"));
    for bad in [
        json!({}),
        json!({"anchors": [""]}),
        json!({"zone": "z"}),
        json!({"x": 1}),
        json!([]),
    ] {
        assert_eq!(
            companion.post("/v1/revocations", &bad, None).status,
            400,
            "{bad}"
        );
    }
    assert_eq!(companion.stop(), Some(0));
    companion.start();
    for anchor in ["s-1", "a-1"] {
        assert!(companion.has_revoked(anchor), "{anchor}");
    }
    let known = companion
        .post("/v1/check", &json!({"zone": "z"}), None)
        .json();
    assert_eq!(known["epoch"], json!(4));
    companion.kill();
    std::fs::write(&file, "no revocation\n").unwrap();
    let (code, said) = Companion::new(&["--state-file", name]).fails();
    assert_eq!((code, said.contains("line 1")), (Some(1), true), "{said}");
}

#[test]
fn revoke_publishes_a_signed_event() {
    let redis = Redis::default();
    let companion = Companion::new(&["--redis-url", &redis.url(), "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
        .started();
    let publish = |key: &str, words: &[&str]| {
        let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
            .arg("revoke")
            .args(words)
            .args(["--redis-url", &redis.url(), "--json"])
            .env("STREAMS_HMAC_KEY", key)
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    assert_eq!(
        publish(KEY, &["--session", "s-1", "--reason", "test"])["signed"],
        json!(true)
    );
    assert_eq!(publish("", &["--session", "s-2"])["signed"], json!(false));
    publish(KEY, &["--epoch", "3", "--zone", "z"]);
    until("the signed one counts", SOON, || {
        companion.has_revoked("s-1")
    });
    until("the other is a dead letter", SOON, || {
        dead_letters(&redis, SESSIONS).len() == 1
    });
    assert!(!companion.has_revoked("s-2"));
    let epoch = || {
        companion
            .post("/v1/check", &json!({"zone": "z"}), None)
            .json()["epoch"]
            .clone()
    };
    until("the epoch", SOON, || epoch() == json!(3));
}

#[test]
fn questions_that_are_too_large_are_refused() {
    let companion = Companion::new(&["--zone", "z"]).started();
    let anchors = |n: usize| json!((0..n).map(|n| n.to_string()).collect::<Vec<_>>());
    for (path, body, status) in [
        (
            "/v1/check",
            json!({"zone": "z", "anchors": anchors(100)}),
            200,
        ),
        (
            "/v1/check",
            json!({"zone": "z", "anchors": anchors(101)}),
            400,
        ),
        ("/v1/revocations", json!({"anchors": anchors(101)}), 400),
        (
            "/v1/revocations",
            json!({"anchors": ["a".repeat(65_537)]}),
            400,
        ),
        (
            "/v1/revocations",
            json!({"anchors": ["a".repeat(600_000)]}),
            400,
        ),
    ] {
        assert_eq!(companion.post(path, &body, None).status, status, "{path}");
    }
    assert!(!companion.has_revoked("0"));
}

#[test]
fn the_feed_is_paged_waits_and_ends_with_the_companion() {
    let mut companion = Companion::new(&["--zone", "z"]).started();
    for n in 0..25 {
        companion.post(
            "/v1/revocations",
            &json!({"anchors": [format!("a-{n}")]}),
            None,
        );
    }
    companion.post(
        "/v1/revocations",
        &json!({"zone": "other", "epoch": 1}),
        None,
    );
    let page = |path: &str| companion.get(path).json();
    let first = page("/v1/snapshot?max=10");
    let generation = first["generation"].as_str().unwrap();
    let mut seen = first["entries"].as_array().unwrap().len();
    let mut next = first["next"].clone();
    while let Some(cursor) = next.as_str() {
        let more = page(&format!("/v1/snapshot?max=10&cursor={cursor}"));
        seen += more["entries"].as_array().unwrap().len();
        next = more["next"].clone();
    }
    assert_eq!(seen, 25, "every anchor, and no epoch of another zone");
    let head = first["head"].as_u64().unwrap();
    let feed = |after: u64, wait: u64| {
        format!("/v1/feed?generation={generation}&after={after}&wait_ms={wait}")
    };
    assert_eq!(
        page(&feed(20, 5_000))["entries"].as_array().unwrap().len(),
        5
    );
    let since = Instant::now();
    assert_eq!(page(&feed(head, 300))["entries"], json!([]));
    assert!(since.elapsed() >= Duration::from_millis(300));
    assert_eq!(companion.get(&feed(head + 1, 0)).status, 410);
    assert_eq!(
        companion.get("/v1/feed?generation=other&after=0").status,
        410
    );
    for bad in [
        "/v1/feed?after=x",
        "/v1/snapshot?cursor=x",
        "/v1/snapshot?max=-1",
    ] {
        assert_eq!(companion.get(bad).status, 400, "{bad}");
    }
    // News end a wait, and so does the end.
    let wait = |after: u64| {
        let (address, path) = (companion.address, feed(after, 20_000));
        std::thread::spawn(move || {
            let bytes = request("GET", &path, &[]);
            Client::connect(address).exchange(&bytes).unwrap().json()
        })
    };
    let waiting = wait(head);
    until("it waits", SOON, || {
        companion.metric("caracal_feed_connected_filters") == 1.0
    });
    companion.post("/v1/revocations", &json!({"anchors": ["new"]}), None);
    assert_eq!(
        waiting.join().unwrap()["entries"][0]["anchor"],
        json!("new")
    );
    let waiting = wait(head + 1);
    until("it waits", SOON, || {
        companion.metric("caracal_feed_connected_filters") == 1.0
    });
    let since = Instant::now();
    assert_eq!(companion.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(waiting.join().unwrap()["entries"], json!([]));
}
