//! A whole edge: Redis, companion, Envoy with two workers, an STS and an upstream,
//! and a client that knows which mandates must never be admitted again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::envoy::{Envoy, Paths, Setup};
use crate::mint::{Key, configuration, key_set, now};
use crate::processes::{Redis, until};
use crate::servers::{Client, Incoming, Reply, Server, get, request};

/// Connections that are asked one after the other; Envoy spreads them over its
/// workers.
const CONNECTIONS: usize = 8;
/// A revocation that takes longer is lost.
const REVOKED_WITHIN: Duration = Duration::from_secs(60);

/// The servers that an Envoy needs besides the companion.
pub struct Around {
    pub sts: Server,
    upstream: Server,
    key: Key,
}

impl Default for Around {
    fn default() -> Self {
        let key = Key::new("k1", 1);
        let keys = key_set(&[&key]);
        Around {
            sts: Server::start(move |_| Reply::json(&keys)),
            upstream: Server::start(|_| Reply::new(200, "reached")),
            key,
        }
    }
}

impl Around {
    /// An Envoy that asks a companion; state older than two seconds is too old.
    pub fn setup(&self, companion: SocketAddr, changes: Value) -> Setup {
        let mut all = json!({
            "revocation": {"upstream": "feed", "max_staleness_s": 2, "poll_interval_ms": 200},
            "exclude": ["/open"],
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.setup_of(Setup::new([configuration(all)]))
            .cluster("upstream", self.upstream.address())
            .cluster("feed", companion)
    }

    pub fn upstream(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// With the STS alone.
    pub fn setup_of(&self, setup: Setup) -> Setup {
        setup.cluster("sts", self.sts.address())
    }

    pub fn envoy(&self, companion: SocketAddr) -> Envoy {
        let setup = self.setup(companion, json!({}));
        setup.start().unwrap_or_else(|log| panic!("{log}"))
    }

    pub fn mandate(&self, claims: Value) -> String {
        self.key.mandate(now(), claims)
    }

    pub fn of_session(&self, sid: &str) -> String {
        self.mandate(json!({"sid": sid, "root_sid": format!("root-of-{sid}")}))
    }
}

/// An Envoy without a companion, whose upstream remembers what reached it.
pub struct Recording {
    pub envoy: Envoy,
    pub key: Key,
    seen: Arc<Mutex<Vec<Incoming>>>,
    _servers: [Server; 2],
}

impl Recording {
    /// With a listener for each of `paths`, or one that does nothing to paths.
    pub fn start(changes: Value, paths: &[Paths]) -> Self {
        let key = Key::new("k1", 1);
        let keys = key_set(&[&key]);
        let seen: Arc<Mutex<Vec<Incoming>>> = Arc::default();
        let record = Arc::clone(&seen);
        let sts = Server::start(move |_| Reply::json(&keys));
        let upstream = Server::start(move |request| {
            record.lock().unwrap().push(request.clone());
            Reply::new(200, "reached")
        });
        let configurations = vec![configuration(changes); paths.len().max(1)];
        let envoy = Setup::new(configurations)
            .cluster("sts", sts.address())
            .cluster("upstream", upstream.address())
            .paths(paths.iter().copied())
            .start()
            .unwrap_or_else(|log| panic!("{log}"));
        Recording {
            envoy,
            key,
            seen,
            _servers: [sts, upstream],
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.envoy.listener(0))
    }

    /// What reached the upstream since this was last asked.
    pub fn reached(&self) -> Vec<Incoming> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Revokes so many sessions as fast as Redis takes them.
pub fn flood(redis: &Redis, sessions: usize) {
    let mut connection = redis.connection();
    for first in (0..sessions).step_by(1_000) {
        let mut pipeline = redis::pipe();
        for n in first..sessions.min(first + 1_000) {
            pipeline
                .cmd("XADD")
                .arg(&["caracal.sessions.revoke", "*", "session_id", &flooded(n)])
                .ignore();
        }
        let () = pipeline.query(&mut connection).unwrap();
    }
}

/// How long a revocation took, from `XADD` on.
pub struct Revoked {
    /// To the first refusal.
    pub first: Duration,
    /// Until every connection was refused.
    pub every: Duration,
    /// The request that is refused.
    pub request: Vec<u8>,
}

/// Revokes a session that every client is admitted with, and asks all of them until they are
/// refused. Whoever was refused once stays so.
pub fn revoke_while_asked(
    redis: &mut redis::Connection,
    around: &Around,
    clients: &mut [Client],
    sid: &str,
) -> Revoked {
    let bearer = format!("Bearer {}", around.of_session(sid));
    let request = request("GET", "/", &[("authorization", &bearer)]);
    for client in &mut *clients {
        assert_eq!(client.exchange(&request).unwrap().status, 200);
    }
    let since = Instant::now();
    let stream = "caracal.sessions.revoke";
    let _: String = redis::cmd("XADD")
        .arg(&[stream, "MAXLEN", "~", "10000", "*", "session_id", sid])
        .query(redis)
        .unwrap();
    let mut refused = vec![false; clients.len()];
    let mut first = None;
    while refused.contains(&false) {
        assert!(since.elapsed() < REVOKED_WITHIN, "{sid} is still admitted");
        for (client, refused) in clients.iter_mut().zip(&mut refused) {
            if client.exchange(&request).unwrap().status == 401 {
                *refused = true;
                first.get_or_insert_with(|| since.elapsed());
            } else {
                assert!(!*refused, "admitted after it was refused");
            }
        }
    }
    Revoked {
        first: first.unwrap(),
        every: since.elapsed(),
        request,
    }
}

/// A session of the flood.
pub fn flooded(number: usize) -> String {
    format!("01890a5d-ac96-774b-bcce-{number:012}")
}

/// What every worker answers: each distinct status and error.
pub fn answers(edge: SocketAddr, token: &str) -> Vec<(u16, String)> {
    let mut all: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let answer = get(edge, "/", Some(token));
            (answer.status, answer.error())
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// What they all answer alike.
pub fn all_answer(edge: SocketAddr, token: &str, status: u16, error: &str) -> bool {
    answers(edge, token) == [(status, error.to_owned())]
}

/// Sends mandates that were once refused as revoked, all the time, and notes when
/// one is admitted.
pub struct Watch {
    stop: Arc<AtomicBool>,
    admitted: Arc<Mutex<Vec<String>>>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(edge: SocketAddr, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let admitted: Arc<Mutex<Vec<String>>> = Arc::default();
        let (token, ended, noted) = (token.to_owned(), Arc::clone(&stop), Arc::clone(&admitted));
        let sent: Arc<AtomicU64> = Arc::default();
        let count = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            let connect = || Client::try_connect(edge).ok();
            let mut clients: Vec<Option<Client>> = (0..CONNECTIONS).map(|_| connect()).collect();
            let bearer = format!("Bearer {token}");
            let request = request("GET", "/", &[("authorization", &bearer)]);
            while !ended.load(Ordering::SeqCst) {
                for client in &mut clients {
                    let answer = client.as_mut().and_then(|c| c.exchange(&request).ok());
                    match answer {
                        Some(answer) if answer.status < 400 => {
                            noted.lock().unwrap().push(answer.status.to_string());
                        }
                        Some(_) => drop(count.fetch_add(1, Ordering::SeqCst)),
                        None => *client = connect(),
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Watch {
            stop,
            admitted,
            sent,
            thread: Some(thread),
        }
    }

    /// Ends it; how many were refused. Fails when one was admitted.
    #[track_caller]
    pub fn none_was_admitted(mut self) -> u64 {
        let sent = || self.sent.load(Ordering::SeqCst);
        let enough = sent() + 50;
        until("more are sent", Duration::from_secs(30), || sent() > enough);
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let admitted = self.admitted.lock().unwrap();
        assert!(
            admitted.is_empty(),
            "a revoked mandate was admitted: {admitted:?}"
        );
        sent()
    }
}
