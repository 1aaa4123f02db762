//! A new configuration while old connections are open.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::upstream::Upstream;
use super::*;

/// An event stream that is open, and has said something.
fn open(edge: SocketAddr, token: &str) -> TcpStream {
    let mut connection = TcpStream::connect(edge).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    let head =
        format!("GET /events HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {token}\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    let mut got = Vec::new();
    let mut part = [0; 1_024];
    while !got.windows(7).any(|seven| seven == b"data: 1") {
        let read = connection.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&part[..read]);
    }
    connection
}

/// What is open keeps the rules that it began with, and yet ends when its session does.
#[test]
fn old_connections_keep_old_rules_and_learn_of_every_revocation() {
    let (redis, around, upstream) = (Redis::default(), Around::default(), Upstream::start());
    let companion = Companion::of(&redis.url()).started();
    let setup = |scope: &str| {
        let settings = configuration(json!({
            "revocation": {"upstream": "feed", "max_staleness_s": 30, "poll_interval_ms": 200},
            "required_scopes": [scope],
        }));
        let mut setup = around
            .setup_of(Setup::new([settings]))
            .cluster("upstream", upstream.address)
            .cluster("feed", companion.address);
        setup.reloadable = true;
        setup.drain_s = Some(600);
        setup
    };
    let envoy = started(&setup("billing:read"));
    let edge = envoy.listener(0);
    let (kept, ended) = (around.of_session("kept"), around.of_session("ended"));
    let ask = |client: &mut Client, token: &str| client.get("/once", Some(token), &[]);
    until("admitted", SOON, || {
        (0..CONNECTIONS).all(|_| ask(&mut Client::connect(edge), &kept).status == 200)
    });
    let mut old: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(edge)).collect();
    for client in &mut old {
        assert_eq!(ask(client, &kept).status, 200);
    }
    let streams: Vec<TcpStream> = (0..4).map(|_| open(edge, &ended)).collect();
    let stays = open(edge, &kept);

    reconfigure(&envoy, &setup("billing:admin"));
    until("new connections have the new rules", SOON, || {
        (0..CONNECTIONS).all(|_| ask(&mut Client::connect(edge), &kept).status == 403)
    });
    // The old ones have theirs. Envoy may close one after its answer.
    for client in &mut old {
        assert_eq!(ask(client, &kept).status, 200);
    }
    assert_eq!(upstream.open(), 5);
    revoke(&redis, "ended");
    for mut stream in streams {
        let mut rest = Vec::new();
        // A reset ends it too.
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.ends_with(b"0\r\n\r\n"));
    }
    until("only the other stream is open", SOON, || {
        upstream.open() == 1
    });
    drop(stays);
}

/// When the time to drain is over, Envoy itself ends what is still open.
#[test]
fn after_the_drain_time_old_connections_end() {
    let (redis, around, upstream) = (Redis::default(), Around::default(), Upstream::start());
    let companion = Companion::of(&redis.url()).started();
    let setup = |skew: u64| {
        let settings = configuration(json!({
            "revocation": {"upstream": "feed", "max_staleness_s": 30}, "clock_skew_s": skew,
        }));
        let mut setup = around
            .setup_of(Setup::new([settings]))
            .cluster("upstream", upstream.address)
            .cluster("feed", companion.address);
        setup.reloadable = true;
        setup
    };
    let envoy = started(&setup(60));
    let token = around.of_session("s1");
    let edge = envoy.listener(0);
    until("admitted", SOON, || {
        Client::connect(edge).get("/once", Some(&token), &[]).status == 200
    });
    let mut stream = open(edge, &token);
    reconfigure(&envoy, &setup(61));
    let mut rest = Vec::new();
    let ended = stream.read_to_end(&mut rest);
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    // The filter has cut nothing so far: of all that it has cut, what is revoked now is the
    // only one.
    let other = around.of_session("s2");
    let mut stream = open(edge, &other);
    revoke(&redis, "s2");
    let _ = stream.read_to_end(&mut Vec::new());
    until("it is counted", SOON, || streams_cut(&envoy) > 0);
    assert_eq!(streams_cut(&envoy), 1, "{:?}", envoy.prometheus());
}

/// Streams that the filter has cut, for whatever reason.
fn streams_cut(envoy: &Envoy) -> u64 {
    let lines = envoy.prometheus();
    let counted = lines
        .iter()
        .filter_map(|line| line.strip_prefix("caracal_streams_cut_total"));
    let counts = counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    counts.sum()
}
