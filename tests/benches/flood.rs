//! `make bench`: what one client leaves of another one's throughput in a real Envoy with
//! two workers, while it sends 64 KB of the dearest requests known each second
//! (tests/suites/worst), and while it sends as many harmless requests of the same size.
//! Exits non-zero when the dearest path known leaves less than nine tenths, or when any
//! path leaves less than nine tenths of what the harmless requests leave: short requests
//! are many, and their number alone has a price on a machine that serves both clients.
//! They are answered alike, as Envoy ends the connection after a 400.

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::envoy::Setup;
use caracal_tests::hostile::{self, Kind};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::until;
use caracal_tests::servers::{Client, Reply, Server, get};
use serde_json::json;

/// Bytes a second, with all that belongs to a request.
const FLOOD: f64 = 65_536.0;
const ROUNDS: usize = 5;
const SECONDS: u64 = 2;
const LEFT: f64 = 0.9;

/// The bytes of a request with such an input.
fn request(kind: Kind, input: &[u8]) -> Vec<u8> {
    let mut bytes = b"GET ".to_vec();
    let (target, lines): (&[u8], Vec<u8>) = match kind {
        Kind::Path => (input, Vec::new()),
        Kind::Baggage => {
            let bearer = format!("authorization: Bearer {}\r\nbaggage: ", hostile::unsigned());
            (b"/payouts/1", [bearer.as_bytes(), input, b"\r\n"].concat())
        }
        Kind::TokenHeader => {
            let token = format!("{}.e30.AAAA", BASE64.encode(input));
            (
                b"/payouts/1",
                format!("authorization: Bearer {token}\r\n").into(),
            )
        }
        _ => {
            let lines = hostile::header_lines(input);
            let lines = lines
                .into_iter()
                .flat_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat());
            (b"/payouts/1", lines.collect())
        }
    };
    // Envoy takes no other bytes and no NUL, and would answer by itself.
    let target = target.split(|b| *b == b'?').next().unwrap_or_default();
    let target = String::from_utf8_lossy(target).replace("%00", "%01");
    for byte in target.as_bytes() {
        match byte {
            b'!'..=b'~' => bytes.push(*byte),
            _ => bytes.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    bytes.extend_from_slice(b" HTTP/1.1\r\nhost: edge.test\r\n");
    bytes.extend_from_slice(&lines);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// A request of that many bytes whose refusal costs little: 400 for its path, or 401 for
/// want of a token.
fn harmless(length: usize, kind: Kind) -> Vec<u8> {
    let path = match kind {
        Kind::Path => "/payouts/%zz",
        _ => "/payouts/1",
    };
    let start = format!("GET {path} HTTP/1.1\r\nhost: edge.test\r\n").into_bytes();
    let name = b"x-padding: ";
    let end = b"\r\n\r\n";
    let rest = length.saturating_sub(start.len() + name.len() + end.len());
    [start, name.to_vec(), vec![b'a'; rest], end.to_vec()].concat()
}

/// What a flood sent, and which answers came.
#[derive(Default)]
struct Sent {
    requests: usize,
    answers: Vec<(u16, String)>,
}

/// Sends it until told to stop.
fn flood(edge: SocketAddr, request: &[u8], stop: &AtomicBool) -> Sent {
    let each = Duration::from_secs_f64(request.len() as f64 / FLOOD);
    let mut sent = Sent::default();
    let mut client = Client::connect(edge);
    let since = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        match client.exchange(request) {
            Ok(answer) => {
                // Envoy ends it after a 400, a second later.
                if answer.header("connection") == Some("close") {
                    client = Client::connect(edge);
                }
                let answer = (answer.status, answer.error());
                if !sent.answers.contains(&answer) {
                    sent.answers.push(answer);
                }
            }
            Err(_) => client = Client::connect(edge),
        }
        sent.requests += 1;
        let next = each * u32::try_from(sent.requests).unwrap();
        std::thread::sleep(next.saturating_sub(since.elapsed()));
    }
    sent
}

/// Another client's requests a second during a flood, and what was sent.
fn flooded(edge: SocketAddr, token: &str, request: &[u8]) -> (f64, Sent) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| flood(edge, request, &stop));
        let left = throughput(edge, token);
        stop.store(true, Ordering::SeqCst);
        (left, sender.join().unwrap())
    })
}

/// Requests a second of another client with a good mandate.
fn throughput(edge: SocketAddr, token: &str) -> f64 {
    let output = Command::new("wrk")
        .args(["-t1", "-c8", "-d", &format!("{SECONDS}s")])
        .args(["-H", &format!("authorization: Bearer {token}")])
        .arg(format!("http://{edge}/payouts/1"))
        .output()
        .expect("wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "answers other than 200");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    line.and_then(|number| number.trim().parse().ok())
        .expect("wrk's report")
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> ExitCode {
    let key = Key::new("k1", 1);
    let keys = key_set(&[&key]);
    let sts = Server::start(move |_| Reply::json(&keys));
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let envoy = Setup::new([configuration(json!({
        "routes": {"/payouts": {}, "/payouts/admin": {"require_session": true}, "/reports": {}},
        "exclude": ["/healthz"],
        "forward": {"authorization": false},
    }))])
    .cluster("sts", sts.address())
    .cluster("upstream", upstream.address())
    .start()
    .unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    let token = key.mandate(now(), json!({"exp": now() + 3_600}));
    until("a mandate is admitted", Duration::from_secs(20), || {
        get(edge, "/payouts/1", Some(&token)).status == 200
    });
    let mut is_kept = true;
    for (kind, name, input) in hostile::worst() {
        if matches!(kind, Kind::Claims | Kind::KeySet | Kind::Page) {
            continue;
        }
        let hostile = request(kind, &input);
        let harmless = harmless(hostile.len(), kind);
        let (mut quiet, mut beside_harmless, mut beside_hostile) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut sent = Sent::default();
        let mut harmless_answer = 0;
        for _ in 0..ROUNDS {
            quiet.push(throughput(edge, &token));
            let (left, now) = flooded(edge, &token, &harmless);
            beside_harmless.push(left);
            harmless_answer = now.answers[0].0;
            let (left, now) = flooded(edge, &token, &hostile);
            beside_hostile.push(left);
            sent.requests += now.requests;
            sent.answers = now.answers;
        }
        // Envoy answers some by itself, with another body, and then nothing was measured.
        let is_ours = sent.answers.iter().all(|(_, error)| !error.is_empty());
        assert!(is_ours, "{name}: {:?}", sent.answers);
        let quiet = median(quiet);
        let (left, left_by_harmless) = (
            median(beside_hostile) / quiet,
            median(beside_harmless) / quiet,
        );
        assert_eq!(sent.answers[0].0, harmless_answer, "{name}");
        println!(
            "{name}: {} a second of {} bytes, answered {:?}: another client has {left:.2} of its {quiet:.0} requests a second; beside harmless requests of that size {left_by_harmless:.2}",
            sent.requests / (ROUNDS * usize::try_from(SECONDS).unwrap()),
            hostile.len(),
            sent.answers,
        );
        if kind == Kind::Path {
            is_kept &= left >= LEFT * left_by_harmless;
            is_kept &= name != "path, dearest" || left >= LEFT;
        }
    }
    if is_kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
