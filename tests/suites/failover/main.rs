//! Redis as it is really run, and everything that becomes of its masters: in each
//! case a revocation that the master which stays has acknowledged is in force at
//! Envoy within `max_staleness_s`, and the edge recovers by itself.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use caracal_tests::bound::Bound;
use caracal_tests::edge::{Around, all_answer};
use caracal_tests::envoy::Envoy;
use caracal_tests::processes::{Companion, until};
use caracal_tests::redis_topology::Node;

mod bare;
mod clustered;
mod sentinel;
mod shards;

/// What the edge is told: `max_staleness_s`.
const STALENESS: Duration = Duration::from_secs(2);
/// How long a recovery may take, once there is a master that can be reached.
const SOON: Duration = Duration::from_secs(30);
const SESSIONS: &str = "caracal.sessions.revoke";

/// An edge whose mandate `victim` is admitted and watched.
struct Scene {
    around: Around,
    companion: Companion,
    envoy: Envoy,
    edge: SocketAddr,
    bound: Option<Bound>,
}

impl Scene {
    /// With a companion that is ready.
    fn new(companion: Companion) -> Self {
        let mut scene = Scene::of(companion.started());
        scene.is_admitted("free");
        scene.is_admitted("victim");
        scene.watch();
        scene
    }

    /// With a companion that may not be.
    fn of(companion: Companion) -> Self {
        let around = Around::default();
        let envoy = around.envoy(companion.address);
        let edge = envoy.listener(0);
        Scene {
            around,
            companion,
            envoy,
            edge,
            bound: None,
        }
    }

    fn watch(&mut self) {
        self.bound = Some(Bound::start(self.edge, &self.around.of_session("victim")));
    }

    /// The victim is revoked on the node that stays the master, and the bound holds.
    #[track_caller]
    fn revokes_in_time(&self, master: &Node) -> Instant {
        let mut acknowledged = None;
        until("the master takes it", SOON, || {
            acknowledged = master.try_revoke("victim");
            acknowledged.is_some()
        });
        let acknowledged = acknowledged.unwrap();
        self.bound.as_ref().unwrap().holds(acknowledged, STALENESS);
        acknowledged
    }

    #[track_caller]
    fn is_admitted(&self, sid: &str) {
        let token = self.around.of_session(sid);
        let since = Instant::now();
        while !all_answer(self.edge, &token, 200, "") {
            let ready = self.companion.try_get("/readyz");
            let ready = ready.map(|ready| String::from_utf8_lossy(&ready.body).into_owned());
            assert!(
                since.elapsed() < SOON,
                "{sid} is not admitted within {SOON:?}; the companion says {ready:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    #[track_caller]
    fn is_revoked(&self, sid: &str) {
        let token = self.around.of_session(sid);
        until(&format!("{sid} is refused"), SOON, || {
            all_answer(self.edge, &token, 401, "session_revoked")
        });
    }

    /// The companion has nothing to confirm, and so no worker admits anything.
    #[track_caller]
    fn is_unavailable(&self) {
        let token = self.around.of_session("free");
        until("503", STALENESS + Duration::from_secs(8), || {
            all_answer(self.edge, &token, 503, "sts_unavailable")
        });
    }

    /// All is well again, by itself, and it was all the time.
    #[track_caller]
    fn recovers(mut self, acknowledged: Instant) {
        let since = Instant::now();
        self.is_admitted("free");
        self.is_revoked("victim");
        let took = since.elapsed();
        let late = self.bound.take().unwrap().held(acknowledged, STALENESS);
        println!("last admitted {late:?} after the acknowledgement; well again after {took:?}");
        assert!(self.envoy.is_running());
    }
}
