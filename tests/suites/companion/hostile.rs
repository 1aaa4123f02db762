//! Whoever may write to Redis, without the streams' key, stops nothing and hides
//! nothing.

use super::*;
use caracal_tests::redis_topology::Network;

/// Longest wait where a companion has much to read.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Most memory that a companion may take, whatever the messages' sizes.
pub(super) const MOST_MEMORY: u64 = 300 << 20;

pub(super) fn strict(redis_url: &str) -> Companion {
    Companion::new(&["--redis-url", redis_url, "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
}

pub(super) fn signed(redis: &Redis, sid: &str) -> String {
    let fields: [(&str, &[u8]); 2] = [("zone_id", b"z"), ("session_id", sid.as_bytes())];
    add(redis, SESSIONS, &fields, Some(KEY))
}

pub(super) fn unsigned(redis: &Redis, to: &str, name: &[u8], value: &[u8]) {
    let _: String = redis::cmd("XADD")
        .arg(to)
        .arg("*")
        .arg(name)
        .arg(value)
        .query(&mut redis.connection())
        .unwrap();
}

/// The signatures of all messages that are on a stream.
pub(super) fn signatures(redis: &Redis, stream: &str) -> Vec<String> {
    let all: Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)> = redis.ask(&["XRANGE", stream, "-", "+"]);
    let fields = all.into_iter().flat_map(|(_, fields)| fields);
    let signatures = fields.filter(|(name, _)| name == b"_sig");
    signatures
        .map(|(_, value)| String::from_utf8(value).unwrap())
        .collect()
}

#[test]
fn a_field_name_that_is_no_text_stops_nothing_and_shows_no_signature() {
    let redis = Redis::default();
    let mut companion = strict(&redis.url()).started();
    signed(&redis, "before");
    for to in [SESSIONS, DELEGATIONS] {
        unsigned(&redis, to, b"\xff", b"x");
        unsigned(&redis, to, b"\xf0\x9f\x00\r\n", b"\xff\x00\r\n$-1\r\n");
        unsigned(&redis, to, b"", b"");
    }
    signed(&redis, "after");
    for anchor in ["before", "after"] {
        until(anchor, SOON, || companion.has_revoked(anchor));
    }
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    assert!(companion.is_ready());
    let whys: Vec<_> = dead_letters(&redis, SESSIONS)
        .iter()
        .map(|letter| letter["reason"].clone())
        .collect();
    assert_eq!(whys, ["invalid_signature"; 3]);
    // It is still there for the next one.
    companion.kill();
    companion = companion.started();
    assert!(companion.has_revoked("after"));
    let log = companion.log();
    let signatures = signatures(&redis, SESSIONS);
    assert_eq!(signatures.len(), 2);
    for signature in signatures {
        assert!(!log.contains(&signature), "a signature is in the log");
    }
    assert!(!log.contains("_sig\\\""), "{log}");
    assert!(!log.contains("\"_sig"), "{log}");
}

/// Where messages are not signed, one takes effect however much it carries besides.
#[test]
fn a_message_of_five_megabytes_revokes_all_the_same() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    let padding = "x".repeat(5 << 20);
    let () = redis.ask(&["CONFIG", "SET", "proto-max-bulk-len", "64mb"]);
    let add = |stream: &str, words: &[&str]| {
        let _: String = redis.ask(&[&["XADD", stream, "*"], words].concat());
    };
    add(
        SESSIONS,
        &["a", &padding, "session_id", "old", "session_id", "large"],
    );
    add(DELEGATIONS, &["zone_id", "z", "epoch", "7", "b", &padding]);
    add(
        SESSIONS,
        &[
            "sid",
            &"y".repeat(70_000),
            "c",
            &padding,
            "root_sid",
            "root",
        ],
    );
    for anchor in ["large", "root"] {
        until(anchor, LONG, || companion.has_revoked(anchor));
    }
    assert!(!companion.has_revoked("old"), "the last of a name counts");
    let of = |name: &str| format!("caracal:revoked:sessions:{name}");
    until("shared", LONG, || {
        ["large", "root", "delegation-epoch:z"]
            .iter()
            .all(|name| redis.ask::<bool>(&["EXISTS", &of(name)]))
    });
    until("acknowledged", LONG, || pending(&redis, SESSIONS) == 0);
    assert_eq!(dead_letters(&redis, SESSIONS).len(), 0);
    // Where they are, nobody who signs sends such a message.
    let redis = Redis::default();
    let companion = strict(&redis.url()).started();
    let _: String = redis.ask(&["XADD", SESSIONS, "*", "a", &padding, "session_id", "forged"]);
    until("refused", LONG, || {
        dead_letters(&redis, SESSIONS).len() == 1
    });
    assert_eq!(
        dead_letters(&redis, SESSIONS)[0]["reason"],
        "invalid_signature"
    );
    assert!(!companion.has_revoked("forged") && companion.is_ready());
}

