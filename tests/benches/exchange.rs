//! `make bench`: exchanges in Gateway mode, by the companion alone and through a whole
//! edge. The companion has one core to itself as far as the machine has two; clients,
//! Redis, Envoy and the development STS, which verifies and signs for each exchange, share
//! the others.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{AUDIENCE, ZONE, configuration};
use caracal_tests::processes::{Companion, Redis, Sts, until};
use caracal_tests::servers::{Client, Reply, Response, Server, get, request};
use serde_json::{Value, json};

/// Clients that each have one request under way.
const CLIENTS: [usize; 3] = [1, 8, 32];
/// Mandates of one round: each is good once.
const MANDATES: usize = 3_000;
const TARGET: f64 = 500.0;

/// The companion's question.
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

/// An agent's request.
fn call(mandate: &str) -> Vec<u8> {
    let bearer = format!("Bearer {mandate}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-caracal-resource", AUDIENCE),
    ];
    request("GET", "/invoices", &headers)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// A rate in requests a second, and the sorted times of the requests.
type Round = (f64, Vec<Duration>);

/// Sends each request once, from so many clients.
fn round(
    to: SocketAddr,
    requests: &[Vec<u8>],
    clients: usize,
    is_good: impl Fn(&Response) -> bool + Sync,
) -> Round {
    let next = AtomicUsize::new(0);
    let times: Mutex<Vec<Duration>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::connect(to);
                let mut own = Vec::new();
                while let Some(one) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let since = Instant::now();
                    let answer = client.exchange(one).unwrap();
                    own.push(since.elapsed());
                    assert!(is_good(&answer), "{} {}", answer.status, answer.error());
                }
                times.lock().unwrap().extend(own);
            });
        }
    });
    let rate = requests.len() as f64 / began.elapsed().as_secs_f64();
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    (rate, times)
}

fn print(what: &str, clients: usize, (rate, times): &Round) {
    println!(
        "{what}, {clients} at once: {rate:.0} a second, p50 {:.2?}, p99 {:.2?}",
        percentile(times, 50),
        percentile(times, 99),
    );
}

/// Envoy with one worker, in Gateway mode or in connector mode.
fn edge(sts: &Sts, companion: &Companion, upstream: &Server, changes: Value) -> Envoy {
    let mut settings = json!({
        "issuer": sts.url(), "audience": null,
        "revocation": {"upstream": "companion"},
        "resources": {AUDIENCE: {}},
    });
    for (name, value) in changes.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let setup = Setup::new([configuration(settings)])
        .cluster("sts", sts.address)
        .cluster("companion", companion.address)
        .cluster("upstream", upstream.address());
    setup.start().unwrap_or_else(|log| panic!("{log}"))
}

fn main() {
    let redis = Redis::start(&[]);
    let policy = json!({
        AUDIENCE: {"scopes": ["billing:read"], "upstream_url": "http://billing.test"},
    });
    let sts = Sts::start(&[ZONE], &policy);
    let companion = Companion::of(&redis.url()).gateway(&sts.url()).started();
    companion.on_core(0);
    until("it exchanges", Duration::from_secs(10), || {
        let answer = Client::connect(companion.address).exchange(&ask(&sts.mandate(AUDIENCE)));
        answer.unwrap().json()["granted"].is_object()
    });
    let mandates =
        |changes: Value| -> Vec<String> { (0..MANDATES).map(|_| sts.odd(&changes)).collect() };
    let one_shot = || mandates(json!({ "zone_id": ZONE }));
    let of = |mandates: Vec<String>, request: fn(&str) -> Vec<u8>| -> Vec<Vec<u8>> {
        mandates.iter().map(|mandate| request(mandate)).collect()
    };
    let mut best = 0.0_f64;
    for clients in CLIENTS {
        let granted = |answer: &Response| answer.json()["granted"].is_object();
        let done = round(companion.address, &of(one_shot(), ask), clients, granted);
        best = best.max(done.0);
        print("exchanges by the companion", clients, &done);
    }
    println!("at most {best:.0} a second; the target is {TARGET:.0}");

    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let connector = edge(&sts, &companion, &upstream, json!({}));
    let gateway = edge(
        &sts,
        &companion,
        &upstream,
        json!({
            "mode": "gateway", "gateway": {"upstream": "companion"},
            "resources": {AUDIENCE: {"upstream_url": "http://billing.test"}},
        }),
    );
    let is_admitted = |answer: &Response| answer.status == 200;
    let for_service = json!({"zone_id": ZONE, "use": "resource", "aud": AUDIENCE});
    for (envoy, claims) in [
        (&connector, for_service.clone()),
        (&gateway, json!({"zone_id": ZONE})),
    ] {
        until("the edge is warm", Duration::from_secs(20), || {
            let answer = Client::connect(envoy.listener(0)).exchange(&call(&sts.odd(&claims)));
            is_admitted(&answer.unwrap())
        });
    }
    // What each part costs, beside the upstream alone and an edge that exchanges nothing.
    // Every mandate is new, as behind a Gateway.
    let plain = vec![request("GET", "/invoices", &[]); MANDATES];
    for clients in CLIENTS {
        print(
            "upstream alone",
            clients,
            &round(upstream.address(), &plain, clients, is_admitted),
        );
        let requests = of(mandates(for_service.clone()), call);
        let done = round(connector.listener(0), &requests, clients, is_admitted);
        print("edge in connector mode", clients, &done);
        let done = round(
            gateway.listener(0),
            &of(one_shot(), call),
            clients,
            is_admitted,
        );
        print("edge in Gateway mode", clients, &done);
    }
    assert_eq!(get(gateway.listener(0), "/", None).status, 401);
}
