//! Requests under way in a real Envoy with two workers, a real Redis and the companion: they
//! end with their authority, also silent ones, and what ended them is in the access log.

mod connect_udp;
mod upstream;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::http2::{End, Http2, Opened};
use caracal_tests::mint::{configuration, now};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::Client;
use serde_json::{Value, json};

use upstream::Upstream;

const SOON: Duration = Duration::from_secs(20);

struct Scene {
    around: Around,
    redis: Redis,
    upstream: Upstream,
    envoy: Envoy,
    _companion: Companion,
}

/// A connection of a client, and what it has got so far.
struct Open {
    connection: TcpStream,
    got: Vec<u8>,
}

impl Open {
    /// Reads until the text is there.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let mut part = [0; 4_096];
        while !String::from_utf8_lossy(&self.got).contains(text) {
            let read = self.connection.read(&mut part).expect("more of the answer");
            assert!(read > 0, "{}", String::from_utf8_lossy(&self.got));
            self.got.extend_from_slice(&part[..read]);
        }
    }

    /// Reads until the connection ends, and gives everything.
    fn end(mut self) -> String {
        // A reset ends it too.
        let _ = self.connection.read_to_end(&mut self.got);
        String::from_utf8_lossy(&self.got).into_owned()
    }
}

impl Scene {
    fn new(changes: Value) -> Self {
        Scene::with(changes, |setup| setup)
    }

    /// With more in Envoy's own configuration.
    fn with(changes: Value, more: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = Redis::default();
        let around = Around::default();
        let upstream = Upstream::start();
        let companion = Companion::of(&redis.url()).started();
        let mut all = json!({"revocation": {"upstream": "feed", "max_staleness_s": 600, "poll_interval_ms": 200}});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        let envoy = around
            .setup_of(more(Setup::new([configuration(all)])))
            .cluster("upstream", upstream.address)
            .cluster("feed", companion.address)
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        let scene = Scene {
            around,
            redis,
            upstream,
            envoy,
            _companion: companion,
        };
        until("the edge is warm", SOON, || {
            (0..8).all(|_| scene.status("warm") == 200)
        });
        scene
    }

    fn token(&self, sid: &str, life: u64) -> String {
        self.around
            .mandate(json!({"sid": sid, "root_sid": sid, "exp": now() + life}))
    }

    fn status(&self, sid: &str) -> u16 {
        let token = self.token(sid, 900);
        Client::connect(self.envoy.listener(0))
            .get("/once", Some(&token), &[])
            .status
    }

    /// Opens a request, and waits for the first part of its answer.
    fn open(&self, head: &str, sid: &str, first: &str) -> Open {
        self.open_for(head, sid, first, 900)
    }

    fn open_for(&self, head: &str, sid: &str, first: &str, life: u64) -> Open {
        let mut connection = TcpStream::connect(self.envoy.listener(0)).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        let token = self.token(sid, life);
        let request = format!("{head}\r\nhost: edge\r\nauthorization: Bearer {token}\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut open = Open {
            connection,
            got: Vec::new(),
        };
        open.until(first);
        open
    }

    fn revoke(&self, sid: &str) {
        let _: String = self.redis.ask(&[
            "XADD",
            "caracal.sessions.revoke",
            "*",
            "zone_id",
            "z",
            "session_id",
            sid,
        ]);
    }

    /// The access log's lines about a path.
    #[track_caller]
    fn logged(&self, path: &str, count: usize) -> Vec<Value> {
        let lines = || {
            let all = self.envoy.access_log().into_iter();
            let ours = all.filter(|line| line["path"].as_str() == Some(path));
            ours.collect::<Vec<_>>()
        };
        until("the access log", SOON, || lines().len() >= count);
        lines()
    }
}

const EVENTS: &str = "GET /events HTTP/1.1";

