//! Revocation with everything real: Redis, the companion, Envoy with two workers.
//! Each fault is made while a mandate that was once refused is sent without end:
//! it is never admitted.

use std::net::SocketAddr;
use std::time::Duration;

use caracal_tests::edge::{Around, Watch, all_answer, answers};
use caracal_tests::envoy::{Clock, Envoy};
use caracal_tests::processes::{Companion, Mode, Redis, Wire, filter_with_hooks, folder, until};
use caracal_tests::servers::{Client, get};
use serde_json::json;

const SOON: Duration = Duration::from_secs(15);
const SESSIONS: &str = "caracal.sessions.revoke";
const DELEGATIONS: &str = "caracal.delegations.invalidate";

/// Revokes by the stream, as the control plane does.
fn revoke(redis: &Redis, sid: &str) {
    let _: String = redis.ask(&["XADD", SESSIONS, "*", "zone_id", "z", "session_id", sid]);
}

/// An edge in which `old` is revoked, and watched from then on.
struct Scene {
    around: Around,
    redis: Redis,
    wire: Wire,
    companion: Companion,
    envoy: Envoy,
    edge: SocketAddr,
    watch: Option<Watch>,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::default();
        let wire = Wire::to(redis.address);
        let around = Around::default();
        let companion = Companion::of(&format!("redis://{}", wire.address)).started();
        let envoy = around.envoy(companion.address);
        let edge = envoy.listener(0);
        let mut scene = Scene {
            around,
            redis,
            wire,
            companion,
            envoy,
            edge,
            watch: None,
        };
        scene.is_admitted("free");
        revoke(&scene.redis, "old");
        scene.is_revoked("old");
        scene.watch = Some(Watch::start(edge, &scene.around.of_session("old")));
        scene
    }

    #[track_caller]
    fn is_revoked(&self, sid: &str) {
        let token = self.around.of_session(sid);
        until(&format!("{sid} is refused"), SOON, || {
            all_answer(self.edge, &token, 401, "session_revoked")
        });
    }

    #[track_caller]
    fn is_admitted(&self, sid: &str) {
        let token = self.around.of_session(sid);
        until(&format!("{sid} is admitted"), SOON, || {
            all_answer(self.edge, &token, 200, "")
        });
    }

    /// Refused because nobody can say, and only where that matters.
    #[track_caller]
    fn is_unavailable(&self) {
        let token = self.around.of_session("free");
        until("503", SOON, || {
            all_answer(self.edge, &token, 503, "sts_unavailable")
        });
        assert_eq!(get(self.edge, "/open", None).status, 200);
        assert_eq!(get(self.edge, "/", None).error(), "missing_token");
        let other = self.around.mandate(json!({"zone_id": "other"}));
        assert_eq!(get(self.edge, "/", Some(&other)).error(), "invalid_zone");
    }

    #[track_caller]
    fn ends(mut self) {
        self.is_revoked("old");
        let sent = self.watch.take().unwrap().none_was_admitted();
        println!("{sent} times refused, never admitted");
        assert!(self.envoy.is_running());
    }
}

#[test]
fn every_worker_refuses_what_redis_says_and_nothing_else() {
    let scene = Scene::new();
    for (field, claim) in [
        ("session_id", "sid"),
        ("root_sid", "root_sid"),
        ("agent_session_id", "agent_session_id"),
        ("delegation_edge_id", "delegation_edge_id"),
    ] {
        let id = format!("id-of-{claim}");
        let _: String = scene.redis.ask(&["XADD", SESSIONS, "*", field, &id]);
        let token = scene.around.mandate(json!({ claim: id }));
        until(claim, SOON, || {
            all_answer(scene.edge, &token, 401, "session_revoked")
        });
    }
    // Each of four that are all there, of a mandate that every worker remembers, and of one
    // that none does.
    let anchors = ["sid", "root_sid", "agent_session_id", "delegation_edge_id"];
    for (one, is_warm) in anchors
        .into_iter()
        .flat_map(|one| [(one, true), (one, false)])
    {
        let id = |name: &str| format!("{name}-of-{one}-{is_warm}");
        let claims = anchors.map(|name| (name.to_owned(), json!(id(name))));
        let token = scene.around.mandate(claims.into_iter().collect());
        if is_warm {
            assert_eq!(answers(scene.edge, &token), [(200, String::new())], "{one}");
        }
        revoke(&scene.redis, &id(one));
        until(one, SOON, || {
            all_answer(scene.edge, &token, 401, "session_revoked")
        });
    }
    let with = |epoch: u64| {
        scene
            .around
            .mandate(json!({"delegation_graph_epoch": epoch}))
    };
    assert_eq!(answers(scene.edge, &with(0)), [(200, String::new())]);
    let epoch = |zone: &str, epoch: &str| {
        let _: String =
            scene
                .redis
                .ask(&["XADD", DELEGATIONS, "*", "zone_id", zone, "epoch", epoch]);
    };
    epoch("another", "9");
    epoch(caracal_tests::mint::ZONE, "3");
    let stale = with(2);
    until("stale", SOON, || {
        all_answer(scene.edge, &stale, 401, "delegation_stale")
    });
    assert_eq!(answers(scene.edge, &with(3)), [(200, String::new())]);
    assert_eq!(
        answers(scene.edge, &with(0)),
        [(401, "delegation_stale".to_owned())]
    );
    scene.is_admitted("free");
    // Envoy writes its access log every ten seconds.
    until("the access log", SOON, || {
        let log = scene.envoy.access_log();
        log.iter()
            .any(|line| line["caracal_error"] == "session_revoked")
    });
    scene.ends();
}

