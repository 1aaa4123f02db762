//! `make bench`: how soon a revocation bites, and what a million of them cost, with
//! a real Redis, the companion and an Envoy with two workers. Exits non-zero when
//! a revocation is slower than promised.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use caracal_tests::edge::{Around, revoke_while_asked};
use caracal_tests::envoy::Envoy;
use caracal_tests::processes::{Companion, Redis, filter_with_hooks, until};
use caracal_tests::replicas::{self, percentile};
use caracal_tests::servers::Client;
use serde_json::json;

const REVOCATIONS: usize = 300;
const FLOOD: usize = 1_000_000;
const LOAD_CONNECTIONS: usize = 6;
/// Connections that ask for a refusal; both workers have some.
const ASKING: usize = 6;
const P50: Duration = Duration::from_millis(50);
const P99: Duration = Duration::from_millis(500);

/// Good mandates, sent until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<(u16, Duration)>>>,
}

impl Load {
    fn start(edge: SocketAddr, around: &Around) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..LOAD_CONNECTIONS)
            .map(|n| {
                let stop = Arc::clone(&stop);
                let token = around.of_session(&format!("load-{n}"));
                std::thread::spawn(move || {
                    let mut client = Client::connect(edge);
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let since = Instant::now();
                        let answer = client.get("/", Some(&token), &[]);
                        answers.push((answer.status, since.elapsed()));
                        std::thread::sleep(Duration::from_millis(3));
                    }
                    answers
                })
            })
            .collect();
        Load { stop, threads }
    }

    fn ended(self) -> Vec<(u16, Duration)> {
        self.stop.store(true, Ordering::SeqCst);
        let all = self.threads.into_iter();
        all.flat_map(|thread| thread.join().unwrap()).collect()
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

struct Scene {
    around: Around,
    redis: Redis,
    companion: Companion,
    envoy: Envoy,
    edge: SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::start(&[]);
        let companion = Companion::of(&redis.url()).started();
        let around = Around::default();
        let changes =
            json!({"revocation": {"upstream": "feed"}, "limits": {"max_anchors": 2_000_000}});
        let setup = around
            .setup(companion.address, changes)
            .wasm(filter_with_hooks());
        let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
        let edge = envoy.listener(0);
        Scene {
            around,
            redis,
            companion,
            envoy,
            edge,
        }
    }
}

/// From `XADD` to the first refusal, and to the first on every connection.
fn latency(scene: &Scene) -> bool {
    let mut connection = scene.redis.connection();
    let mut clients: Vec<Client> = (0..ASKING).map(|_| Client::connect(scene.edge)).collect();
    let load = Load::start(scene.edge, &scene.around);
    let (mut first, mut every) = (Vec::new(), Vec::new());
    for n in 0..REVOCATIONS {
        let sid = format!("revoked-{n}");
        let revoked = revoke_while_asked(&mut connection, &scene.around, &mut clients, &sid);
        let between = revoked.every - revoked.first;
        assert!(between < P99, "the workers do not agree for {between:?}");
        first.push(revoked.first);
        every.push(revoked.every);
    }
    let answers = load.ended();
    first.sort();
    every.sort();
    for (what, times) in [
        ("the first refusal", &first),
        ("all workers refuse", &every),
    ] {
        println!(
            "XADD to {what}: p50 {:.1?}, p99 {:.1?}, at most {:.1?} ({REVOCATIONS} revocations, {} good requests meanwhile)",
            percentile(times, 50),
            percentile(times, 99),
            times[times.len() - 1],
            answers.len(),
        );
    }
    assert!(answers.iter().all(|(status, _)| *status == 200));
    percentile(&first, 50) < P50 && percentile(&first, 99) < P99
}

/// A million revocations as fast as Redis takes them.
fn flood(scene: &Scene) {
    let before = (scene.companion.resident(), scene.envoy.resident());
    let load = Load::start(scene.edge, &scene.around);
    let since = Instant::now();
    caracal_tests::edge::flood(&scene.redis, FLOOD);
    let written = since.elapsed();
    let held = || scene.envoy.metric("caracal_revocation_anchors");
    until("the flood is in Envoy", Duration::from_secs(300), || {
        held() >= FLOOD as u64
    });
    let absorbed = since.elapsed();
    let answers = load.ended();
    let refused = answers.iter().filter(|(status, _)| *status != 200).count();
    let mut times: Vec<Duration> = answers.iter().map(|(_, time)| *time).collect();
    times.sort();
    println!("a flood of {FLOOD}: written in {written:.1?}, in every worker after {absorbed:.1?}");
    println!(
        "  {} good requests meanwhile, {refused} refused, p50 {:.1?}, p99 {:.1?}",
        answers.len(),
        percentile(&times, 50),
        percentile(&times, 99),
    );
    let after = (scene.companion.resident(), scene.envoy.resident());
    for (what, before, after) in [
        ("companion", before.0, after.0),
        ("Envoy, three VMs and shared data", before.1, after.1),
    ] {
        println!(
            "  {what}: {:.0} MiB before, {:.0} MiB after: {:.0} bytes for each anchor",
            megabytes(before),
            megabytes(after),
            (after.saturating_sub(before)) as f64 / FLOOD as f64,
        );
    }
}

/// From a trap to the first admitted request of the VM made anew.
fn new_vm(scene: &Scene) {
    let token = scene.around.of_session("free");
    let mut times = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(scene.edge);
        // Both requests are of one connection, and so of one worker.
        assert_eq!(
            client
                .get("/", Some(&token), &[("x-test-trap", "1")])
                .status,
            503
        );
        let mut client = Client::connect(scene.edge);
        let since = Instant::now();
        while client.get("/", Some(&token), &[]).status != 200 {
            assert!(
                since.elapsed() < Duration::from_secs(5),
                "not ready within 5 s"
            );
        }
        times.push(since.elapsed());
        std::thread::sleep(Duration::from_millis(300));
    }
    times.sort();
    println!(
        "a new VM with {FLOOD} anchors in shared data: ready after {:.0?} at most",
        times[times.len() - 1]
    );
}

/// The same of one companion, and of three behind one address, of which one is killed and
/// replaced every three seconds.
fn several() -> bool {
    let every = Some(Duration::from_secs(3));
    let mut fast = true;
    for (companions, every) in [(1, None), (3, None), (3, every)] {
        let report = replicas::run(companions, every, Duration::from_secs(30));
        let (p50, p99) = (percentile(&report.first, 50), percentile(&report.first, 99));
        println!(
            "{companions} companions in turn, {} killed and replaced: p50 {p50:.1?}, p99 {p99:.1?}, in all workers p99 {:.1?} ({} revocations; of {} good requests meanwhile {} refused)",
            report.replaced,
            percentile(&report.every, 99),
            report.first.len(),
            report.good,
            report.refused,
        );
        println!(
            "  {} whole states read, {} first questions at another companion, {} entries sent, {} answers of 410",
            report.from_nothing, report.hops, report.sent, report.gone,
        );
        fast &= p50 < P50 && p99 < P99 && report.refused == 0;
    }
    fast
}

fn main() -> ExitCode {
    let scene = Scene::new();
    until("the edge is ready", Duration::from_secs(20), || {
        let token = scene.around.of_session("free");
        Client::connect(scene.edge)
            .get("/", Some(&token), &[])
            .status
            == 200
    });
    let fast = latency(&scene);
    flood(&scene);
    new_vm(&scene);
    drop(scene);
    let fast = several() && fast;
    if fast {
        return ExitCode::SUCCESS;
    }
    println!("slower than promised: p50 under {P50:?}, p99 under {P99:?}");
    ExitCode::FAILURE
}
