//! What docs/operate.md says, tried with a real Envoy, a real Redis and real companions:
//! upgrades and rollbacks, rotations of keys, the rights in Redis, new configurations, CORS.

mod acl;
mod commands;
mod cors;
mod draining;
mod rotation;
mod upgrade;

#[path = "../live_streams_envoy/upstream.rs"]
#[allow(dead_code, unreachable_pub, reason = "another suite's file")]
mod upstream;

#[path = "../audit_companion/consumer.rs"]
#[allow(dead_code, unreachable_pub, reason = "another suite's file")]
mod consumer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Setup};
use caracal_tests::mint::configuration;
use caracal_tests::processes::{Companion, Redis, folder, until};
use caracal_tests::servers::{Client, request};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const SESSIONS: &str = "caracal.sessions.revoke";
const STREAM: &str = "caracal.audit.events";
const TOKEN: &str = "feed-token";
/// Of audit events and signed messages.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Connections of the traffic; Envoy spreads them over its workers.
const CONNECTIONS: usize = 8;
/// Answers that show that traffic goes on: as many as 20 rounds over all connections give.
const ENOUGH: u64 = 20 * CONNECTIONS as u64;

/// Revokes by the stream, unsigned.
fn revoke(redis: &Redis, sid: &str) {
    let _: String = redis.ask(&["XADD", SESSIONS, "*", "zone_id", "z", "session_id", sid]);
}

/// What one mandate was answered so far: each status, and how often.
type Answers = Arc<Mutex<BTreeMap<u16, u64>>>;

/// Requests that go on all the time, with a mandate that is good and one that is revoked.
struct Traffic {
    stop: Arc<AtomicBool>,
    answers: [Answers; 2],
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(edge: SocketAddr, good: &str, revoked: &str) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let answers: [Answers; 2] = Default::default();
        let requests = [good, revoked].map(|token| {
            let bearer = format!("Bearer {token}");
            request("GET", "/", &[("authorization", &bearer)])
        });
        let (ended, noted) = (Arc::clone(&stop), answers.clone());
        let thread = std::thread::spawn(move || {
            let connect = || Client::try_connect(edge).ok();
            let mut clients: Vec<Option<Client>> = (0..CONNECTIONS).map(|_| connect()).collect();
            while !ended.load(Ordering::SeqCst) {
                for client in &mut clients {
                    for (request, noted) in requests.iter().zip(&noted) {
                        // A connection that Envoy has closed is no answer.
                        match client.as_mut().and_then(|c| c.exchange(request).ok()) {
                            Some(answer) => {
                                *noted.lock().unwrap().entry(answer.status).or_default() += 1;
                            }
                            None => *client = connect(),
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Traffic {
            stop,
            answers,
            thread: Some(thread),
        }
    }

    /// How often each mandate was answered.
    fn answered(&self) -> [u64; 2] {
        let answers = self.answers.each_ref();
        answers.map(|answers| answers.lock().unwrap().values().sum())
    }

    /// Waits until both mandates were answered some more times.
    fn go_on(&self) {
        let before = self.answered();
        until("requests go on", SOON, || {
            let mut since = self.answered().into_iter().zip(before);
            since.all(|(now, before)| now - before >= ENOUGH)
        });
    }

    /// Ends it. The good mandate was always admitted, and the revoked one never.
    #[track_caller]
    fn was_judged_rightly(mut self) {
        self.go_on();
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let statuses = self
            .answers
            .each_ref()
            .map(|answers| answers.lock().unwrap().keys().copied().collect::<Vec<_>>());
        assert_eq!(statuses, [vec![200], vec![401]], "{:?}", self.answers);
    }
}

/// The status of a request, on a connection of its own.
fn status(edge: SocketAddr, token: &str) -> u16 {
    Client::connect(edge).get("/", Some(token), &[]).status
}

/// Every worker answers so. A new connection may come to either.
fn all_are(edge: SocketAddr, token: &str, expected: u16) -> bool {
    (0..CONNECTIONS).all(|_| status(edge, token) == expected)
}

/// Gives a listener another configuration, and waits until it is in force. Envoy counts each
/// worker that has taken it. The filter's log would not do: while the old configuration drains,
/// a rollback takes up its VMs again, and they are not configured anew.
fn reconfigure(envoy: &Envoy, setup: &Setup) {
    const TAKEN: &str = "listener_manager.listener_create_success: ";
    const WORKERS: u64 = 2;
    let taken = || {
        let stats = envoy.stats("listener_manager.listener_create_success");
        let count = stats.lines().find_map(|line| line.strip_prefix(TAKEN));
        count.and_then(|count| count.parse::<u64>().ok())
    };
    let before = taken().unwrap();
    envoy.reconfigure(setup);
    until("the new configuration is there", SOON, || {
        taken().is_some_and(|now| now >= before + WORKERS)
    });
}

fn started(setup: &Setup) -> Envoy {
    setup.start().unwrap_or_else(|log| panic!("{log}"))
}