#[test]
fn a_companion_killed_and_restarted() {
    let mut scene = Scene::new();
    scene.companion.kill();
    revoke(&scene.redis, "while-away");
    scene.is_unavailable();
    assert!(scene.envoy.logged("revocations not read") >= 1);
    scene.companion.start();
    scene.is_admitted("free");
    scene.is_revoked("while-away");
    scene.ends();
}

#[test]
fn a_companion_killed_between_effect_and_acknowledgement() {
    let mut scene = Scene::new();
    scene.wire.set(Mode::SwallowAcknowledgements);
    revoke(&scene.redis, "half");
    until("its effect", SOON, || {
        scene
            .redis
            .ask::<bool>(&["EXISTS", "caracal:revoked:sessions:half"])
    });
    scene.companion.kill();
    scene.wire.set(Mode::Pass);
    scene.companion.start();
    scene.is_revoked("half");
    scene.is_admitted("free");
    until("acknowledged", SOON, || {
        let (pending, ..): (i64, redis::Value, redis::Value, redis::Value) =
            scene.redis.ask(&["XPENDING", SESSIONS, "caracal-edge"]);
        pending == 0
    });
    scene.ends();
}

#[test]
fn redis_killed_and_restarted() {
    let mut scene = Scene::new();
    scene.redis.kill();
    scene.is_unavailable();
    scene.redis.restart();
    scene.is_admitted("free");
    revoke(&scene.redis, "after");
    scene.is_revoked("after");
    scene.ends();
}

#[test]
fn redis_emptied() {
    let scene = Scene::new();
    let () = scene.redis.ask(&["FLUSHALL"]);
    // Ids that begin again, as after a restore on a machine whose clock is behind.
    let _: String = scene.redis.ask(&["XADD", SESSIONS, "5-1", "sid", "new"]);
    scene.is_revoked("new");
    scene.is_admitted("free");
    until("it is named", SOON, || {
        scene.companion.log().contains("Redis has lost data")
    });
    scene.ends();
}

#[test]
fn a_stream_trimmed_past_the_cursor_and_a_network_cut() {
    let scene = Scene::new();
    scene.wire.set(Mode::Cut);
    // Another companion reads it before it is trimmed, and notes that the store has it.
    let other = Companion::of(&scene.redis.url())
        .with(&["--consumer", "other"])
        .started();
    revoke(&scene.redis, "trimmed");
    until("read by the other", SOON, || other.has_revoked("trimmed"));
    let info: Vec<(String, redis::Value)> = scene.redis.ask(&["XINFO", "STREAM", SESSIONS]);
    let added = info.iter().find(|(name, _)| name == "entries-added");
    let redis::Value::Int(added) = added.unwrap().1 else {
        panic!("no count")
    };
    until("noted", SOON, || {
        let covered = "caracal:edge:covered:{caracal.sessions.revoke}";
        scene.redis.ask::<Option<i64>>(&["GET", covered]) == Some(added)
    });
    let _: i64 = scene.redis.ask(&["XTRIM", SESSIONS, "MAXLEN", "0"]);
    // The companion lives, and does not look fresh.
    scene.is_unavailable();
    assert_eq!(scene.companion.get("/healthz").status, 200);
    assert_eq!(scene.envoy.metric("caracal_revocation_anchors"), 1);
    scene.wire.set(Mode::Pass);
    let (token, watched) = (
        scene.around.of_session("trimmed"),
        scene.around.of_session("free"),
    );
    until("admitted again", SOON, || {
        all_answer(scene.edge, &watched, 200, "")
    });
    // No moment in which it is fresh again and does not know.
    assert!(all_answer(scene.edge, &token, 401, "session_revoked"));
    scene.ends();
}

