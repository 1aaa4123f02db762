//! Two companions, each with an Envoy, around one Redis; who revokes, who asks, and
//! what befalls them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caracal_tests::edge::{Around, all_answer};
use caracal_tests::envoy::Envoy;
use caracal_tests::processes::{Companion, until};
use caracal_tests::redis_topology::{OUTSIDE, Site};

use super::faults::Fault;
use super::model::{Model, sid};
use super::random::Random;
use super::topology::Redis;
use super::traffic::{Edges, ask, revoke};

const EDGES: usize = 2;
/// How long everything may take to be well once nothing befalls it.
const WELL: Duration = Duration::from_secs(60);

pub struct Scene {
    seed: u64,
    since: Instant,
    done: Vec<String>,
    around: Arc<Around>,
    redis: Redis,
    companions: Vec<Companion>,
    envoys: Vec<Option<Envoy>>,
    edges: Edges,
    /// What stands still, and is killed, for now.
    paused_companions: Vec<usize>,
    paused_envoys: Vec<usize>,
    paused_servers: Vec<usize>,
    paused_sentinels: Vec<usize>,
    model: Model,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Scene {
    pub fn new(seed: u64, redis: Redis) -> Self {
        let around = Arc::new(Around::default());
        let companions: Vec<Companion> = (0..EDGES)
            .map(|n| {
                let mut companion = redis.companion();
                companion.add(&["--consumer", &format!("companion-{n}")]);
                companion.started()
            })
            .collect();
        let envoys: Vec<Option<Envoy>> = companions
            .iter()
            .map(|companion| Some(around.envoy(companion.address)))
            .collect();
        let edges = envoys.iter().flatten().map(|envoy| envoy.listener(0));
        let mut scene = Scene {
            seed,
            since: Instant::now(),
            done: Vec::new(),
            edges: Arc::new(Mutex::new(edges.collect())),
            around,
            redis,
            companions,
            envoys,
            paused_companions: Vec::new(),
            paused_envoys: Vec::new(),
            paused_servers: Vec::new(),
            paused_sentinels: Vec::new(),
            model: Model::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        scene.is_well();
        let servers = scene.redis.servers().iter().map(|server| server.direct);
        let (servers, around) = (servers.collect(), Arc::clone(&scene.around));
        let (model, stop) = (scene.model.clone(), Arc::clone(&scene.stop));
        let mut random = Random::new(seed ^ 1);
        scene.threads.push(std::thread::spawn(move || {
            revoke(servers, &around, &model, &stop, &mut random);
        }));
        for edge in 0..EDGES {
            let (model, stop) = (scene.model.clone(), Arc::clone(&scene.stop));
            let edges = Arc::clone(&scene.edges);
            scene.threads.push(std::thread::spawn(move || {
                ask(edge, &edges, &model, &stop);
            }));
        }
        scene
    }

    fn note(&mut self, what: String) {
        self.done
            .push(format!("{:>8.2?} {what}", self.since.elapsed()));
    }

    pub fn befalls(&mut self, fault: Fault, random: &mut Random) {
        let edge = random.index(EDGES);
        let master = self.redis.master_now();
        let any = random.index(self.redis.servers().len());
        let server = master.unwrap_or(any);
        self.note(format!("{fault:?} (edge {edge}, master {server}, {any})"));
        match fault {
            Fault::CompanionKilled => {
                self.paused_companions.retain(|n| *n != edge);
                self.companions[edge].kill();
            }
            Fault::CompanionPaused if self.companions[edge].is_started() => {
                self.companions[edge].pause();
                self.paused_companions.push(edge);
            }
            Fault::EnvoyKilled => {
                self.paused_envoys.retain(|n| *n != edge);
                self.envoys[edge] = None;
            }
            Fault::EnvoyPaused => {
                if let Some(envoy) = &self.envoys[edge] {
                    envoy.pause();
                    self.paused_envoys.push(edge);
                }
            }
            Fault::MasterKilled | Fault::ReplicaKilled => {
                let server = match fault {
                    Fault::MasterKilled => server,
                    _ => self.redis.another(server, any),
                };
                self.paused_servers.retain(|n| *n != server);
                self.redis.servers_mut()[server].kill();
            }
            Fault::MasterPaused | Fault::ServerPaused => {
                let server = match fault {
                    Fault::MasterPaused => server,
                    _ => self.redis.another(server, any),
                };
                if self.redis.servers()[server].is_running() {
                    self.redis.servers()[server].pause();
                    self.paused_servers.push(server);
                }
            }
            Fault::SentinelKilled => {
                self.paused_sentinels.retain(|n| *n != any);
                if let Some(sentinel) = self.redis.sentinel_mut(any) {
                    sentinel.kill();
                }
            }
            Fault::SentinelPaused => {
                let sentinel = self.redis.sentinels().get(any);
                if let Some(sentinel) = sentinel.filter(|sentinel| sentinel.is_running()) {
                    sentinel.pause();
                    self.paused_sentinels.push(any);
                }
            }
            Fault::PlannedFailover => self.redis.plans_a_failover(server, any),
            Fault::SplitBrain => {
                let voice = self.redis.voice(server, any);
                self.split(&[OUTSIDE, self.redis.servers()[server].site, voice]);
            }
            Fault::CompanionsCutOff => self.split(&[OUTSIDE]),
            Fault::AnySplit => {
                let mut here = vec![OUTSIDE];
                here.extend(self.sites().into_iter().filter(|_| random.below(2) == 0));
                self.note(format!("  here are {here:?}"));
                self.split(&here);
            }
            Fault::ReplicationCut => {
                let sites: Vec<Site> = self.redis.servers().iter().map(|s| s.site).collect();
                for from in &sites {
                    for to in sites.iter().filter(|to| *to != from) {
                        self.redis.network().cut(*from, *to);
                    }
                }
            }
            Fault::Slow => self
                .redis
                .network()
                .delay(Duration::from_millis(5 + random.below(200))),
            _ => {}
        }
    }

    fn sites(&self) -> Vec<Site> {
        let nodes = self.redis.servers().iter().chain(self.redis.sentinels());
        nodes.map(|node| node.site).collect()
    }

    fn split(&self, here: &[Site]) {
        let sites = self.sites().into_iter();
        let there: Vec<Site> = sites.filter(|site| !here.contains(site)).collect();
        self.redis.network().partition(&[here, &there]);
    }

    /// Ends every fault; what is dead is started again.
    pub fn heals(&mut self) {
        self.note("heals".to_owned());
        self.redis.network().heal();
        self.redis.network().delay(Duration::ZERO);
        for n in self.paused_servers.drain(..) {
            self.redis.servers()[n].resume();
        }
        for n in self.paused_sentinels.drain(..) {
            self.redis.sentinels()[n].resume();
        }
        for n in self.paused_companions.drain(..) {
            self.companions[n].resume();
        }
        for n in self.paused_envoys.drain(..) {
            if let Some(envoy) = &self.envoys[n] {
                envoy.resume();
            }
        }
        for server in self.redis.servers_mut() {
            if !server.is_running() {
                server.start();
            }
        }
        self.redis.restart_sentinels();
        for companion in &mut self.companions {
            if !companion.is_started() {
                companion.start();
            }
        }
        for n in 0..EDGES {
            if self.envoys[n].is_none() {
                let envoy = self.around.envoy(self.companions[n].address);
                self.edges.lock().unwrap()[n] = envoy.listener(0);
                self.envoys[n] = Some(envoy);
            }
        }
    }

    /// There is a master, both edges admit and refuse, and the model was obeyed.
    #[track_caller]
    pub fn is_well(&mut self) {
        let mut master = None;
        until("a master, and all replicas in sync", WELL, || {
            master = self.redis.master();
            master.is_some() && self.redis.is_settled()
        });
        let master = master.unwrap();
        for suspect in self.model.suspects() {
            if self.is_kept(&suspect.id, &suspect.sid) {
                self.fails(&format!(
                    "{} was admitted at edge {} {:?} after the master that stayed had acknowledged {}",
                    suspect.sid, suspect.edge, suspect.late, suspect.id
                ));
            }
            self.note(format!("{} was lost with its master", suspect.sid));
        }
        let free = self.around.of_session("free");
        let edges = self.edges.lock().unwrap().clone();
        for (n, edge) in edges.iter().enumerate() {
            let since = Instant::now();
            while !all_answer(*edge, &free, 200, "") {
                if since.elapsed() > WELL {
                    let ready = self.companions[n].try_get("/readyz");
                    let ready = ready.map(|r| String::from_utf8_lossy(&r.body).into_owned());
                    self.fails(&format!("edge {n} does not recover: {ready:?}"));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            self.refuses_all(n, *edge);
        }
        let took = self.since.elapsed();
        self.note(format!("well, the master is {master} ({took:.1?})"));
    }

    /// The edge refuses what the master that stayed holds.
    fn refuses_all(&mut self, n: usize, edge: SocketAddr) {
        for (number, session) in self.model.watched() {
            let Some((at, id)) = session.acknowledged else {
                continue;
            };
            if at.elapsed() < Duration::from_secs(4) || !self.is_kept(&id, &sid(number)) {
                continue;
            }
            let since = Instant::now();
            while !all_answer(edge, &session.token, 401, "session_revoked") {
                // Admission is the model's; this is a matter of availability.
                if since.elapsed() > WELL {
                    self.fails(&format!(
                        "edge {n} does not say that {} is revoked",
                        sid(number)
                    ));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Whether the message is in the history that stayed. What began before the last fault
    /// ended may still make another server the master.
    fn is_kept(&self, id: &str, sid: &str) -> bool {
        let words = ["XRANGE", "caracal.sessions.revoke", id, id];
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        until("the master answers", WELL, || {
            let master = self.redis.master();
            let answer = master.map(|master| self.redis.servers()[master].try_ask(&words));
            answer.and_then(Result::ok).map(|all| found = all).is_some()
        });
        found
            .iter()
            .any(|(_, fields)| fields.iter().any(|value| value == sid))
    }

    fn fails(&self, why: &str) -> ! {
        panic!("{why}")
    }

    /// Stops those who ask and revoke; what they did.
    pub fn ends(mut self) -> String {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.is_well();
        self.model.told()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if std::thread::panicking() {
            eprintln!(
                "CHAOS_SEED={} did:\n{}",
                self.seed,
                self.done
                    .iter()
                    .rev()
                    .take(60)
                    .rev()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            for (n, companion) in self.companions.iter().enumerate() {
                let log = companion.log();
                let lines: Vec<&str> = log.lines().rev().take(15).collect();
                eprintln!("companion {n}, the last first:\n{}", lines.join("\n"));
            }
        }
    }
}
