//! What the filter costs to start and to hold: the file's size, the time from an
//! Envoy's start to its first admission, beside an Envoy with a filter that does
//! nothing, and the memory of each VM at rest and with 10 000 mandates in it. Envoy
//! has two workers, so three VMs: one for each, and the main thread's.

use std::time::{Duration, Instant};

use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::{Client, Reply, Server, request};
use serde_json::{Value, json};

const STARTS: usize = 7;
const VMS: u64 = 3;
/// As many as `limits.max_cached_mandates` is by default.
const LIVE: usize = 10_000;
const START: Duration = Duration::from_secs(30);

fn answers_200(envoy: &Envoy, token: &str) -> bool {
    let answer = Client::try_connect(envoy.listener(0))
        .and_then(|mut client| client.exchange(&with_token(token)));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn with_token(token: &str) -> Vec<u8> {
    request(
        "GET",
        "/",
        &[("authorization", format!("Bearer {token}").as_str())],
    )
}

/// Milliseconds from the start to the first 200: the median.
fn first_admission(setup: &Setup, token: &str) -> u128 {
    let mut times: Vec<u128> = (0..STARTS)
        .map(|_| {
            let began = Instant::now();
            let envoy = setup.start().unwrap();
            while !answers_200(&envoy, token) {
                assert!(began.elapsed() < START, "it never admits");
                std::thread::sleep(Duration::from_millis(1));
            }
            began.elapsed().as_millis()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Sends each mandate until both workers have seen most of them.
fn fill(envoy: &Envoy, key: &Key) {
    let tokens: Vec<String> = (0..LIVE)
        .map(|n| key.mandate(now(), json!({"jti": format!("live-{n}")})))
        .collect();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(envoy.listener(0))).collect();
    for token in &tokens {
        for client in &mut clients {
            let answer = client.exchange(&with_token(token)).unwrap();
            assert_eq!(answer.status, 200);
        }
    }
}

fn main() {
    let key = Key::new("k1", 1);
    let document = key_set(&[&key]);
    let sts = Server::start(move |_| Reply::json(&document));
    let redis = Redis::start(&[]);
    let companion = Companion::of(&redis.url()).started();
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let token = key.mandate(now(), json!({}));
    let setup = |configuration: Value| {
        Setup::new([configuration])
            .cluster("sts", sts.address())
            .cluster("feed", companion.address)
            .cluster("upstream", upstream.address())
    };
    let filter = setup(configuration(json!({"revocation": {"upstream": "feed"}})));
    let noop = setup(Value::Null).wasm(caracal_tests::root().join("dist/noop.wasm"));

    let size = std::fs::metadata(caracal_tests::filter_wasm())
        .unwrap()
        .len();
    println!("the file: {size} bytes, {} KiB", size / 1024);
    let (with, without) = (
        first_admission(&filter, &token),
        first_admission(&noop, &token),
    );
    println!(
        "from Envoy's start to the first admission: {with} ms, with a filter that does nothing {without} ms (medians of {STARTS})"
    );
    let bare = noop.start().unwrap();
    let envoy = filter.start().unwrap();
    until("it admits", START, || answers_200(&envoy, &token));
    let linear = || envoy.metric("caracal_vm_memory_bytes") / VMS;
    until("every VM has said what it takes", START, || linear() > 0);
    std::thread::sleep(Duration::from_secs(3));
    let (rest, resident) = (linear(), envoy.resident());
    fill(&envoy, &key);
    std::thread::sleep(Duration::from_secs(3));
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    println!(
        "linear memory of a VM: {:.1} MiB at rest, {:.1} MiB when the workers know {LIVE} mandates (the mean of {VMS})",
        mib(rest),
        mib(linear())
    );
    println!(
        "resident: {:.0} MiB at rest, {:.0} MiB then; with a filter that does nothing {:.0} MiB",
        mib(resident),
        mib(envoy.resident()),
        mib(bare.resident())
    );
}
