//! The key set in a real Envoy with two workers under load: rotation, unknown
//! keys, and an STS that is away or answers nonsense.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use caracal_tests::edge::answers;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::servers::{Client, Incoming, Reply, Server, get};
use serde_json::json;

/// Connections that send load; Envoy spreads them over its workers.
const CONNECTIONS: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);

/// The keys that an STS serves and signs with, the newest first.
type Keys = Arc<Mutex<Vec<Key>>>;

fn sts(keys: &Keys) -> impl Fn(&Incoming) -> Reply + Send + Sync + 'static {
    let keys = Arc::clone(keys);
    move |_| {
        let keys = keys.lock().unwrap();
        Reply::json(&key_set(&keys.iter().collect::<Vec<_>>()))
    }
}

fn upstream() -> Server {
    Server::start(|_| Reply::new(200, "reached"))
}

fn start(sts: SocketAddr, upstream: &Server, changes: serde_json::Value) -> Envoy {
    Setup::new([configuration(changes)])
        .cluster("sts", sts)
        .cluster("upstream", upstream.address())
        .start()
        .unwrap_or_else(|log| panic!("{log}"))
}

/// Sends good mandates until told to stop; how many were sent, and the status and
/// error of those that were not admitted.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    fn start(edge: SocketAddr, keys: &Keys) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |number: usize| {
            let (stop, keys) = (Arc::clone(&stop), Arc::clone(keys));
            std::thread::spawn(move || {
                let mut client = Client::connect(edge);
                let (mut sent, mut refused) = (0, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    let key = keys.lock().unwrap()[0].clone();
                    let jti = format!("m-{number}-{}", sent / 20);
                    let token = key.mandate(now(), json!({"jti": jti}));
                    let response = client.get("/", Some(&token), &[]);
                    sent += 1;
                    if response.status != 200 {
                        refused.push(format!("{} {}", response.status, response.error()));
                    }
                    std::thread::sleep(Duration::from_millis(15));
                }
                (sent, refused)
            })
        };
        Load {
            threads: (0..CONNECTIONS).map(sender).collect(),
            stop,
        }
    }

    /// Stops; how many were sent. Fails when one was refused.
    fn all_admitted(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = 0;
        for thread in self.threads {
            let (sent, refused) = thread.join().unwrap();
            assert!(refused.is_empty(), "refused: {refused:?}");
            all += sent;
        }
        all
    }
}

#[test]
fn a_rotation_under_load_refuses_nobody_and_costs_one_fetch() {
    let keys: Keys = Arc::new(Mutex::new(vec![Key::new("k1", 1)]));
    let sts = Server::start(sts(&keys));
    let upstream = upstream();
    let envoy = start(sts.address(), &upstream, json!({}));
    let load = Load::start(envoy.listener(0), &keys);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sts.requests(), 1, "fetches before the rotation");
    keys.lock().unwrap().insert(0, Key::new("k2", 2));
    std::thread::sleep(MINUTE);
    let sent = load.all_admitted();
    let fetches = sts.requests() - 1;
    println!("rotation: {sent} good mandates, 0 refused, {fetches} fetches in the minute after");
    assert!((1..=2).contains(&fetches), "{fetches} fetches");
}

/// Its key leaves the zone, and then its `kid` comes back with another key: a mandate that
/// every worker remembers is refused with the next key set.
#[test]
fn a_mandate_that_is_remembered_does_not_outlive_its_key() {
    let [first, second, others] =
        [("k1", 1), ("k2", 2), ("k1", 3)].map(|(kid, n)| Key::new(kid, n));
    let keys: Keys = Arc::new(Mutex::new(vec![first.clone(), second.clone()]));
    let sts = Server::start(sts(&keys));
    let upstream = upstream();
    // The shortest life that a key set may have.
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 10}});
    let envoy = start(sts.address(), &upstream, jwks);
    let edge = envoy.listener(0);
    let of = |key: &Key| key.mandate(now(), json!({"exp": now() + 3_600}));
    let [old, kept] = [of(&first), of(&second)];
    let answer = |status: u16, error: &str| vec![(status, error.to_owned())];
    let soon = |what: &str, token: &str, expected: &[(u16, String)]| {
        let deadline = Instant::now() + MINUTE;
        while answers(edge, token) != expected {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}",
                answers(edge, token)
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    soon("warm", &old, &answer(200, ""));
    *keys.lock().unwrap() = vec![second.clone()];
    soon("its key has left", &old, &answer(401, "invalid_token"));
    assert_eq!(answers(edge, &kept), answer(200, ""));
    *keys.lock().unwrap() = vec![first.clone(), second.clone()];
    soon("its key is back", &old, &answer(200, ""));
    *keys.lock().unwrap() = vec![others.clone(), second];
    soon(
        "its kid is another key's",
        &old,
        &answer(401, "invalid_token"),
    );
    soon("the other key", &of(&others), &answer(200, ""));
    assert_eq!(answers(edge, &kept), answer(200, ""));
}

