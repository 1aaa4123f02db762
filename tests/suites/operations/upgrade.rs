//! An old and a new file of the filter in one Envoy process.

use std::path::PathBuf;

use caracal_tests::filter_wasm;
use caracal_tests::mint::{AUDIENCE, ISSUER};
use caracal_tests::servers::{Incoming, Reply, Server};

use super::*;

/// The oldest state that may be used: the default. Envoy's main thread stands still while it
/// compiles another file, for seconds on a busy machine, and its VM may be the one that polls.
const STALE_S: u64 = 30;

/// The filter's file as another version: with this in place of a text of the same length.
/// What the filter sends as its `user-agent` has the version too.
fn version(name: &str, changes: &[(&str, &str)]) -> PathBuf {
    let mut bytes = std::fs::read(filter_wasm()).unwrap();
    for (old, new) in changes {
        assert_eq!(old.len(), new.len());
        let places: Vec<usize> = (0..bytes.len() - old.len())
            .filter(|at| bytes[*at..].starts_with(old.as_bytes()))
            .collect();
        assert!(!places.is_empty(), "{old} is not in the file");
        for at in places {
            bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
    }
    let file = folder("wasm").join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

/// A version whose shared data have the same form.
fn next() -> PathBuf {
    let own = concat!("caracal-edge/", env!("CARGO_PKG_VERSION"));
    version("next.wasm", &[(own, "caracal-edge/9.9.9")])
}

/// A version whose shared data have another form, and so other names.
fn other_form() -> PathBuf {
    let own = concat!("caracal-edge/", env!("CARGO_PKG_VERSION"));
    version(
        "other.wasm",
        &[(own, "caracal-edge/9.9.9"), ("caracal/v5/", "caracal/v9/")],
    )
}

/// Redis, a companion, an Envoy, and a session that is revoked.
struct Scene {
    redis: Redis,
    around: Around,
    companion: Companion,
}

impl Scene {
    fn new() -> Self {
        let redis = Redis::default();
        let companion = Companion::of(&redis.url()).started();
        Scene {
            redis,
            around: Around::default(),
            companion,
        }
    }

    fn setup(&self, files: &[PathBuf]) -> Setup {
        let feed = json!({
            "upstream": "feed", "max_staleness_s": STALE_S, "poll_interval_ms": 200,
        });
        let changes = json!({ "revocation": feed });
        let mut setup = self.around.setup(self.companion.address, changes);
        let one = setup.configurations.remove(0);
        setup.configurations = vec![one; files.len()];
        setup.wasm_of_each = files.to_vec();
        setup.reloadable = true;
        setup
    }

    fn token(&self, sid: &str) -> String {
        self.around.of_session(sid)
    }

    #[track_caller]
    fn is_revoked(&self, envoy: &Envoy, listener: usize, sid: &str) {
        let (edge, token) = (envoy.listener(listener), self.token(sid));
        until(sid, SOON, || all_are(edge, &token, 401));
    }
}

/// Each listener has its own file; the VMs of both see the same revocations and keys.
#[test]
fn two_versions_beside_each_other_judge_alike() {
    let scene = Scene::new();
    let envoy = started(&scene.setup(&[filter_wasm(), next()]));
    let good = scene.token("good");
    for listener in [0, 1] {
        let edge = envoy.listener(listener);
        until("admitted", SOON, || all_are(edge, &good, 200));
    }
    revoke(&scene.redis, "s1");
    scene.is_revoked(&envoy, 0, "s1");
    scene.is_revoked(&envoy, 1, "s1");
    assert!(all_are(envoy.listener(0), &good, 200));
    assert!(all_are(envoy.listener(1), &good, 200));
    // Whoever has the lease fetches for both, so there was one fetch.
    assert_eq!(scene.around.sts.requests(), 1);
}

/// From the old file to the new one and back, while requests go on.
fn there_and_back(new: PathBuf) {
    let scene = Scene::new();
    let (old, new) = (scene.setup(&[filter_wasm()]), scene.setup(&[new]));
    let envoy = started(&old);
    let edge = envoy.listener(0);
    let (good, revoked) = (scene.token("good"), scene.token("revoked"));
    until("admitted", SOON, || all_are(edge, &good, 200));
    revoke(&scene.redis, "revoked");
    scene.is_revoked(&envoy, 0, "revoked");
    let traffic = Traffic::start(edge, &good, &revoked);
    for (setup, sid) in [(&new, "while-new"), (&old, "while-old")] {
        traffic.go_on();
        reconfigure(&envoy, setup);
        traffic.go_on();
        // Both sides of the change learn what is revoked meanwhile.
        revoke(&scene.redis, sid);
        scene.is_revoked(&envoy, 0, sid);
    }
    for sid in ["while-new", "while-old"] {
        scene.is_revoked(&envoy, 0, sid);
    }
    traffic.was_judged_rightly();
}

#[test]
fn an_upgrade_and_a_rollback_refuse_and_admit_nobody_wrongly() {
    there_and_back(next());
}

#[test]
fn so_does_a_version_whose_shared_data_have_another_form() {
    there_and_back(other_form());
}

/// The filter asks a companion that is newer than itself, and adds members to its answers.
#[test]
fn a_newer_companion_may_say_more() {
    let scene = Scene::new();
    let feed = scene.companion.address;
    let newer = Server::start(move |asked: &Incoming| {
        let answer = caracal_tests::servers::get(feed, &asked.target, None);
        let mut body = answer.json();
        body["new_member"] = json!({"a": [1, 2]});
        for entry in body["entries"].as_array_mut().into_iter().flatten() {
            entry["since"] = json!("2030");
        }
        Reply::new(answer.status, body.to_string())
    });
    let envoy = started(&scene.around.setup(newer.address(), json!({})));
    let edge = envoy.listener(0);
    until("admitted", SOON, || {
        all_are(edge, &scene.token("good"), 200)
    });
    revoke(&scene.redis, "s1");
    scene.is_revoked(&envoy, 0, "s1");
}

/// A companion that does not know what a newer filter asks for: 404. What is needed for a
/// decision is refused, and what is not needed is counted.
#[test]
fn an_older_companion_lacks_what_a_newer_filter_asks_for() {
    let scene = Scene::new();
    let changes = json!({"audit": {"upstream": "feed"}});
    let envoy = started(&scene.around.setup(scene.companion.address, changes));
    let edge = envoy.listener(0);
    until("admitted", SOON, || {
        all_are(edge, &scene.token("good"), 200)
    });
    revoke(&scene.redis, "s1");
    scene.is_revoked(&envoy, 0, "s1");
    until("the log says so", SOON, || {
        envoy.logged("audit events for feed: ") > 0
    });
}

/// In Gateway mode an exchange is needed for a decision.
#[test]
fn with_an_older_companion_exchanges_are_refused() {
    let scene = Scene::new();
    let changes = json!({
        "mode": "gateway", "gateway": {"upstream": "feed"}, "audience": null, "exclude": null,
        "revocation": {"upstream": "feed", "max_staleness_s": STALE_S, "poll_interval_ms": 200},
        "resources": {AUDIENCE: {
            "upstream_url": "https://billing.test", "required_scopes": ["billing:read"],
        }},
    });
    let envoy = started(&scene.around.setup(scene.companion.address, changes));
    let edge = envoy.listener(0);
    let mandate = |target: Value| {
        let claims = json!({"use": "gateway", "aud": [ISSUER], "target": target});
        scene.around.mandate(claims)
    };
    let (nothing, good) = (mandate(json!([])), mandate(json!([AUDIENCE])));
    // Keys and revocations are there: what is refused now is refused for the exchange.
    let ask = |mandate: &str| {
        let resource = [("x-caracal-resource", AUDIENCE)];
        Client::connect(edge).get("/", Some(mandate), &resource)
    };
    until("the edge is warm", SOON, || {
        (0..CONNECTIONS).all(|_| ask(&nothing).status == 403)
    });
    for _ in 0..CONNECTIONS {
        let answer = ask(&good);
        let said = (answer.status, answer.error());
        assert_eq!(said, (503, "sts_unavailable".to_owned()), "{answer:?}");
    }
    until("the log says so", SOON, || {
        envoy.logged("the companion exchanges no mandates") > 0
    });
}
