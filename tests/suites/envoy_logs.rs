//! What the filter says in a real Envoy's log, and when: why requests are refused, since
//! when and by which limit, once for all workers; and that a start refuses nobody.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use caracal_tests::edge::{Around, all_answer};
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{Companion, Redis, folder, free_address, until};
use caracal_tests::servers::{Reply, Server, get};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);
const REFUSING: &str = "caracal: REFUSING every request that needs the revocation state (503)";
const JUDGED: &str = "caracal: requests are no longer refused for lack of the revocation state";

/// The lines that hold a text.
fn lines(envoy: &Envoy, text: &str) -> Vec<String> {
    let log = envoy.log();
    let found = log.lines().filter(|line| line.contains(text));
    found.map(str::to_owned).collect()
}

/// The one line that holds a text.
#[track_caller]
fn the_line(envoy: &Envoy, text: &str) -> String {
    let mut found = lines(envoy, text);
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found.remove(0)
}

#[test]
fn refusing_is_said_once_with_its_reason_and_so_is_its_end() {
    let redis = Redis::default();
    let mut companion = Companion::of(&redis.url()).started();
    let around = Around::default();
    let envoy = around.envoy(companion.address);
    let edge = envoy.listener(0);
    let free = around.of_session("free");
    until("admitted", SOON, || all_answer(edge, &free, 200, ""));
    assert_eq!(envoy.logged(REFUSING), 0);

    companion.kill();
    let unavailable = || all_answer(edge, &free, 503, "sts_unavailable");
    until("refused", SOON, unavailable);
    until("said", SOON, || envoy.logged(REFUSING) > 0);
    std::thread::sleep(Duration::from_secs(3));
    let refusing = the_line(&envoy, REFUSING);
    for part in [
        "[error]",
        "it is 2 s old",
        "the limit is 2 s (revocation.max_staleness_s)",
        "feed: it cannot be reached",
    ] {
        assert!(refusing.contains(part), "{part}: {refusing}");
    }
    // Envoy's own 503 is not taken for the companion's.
    assert_eq!(
        envoy.logged("says that it is not ready"),
        0,
        "{}",
        envoy.log()
    );
    let why = &lines(&envoy, "revocations not read from feed: ")[0];
    assert!(why.contains("[error]"), "{why}");
    assert!(
        lines(&envoy, "revocations not read from feed: ")
            .iter()
            .any(|line| line
                .contains("no answer from it; the proxy says 503: upstream connect error")),
        "{}",
        envoy.log()
    );
    assert_eq!(envoy.logged(JUDGED), 0);

    companion.start();
    until("admitted again", SOON, || all_answer(edge, &free, 200, ""));
    until("said", SOON, || envoy.logged(JUDGED) > 0);
    std::thread::sleep(Duration::from_secs(1));
    let judged = the_line(&envoy, JUDGED);
    assert!(
        judged.contains("[info]") && judged.contains("that lasted "),
        "{judged}"
    );
    assert_eq!(envoy.logged(REFUSING), 1);
}

/// The companion answers, and has lost Redis: what it says is old, and no line says that
/// all is well.
#[test]
fn a_companion_without_redis_is_told_from_one_that_is_away() {
    let mut redis = Redis::default();
    let mut companion = Companion::of(&redis.url()).started();
    let around = Around::default();
    let envoy = around.envoy(companion.address);
    let edge = envoy.listener(0);
    let free = around.of_session("free");
    until("admitted", SOON, || all_answer(edge, &free, 200, ""));
    let read = envoy.logged("caracal: revocations read");
    assert_eq!(read, 1);
    redis.kill();
    until("refused", SOON, || {
        all_answer(edge, &free, 503, "sts_unavailable")
    });
    until("said", SOON, || envoy.logged(REFUSING) > 0);
    let refusing = the_line(&envoy, REFUSING);
    assert!(
        refusing.contains("feed: it answers, but its data is too old"),
        "{refusing}"
    );
    // A new one has never been in touch with Redis, and says so itself.
    companion.kill();
    companion.start();
    until("said by itself", SOON, || {
        envoy.logged("the companion says that it is not ready yet") > 0
    });
    assert!(all_answer(edge, &free, 503, "sts_unavailable"));
    assert_eq!(
        envoy.logged("caracal: revocations read"),
        read,
        "{}",
        envoy.log()
    );
    assert_eq!(envoy.logged(JUDGED), 0);
}

