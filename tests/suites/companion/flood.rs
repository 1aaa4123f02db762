//! Connections that say nothing, and too many of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

/// More than the companion has places for.
const HALF_OPEN: usize = 1_100;

/// The lines that a connection gets before it is closed, within a time.
fn closes_within(stream: &mut TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn probes_answer_while_half_open_connections_are_held() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let mut companion = Companion::new(&["--in-memory"]).started();
    // One that has asked already, and waits for news meanwhile.
    let page = companion.get("/v1/snapshot").json();
    let (generation, head) = (page["generation"].as_str().unwrap(), &page["head"]);
    let path = format!("/v1/feed?generation={generation}&after={head}&wait_ms=30000");
    let address = companion.address;
    let waiting = std::thread::spawn(move || {
        let bytes = request("GET", &path, &[]);
        Client::connect(address).exchange(&bytes).unwrap().json()
    });
    until("it waits", SOON, || {
        companion.metric("caracal_feed_connected_filters") == 1.0
    });
    let mut held = Vec::new();
    for number in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(companion.address).unwrap();
        // Some say nothing, some begin a head.
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nho");
        }
        held.push(stream);
    }
    for _ in 0..3 {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let since = Instant::now();
            assert_eq!(companion.get(path).status, 200, "{path}");
            assert!(since.elapsed() < Duration::from_secs(5), "{path}");
        }
    }
    // The oldest made room; the wait for news was not cut.
    assert!(closes_within(&mut held[0], Duration::from_millis(500)));
    companion.post("/v1/revocations", &json!({"anchors": ["new"]}), None);
    assert_eq!(
        waiting.join().unwrap()["entries"][0]["anchor"],
        json!("new")
    );
    // The others have 10 s.
    let last = held.last_mut().unwrap();
    assert!(closes_within(last, Duration::from_secs(15)));
    let since = Instant::now();
    assert_eq!(companion.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn half_open_connections_do_not_hold_up_the_end() {
    let mut companion = Companion::new(&["--in-memory"]).started();
    let mut stream = TcpStream::connect(companion.address).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let _idle = TcpStream::connect(companion.address).unwrap();
    assert_eq!(companion.get("/healthz").status, 200);
    let since = Instant::now();
    assert_eq!(companion.stop(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[test]
fn requests_without_the_token_are_counted_and_logged_with_a_limit() {
    let companion = Companion::new(&["--in-memory"])
        .environment("CARACAL_FEED_TOKEN", "right")
        .started();
    for _ in 0..5 {
        assert_eq!(companion.get("/v1/snapshot").status, 401);
    }
    assert_eq!(companion.metric("caracal_feed_unauthorized_total"), 5.0);
    let log = companion.log();
    let lines = log.matches("without the companion's token").count();
    assert_eq!(lines, 1, "{log}");
}