#[test]
fn a_silent_event_stream_is_broken_off_when_its_session_is_revoked() {
    let scene = Scene::new(json!({}));
    let revoked: Vec<Open> = (0..6)
        .map(|_| scene.open(EVENTS, "s1", "data: 1"))
        .collect();
    let mut other = scene.open(EVENTS, "s2", "data: 1");
    scene.revoke("s1");
    for open in revoked {
        let all = open.end();
        // Never as if it were complete: the last chunk is missing.
        assert!(!all.contains("\r\n0\r\n"), "{all}");
    }
    until("the upstream's connections end", SOON, || {
        scene.upstream.open() == 1
    });
    for line in scene.logged("/events", 6) {
        assert_eq!(line["caracal_decision"], "admitted", "{line}");
        assert_eq!(line["caracal_error"], "session_revoked", "{line}");
        assert_eq!(line["details"], "caracal_session_revoked", "{line}");
    }
    let metric = "caracal_streams_cut_total.reason=session_revoked";
    until("it is counted", SOON, || scene.envoy.metric(metric) == 6);
    scene.upstream.say("data: 2\n\n");
    other.until("data: 2");
}

/// Envoy ends one stream within the end of another: many at once must not exhaust its stack.
#[test]
fn many_streams_of_one_session_end_and_the_workers_live_on() {
    let scene = Scene::new(json!({}));
    let open: Vec<Open> = (0..300)
        .map(|_| scene.open(EVENTS, "s1", "data: 1"))
        .collect();
    scene.revoke("s1");
    for one in open {
        assert!(!one.end().contains("\r\n0\r\n"));
    }
    let metric = "caracal_streams_cut_total.reason=session_revoked";
    until("all are counted", SOON, || {
        scene.envoy.metric(metric) == 300
    });
    for _ in 0..8 {
        assert_eq!(scene.status("s2"), 200);
        assert_eq!(scene.status("s1"), 401);
    }
}

#[test]
fn a_websocket_and_an_upload_end_too() {
    let scene = Scene::new(json!({}));
    let upgrade = "GET /socket HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let socket = scene.open(upgrade, "s1", "101 Switching");
    let mut upload = scene.open(
        "POST /upload HTTP/1.1\r\ntransfer-encoding: chunked",
        "s1",
        "",
    );
    upload.connection.write_all(b"5\r\nfirst\r\n").unwrap();
    until("the upload arrives", SOON, || {
        scene.upstream.got().contains("first")
    });
    scene.revoke("s1");
    let told = upload.connection.try_clone().unwrap();
    let answer = upload.end();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("session_revoked"), "{answer}");
    // What the client still sends goes nowhere.
    let _ = (&told).write_all(b"5\r\nlater\r\n");
    socket.end();
    until("the upstream's connections end", SOON, || {
        scene.upstream.open() == 0
    });
    assert!(!scene.upstream.got().contains("later"));
}

#[test]
fn a_stream_ends_when_its_mandate_expires() {
    let scene = Scene::new(json!({}));
    let open = scene.open_for(EVENTS, "s1", "data: 1", 3);
    let all = open.end();
    assert!(!all.contains("\r\n0\r\n"), "{all}");
    let metric = "caracal_streams_cut_total.reason=expired";
    until("it is counted", SOON, || scene.envoy.metric(metric) == 1);
}

#[test]
fn a_place_is_free_when_its_request_has_ended() {
    let scene = Scene::new(json!({"limits": {"max_streams": 2}}));
    // Envoy gives a connection to either worker, so there are up to four places.
    let mut open: Vec<Open> = Vec::new();
    until("all places are taken", SOON, || {
        let mut connection = TcpStream::connect(scene.envoy.listener(0)).unwrap();
        let token = scene.token("s1", 900);
        let request = format!("{EVENTS}\r\nhost: edge\r\nauthorization: Bearer {token}\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut one = Open {
            connection,
            got: Vec::new(),
        };
        one.until("\r\n\r\n");
        let is_refused = one.got.starts_with(b"HTTP/1.1 503");
        if !is_refused {
            open.push(one);
        }
        is_refused && open.len() == 4
    });
    drop(open);
    until("they are free again", SOON, || {
        (0..8).all(|_| scene.status("s1") == 200)
    });
}

