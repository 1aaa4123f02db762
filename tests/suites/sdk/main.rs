//! Caracal's published Python SDK and its package for OAuth, unchanged, against the edge in
//! Gateway mode in a real Envoy, and against the development STS. Needs a Python for them;
//! where `REQUIRE_ORACLE` is set, as in CI, there must be one.

// What this suite does not use of it, `gateway_envoy` does.
#[allow(dead_code)]
#[path = "../gateway_envoy/scene.rs"]
mod scene;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use caracal_tests::mint::{AUDIENCE, ZONE};
use caracal_tests::processes::Sts;
use serde_json::{Value, json};

use scene::{Scene, resource};

/// Runs a part of client.py. `None` where there is no Python for it. Whenever it prints a
/// session, `revoke` is called with it before it goes on.
fn sdk(part: &str, sts: &Sts, edge: &str, revoke: impl Fn(&str)) -> Option<Value> {
    let script = caracal_tests::root().join("tests/conformance/oracle/run.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(python)
        .arg(script)
        .args(["sdk", part])
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let scene = json!({
        "sts": sts.url(), "edge": edge, "zone": ZONE, "resource": AUDIENCE,
        "application": "app-1", "secret": "secret-1",
    });
    // It may have ended before it reads.
    let _ = writeln!(input, "{scene}");
    let mut last = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let said: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(session) = said["session"].as_str() {
            revoke(session);
            writeln!(input).unwrap();
        }
        last = Some(said);
    }
    drop(input);
    let done = child.wait_with_output().unwrap();
    if done.status.code() == Some(3) && std::env::var_os("REQUIRE_ORACLE").is_none() {
        println!("skipped: no Python for the SDK");
        return None;
    }
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    Some(last.unwrap())
}

fn edge(scene: &Scene) -> String {
    format!("http://{}", scene.envoy.listener(0))
}

/// An error as an application of the SDK gets it, by its class, code and status.
#[track_caller]
fn is_refused(got: &Value, class: &str, code: &str, status: u16) {
    let error = &got["error"];
    assert_eq!(
        (&error["class"], &error["code"], &error["status"]),
        (&json!(class), &json!(code), &json!(status)),
        "{got}"
    );
}

/// The same from the edge: it has the request's id.
#[track_caller]
fn is_refused_by_the_edge(got: &Value, class: &str, code: &str, status: u16) {
    is_refused(got, class, code, status);
    assert_eq!(got["status"], status, "{got}");
    let id = got["request_id"].as_str().unwrap();
    assert!(!id.is_empty(), "{got}");
    // The package reads no id of an error that it has no class for.
    assert_eq!(got["error"]["request_id"], id, "{got}");
}

#[test]
fn the_sdk_s_requests_reach_the_upstream_once_each() {
    let provider = json!({"kind": "bearer_token", "token": "provider-secret"});
    let scene = Scene::start(json!({
        AUDIENCE: resource(json!({
            "provider": provider, "scopes": ["billing:read", "billing:write"],
        })),
        "resource://second": resource(json!({
            "upstream_url": "https://second.test", "decision": "step_up",
        })),
    }));
    let edge = edge(&scene);
    let Some(got) = sdk("gateway", &scene.sts, &edge, |_| {}) else {
        return;
    };
    let url = format!("{edge}/invoices/7?b=2&a=1");
    assert_eq!(
        got["target"],
        json!({"url": url, "headers": {"X-Caracal-Resource": AUDIENCE}})
    );
    let reached = scene.reached();
    for name in ["first", "second", "by_upstream", "sync"] {
        assert_eq!(got[name]["status"], 200, "{name}: {got}");
        assert_eq!(got[name]["text"], "reached", "{name}");
        let left: u64 = got[name]["expires_in"].as_str().unwrap().parse().unwrap();
        assert!(left > 60, "{name}: {left}");
    }
    let paths: Vec<&str> = reached.iter().map(|one| one.target.as_str()).collect();
    let invoices = "/invoices/7?a=1&b=2";
    assert_eq!(paths, [invoices, invoices, "/by-upstream", invoices]);
    for request in &reached {
        assert_eq!(request.all("host"), ["billing.test"]);
        assert_eq!(request.all("authorization"), ["Bearer provider-secret"]);
        assert_eq!(request.all("traceparent").len(), 1);
        // The SDK says in baggage which session it is; the upstream is not told.
        assert!(request.all("baggage").is_empty(), "{:?}", request.headers);
        assert!(request.all("x-caracal-resource").is_empty());
    }
    assert!(!got["baggage"].as_array().unwrap().is_empty(), "{got}");
    assert_eq!(got["different"], true, "a mandate for each request");

    is_refused_by_the_edge(&got["replay"], "InvalidToken", "invalid_token", 401);
    let why = got["replay"]["error"]["description"].as_str().unwrap();
    assert!(why.contains("token replay detected"), "{why}");
    is_refused_by_the_edge(&got["no_mandate"], "InvalidToken", "invalid_token", 401);
    is_refused_by_the_edge(&got["other_resource"], "AccessDenied", "access_denied", 403);
    let scope = ("ScopeInsufficient", "scope_insufficient");
    is_refused_by_the_edge(&got["scope_of_the_edge"], scope.0, scope.1, 403);
    is_refused(
        &got["scope_of_the_sts"],
        "AccessDenied",
        "access_denied",
        403,
    );
    // What the Gateway loses on the way, the edge passes on: which approval is needed.
    let approval = &got["second_resource"];
    is_refused_by_the_edge(approval, "ApprovalRequired", "interaction_required", 401);
    assert_eq!(approval["error"]["approval_id"], "approval-1", "{approval}");
    assert_eq!(approval["error"]["state"], "pending", "{approval}");
}

