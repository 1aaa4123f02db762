//! `make bench`: exchanges in Gateway mode. The companion has one core to itself as far
//! as the machine has two; clients, Redis and the development STS, which verifies and
//! signs for each exchange, share the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use caracal_tests::mint::{AUDIENCE, ZONE};
use caracal_tests::processes::{Companion, Redis, Sts, until};
use caracal_tests::servers::{Client, request};
use serde_json::json;

/// Clients that each have one request under way.
const CLIENTS: [usize; 3] = [1, 8, 32];
/// Mandates of one round: each is good once.
const MANDATES: usize = 3_000;
const TARGET: f64 = 500.0;

fn ask(mandate: &str) -> Vec<u8> {
    let body = json!({
        "mandate": mandate, "resource": AUDIENCE, "method": "GET", "path": "/invoices",
        "request_id": "bench", "max_age_ms": 30_000,
    });
    let body = body.to_string();
    let size = body.len().to_string();
    let headers = [
        ("content-type", "application/json"),
        ("content-length", size.as_str()),
    ];
    let mut bytes = request("POST", "/v1/exchange", &headers);
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn main() {
    let redis = Redis::start(&[]);
    let policy = json!({
        AUDIENCE: {"scopes": ["billing:read"], "upstream_url": "http://127.0.0.1:1"},
    });
    let sts = Sts::start(&[ZONE], &policy);
    let companion = Companion::of(&redis.url()).gateway(&sts.url()).started();
    companion.on_core(0);
    until("it exchanges", Duration::from_secs(10), || {
        let answer = Client::connect(companion.address).exchange(&ask(&sts.mandate(AUDIENCE)));
        answer.unwrap().json()["granted"].is_object()
    });
    let mut best = 0.0_f64;
    for clients in CLIENTS {
        let questions: Vec<Vec<u8>> = (0..MANDATES)
            .map(|_| ask(&sts.odd(&json!({"zone_id": ZONE}))))
            .collect();
        let next = AtomicUsize::new(0);
        let times: Mutex<Vec<Duration>> = Mutex::default();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let mut client = Client::connect(companion.address);
                    let mut own = Vec::new();
                    while let Some(question) = questions.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let since = Instant::now();
                        let answer = client.exchange(question).unwrap();
                        own.push(since.elapsed());
                        assert!(answer.json()["granted"].is_object(), "{}", answer.json());
                    }
                    times.lock().unwrap().extend(own);
                });
            }
        });
        let rate = MANDATES as f64 / began.elapsed().as_secs_f64();
        best = best.max(rate);
        let mut times = times.into_inner().unwrap();
        times.sort_unstable();
        println!(
            "exchanges, {clients} at once: {rate:.0} a second, p50 {:.2?}, p99 {:.2?}",
            percentile(&times, 50),
            percentile(&times, 99),
        );
    }
    println!("at most {best:.0} a second; the target is {TARGET:.0}");
}
