//! `make soak`: a million requests, good and hostile, through a real Envoy with a
//! real Redis and companion, while keys rotate and sessions are revoked. Memory has
//! to come to a plateau, no revoked mandate may be admitted and no good one refused.
//! `SOAK_REQUESTS` says how many; exits non-zero when something does not hold.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use caracal_tests::envoy::Setup;
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{Companion, Redis};
use caracal_tests::servers::{Client, Reply, Server, request};
use serde_json::json;

const STREAM: &str = "caracal.sessions.revoke";
const CONNECTIONS: usize = 8;
/// Good mandates alive at one time; more than the cache holds.
const LIVE: usize = 3_000;
const CACHED: usize = 2_000;
const ROTATE: Duration = Duration::from_secs(20);
const REPORTS: usize = 20;

/// What clients send from: replaced at each rotation.
struct Tokens {
    good: Vec<String>,
    /// Signed by the key that is gone next time.
    stranger: Vec<String>,
}

fn tokens(key: &Key, round: u64) -> Tokens {
    let good = |n: usize| {
        key.mandate(
            now(),
            json!({"sid": format!("s-{round}-{n}"), "jti": n.to_string()}),
        )
    };
    let other = Key::new("rotated-0", 99);
    Tokens {
        good: (0..LIVE).map(good).collect(),
        stranger: (0..200)
            .map(|n| other.mandate(now(), json!({"sid": n.to_string()})))
            .collect(),
    }
}

fn rotated(round: u64) -> Key {
    Key::new(&format!("rotated-{round}"), 10 + (round % 80) as u8)
}

#[derive(Default)]
struct Counts {
    sent: AtomicUsize,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    unavailable: AtomicUsize,
}