#[test]
fn the_sdk_can_tell_that_it_may_try_again() {
    let scene = Scene::start(json!({
        AUDIENCE: resource(json!({"scopes": ["billing:read", "billing:write"]})),
        "resource://second": resource(json!({
            "upstream_url": "https://second.test", "decision": "unavailable",
        })),
    }));
    let Some(got) = sdk("gateway", &scene.sts, &edge(&scene), |_| {}) else {
        return;
    };
    let got = &got["second_resource"];
    is_refused_by_the_edge(got, "ServiceUnavailable", "sts_unavailable", 503);
    assert_eq!(got["error"]["retryable"], true, "{got}");
}

#[test]
fn a_session_of_the_sdk_is_revoked_while_it_works() {
    let scene = Scene::start(json!({
        AUDIENCE: resource(json!({"scopes": ["billing:read", "billing:write"]})),
    }));
    let revoke = |session: &str| {
        let _: String = scene.redis.lock().unwrap().ask(&[
            "XADD",
            "caracal.sessions.revoke",
            "*",
            "agent_session_id",
            session,
        ]);
    };
    let Some(got) = sdk("session", &scene.sts, &edge(&scene), revoke) else {
        return;
    };
    assert_eq!(got["delegated"]["status"], 200, "{got}");
    for refused in ["without_delegation", "beyond_the_delegation"] {
        is_refused(&got[refused], "AccessDenied", "access_denied", 403);
    }
    for refused in ["revoked", "unspent"] {
        is_refused_by_the_edge(&got[refused], "InvalidToken", "invalid_token", 401);
        let why = got[refused]["error"]["description"].as_str().unwrap();
        assert!(why.contains("revoked"), "{refused}: {why}");
    }
    // Of a session that has ended the STS grants no exchange.
    is_refused_by_the_edge(&got["ended"], "AccessDenied", "access_denied", 403);
    for request in scene.reached() {
        assert_eq!(request.target, "/x");
    }
}

#[test]
fn the_package_for_oauth_exchanges_at_the_development_sts() {
    let resources = json!({
        AUDIENCE: resource(json!({})),
        "resource://second": resource(json!({"upstream_url": "https://second.test"})),
    });
    let sts = Sts::start(&[ZONE], &resources);
    let Some(got) = sdk("oauth", &sts, "http://127.0.0.1:1", |_| {}) else {
        return;
    };
    let claims = json!({
        "use": "gateway", "aud": [sts.url()], "target": [AUDIENCE], "scope": "billing:read",
        "agent_session_id": "agent-1", "delegation_edge_id": "edge-1",
    });
    assert_eq!(got["gateway"]["claims"], claims, "{got}");
    assert_eq!(got["gateway"]["resources"], json!([AUDIENCE]));
    assert_ne!(got["gateway"]["jti"], got["again"]["jti"]);
    assert_eq!(got["session"]["claims"]["use"], "session");
    assert_eq!(got["session"]["jti"], got["cached"]["jti"]);
    assert_eq!(got["short"]["expires_in"], 60);
    is_refused(&got["subject"], "AccessDenied", "access_denied", 403);
    is_refused(&got["wrong_secret"], "AccessDenied", "access_denied", 401);
    is_refused(
        &got["unknown_resource"],
        "AccessDenied",
        "access_denied",
        403,
    );
    // The package repeats the field, and the STS takes no field twice.
    is_refused(&got["two_resources"], "InvalidToken", "invalid_token", 400);
    is_refused(&got["federated"], "InvalidToken", "invalid_token", 400);
}

/// docs/gateway.md lists what of the SDK needs a real Coordinator or STS. Each of these is
/// refused, and nothing is made up.
#[test]
fn what_the_development_sts_does_not_play_is_refused() {
    let sts = Sts::start(&[ZONE], &json!({AUDIENCE: resource(json!({}))}));
    let Some(got) = sdk("not_served", &sts, "http://127.0.0.1:1", |_| {}) else {
        return;
    };
    for (name, words) in [
        ("inherited", "501"),
        ("delegated_twice", "501"),
        ("accepted", "is not live"),
        ("leased", "lease_generation"),
        ("revoked_delegation", "404"),
        ("approval", "404"),
    ] {
        let error = &got[name]["error"];
        let text = error["text"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{name}: {got}");
    }
    is_refused(&got["federated"], "InvalidToken", "invalid_token", 400);
    let page = std::fs::read_to_string(caracal_tests::root().join("docs/gateway.md")).unwrap();
    for named in [
        "inherits a delegation",
        "delegates a delegation",
        "accept_delegation",
        "start_session",
        "revoke_delegation",
        "wait_for_approval",
        "federate_subject",
        "profile of the Console",
    ] {
        assert!(
            page.contains(named),
            "docs/gateway.md does not name {named}"
        );
    }
}
