//! Writers who trim, keep connections or write what takes nothing.

use super::hostile::*;
use super::*;

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
