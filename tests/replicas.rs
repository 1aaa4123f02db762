//! Three companions behind one address, asked in turn, of which one is killed and replaced
//! again and again, while mandates are revoked and good ones are used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::edge::{Around, all_answer, revoke_while_asked};
use crate::envoy::Envoy;
use crate::processes::{Companion, Redis, filter_with_hooks, until};
use crate::servers::Client;

/// Connections that ask for a refusal; both workers have some.
const ASKING: usize = 6;
const LOAD_CONNECTIONS: usize = 4;
const READY: Duration = Duration::from_secs(60);

/// How it went.
#[derive(Debug, Default)]
pub struct Report {
    /// From each `XADD` to the first refusal, the shortest first.
    pub first: Vec<Duration>,
    /// The same until every connection was refused.
    pub every: Vec<Duration>,
    /// Good requests meanwhile.
    pub good: usize,
    /// Those of them that were refused.
    pub refused: usize,
    /// How often a companion was killed and replaced.
    pub replaced: usize,
    /// How often the edge read a whole state from its beginning.
    pub from_nothing: f64,
    /// How often it went on at a companion that did not know it.
    pub hops: f64,
    /// Entries that companions sent.
    pub sent: f64,
    /// Polls of the edge that companions answered with 410.
    pub gone: u64,
}

/// What the companions count of one edge, the killed ones too.
#[derive(Default)]
struct Counted {
    from_nothing: f64,
    hops: f64,
    sent: f64,
}

impl Counted {
    fn add(&mut self, companion: &Companion) {
        let reads = |after: &str| {
            companion.metric(&format!("caracal_feed_reads_total{{after=\"{after}\"}}"))
        };
        self.from_nothing += reads("nothing");
        self.hops += reads("another");
        self.sent += companion.metric("caracal_feed_sent_entries_total");
    }
}

/// Kills one companion after the other and starts another one at its address.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Vec<Companion>, Counted, usize)>,
}

impl Killer {
    fn start(mut all: Vec<Companion>, every: Option<Duration>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut counted, mut replaced) = (Counted::default(), 0);
            let mut last = Instant::now();
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                if every.is_none_or(|every| last.elapsed() < every) {
                    continue;
                }
                last = Instant::now();
                let next = replaced % all.len();
                let companion = &mut all[next];
                counted.add(companion);
                companion.kill();
                companion.start();
                until("it is ready", READY, || companion.is_ready());
                replaced += 1;
            }
            (all, counted, replaced)
        });
        Killer { stop, thread }
    }
}

/// Good mandates, sent until told to stop. Gives the answers that were no admission.
fn load(
    edge: SocketAddr,
    around: &Around,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<(usize, usize)>> {
    let one = |n: usize| {
        let (stop, token) = (Arc::clone(stop), around.of_session(&format!("load-{n}")));
        std::thread::spawn(move || {
            let mut client = Client::connect(edge);
            let (mut all, mut refused) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                refused += usize::from(client.get("/", Some(&token), &[]).status != 200);
                all += 1;
                std::thread::sleep(Duration::from_millis(3));
            }
            (all, refused)
        })
    };
    (0..LOAD_CONNECTIONS).map(one).collect()
}

/// Revokes one session after the other for `time`, and at least until one companion of each
/// place was replaced if they are. What was refused once must not be admitted again, in
/// any worker, whichever companion was asked since.
pub fn run(companions: usize, replaced_every: Option<Duration>, time: Duration) -> Report {
    let redis = Redis::start(&[]);
    let url = redis.url();
    // What only the shared store has: no id of a stream says who knows it.
    for n in 0..50 {
        let key = format!("caracal:revoked:sessions:stored-{n}");
        let _: () = redis.ask(&["SET", &key, "1", "PX", "86400000"]);
    }
    let all: Vec<Companion> = (0..companions)
        .map(|n| {
            Companion::of(&url)
                .with(&["--consumer", &format!("c{n}")])
                .started()
        })
        .collect();
    let around = Around::default();
    let changes = json!({"revocation": {"upstream": "feed", "max_staleness_s": 15}});
    let mut setup = around.setup(all[0].address, changes);
    for companion in &all[1..] {
        setup = setup.cluster("feed", companion.address);
    }
    let envoy = setup.wasm(filter_with_hooks()).start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    let free = around.of_session("free");
    until("the edge is ready", READY, || {
        all_answer(edge, &free, 200, "")
    });

    let stop = Arc::new(AtomicBool::new(false));
    let loading = load(edge, &around, &stop);
    let killer = Killer::start(all, replaced_every);
    let mut report = Report::default();
    revoke(&redis, &around, edge, time, &mut report);
    killer.stop.store(true, Ordering::SeqCst);
    let (all, mut counted, replaced) = killer.thread.join().unwrap();
    stop.store(true, Ordering::SeqCst);
    for thread in loading {
        let (good, refused) = thread.join().unwrap();
        report.good += good;
        report.refused += refused;
    }
    for companion in &all {
        counted.add(companion);
    }
    report.replaced = replaced;
    (report.from_nothing, report.hops, report.sent) =
        (counted.from_nothing, counted.hops, counted.sent);
    report.gone = gone(&envoy);
    all_are_refused(&around, edge, report.first.len());
    report.first.sort();
    report.every.sort();
    report
}

fn gone(envoy: &Envoy) -> u64 {
    envoy.metric("caracal_feed_polls_total.result=gone")
}

fn revoke(redis: &Redis, around: &Around, edge: SocketAddr, time: Duration, report: &mut Report) {
    let mut connection = redis.connection();
    let mut clients: Vec<Client> = (0..ASKING).map(|_| Client::connect(edge)).collect();
    let began = Instant::now();
    let mut before: Option<Vec<u8>> = None;
    while began.elapsed() < time {
        let sid = format!("revoked-{}", report.first.len());
        let revoked = revoke_while_asked(&mut connection, around, &mut clients, &sid);
        report.first.push(revoked.first);
        report.every.push(revoked.every);
        if let Some(before) = before.replace(revoked.request) {
            for client in &mut clients {
                assert_eq!(client.exchange(&before).unwrap().status, 401);
            }
        }
    }
}

/// What was revoked in the meantime, and what only the store has.
fn all_are_refused(around: &Around, edge: SocketAddr, revoked: usize) {
    let some = (0..revoked).step_by(revoked / 40 + 1);
    let revoked = some.map(|n| format!("revoked-{n}"));
    let stored = (0..50).step_by(7).map(|n| format!("stored-{n}"));
    for sid in revoked.chain(stored) {
        let token = around.of_session(&sid);
        assert!(all_answer(edge, &token, 401, "session_revoked"), "{sid}");
    }
}

/// The time that so many of a hundred did not exceed.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}
