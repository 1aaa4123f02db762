//! `make bench`: how soon an open, silent stream ends when its session is revoked, with a real
//! Redis, the companion and an Envoy with two workers; that no other stream ends; and what ten
//! thousand open streams cost. Exits non-zero when something is slower or dearer than promised.
//! `STREAMS_MINUTES` is how long streams stand beside revocations of others.

#[path = "../suites/live_streams_envoy/upstream.rs"]
#[allow(dead_code)]
mod upstream;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use caracal_tests::companion::InProcess;
use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::host::{Answer, Cost, Proxy, Request, Vm};
use caracal_tests::hosts::ENVOY;
use caracal_tests::http2::{Http2, Opened, silent_server};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::get;
use serde_json::json;
use upstream::Upstream;

const STREAMS: usize = 100;
const STANDING: usize = 1_000;
const MANY: usize = 10_000;
const P99: Duration = Duration::from_secs(1);
const AIM: Duration = Duration::from_millis(200);
const START: u64 = 1_767_225_600;

struct Scene {
    around: Around,
    redis: Redis,
    envoy: Envoy,
    edge: SocketAddr,
    _upstream: Upstream,
    _companion: Companion,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::default();
        let around = Around::default();
        let upstream = Upstream::start();
        let companion = Companion::of(&redis.url()).started();
        // The shipped intervals.
        let settings = configuration(json!({"revocation": {"upstream": "feed"}}));
        let envoy = around
            .setup_of(Setup::new([settings]))
            .cluster("upstream", upstream.address)
            .http2_cluster(
                "grpc",
                silent_server("application/grpc", b"\0\0\0\0\x05first"),
            )
            .cluster("feed", companion.address)
            .virtual_hosts(json!([{"name": "all", "domains": ["*"], "routes": [
                // Longer than they stand: Envoy itself ends idle streams after five minutes.
                {"match": {"prefix": "/grpc"}, "route": {"cluster": "grpc", "timeout": "0s", "idle_timeout": "86400s"}},
                {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}},
            ]}]))
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        let edge = envoy.listener(0);
        until("the edge is warm", Duration::from_secs(20), || {
            let token = around.of_session("warm");
            (0..8).all(|_| get(edge, "/once", Some(&token)).status == 200)
        });
        Scene {
            around,
            redis,
            envoy,
            edge,
            _upstream: upstream,
            _companion: companion,
        }
    }

    fn bearer(&self, sid: &str) -> String {
        let claims = json!({"sid": sid, "root_sid": sid, "exp": now() + 86_400});
        format!("Bearer {}", self.around.mandate(claims))
    }
}

fn revoke(connection: &mut redis::Connection, sid: &str) {
    let stream = "caracal.sessions.revoke";
    let _: String = redis::cmd("XADD")
        .arg(&[stream, "MAXLEN", "~", "10000", "*", "session_id", sid])
        .query(connection)
        .unwrap();
}

/// When the client of a stream over HTTP/1.1 sees its end: no more bytes, or a refusal.
fn open_http1(edge: SocketAddr, head: &str, bearer: &str, first: &str) -> Receiver<Instant> {
    let mut connection = TcpStream::connect(edge).unwrap();
    let request = format!("{head}\r\nhost: edge\r\nauthorization: {bearer}\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let (tell, told) = channel();
    let (mut got, mut part) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&got).contains(first) {
        let read = connection.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&part[..read]);
    }
    std::thread::spawn(move || {
        loop {
            match connection.read(&mut part) {
                Ok(read @ 1..) if !part[..read].starts_with(b"HTTP/1.1 401") => {}
                _ => break,
            }
        }
        let _ = tell.send(Instant::now());
    });
    told
}

enum Open {
    Http1(Receiver<Instant>),
    Http2(Opened),
}

impl Open {
    fn ended(self) -> Instant {
        match self {
            Open::Http1(told) => told.recv_timeout(Duration::from_secs(30)).expect("an end"),
            Open::Http2(stream) => stream.end().1,
        }
    }
}

const SOCKET: &str = "GET /socket HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
const UPLOAD: &str = "POST /upload HTTP/1.1\r\ntransfer-encoding: chunked";
const EVENTS: &str = "GET /events HTTP/1.1";

type Opener<'a> = Box<dyn FnMut(&str) -> Open + 'a>;