/// Every worker's VM traps again and again, the lease holder's among them.
#[test]
fn vms_made_anew_know_what_is_revoked() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).started();
    let around = Around::default();
    let setup = around
        .setup(companion.address, json!({}))
        .wasm(filter_with_hooks());
    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    for n in 0..5_000 {
        let _: String = redis.ask(&[
            "SET",
            &format!("caracal:revoked:sessions:x-{n}"),
            "1",
            "PX",
            "600000",
        ]);
    }
    let (old, free) = (around.of_session("old"), around.of_session("free"));
    revoke(&redis, "old");
    until("revoked", SOON, || {
        all_answer(edge, &old, 401, "session_revoked")
    });
    let watch = Watch::start(edge, &old);
    for round in 0..10 {
        for _ in 0..4 {
            let token = around.of_session(&format!("trap-{round}"));
            let answer = Client::connect(edge).get("/", Some(&token), &[("x-test-trap", "1")]);
            assert_eq!(answer.status, 503, "the trapped request");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    until("admitted", SOON, || all_answer(edge, &free, 200, ""));
    assert!(envoy.logged("unreachable") >= 2, "{}", envoy.log());
    revoke(&redis, "after");
    let after = around.of_session("after");
    until("revoked", SOON, || {
        all_answer(edge, &after, 401, "session_revoked")
    });
    watch.none_was_admitted();
}

/// The wall clocks of Envoy, companion and Redis jump together and back: nothing
/// that was revoked comes to life, and nothing gets old by it.
#[test]
fn clocks_that_jump() {
    let clock = Clock::default();
    let redis = Redis::start_with(&[], &clock.environment());
    let mut companion = Companion::of(&redis.url());
    for (name, value) in clock.environment() {
        companion = companion.environment(name, value.to_str().unwrap());
    }
    let companion = companion.started();
    let around = Around::default();
    let setup = around.setup(companion.address, json!({})).clock(&clock);
    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    let (old, free) = (around.of_session("old"), around.of_session("free"));
    revoke(&redis, "old");
    until("revoked", SOON, || {
        all_answer(edge, &old, 401, "session_revoked")
    });
    let watch = Watch::start(edge, &old);
    // A day and an hour: every key in Redis expires there.
    clock.set(90_000);
    until("expired", SOON, || {
        all_answer(edge, &free, 401, "invalid_token")
    });
    std::thread::sleep(Duration::from_secs(3));
    clock.set(-7_200);
    until("from the future", SOON, || {
        all_answer(edge, &free, 401, "invalid_token")
    });
    clock.set(0);
    until("admitted", SOON, || all_answer(edge, &free, 200, ""));
    assert!(all_answer(edge, &old, 401, "session_revoked"));
    revoke(&redis, "after");
    let after = around.of_session("after");
    until("revoked", SOON, || {
        all_answer(edge, &after, 401, "session_revoked")
    });
    watch.none_was_admitted();
}

/// The token is in no configuration that the admin port shows, and crosses the network
/// encrypted.
#[test]
fn the_companion_is_asked_over_tls_with_a_token_from_the_environment() {
    let folder = folder("tls-edge");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let redis = Redis::default();
    let companion = Companion::of(&redis.url())
        .with(&["--tls-cert", certificate.to_str().unwrap()])
        .with(&["--tls-key", key.to_str().unwrap()])
        .environment("CARACAL_FEED_TOKEN", "token-of-the-feed")
        .listening();
    let around = Around::default();
    let envoy = around
        .setup(companion.address, json!({}))
        .host_environment("CARACAL_FEED_TOKEN", "token-of-the-feed")
        .trusted("feed", certificate)
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    let token = around.of_session("s-1");
    until("admitted", SOON, || all_answer(edge, &token, 200, ""));
    revoke(&redis, "s-1");
    until("refused", SOON, || {
        all_answer(edge, &token, 401, "session_revoked")
    });
    let shown = envoy.config_dump();
    assert!(shown.contains("CARACAL_FEED_TOKEN"), "{shown}");
    for text in [shown, envoy.log(), companion.log()] {
        assert!(!text.contains("token-of-the-feed"));
    }
}