#[test]
fn what_is_forged_a_thousand_times_is_counted_and_fills_no_log() {
    let redis = Redis::start(&[]);
    let companion = strict(&redis.url()).started();
    let secret = "deadbeef".repeat(8);
    let mut connection = redis.connection();
    let mut pipeline = redis::pipe();
    for n in 0..1_000 {
        pipeline
            .cmd("XADD")
            .arg(&[SESSIONS, "*", "sid", &format!("forged-{n}"), "_sig"])
            .arg(&secret)
            .ignore();
    }
    let () = pipeline.query(&mut connection).unwrap();
    signed(&redis, "good");
    until("known", SOON, || companion.has_revoked("good"));
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    until("dead letters", SOON, || {
        redis.ask::<i64>(&["XLEN", "caracal.sessions.revoke.dead"]) == 1_000
    });
    let log = companion.log();
    let lines = log.lines().count();
    assert!(lines < 60, "{lines} lines");
    assert!(log.contains("invalid_signature"), "{log}");
    assert!(!log.contains(&secret) && !log.contains("forged-1"), "{log}");
}

#[test]
fn messages_of_twenty_megabytes_are_passed_over_in_bounded_memory() {
    let redis = Redis::start(&[]);
    let mut companion = strict(&redis.url()).started();
    signed(&redis, "before");
    let huge = vec![b'x'; 20_000_000];
    for _ in 0..100 {
        unsigned(&redis, SESSIONS, b"sid", &huge);
    }
    signed(&redis, "after");
    let mut most = 0;
    let mut known = |companion: &Companion, what: &str| {
        until(what, LONG, || {
            most = most.max(companion.resident());
            companion.has_revoked("before") && companion.has_revoked("after")
        });
        until("ready", SOON, || companion.is_ready());
    };
    known(&companion, "known behind them");
    // And for one that starts with all of them before it.
    companion.kill();
    companion.start();
    known(&companion, "known after a start");
    until("acknowledged", LONG, || {
        most = most.max(companion.resident());
        pending(&redis, SESSIONS) == 0
    });
    assert!(most < MOST_MEMORY, "{} MB", most >> 20);
}

#[test]
fn a_key_of_another_type_harms_only_itself() {
    let redis = Redis::default();
    let key = "caracal:revoked:sessions:delegation-epoch:other-zone";
    let _: i64 = redis.ask(&["RPUSH", key, "x"]);
    let _: i64 = redis.ask(&["RPUSH", "caracal:revoked:sessions:a-list", "x"]);
    let companion = strict(&redis.url()).started();
    // Any value counts as revoked, and so does any type.
    assert!(companion.has_revoked("a-list"));
    let epoch = |zone: &str, epoch: &str| {
        let fields: [(&str, &[u8]); 2] =
            [("zone_id", zone.as_bytes()), ("epoch", epoch.as_bytes())];
        add(&redis, DELEGATIONS, &fields, Some(KEY));
    };
    epoch("other-zone", "5");
    epoch("good-zone", "6");
    signed(&redis, "s-1");
    signed(&redis, "a-list");
    until("known", SOON, || companion.has_revoked("s-1"));
    for (zone, epoch) in [("other-zone", 5), ("good-zone", 6)] {
        until(zone, SOON, || {
            let answer = companion.post("/v1/check", &json!({"zone": zone}), None);
            answer.status == 200 && answer.json()["epoch"] == json!(epoch)
        });
    }
    until("shared", SOON, || {
        let key = "caracal:revoked:sessions:delegation-epoch:good-zone";
        redis.ask::<Option<String>>(&["GET", key]).as_deref() == Some("6")
    });
    for stream in [SESSIONS, DELEGATIONS] {
        until("acknowledged", SOON, || pending(&redis, stream) == 0);
    }
    for _ in 0..20 {
        assert!(companion.is_ready(), "{}", companion.log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_stream_that_is_no_stream_is_unconfirmed_until_it_is_one_again() {
    let redis = Redis::default();
    let companion = strict(&redis.url()).started();
    signed(&redis, "before");
    until("known", SOON, || companion.has_revoked("before"));
    let _: i64 = redis.ask(&["DEL", SESSIONS]);
    let _: i64 = redis.ask(&["RPUSH", SESSIONS, "x"]);
    until("unconfirmed", Duration::from_secs(20), || {
        !companion.is_ready()
    });
    let _: i64 = redis.ask(&["DEL", SESSIONS]);
    signed(&redis, "after");
    until("known", SOON, || companion.has_revoked("after"));
    until("ready", SOON, || companion.is_ready());
    assert!(companion.has_revoked("before"));
}

#[test]
fn a_scan_ends_among_three_hundred_thousand_foreign_keys_at_0_7_s_a_step() {
    let redis = Redis::start(&[]);
    let () = redis.ask(&["DEBUG", "POPULATE", "300000", "foreign"]);
    let () = redis.ask(&[
        "SET",
        "caracal:revoked:sessions:in-store",
        "1",
        "PX",
        "600000",
    ]);
    let network = Network::default();
    let wire = network.wire(1, redis.address);
    network.delay_scans(Duration::from_millis(700));
    let since = Instant::now();
    let mut companion = strict(&format!("redis://{}", wire.address));
    companion.start();
    until("ready", Duration::from_secs(45), || companion.is_ready());
    println!("ready after {:?}", since.elapsed());
    assert!(companion.has_revoked("in-store"));
    // And stays so, through readings that take as long.
    let until = Instant::now() + Duration::from_secs(12);
    while Instant::now() < until {
        let ready = companion.get("/readyz");
        assert_eq!(ready.status, 200, "{}", ready.json());
        std::thread::sleep(Duration::from_millis(200));
    }
}