/// A new cause is logged although another one was a moment ago, and the same is not.
#[test]
fn a_change_of_cause_is_always_logged() {
    let status = Arc::new(AtomicU16::new(500));
    let said = Arc::clone(&status);
    let body = json!({"error": "x", "secret": "never-logged"}).to_string();
    let feed = Server::start(move |_| Reply::new(said.load(Ordering::SeqCst), body.clone()));
    let around = Around::default();
    let envoy = around.envoy(feed.address());
    let failed = |text: &str| envoy.logged(&format!("revocations not read from feed: {text}"));
    for (number, text) in [
        (500, "status 500, expected 200"),
        (401, "the companion refuses the token: revocation.token"),
        (503, "status 503, expected 200"),
        (429, "status 429, expected 200"),
    ] {
        status.store(number, Ordering::SeqCst);
        until(text, SOON, || failed(text) > 0);
        let before = feed.requests();
        until("more polls", SOON, || feed.requests() > before + 1);
        assert_eq!(failed(text), 1, "{text}");
    }
    assert_eq!(failed(""), 4, "{}", envoy.log());
    assert_eq!(envoy.logged(REFUSING), 1);
    let log = envoy.log();
    assert!(!log.contains("never-logged") && !log.contains("says that it is not ready"));
}

/// What Envoy answers itself, for the STS: nobody there, no TLS there, no answer in time.
#[test]
fn what_the_proxy_answers_itself_is_logged_with_its_text() {
    let silent = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let plain = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let plain_address = plain.local_addr().unwrap();
    // No TLS, whatever comes.
    std::thread::spawn(move || {
        for connection in plain.incoming().flatten() {
            let _ = (&connection).write_all(b"HTTP/1.1 400 x\r\n\r\n");
            let _ = (&connection).read_to_end(&mut Vec::new());
        }
    });
    let own = Server::start(|_| Reply::new(503, "upstream connect error"));
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let jwks = |name: &str| configuration(json!({"jwks": {"upstream": name, "timeout_ms": 500}}));
    let envoy = Setup::new(["away", "tls", "silent", "own"].map(jwks))
        .cluster("upstream", upstream.address())
        .cluster("away", free_address())
        .cluster("tls", plain_address)
        .trusted("tls", "/etc/ssl/certs/ca-certificates.crt".into())
        .cluster("silent", silent.local_addr().unwrap())
        .cluster("own", own.address())
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    for (name, text) in [
        (
            "away",
            "no answer from it; the proxy says 503: upstream connect error",
        ),
        (
            "tls",
            "no answer from it; the proxy says 503: upstream connect error",
        ),
        (
            "silent",
            "no answer from it; the proxy says 504: upstream request timeout",
        ),
        // One that only looks so.
        ("own", ": status 503, expected 200"),
    ] {
        let of = format!("key set not fetched from {name}/");
        until(name, SOON, || envoy.logged(&of) > 0);
        let line = the_line(&envoy, &of);
        assert!(line.contains(text) && line.contains("[error]"), "{line}");
        assert!(line.len() < 700, "{line}");
        let of = format!("{name}: it ");
        until(name, SOON, || envoy.logged(&of) > 0);
        let line = the_line(&envoy, &of);
        assert!(
            line.contains("caracal: REFUSING every request that needs the key set (503): it was never read, the limit is 900 s (jwks.ttl_s and jwks.max_stale_s)"),
            "{line}"
        );
    }
}

