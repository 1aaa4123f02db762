//! Companion, Redis and STS are killed and come back while requests are sent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use caracal_tests::mint::AUDIENCE;
use caracal_tests::processes::until;
use serde_json::json;

use crate::scene::{SOON, Scene, resource};

/// Every refusal that an outage may cause.
const REFUSALS: [(u16, &str); 4] = [
    (503, "sts_unavailable"),
    (502, "sts_unavailable"),
    (504, "sts_unavailable"),
    (401, "invalid_token"),
];

/// Sends requests, each with a mandate of its own, while `fault` goes on.
fn under_load(scene: &Scene, fault: impl FnOnce()) {
    // Minted before: the STS may be away meanwhile.
    let mandates: Vec<String> = (0..600).map(|_| scene.sts.odd(&json!({}))).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let admitted: Mutex<usize> = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let Some(mandate) = mandates.get(next.fetch_add(1, Ordering::SeqCst)) else {
                        break;
                    };
                    let answer = scene.send("/x", mandate, &[]);
                    match answer.status {
                        200 => *admitted.lock().unwrap() += 1,
                        status => {
                            let refused = (status, answer.error());
                            let known = REFUSALS
                                .iter()
                                .any(|(s, e)| (*s, *e) == (refused.0, &refused.1));
                            assert!(known, "{refused:?}: {answer:?}");
                        }
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        fault();
        stop.store(true, Ordering::SeqCst);
    });
    let reached = scene.reached();
    // Whoever reached the upstream came with the credential of an exchange.
    assert!(
        reached
            .iter()
            .all(|request| request.all("authorization") == ["Bearer t"])
    );
    assert_eq!(reached.len(), *admitted.lock().unwrap());
    until("it recovers by itself", SOON, || {
        scene.send("/x", &scene.sts.odd(&json!({})), &[]).status == 200
    });
    scene.reached();
}

fn scene() -> Scene {
    Scene::start(
        json!({ AUDIENCE: resource(json!({"provider": {"kind": "bearer_token", "token": "t"}})) }),
    )
}

#[test]
fn a_companion_that_is_killed_lets_nobody_through() {
    let mut scene = scene();
    let mut companion = std::mem::replace(
        &mut scene.companion,
        caracal_tests::processes::Companion::new(&[]),
    );
    under_load(&scene, || {
        std::thread::sleep(Duration::from_millis(500));
        companion.kill();
        std::thread::sleep(Duration::from_secs(1));
        companion.start();
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn a_redis_that_hangs_or_is_killed_lets_nobody_through() {
    let scene = scene();
    under_load(&scene, || {
        std::thread::sleep(Duration::from_millis(500));
        let _: String = scene
            .redis
            .lock()
            .unwrap()
            .ask(&["CLIENT", "PAUSE", "2000"]);
        std::thread::sleep(Duration::from_secs(3));
        let mut redis = scene.redis.lock().unwrap();
        redis.kill();
        std::thread::sleep(Duration::from_secs(1));
        redis.restart();
        drop(redis);
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn an_sts_that_is_late_or_fails_lets_nobody_through() {
    let scene = scene();
    let good = json!({"kind": "bearer_token", "token": "t"});
    let decide = |decision: serde_json::Value| {
        scene.sts.decide(
            &json!({ AUDIENCE: resource(json!({"provider": good, "decision": decision})) }),
        );
    };
    under_load(&scene, || {
        std::thread::sleep(Duration::from_millis(500));
        decide(json!("unavailable"));
        std::thread::sleep(Duration::from_secs(1));
        decide(json!({"late_ms": 300}));
        std::thread::sleep(Duration::from_secs(11));
        decide(json!("allow"));
        std::thread::sleep(Duration::from_secs(1));
    });
}