fn kinds(scene: &Scene) -> Vec<(&'static str, Opener<'_>)> {
    let http1 = |head: &'static str, first: &'static str| -> Opener<'_> {
        Box::new(move |sid| Open::Http1(open_http1(scene.edge, head, &scene.bearer(sid), first)))
    };
    let http2 = |method: &'static str, path: &'static str, kind: Option<&'static str>| {
        let mut connection = Http2::connect(scene.edge);
        let opener: Opener<'_> = Box::new(move |sid| {
            let bearer = scene.bearer(sid);
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(kind.map(|kind| ("content-type", kind)));
            let stream = match method {
                "CONNECT" => connection.socket(path, &headers),
                method => connection.open(method, path, &headers, method == "POST"),
            };
            match path {
                "/upload" => stream.say(b"first"),
                _ => assert_eq!(stream.began(), 200),
            }
            Open::Http2(stream)
        });
        opener
    };
    vec![
        ("event stream, HTTP/1.1", http1(EVENTS, "data: 1")),
        ("event stream, HTTP/2", http2("GET", "/events", None)),
        ("upload, HTTP/1.1", http1(UPLOAD, "")),
        ("upload, HTTP/2", http2("POST", "/upload", None)),
        ("WebSocket, HTTP/1.1", http1(SOCKET, "101 Switching")),
        ("WebSocket, HTTP/2", http2("CONNECT", "/socket", None)),
        (
            "gRPC, HTTP/2",
            http2("POST", "/grpc", Some("application/grpc")),
        ),
    ]
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// From `XADD` to the end that the client sees, one stream after the other.
fn latency(scene: &Scene) -> bool {
    let mut redis = scene.redis.connection();
    let mut is_fast = true;
    for (number, (kind, mut opener)) in kinds(scene).into_iter().enumerate() {
        let sids: Vec<String> = (0..STREAMS).map(|n| format!("open-{number}-{n}")).collect();
        let open: Vec<Open> = sids.iter().map(|sid| opener(sid)).collect();
        // An upload has no answer that shows that it is under way.
        std::thread::sleep(Duration::from_millis(500));
        let mut times: Vec<Duration> = sids
            .iter()
            .zip(open)
            .map(|(sid, stream)| {
                let since = Instant::now();
                revoke(&mut redis, sid);
                stream.ended() - since
            })
            .collect();
        times.sort();
        let p99 = percentile(&times, 99);
        println!(
            "XADD to the end of a silent {kind}: p50 {:.1?}, p99 {p99:.1?}{} ({STREAMS} streams)",
            percentile(&times, 50),
            if p99 > AIM { ", over the aim" } else { "" },
        );
        is_fast &= p99 < P99;
    }
    is_fast
}

/// Streams whose authority stands, beside revocations of other sessions.
fn standing(scene: &Scene) -> bool {
    let minutes = std::env::var("STREAMS_MINUTES").map_or(1.0, |text| text.parse().unwrap());
    let mut redis = scene.redis.connection();
    let resident = scene.envoy.resident();
    let mut connections: Vec<Http2> = (0..10).map(|_| Http2::connect(scene.edge)).collect();
    let bearers: Vec<String> = (0..50)
        .map(|n| scene.bearer(&format!("stands-{n}")))
        .collect();
    let open: Vec<Opened> = (0..STANDING)
        .map(|n| {
            let headers = [
                ("authorization", bearers[n % bearers.len()].as_str()),
                ("content-type", "application/grpc"),
            ];
            let stream = connections[n % 10].open("POST", "/grpc", &headers, true);
            assert_eq!(stream.began(), 200);
            stream
        })
        .collect();
    let each = scene.envoy.resident().saturating_sub(resident) / STANDING as u64;
    println!("Envoy's own memory for an open gRPC stream and its upstream's: {each} bytes");
    let since = Instant::now();
    let mut revoked = 0;
    while since.elapsed().as_secs_f64() < minutes * 60.0 {
        revoke(&mut redis, &format!("unrelated-{revoked}"));
        revoked += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    let cut = open.iter().filter(|stream| !stream.is_open()).count();
    println!(
        "{STANDING} streams beside {revoked} revocations of others in {minutes} minutes: {cut} cut"
    );
    cut == 0
}

fn in_process() -> (Proxy, Rc<InProcess>) {
    let companion = Rc::new(InProcess::default());
    let answers = Rc::clone(&companion);
    let settings = json!({"revocation": {"upstream": "feed", "max_staleness_s": 3600}});
    let mut proxy = ENVOY
        .builder(&ENVOY.configuration(settings))
        .wall(Duration::from_secs(START))
        .workers(1)
        .on_callout(move |callout| match ENVOY.is_sts(callout) {
            true => Answer::json(&key_set(&[&Key::new("k1", 1)])),
            false => answers.answer(callout),
        })
        .start()
        .unwrap();
    proxy.advance(Duration::from_secs(1));
    (proxy, companion)
}

fn token(sid: &str) -> String {
    let claims = json!({"sid": sid, "root_sid": sid, "exp": START + 100_000});
    Key::new("k1", 1).mandate(START, claims)
}

/// A request with a known mandate, from its headers to its end.
fn request_cost(proxy: &mut Proxy, token: &str) -> Cost {
    let mut cost = Cost::default();
    for _ in 0..3 {
        proxy.advance(Duration::from_millis(1));
        proxy.forget();
        let stream = proxy.request(0, Request::get("/payouts/1?page=2").bearer(token));
        proxy.respond(stream, 200, [("content-type", "text/plain")]);
        cost = proxy.cost(stream);
    }
    cost
}

/// What this thread has taken of a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let spent = text.split(' ').next().unwrap();
    Duration::from_nanos(spent.parse().unwrap())
}