/// The upstreams of the callouts are there only some time after the filter's first tick.
#[test]
fn a_start_refuses_nobody_while_clusters_warm_up() {
    let key = Key::new("k1", 1);
    let keys = key_set(&[&key]);
    let warm_after = Duration::from_millis(1_500);
    let fetched: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&fetched);
    let sts = Server::start(move |request| match request.target.as_str() {
        "/healthz" => Reply::new(200, "").after(warm_after),
        _ => {
            noted.lock().unwrap().push(Instant::now());
            Reply::json(&keys)
        }
    });
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let feed =
        json!({"revocation": {"upstream": "feed", "max_staleness_s": 2, "poll_interval_ms": 200}});
    let envoy = Setup::new([configuration(feed)])
        .warming("sts", sts.address())
        .cluster("feed", companion.address)
        .cluster("upstream", upstream.address())
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    let token = key.mandate(now(), json!({}));
    let since = Instant::now();
    let answer = get(envoy.listener(0), "/", Some(&token));
    assert_eq!((answer.status, answer.error()), (200, String::new()));
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(fetched.lock().unwrap().len(), 1);
    for text in ["REFUSING", "not fetched", "not read"] {
        assert_eq!(envoy.logged(text), 0, "{}", envoy.log());
    }
}

/// One configuration has one name: in the first log line, in the gauge, and for
/// `caracal-edge check`, also when it is written in another way. After a new configuration
/// the old gauge is 0.
#[test]
fn a_configuration_is_named_alike_by_log_gauge_and_check() {
    let around = Around::default();
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).token("secret-1").started();
    let settings = |skew: u64, token: &str| {
        configuration(json!({
            "revocation": {"upstream": "feed", "token": token}, "clock_skew_s": skew,
        }))
    };
    let setup = |skew: u64| {
        let mut setup = around
            .setup_of(Setup::new([settings(skew, "secret-1")]))
            .cluster("upstream", around.upstream())
            .cluster("feed", companion.address);
        setup.reloadable = true;
        setup
    };
    let checked = |document: &str| {
        let file = folder("named").join("filter.json");
        std::fs::write(&file, document).unwrap();
        let done = Command::new(caracal_tests::root().join("dist/caracal-edge"))
            .args(["check", "--json", file.to_str().unwrap()])
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        said["digest"].as_str().unwrap().to_owned()
    };
    // Another order, white space, and another secret.
    let written = |skew| serde_json::to_string_pretty(&settings(skew, "another")).unwrap();
    let [old, new] = [60, 61].map(|skew| checked(&written(skew)));
    assert_ne!(old, new);

    let envoy = setup(60).start().unwrap_or_else(|log| panic!("{log}"));
    let version = env!("CARGO_PKG_VERSION");
    let gauge = |digest: &str| {
        let name = format!("caracal_build_info.configuration={digest}.version={version}");
        envoy.metric(&name)
    };
    let edge = envoy.listener(0);
    let free = around.of_session("free");
    until("admitted", SOON, || all_answer(edge, &free, 200, ""));
    until("told", SOON, || gauge(&old) == 1);
    let shown = envoy.every_metric();
    let labels = format!("configuration=\"{old}\"");
    let line = shown
        .lines()
        .find(|line| line.starts_with("caracal_build_info{"));
    let line = line.unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains(&labels), "{line}");
    assert!(line.contains(&format!("version=\"{version}\"")), "{line}");
    let first = format!("caracal: caracal-edge {version} with the configuration {old}");
    assert!(envoy.logged(&first) > 0, "{}", envoy.log());

    envoy.reconfigure(&setup(61));
    until("the new one is told", SOON, || gauge(&new) == 1);
    until("the old one is taken back", SOON * 3, || gauge(&old) == 0);
    assert_eq!(gauge(&new), 1);
    for secret in ["secret-1", "another"] {
        assert_eq!(envoy.logged(secret), 0);
    }
}