#[test]
fn random_key_ids_cost_one_fetch_and_hold_up_nobody() {
    let keys: Keys = Arc::new(Mutex::new(vec![Key::new("k1", 1)]));
    let sts = Server::start(sts(&keys));
    let upstream = upstream();
    let envoy = start(sts.address(), &upstream, json!({}));
    let edge = envoy.listener(0);
    let load = Load::start(edge, &keys);
    std::thread::sleep(Duration::from_secs(1));
    let before = sts.requests();
    let since = Instant::now();
    let strangers: Vec<_> = (0..3)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut client = Client::connect(edge);
                for n in 0..100 {
                    let stranger = Key::new(&format!("random-{thread}-{n}"), 9);
                    let token = stranger.mandate(now(), json!({}));
                    let response = client.get("/", Some(&token), &[]);
                    let got = (response.status, response.error());
                    assert_eq!(got, (401, "invalid_token".to_owned()));
                    std::thread::sleep(Duration::from_millis(200));
                }
            })
        })
        .collect();
    for thread in strangers {
        thread.join().unwrap();
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(30), "300 requests took {took:?}");
    let sent = load.all_admitted();
    let fetches = sts.requests() - before;
    println!("random kids: 300 refused, {sent} good ones admitted, {fetches} extra fetches");
    assert_eq!(fetches, 1);
}

#[test]
fn an_sts_away_for_a_minute_is_not_noticed_with_a_warm_key_set() {
    let keys: Keys = Arc::new(Mutex::new(vec![Key::new("k1", 1)]));
    let first = Server::start(sts(&keys));
    let address = first.address();
    let upstream = upstream();
    // A life of 10 s: without `max_stale_s` this would be an outage.
    let jwks = json!({"jwks": {"upstream": "sts", "ttl_s": 10}});
    let envoy = start(address, &upstream, jwks);
    let load = Load::start(envoy.listener(0), &keys);
    std::thread::sleep(Duration::from_secs(1));
    drop(first);
    std::thread::sleep(MINUTE);
    let again = Server::start_on(address, sts(&keys));
    let deadline = Instant::now() + MINUTE;
    while again.requests() == 0 {
        assert!(
            Instant::now() < deadline,
            "the key set is not fetched again"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let sent = load.all_admitted();
    let logged = envoy.logged("caracal: key set not fetched");
    println!("STS away for a minute: {sent} good mandates, 0 refused, logged {logged} times");
    assert!((1..=2).contains(&logged), "logged {logged} times");
    assert!(envoy.metric("caracal_jwks_fetches_total.result=error") >= 2);
}

#[test]
fn without_a_key_set_requests_get_503_until_there_is_one() {
    let key = Key::new("k1", 1);
    let good = key_set(&[&key]).to_string();
    let mut huge = good.clone().into_bytes();
    huge.resize(300 * 1024, b' ');
    let unusable = json!({"keys": [{"kty": "oct", "kid": "k1", "k": "AAAA"}]});
    let bad: Vec<(&str, Option<Reply>)> = vec![
        ("down", None),
        (
            "slow",
            Some(Reply::new(200, good.clone()).after(Duration::from_secs(3))),
        ),
        (
            "redirect",
            Some(Reply::new(302, "").header("location", "/elsewhere")),
        ),
        ("garbage", Some(Reply::new(200, vec![0xff; 2_000]))),
        ("huge", Some(Reply::new(200, huge))),
        ("unusable", Some(Reply::json(&unusable))),
        ("error", Some(Reply::new(500, good.clone()))),
    ];
    let well = Arc::new(AtomicBool::new(false));
    let upstream = upstream();
    let mut setup = Setup::default().cluster("upstream", upstream.address());
    let mut servers = Vec::new();
    for (name, reply) in &bad {
        let (well, good, reply) = (Arc::clone(&well), good.clone(), reply.clone());
        let away = reply.is_none();
        let server = Server::start(move |_| match &reply {
            Some(reply) if !well.load(Ordering::SeqCst) => reply.clone(),
            _ => Reply::new(200, good.clone()),
        });
        setup = setup.cluster(name, server.address());
        let jwks = json!({"jwks": {"upstream": name, "timeout_ms": 500}, "exclude": ["/healthz"]});
        setup.configurations.push(configuration(jwks).to_string());
        // Down is a port that nobody listens on.
        servers.push(match away {
            true => Err(server.address()),
            false => Ok(server),
        });
    }
    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let token = key.mandate(now(), json!({}));
    for (number, (name, _)) in bad.iter().enumerate() {
        let edge = envoy.listener(number);
        for _ in 0..3 {
            let response = get(edge, "/", Some(&token));
            let got = (response.status, response.error());
            assert_eq!(got, (503, "sts_unavailable".to_owned()), "{name}");
            assert_eq!(response.header("retry-after"), Some("1"), "{name}");
        }
        // What needs no key set is answered without one.
        assert_eq!(get(edge, "/", None).error(), "missing_token", "{name}");
        assert_eq!(
            get(edge, "/", Some("x.y.z")).error(),
            "invalid_token",
            "{name}"
        );
        assert_eq!(get(edge, "/healthz", None).status, 200, "{name}");
        let logged = envoy.logged(&format!("key set not fetched from {name}/"));
        assert_eq!(logged, 1, "{name}");
    }
    well.store(true, Ordering::SeqCst);
    let again = servers[0].as_ref().err().map(|address| {
        let good = good.clone();
        Server::start_on(*address, move |_| Reply::new(200, good.clone()))
    });
    assert!(again.is_some());
    let deadline = Instant::now() + MINUTE;
    for (number, (name, _)) in bad.iter().enumerate() {
        while get(envoy.listener(number), "/", Some(&token)).status != 200 {
            assert!(Instant::now() < deadline, "{name} does not recover");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
