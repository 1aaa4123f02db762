//! Whoever may write to Redis, without the streams' key, stops nothing and hides
//! nothing.

use super::*;
use caracal_tests::redis_topology::Network;

/// Longest wait where a companion has much to read.
const LONG: Duration = Duration::from_secs(60);
/// Most memory that a companion may take, whatever the messages' sizes.
const MOST_MEMORY: u64 = 300 << 20;

fn strict(redis_url: &str) -> Companion {
    Companion::new(&["--redis-url", redis_url, "--require-signature"])
        .environment("STREAMS_HMAC_KEY", KEY)
}

fn signed(redis: &Redis, sid: &str) -> String {
    let fields: [(&str, &[u8]); 2] = [("zone_id", b"z"), ("session_id", sid.as_bytes())];
    add(redis, SESSIONS, &fields, Some(KEY))
}

fn unsigned(redis: &Redis, to: &str, name: &[u8], value: &[u8]) {
    let _: String = redis::cmd("XADD")
        .arg(to)
        .arg("*")
        .arg(name)
        .arg(value)
        .query(&mut redis.connection())
        .unwrap();
}

/// The signatures of all messages that are on a stream.
fn signatures(redis: &Redis, stream: &str) -> Vec<String> {
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

/// Anchors that a companion does not call revoked, and its instant of confirmation
/// at the latest that it can have been; `None` when it answers nothing.
fn missing(companion: &Companion, anchors: &[String]) -> Option<(usize, Instant)> {
    let mut missing = 0;
    let mut confirmed: Option<Instant> = None;
    for some in anchors.chunks(100) {
        let asked = Instant::now();
        let answer = companion.post("/v1/check", &json!({"anchors": some}), None);
        if answer.status != 200 {
            return None;
        }
        let answer = answer.json();
        let age = answer["confirmed_age_ms"].as_u64()?;
        missing += some.len() - answer["revoked"].as_array().unwrap().len();
        // The earliest that fits, so that nobody is blamed for a wait of ours.
        let at = asked.checked_sub(Duration::from_millis(age))?;
        confirmed = Some(confirmed.map_or(at, |confirmed| confirmed.min(at)));
    }
    confirmed.map(|confirmed| (missing, confirmed))
}

#[test]
fn a_writer_who_trims_to_one_hides_nothing_from_a_companion_that_confirms() {
    let redis = Redis::start(&[]);
    let companion = strict(&redis.url()).started();
    let anchors: Vec<String> = (0..200).map(|n| format!("suppressed-{n}")).collect();
    let mut pipeline = redis::pipe();
    for anchor in &anchors {
        let mut fields = Fields::from([(b"session_id".to_vec(), anchor.clone().into_bytes())]);
        HmacKey::from_hex(KEY)
            .unwrap()
            .sign(stream(SESSIONS), &mut fields);
        pipeline.cmd("XADD").arg(SESSIONS).arg("*");
        for (name, value) in &fields {
            pipeline.arg(name).arg(value);
        }
        pipeline
            .cmd("XADD")
            .arg(&[SESSIONS, "MAXLEN", "1", "*", "sid", "x"]);
    }
    let _: Vec<String> = pipeline.query(&mut redis.connection()).unwrap();
    let acknowledged = Instant::now();
    let mut seen = 0;
    while acknowledged.elapsed() < Duration::from_secs(8) {
        if let Some((missing, confirmed)) = missing(&companion, &anchors)
            && confirmed > acknowledged
        {
            assert_eq!(missing, 0, "it confirms and does not know all");
            seen += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if seen == 0 {
        let ready = companion.get("/readyz");
        let told = String::from_utf8_lossy(&ready.body).into_owned();
        assert_ne!(ready.status, 200, "{told}");
        assert!(
            companion.log().contains("trim"),
            "it says nothing: {}",
            companion.log()
        );
    }
    println!("{seen} times confirmed with all of them");
}

#[test]
fn a_message_trimmed_while_it_was_pending_is_not_called_forged() {
    let redis = Redis::default();
    let wire = Wire::to(redis.address);
    let mut companion = strict(&format!("redis://{}", wire.address)).started();
    wire.set(Mode::SwallowAcknowledgements);
    for n in 0..10 {
        signed(&redis, &format!("s-{n}"));
    }
    until("pending", SOON, || pending(&redis, SESSIONS) > 0);
    companion.kill();
    let _: i64 = redis.ask(&["XTRIM", SESSIONS, "MAXLEN", "0"]);
    wire.set(Mode::Pass);
    companion.start();
    signed(&redis, "next");
    until("nothing is pending", SOON, || {
        pending(&redis, SESSIONS) == 0
    });
    let whys: Vec<_> = dead_letters(&redis, SESSIONS)
        .iter()
        .map(|letter| letter["reason"].clone())
        .collect();
    assert!(!whys.contains(&"invalid_signature".to_owned()));
    // Nobody is left who has read them: it is known not to know, or it knows.
    let names: Vec<String> = (0..10).map(|n| format!("s-{n}")).collect();
    match missing(&companion, &names) {
        Some((missing, _)) => assert_eq!(missing, 0, "it confirms and does not know all"),
        None => assert!(companion.log().contains("trimmed"), "{}", companion.log()),
    }
}

#[test]

fn connections_that_say_nothing_do_not_stop_the_probes() {
    let redis = Redis::default();
    // As most systems start a program.
    let companion = strict(&redis.url()).files(1_024, 4_096).started();
    // More than a process may usually open.
    let pid = std::process::id().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=8192:"])
        .status();
    assert!(raised.is_ok_and(|status| status.success()));
    let mut held = Vec::new();
    for _ in 0..1_100 {
        if let Ok(mut connection) =
            std::net::TcpStream::connect_timeout(&companion.address, Duration::from_millis(500))
        {
            use std::io::Write as _;
            let _ = connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x");
            held.push(connection);
        }
    }
    for path in ["/healthz", "/readyz"] {
        until(path, Duration::from_secs(15), || {
            let Ok(connection) = std::net::TcpStream::connect_timeout(
                &companion.address,
                Duration::from_millis(500),
            ) else {
                return false;
            };
            let _ = connection.set_read_timeout(Some(Duration::from_secs(2)));
            answers(connection, path)
        });
    }
    drop(held);
    signed(&redis, "after");
    until("known", SOON, || companion.has_revoked("after"));
}

fn answers(mut connection: std::net::TcpStream, path: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let bytes = request("GET", path, &[("connection", "close")]);
    let mut answer = [0; 12];
    connection.write_all(&bytes).is_ok()
        && connection.read_exact(&mut answer).is_ok()
        && &answer == b"HTTP/1.1 200"
}

/// Whoever may write to the dead letters can use up their ids. Messages that cannot be
/// copied stay pending, and nothing else waits for them.
#[test]
fn dead_letters_that_take_nothing_stop_nothing_else() {
    let redis = Redis::default();
    let last = "18446744073709551615-18446744073709551615";
    let dead = format!("{SESSIONS}.dead");
    let _: String = redis.ask(&["XADD", &dead, last, "a", "b"]);
    let mut companion = strict(&redis.url()).started();
    add(&redis, SESSIONS, &[("sid", b"forged")], None);
    signed(&redis, "good");
    until("shared", SOON, || {
        redis.ask::<bool>(&["EXISTS", "caracal:revoked:sessions:good"])
    });
    until("all but the forged one is acknowledged", SOON, || {
        pending(&redis, SESSIONS) == 1
    });
    assert!(companion.is_ready());
    assert!(companion.log().contains("stay pending"));
    let _: i64 = redis.ask(&["DEL", &dead]);
    companion.stop();
    let companion = strict(&redis.url()).started();
    until("copied", SOON, || dead_letters(&redis, SESSIONS).len() == 1);
    until("acknowledged", SOON, || pending(&redis, SESSIONS) == 0);
    assert!(!companion.has_revoked("forged"));
}

/// Names of any length, in the store's own namespace: those that no mandate can carry are
/// not even fetched, and long ones make steps smaller.
#[test]
fn long_names_stop_no_reading() {
    let redis = Redis::default();
    let set = |names: &mut dyn Iterator<Item = String>| {
        let mut pipeline = redis::pipe();
        for name in names {
            let key = format!("caracal:revoked:sessions:{name}");
            pipeline
                .cmd("SET")
                .arg(key)
                .arg("1")
                .arg("PX")
                .arg(3_600_000)
                .ignore();
        }
        let () = pipeline.query(&mut redis.connection()).unwrap();
    };
    let long = |n: usize, size: usize| format!("{n:0>8}{}", "x".repeat(size - 8));
    for part in 0..4 {
        set(&mut (0..250).map(|n| long(part * 250 + n, 65_000)));
    }
    set(&mut (0..3).map(|n| long(n, 20_000_000)));
    set(&mut ["short".to_owned()].into_iter());
    let companion = Companion::new(&["--redis-url", &redis.url(), "--max-anchors", "1000000"]);
    let companion = companion.started();
    assert!(companion.has_revoked("short") && companion.has_revoked(&long(999, 65_000)));
    assert!(
        companion.resident() < MOST_MEMORY,
        "{}",
        companion.resident()
    );
}