fn main() -> ExitCode {
    let total: usize = std::env::var("SOAK_REQUESTS").map_or(1_000_000, |n| n.parse().unwrap());
    let redis = Redis::start(&[]);
    let companion = Companion::of(&redis.url()).started();
    let keys = Arc::new(Mutex::new(vec![rotated(1), rotated(2)]));
    let served = Arc::clone(&keys);
    let sts = Server::start(move |_| {
        let keys = served.lock().unwrap();
        Reply::json(&key_set(&keys.iter().collect::<Vec<_>>()))
    });
    let upstream = Server::start(|_| Reply::new(200, "reached"));
    let changes = json!({
        "revocation": {"upstream": "feed", "poll_interval_ms": 200},
        "jwks": {"upstream": "sts", "ttl_s": 10},
        "routes": {"/admin": {"required_scopes": ["admin"]}},
        "exclude": ["/open"],
        "limits": {"max_cached_mandates": CACHED},
    });
    let envoy = Setup::new([configuration(changes)])
        .cluster("sts", sts.address())
        .cluster("upstream", upstream.address())
        .cluster("feed", companion.address)
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    std::thread::sleep(Duration::from_secs(2));

    let live = Arc::new(RwLock::new(tokens(&rotated(1), 1)));
    // Sessions whose revocation every worker has shown to know.
    let revoked: Arc<RwLock<Vec<String>>> = Arc::default();
    let counts = Arc::new(Counts::default());
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let ended = Arc::new(AtomicBool::new(false));
    let since = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (live, revoked, counts, wrong) = (
                Arc::clone(&live),
                Arc::clone(&revoked),
                Arc::clone(&counts),
                Arc::clone(&wrong),
            );
            std::thread::spawn(move || {
                let mut client = Client::connect(edge);
                let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n as u64 + 1);
                while counts.sent.fetch_add(1, Ordering::Relaxed) < total {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    one(&mut client, edge, random, &live, &revoked, &counts, &wrong);
                }
            })
        })
        .collect();

    let round = AtomicU64::new(1);
    let (mut reports, mut rotated_at, mut revocations) = (Vec::new(), Instant::now(), 0_u64);
    let mut connection = redis.connection();
    while !ended.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(100));
        let sent = counts.sent.load(Ordering::Relaxed).min(total);
        if sent * REPORTS / total > reports.len() {
            let (memory, linear) = (envoy.resident(), envoy.metric("caracal_vm_memory_bytes"));
            println!(
                "{sent:>9} requests, {:>4} s: Envoy {:>4} MiB, linear memory of its VMs {:>5} KiB, companion {:>3} MiB, anchors {}",
                since.elapsed().as_secs(),
                memory >> 20,
                linear >> 10,
                companion.resident() >> 20,
                envoy.metric("caracal_revocation_anchors"),
            );
            reports.push((memory, linear));
        }
        if rotated_at.elapsed() > ROTATE {
            rotated_at = Instant::now();
            let next = round.fetch_add(1, Ordering::SeqCst) + 1;
            let key = rotated(next);
            // The key, the one before, and the next one: strangers' key ids use up the
            // forced fetches, so a key must be known before it signs.
            *keys.lock().unwrap() = vec![rotated(next - 1), key.clone(), rotated(next + 1)];
            *live.write().unwrap() = tokens(&key, next);
        }
        // A good mandate that is used and then revoked, some each second.
        let sid = format!("revoked-{revocations}");
        let token = rotated(round.load(Ordering::SeqCst)).mandate(now(), json!({"sid": sid}));
        let _: String = redis::cmd("XADD")
            .arg(&[STREAM, "MAXLEN", "~", "10000", "*", "session_id", &sid])
            .query(&mut connection)
            .unwrap();
        revocations += 1;
        std::thread::sleep(Duration::from_millis(100));
        let mut known = revoked.write().unwrap();
        known.push(token);
        if known.len() > 50 {
            known.remove(0);
        }
        drop(known);
        ended.store(clients.iter().all(|c| c.is_finished()), Ordering::SeqCst);
    }
    for client in clients {
        client.join().unwrap();
    }
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    println!(
        "{total} requests in {} s: {} admitted, {} refused, {} unavailable; {} rotations, {revocations} revocations",
        since.elapsed().as_secs(),
        of(&counts.admitted),
        of(&counts.refused),
        of(&counts.unavailable),
        round.load(Ordering::SeqCst) - 1,
    );
    let wrong = wrong.lock().unwrap();
    for what in wrong.iter().take(10) {
        println!("wrong: {what}");
    }
    let traps = envoy.logged("Function: proxy_on");
    println!("traps: {traps}; wrong answers: {}", wrong.len());
    let plateau = is_plateau(&reports);
    println!(
        "memory {}",
        if plateau { "is at a plateau" } else { "GROWS" }
    );
    if wrong.is_empty() && traps == 0 && plateau {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The second half adds at most a twentieth to Envoy, and a page or two to VMs.
fn is_plateau(reports: &[(u64, u64)]) -> bool {
    let Some((before, after)) = reports.split_at_checked(reports.len() / 2) else {
        return false;
    };
    let most = |of: &[(u64, u64)]| (of.iter().map(|r| r.0).max(), of.iter().map(|r| r.1).max());
    match (most(before), most(after)) {
        ((Some(rss), Some(linear)), (Some(rss_after), Some(linear_after))) => {
            linear > 0 && rss_after <= rss + rss / 20 && linear_after <= linear + (1 << 18)
        }
        _ => false,
    }
}

/// Sends one request by chance, and notes an answer that is wrong.
fn one(
    client: &mut Client,
    edge: std::net::SocketAddr,
    random: u64,
    live: &RwLock<Tokens>,
    revoked: &RwLock<Vec<String>>,
    counts: &Counts,
    wrong: &Mutex<Vec<String>>,
) {
    let pick = |of: &[String]| of.get((random >> 20) as usize % of.len().max(1)).cloned();
    let (path, token, expected): (&str, Option<String>, &[u16]) = match random % 100 {
        0..=2 => ("/", None, &[401]),
        3..=5 => (
            "/",
            Some(format!("{random:x}.{random:x}.{random:x}")),
            &[401],
        ),
        6 => ("/", Some("a".repeat(9_000)), &[401]),
        7 => ("/open/../admin", None, &[400]),
        8 => ("/admin", pick(&live.read().unwrap().good), &[403]),
        9 => ("/open/x", None, &[200]),
        10 => {
            // The last sign of the signature turned: a bad one costs a check.
            let mut token = pick(&live.read().unwrap().good).unwrap();
            let last = token.pop().unwrap();
            token.push(if last == 'A' { 'Q' } else { 'A' });
            ("/", Some(token), &[401])
        }
        11 => ("/", pick(&live.read().unwrap().stranger), &[401, 503]),
        12..=15 => match pick(&revoked.read().unwrap()) {
            // By a key that was rotated away meanwhile it is refused as well.
            Some(token) => ("/", Some(token), &[401]),
            None => ("/", None, &[401]),
        },
        // Right after a rotation the key may have to be fetched first.
        _ => ("/", pick(&live.read().unwrap().good), &[200]),
    };
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers = bearer
        .as_ref()
        .map(|bearer| ("authorization", bearer.as_str()));
    let bytes = request("GET", path, headers.as_slice());
    let status = match client.exchange(&bytes) {
        Ok(answer) => {
            if answer.header("connection") == Some("close") {
                *client = Client::connect(edge);
            }
            answer.status
        }
        Err(_) => {
            *client = Client::connect(edge);
            return;
        }
    };
    let count = match status {
        200 => &counts.admitted,
        503 => &counts.unavailable,
        _ => &counts.refused,
    };
    count.fetch_add(1, Ordering::Relaxed);
    if !expected.contains(&status) {
        let kind = random % 100;
        wrong.lock().unwrap().push(format!(
            "kind {kind} at {path}: {status} in place of {expected:?}"
        ));
    }
}