/// Streams of several sessions on the same connections of HTTP/2: only those of the revoked one
/// are reset, and what the others wait for still arrives.
#[test]
fn of_many_streams_on_one_connection_only_the_revoked_are_reset() {
    const CONNECTIONS: usize = 4;
    const STREAMS: usize = 60;
    let scene = Scene::new(json!({}));
    let sids = ["s1", "s2", "s3"];
    let bearers = sids.map(|sid| format!("Bearer {}", scene.token(sid, 900)));
    let mut connections: Vec<Http2> = (0..CONNECTIONS)
        .map(|_| Http2::connect(scene.envoy.listener(0)))
        .collect();
    let mut open: Vec<(usize, Opened)> = Vec::new();
    for connection in &mut connections {
        for number in 0..STREAMS {
            let of = number % sids.len();
            let headers = [("authorization", bearers[of].as_str())];
            let stream = connection.open("GET", "/events", &headers, false);
            stream.until("data: 1");
            open.push((of, stream));
        }
    }
    scene.revoke("s2");
    let (revoked, others): (Vec<_>, Vec<_>) = open.into_iter().partition(|(of, _)| *of == 1);
    for (_, stream) in revoked {
        let (end, _, _, got) = stream.end();
        assert_eq!(end, End::Reset(2), "INTERNAL_ERROR, and never complete");
        assert_eq!(got, b"");
    }
    let count = CONNECTIONS * STREAMS / sids.len();
    let metric = "caracal_streams_cut_total.reason=session_revoked";
    until("all are counted", SOON, || {
        scene.envoy.metric(metric) == count as u64
    });
    scene.upstream.say("data: 2\n\n");
    for (_, stream) in &others {
        stream.until("data: 2");
    }
    assert_eq!(others.len(), 2 * count);
    // The connections serve on.
    for connection in &mut connections {
        for (bearer, status) in bearers.iter().zip([200, 401, 200]) {
            let headers = [("authorization", bearer.as_str())];
            let stream = connection.open("GET", "/once", &headers, false);
            assert_eq!(stream.began(), status);
        }
    }
}

/// Over HTTP/2 too the last that comes is a Close frame with 1008, and then the reset.
#[test]
fn a_websocket_over_http2_that_talks_gets_a_close_frame() {
    let scene = Scene::new(json!({}));
    let bearer = format!("Bearer {}", scene.token("s1", 900));
    let mut connection = Http2::connect(scene.envoy.listener(0));
    let socket = connection.socket("/socket", &[("authorization", bearer.as_str())]);
    assert_eq!(socket.began(), 200);
    let frame = b"\x81\x05hello";
    let end = std::thread::scope(|scope| {
        let talks = scope.spawn(|| {
            while scene.upstream.open() > 0 && scene.upstream.send(frame) {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        socket.until("hello");
        scene.revoke("s1");
        let end = socket.end();
        talks.join().unwrap();
        end
    });
    let (how, _, _, got) = end;
    assert_eq!(how, End::Reset(2));
    let close = b"\x88\x11\x03\xf0session_revoked";
    let before = got.strip_suffix(close).expect("a Close frame");
    assert!(before.chunks(frame.len()).all(|one| one == frame));
}

/// Trailers of another size than the bytes in whose place they are would break the length
/// that was promised: the connection only ends.
#[test]
fn nothing_is_put_into_a_response_of_a_promised_length() {
    let scene = Scene::new(json!({}));
    let head = "POST /web HTTP/1.1\r\ncontent-type: application/grpc-web\r\ncontent-length: 0";
    let web = scene.open(head, "s1", "one");
    let message = b"\0\0\0\0\x03two";
    let all = std::thread::scope(|scope| {
        // It talks until it ends, slowly enough for the length.
        scope.spawn(|| {
            for _ in 0..8 {
                scene.upstream.send(message);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        scene.revoke("s1");
        web.end()
    });
    assert!(all.contains("content-length: 80"), "{all}");
    assert!(!all.contains("grpc-status"), "{all}");
    let (_, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(body.len() < 80 && body.len() % 8 == 0, "{all}");
    let line = &scene.logged("/web", 1)[0];
    assert_eq!(line["details"], "caracal_session_revoked", "{line}");
}
