//! `caracal-edge explain --request-id` and `caracal-edge tail` on the decisions of a real
//! Envoy: from Redis, and from the companion's last ones.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use caracal_tests::root;

use super::*;

fn program(scene: &Scene, from_redis: bool, arguments: &[&str]) -> Command {
    let mut command = Command::new(root().join("dist/caracal-edge"));
    command.args(arguments).env("CARACAL_FEED_TOKEN", TOKEN);
    match from_redis {
        true => command
            .env("REDIS_URL", scene.redis.url())
            .env("AUDIT_HMAC_KEY", KEY),
        false => command.args(["--feed", &scene.companion.address.to_string()]),
    };
    command
}

fn explain(scene: &Scene, from_redis: bool, more: &[&str]) -> Output {
    let arguments = [&["explain", "--request-id"], more].concat();
    program(scene, from_redis, &arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A running `tail`; killed when dropped.
struct Tail(Child, std::sync::mpsc::Receiver<String>);

impl Tail {
    fn start(scene: &Scene, from_redis: bool, more: &[&str]) -> Self {
        let mut command = program(scene, from_redis, &[&["tail"], more].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Tail(child, receive)
    }

    /// What is shown until this request, which is the last of it. A worker that has done
    /// nothing for a while tells late.
    #[track_caller]
    fn until(&self, id: &str) -> Vec<Value> {
        let mut shown = Vec::new();
        loop {
            let line = self.1.recv_timeout(SOON).expect("a line");
            let event: Value = serde_json::from_str(&line).unwrap();
            let is_last = event["request_id"] == id;
            shown.push(event);
            if is_last {
                return shown;
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What went on in shadow is told from what was refused.
#[test]
fn a_refusal_in_shadow_is_explained_as_one_that_was_not_carried_out() {
    let scene = Scene::with(json!({"routes": {"/try": {"enforcement": "shadow"}}}));
    let mut client = Client::connect(scene.envoy.listener(0));
    let headers = [("x-request-id", "tried")];
    assert_eq!(client.get("/try", None, &headers).status, 200);
    assert_eq!(scene.send("denied", false), 401);
    let event = scene.until_recorded("tried");
    assert_eq!(event["metadata_json"]["shadow"], true);
    scene.until_recorded("denied");
    for from_redis in [true, false] {
        let out = explain(&scene, from_redis, &["tried"]);
        let said = text(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{out:?}");
        assert!(
            said.starts_with("WOULD BE REFUSED 200 missing_token\n"),
            "{said}"
        );
        assert!(
            said.contains("in shadow, so it went on to the service"),
            "{said}"
        );
        assert!(said.contains("  check     row 2 compared "), "{said}");
        let out = explain(&scene, from_redis, &["tried", "--json"]);
        let said: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(said["in_shadow"], true);
        let out = explain(&scene, from_redis, &["denied"]);
        assert!(text(&out.stdout).starts_with("REFUSED 401 missing_token\n"));
        let tail = Tail::start(&scene, from_redis, &["--last", "50", "--decision", "deny"]);
        // Two workers send their events, so either may come first.
        let shown = tail.until("tried");
        let tried = shown.iter().find(|event| event["request_id"] == "tried");
        assert_eq!(tried.unwrap()["metadata_json"]["shadow"], true);
    }
}

/// The guides' requirement: an allowed, a denied and a revoked-session request, each with its
/// event, and the reason.
#[test]
fn a_decision_is_explained_by_its_request_s_id() {
    let scene = Scene::new();
    assert_eq!(scene.send("allowed", true), 200);
    assert_eq!(scene.send("denied", false), 401);
    let revoked = scene.around.mandate(json!({"sid": "gone"}));
    let as_revoked = |id: &str| {
        let mut client = Client::connect(scene.envoy.listener(0));
        client
            .get("/x", Some(&revoked), &[("x-request-id", id)])
            .status
    };
    let revoke = Command::new(root().join("dist/caracal-edge"))
        .args([
            "revoke",
            "--session",
            "gone",
            "--redis-url",
            &scene.redis.url(),
        ])
        .output();
    assert!(revoke.unwrap().status.success());
    until("the session is revoked", SOON, || {
        as_revoked("later") == 401
    });
    assert_eq!(as_revoked("revoked"), 401);
    let old = scene
        .around
        .mandate(json!({"exp": 1_000_000_000, "iat": 999_999_000}));
    let mut client = Client::connect(scene.envoy.listener(0));
    let headers = [("x-request-id", "expired")];
    assert_eq!(client.get("/x", Some(&old), &headers).status, 401);

    for (id, code, reason, row) in [
        ("denied", "missing_token", "missing_token", "2"),
        ("revoked", "session_revoked", "session_revoked", "12"),
        ("expired", "invalid_token", "expired", "3 or 12"),
    ] {
        scene.until_recorded(id);
        for from_redis in [true, false] {
            let out = explain(&scene, from_redis, &[id]);
            let said = text(&out.stdout);
            assert_eq!(out.status.code(), Some(1), "{out:?}");
            assert!(said.starts_with(&format!("REFUSED 401 {code}\n")), "{said}");
            assert!(
                said.contains(&format!("  reason    \"{reason}\"\n")),
                "{said}"
            );
            assert!(
                said.contains(&format!("  check     row {row} compared ")),
                "{said}"
            );
            assert!(said.contains("  to do     "), "{said}");
            assert_eq!(text(&out.stderr), "", "{id}");
            let out = explain(&scene, from_redis, &[id, "--json"]);
            let said: Value = serde_json::from_slice(&out.stdout).unwrap();
            assert_eq!(said["reason"], reason);
            assert_eq!(said["event"]["request_id"], id);
            for part in revoked.split('.').chain(old.split('.')) {
                assert!(!said.to_string().contains(part));
            }
        }
    }
    scene.until_recorded("allowed");
    for from_redis in [true, false] {
        let out = explain(&scene, from_redis, &["allowed"]);
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        assert!(text(&out.stdout).starts_with("ADMITTED 200\n"), "{out:?}");
    }

    // An event that the key did not sign is not believed, and without the key that is said.
    let forged =
        json!({"request_id": "forged", "event_type": "edge_resource_request", "decision": "allow"});
    let _: String = scene.redis.ask(&[
        "XADD",
        STREAM,
        "*",
        "data",
        &forged.to_string(),
        "sig",
        "00",
    ]);
    let out = explain(&scene, true, &["forged"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let said = text(&out.stderr);
    assert!(said.contains("1 events were passed over"), "{said}");
    let mut command = program(&scene, true, &["explain", "--request-id", "forged"]);
    let out = command.env_remove("AUDIT_HMAC_KEY").output().unwrap();
    assert!(text(&out.stderr).contains("UNCHECKED"), "{out:?}");
    // What others wrote does not choose how much is read, and is passed over.
    let large = "x".repeat(3 << 20);
    for _ in 0..4 {
        let add = ["XADD", STREAM, "*", "data", large.as_str(), "sig", "00"];
        let _: String = scene.redis.ask(&add);
    }
    let out = explain(&scene, true, &["denied"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    // What is not there, and what cannot be there.
    for id in ["nobody", "a b", ""] {
        for from_redis in [true, false] {
            let out = explain(&scene, from_redis, &[id]);
            assert_eq!(out.status.code(), Some(2), "{out:?}");
        }
    }
}

#[test]
fn decisions_are_followed_as_they_are_made() {
    let scene = Scene::new();
    assert_eq!(scene.send("before", false), 401);
    scene.until_recorded("before");
    for from_redis in [true, false] {
        let run = |what: &str| format!("{what}-{from_redis}");
        let all = Tail::start(&scene, from_redis, &["--last", "200"]);
        let denied = Tail::start(
            &scene,
            from_redis,
            &[
                "--last",
                "200",
                "--decision",
                "deny",
                "--reason",
                "missing_token",
            ],
        );
        let nobody = Tail::start(&scene, from_redis, &["--last", "0", "--client", "nobody"]);
        all.until("before");
        denied.until("before");
        let (good, bad) = (run("good"), run("bad"));
        assert_eq!(scene.send(&good, true), 200);
        scene.until_recorded(&good);
        assert_eq!(scene.send(&bad, false), 401);
        scene.until_recorded(&bad);
        all.until(&good);
        all.until(&bad);
        let denied = denied.until(&bad);
        let is_denied = |event: &Value| event["decision"] == "deny";
        assert!(denied.iter().all(is_denied), "{denied:?}");
        assert!(nobody.1.try_recv().is_err());
        // On a terminal it is a table.
        let mut on_terminal = Command::new("script");
        let shown = program(&scene, from_redis, &["tail", "--no-follow"]);
        let words: Vec<&str> = std::iter::once(shown.get_program())
            .chain(shown.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        on_terminal.args(["-qec", &words.join(" "), "/dev/null"]);
        for (name, value) in shown.get_envs() {
            on_terminal.env(name, value.unwrap());
        }
        let out = on_terminal.output().unwrap();
        let table = text(&out.stdout);
        assert!(table.contains("TIME ") && table.contains(&bad), "{table}");
        assert!(
            table.contains(" deny ") && table.contains(" missing_token "),
            "{table}"
        );
    }
}

/// A tail outlives its source.
#[test]
fn whoever_follows_outlives_the_companion() {
    let mut scene = Scene::new();
    assert_eq!(scene.send("first", false), 401);
    scene.until_recorded("first");
    let tail = Tail::start(&scene, false, &["--last", "200"]);
    tail.until("first");
    scene.companion.kill();
    scene.companion.start();
    assert_eq!(scene.send("second", false), 401);
    tail.until("second");
}