/// What ten thousand open streams cost: another request, a tick, and memory.
fn many() -> bool {
    let (mut proxy, companion) = in_process();
    let own = token("own");
    let before = request_cost(&mut proxy, &own);
    let tokens: Vec<String> = (0..100).map(|n| token(&format!("s{n}"))).collect();
    let calls = |cost: &Cost| cost.host_calls.values().sum::<u64>();
    // Memory is taken in pages and kept, so the first streams may cost none.
    let size = proxy.memory_size(Vm::Worker(0));
    for n in 0..MANY {
        let stream = proxy.request(0, Request::get("/events").bearer(&tokens[n % 100]));
        proxy.respond_open(stream, 200, [("content-type", "text/event-stream")]);
        if n % 1_000 == 0 {
            proxy.forget();
        }
    }
    let each = (proxy.memory_size(Vm::Worker(0)) - size) / MANY;
    let after = request_cost(&mut proxy, &own);
    let more = after.fuel as f64 / before.fuel as f64 * 100.0 - 100.0;
    println!(
        "a request beside {MANY} open streams: {} units of work and {} host calls; alone {} and {} ({more:+.2} %)",
        after.fuel,
        calls(&after),
        before.fuel,
        calls(&before),
    );
    println!("memory of the filter for each open stream: {each} bytes");
    // All are judged again, and a tenth of them end.
    for n in 0..10 {
        companion.revoke(&format!("s{n}"));
    }
    proxy.forget();
    let mut longest = Duration::ZERO;
    for _ in 0..300 {
        let since = processor_time();
        proxy.advance(Duration::from_millis(10));
        longest = longest.max(processor_time() - since);
    }
    let ticks = proxy.callbacks().iter();
    let dearest = ticks.max_by_key(|one| one.fuel).unwrap();
    let cut = proxy.metric_value("caracal_streams_cut_total.reason=session_revoked");
    println!(
        "{cut} of them end: the dearest callback is {} with {} units of work; the longest tick, with all that the in-process proxy does for it, took {longest:.1?} of a processor",
        dearest.callback, dearest.fuel,
    );
    more <= 2.0
        && longest < Duration::from_millis(10)
        && calls(&after) == calls(&before)
        && cut == MANY as u64 / 10
}

fn main() -> ExitCode {
    let scene = Scene::new();
    let holds = [
        ("a stream ends within a second", latency(&scene)),
        ("no other stream ends", standing(&scene)),
        (
            "open streams cost other requests at most 2 %, and no callback takes 10 ms",
            many(),
        ),
    ];
    let broken = holds.iter().filter(|(_, holds)| !holds);
    let broken: Vec<&str> = broken.map(|(what, _)| *what).collect();
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not as promised: {}", broken.join(", "));
    ExitCode::FAILURE
}
