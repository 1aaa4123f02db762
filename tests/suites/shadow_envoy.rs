//! Shadow mode in a real Envoy: what reaches the service, what is counted and logged, which
//! paths stay enforced, and the way from shadow to enforcement.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use caracal_tests::edge::{Around, Recording};
use caracal_tests::envoy::{Envoy, Paths, Setup};
use caracal_tests::mint::{Key, configuration, now};
use caracal_tests::processes::{free_address, until};
use caracal_tests::servers::{Client, Incoming, Reply, Server, request};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// What a client makes up.
const FORGED: [(&str, &str); 3] = [
    ("x-caracal-sub", "forged"),
    ("x-caracal-scope", "forged"),
    ("baggage", "caracal.sub=forged,own=1"),
];

/// What the service got, without a principal.
#[track_caller]
fn is_clean(seen: &Incoming) {
    let names = seen.headers.iter().map(|(name, _)| name.as_str());
    for name in names {
        assert!(!name.starts_with("x-caracal"), "{seen:?}");
    }
    assert_eq!(seen.all("baggage"), ["own=1"]);
}

/// Envoy's metric with these labels.
fn shown(envoy: &Envoy, metric: &str) -> bool {
    envoy.prometheus().iter().any(|line| line == metric)
}

#[test]
fn what_would_be_refused_reaches_the_service_clean_and_is_counted() {
    let edge = Recording::start(json!({"enforcement": "shadow", "exclude": ["/open"]}), &[]);
    let good = edge.key.mandate(now(), json!({}));
    let stranger = Key::new("k1", 9).mandate(now(), json!({}));
    until("the edge has its keys", SOON, || {
        edge.client().get("/x", Some(&good), &[]);
        let reached = edge.reached();
        reached
            .iter()
            .any(|seen| seen.all("x-caracal-sub") == ["user-1"])
    });
    for (path, token) in [
        ("/x", None),
        ("/x", Some("a.b.c")),
        ("/x", Some(stranger.as_str())),
        ("/a%00/..%2f", None),
    ] {
        let answer = edge.client().get(path, token, &FORGED);
        assert_eq!(answer.status, 200, "{path} {token:?}");
        let reached = edge.reached();
        let [seen] = reached.as_slice() else {
            panic!("{path}: {reached:?}")
        };
        is_clean(seen);
        let bearer = token.map(|token| format!("Bearer {token}"));
        let own: Vec<&str> = bearer.iter().map(String::as_str).collect();
        assert_eq!(seen.all("authorization"), own);
    }
    for metric in [
        r#"caracal_decisions_total{outcome="shadow_refused",code="missing_token"} 1"#,
        r#"caracal_decisions_total{outcome="shadow_refused",code="invalid_token"} 2"#,
        r#"caracal_shadow_refusals_total{reason="signature"} 1"#,
        r#"caracal_shadow_refusals_total{reason="malformed"} 1"#,
        "caracal_shadow{} 1",
    ] {
        until(metric, SOON, || shown(&edge.envoy, metric));
    }
    let refused = edge.envoy.prometheus();
    let refused = refused.iter().filter(|line| {
        line.contains("outcome=\"refused\"") || line.starts_with("caracal_refusals_total")
    });
    for line in refused {
        assert!(line.ends_with(" 0"), "{line}");
    }
    let log = edge.envoy.log();
    let line = "caracal: SHADOW MODE on everything: what is refused there goes on";
    assert!(log.contains(line), "{log}");
    for part in good.split('.').chain(stranger.split('.')) {
        assert!(!log.contains(part), "a token is in the log");
    }
    until("it is in the access log", SOON, || {
        let lines = edge.envoy.access_log();
        lines.iter().any(|line| {
            line["caracal_decision"] == "shadow_refused"
                && line["caracal_error"] == "missing_token"
                && line["status"] == 200
        })
    });
}

/// An upstream that notes what it gets, and Envoys before it that are like each other.
struct Scene {
    around: Around,
    seen: Arc<Mutex<Vec<Incoming>>>,
    upstream: Server,
}

impl Scene {
    fn new() -> Self {
        let seen: Arc<Mutex<Vec<Incoming>>> = Arc::default();
        let note = Arc::clone(&seen);
        let upstream = Server::start(move |request| {
            note.lock().unwrap().push(request.clone());
            Reply::new(200, "reached")
        });
        Scene {
            around: Around::default(),
            seen,
            upstream,
        }
    }

    fn setup(&self, changes: Value, listeners: usize) -> Setup {
        let all = vec![configuration(changes); listeners];
        let setup = self.around.setup_of(Setup::new(all));
        setup.cluster("upstream", self.upstream.address())
    }

    fn reached(&self) -> Vec<Incoming> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Whatever Envoy does to a path before: nothing of an enforced route is reached without a
/// mandate by another spelling of it.
#[test]
fn an_enforced_route_stays_enforced_in_each_spelling() {
    let scene = Scene::new();
    let all = Paths::all();
    let routes = json!({"/pay": {"enforcement": "enforce"}, "/try": {}});
    let changes = json!({"enforcement": "shadow", "routes": routes});
    let envoy = scene.setup(changes, all.len()).paths(all.clone()).start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    for (number, paths) in all.iter().enumerate() {
        let edge = envoy.listener(number);
        for path in ["/x", "/try/1", "/payouts"] {
            let answer = Client::connect(edge).get(path, None, &FORGED);
            assert_eq!(answer.status, 200, "{path} {paths:?}");
            is_clean(&scene.reached()[0]);
        }
        for path in [
            "/pay",
            "/pay/1",
            "/PAY",
            "/Pay/1",
            "//pay",
            "/%70ay",
            "/%50AY",
            "/%2570ay",
            "/try/../pay",
            "/try/%2e%2e/pay",
            "/try/..%2fpay",
            "/try/..%5cpay",
            "/try/..\\pay",
            "/pay;a=b",
            "/PAY;a=b",
            "/pay.json",
            "/./pay",
            "/pay%2f1",
            "/pay%5c1",
            "/try%2f..%2fpay",
            "/try/../PAY",
            "/try/%252e%252e/pay",
            "/pay%00",
        ] {
            let answer = Client::connect(edge).get(path, None, &[]);
            // 307: Envoy sends the client to the path that it has unescaped.
            assert!(
                [307, 400, 401].contains(&answer.status),
                "{path} {} {paths:?}",
                answer.status
            );
            let reached = scene.reached();
            assert!(reached.is_empty(), "{path} {paths:?}: {reached:?}");
        }
    }
}

/// An STS that does not answer: requests wait as they would, and then go on.
#[test]
fn an_sts_that_is_silent_holds_nothing_for_good() {
    let scene = Scene::new();
    let silent = Server::start(|_| Reply::new(503, "").after(Duration::from_secs(600)));
    for (sts, what) in [
        (silent.address(), "silent"),
        (free_address(), "nobody is there"),
    ] {
        let changes = json!({"enforcement": "shadow", "limits": {"pause_timeout_ms": 500}});
        let setup = Setup::new([configuration(changes)]);
        let setup = setup.cluster("upstream", scene.upstream.address());
        let envoy = setup.cluster("sts", sts).start();
        let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
        let token = scene.around.mandate(json!({}));
        for _ in 0..3 {
            let answer = Client::connect(envoy.listener(0)).get("/x", Some(&token), &FORGED);
            assert_eq!(answer.status, 200, "{what}");
            is_clean(&scene.reached()[0]);
        }
        let metric =
            r#"caracal_decisions_total{outcome="shadow_refused",code="sts_unavailable"} 3"#;
        until(metric, SOON, || shown(&envoy, metric));
        assert_eq!(envoy.metric("caracal_paused_requests"), 0);
    }
}

/// A message is read as it would be, and reaches the server whole.
#[test]
fn a_message_of_mcp_reaches_the_server_whole() {
    let scene = Scene::new();
    let changes = json!({
        "enforcement": "shadow",
        "routes": {"/mcp": {"mcp": {"tools": {"search": {}}, "body": true}}},
        "limits": {"max_body_bytes": 2048, "body_timeout_ms": 1000},
    });
    let envoy = scene.setup(changes, 1).shows_body().start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    let token = scene.around.mandate(json!({}));
    let call = |tool: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    };
    let bearer = format!("Bearer {token}");
    let post = |body: &str, length: usize| {
        let length = length.to_string();
        let headers = [
            &FORGED[..],
            &[
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("content-length", length.as_str()),
            ],
        ]
        .concat();
        [request("POST", "/mcp", &headers), body.as_bytes().to_vec()].concat()
    };
    until("a tool is called", SOON, || {
        let body = call("search");
        let mut client = Client::connect(envoy.listener(0));
        let answer = client.exchange(&post(&body, body.len())).unwrap();
        let reached = scene.reached();
        answer.status == 200 && reached[0].all("x-caracal-sub") == ["user-1"]
    });
    for (body, code) in [
        (call("drop"), "tool_denied"),
        ("no message".to_owned(), "invalid_request"),
        (call(&"x".repeat(3_000)), "body_too_large"),
    ] {
        let mut client = Client::connect(envoy.listener(0));
        let answer = client.exchange(&post(&body, body.len())).unwrap();
        assert_eq!(answer.status, 200, "{code}");
        let reached = scene.reached();
        is_clean(&reached[0]);
        assert_eq!(reached[0].body, body.as_bytes(), "{code}");
        let metric =
            format!(r#"caracal_decisions_total{{outcome="shadow_refused",code="{code}"}} 1"#);
        until(&metric, SOON, || shown(&envoy, &metric));
    }
    // The rest of this one comes when its time is over.
    let body = call("search");
    let (first, rest) = body.split_at(10);
    let slow = std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(envoy.listener(0)).unwrap();
            stream.write_all(&post(first, body.len())).unwrap();
            let late = r#"caracal_decisions_total{outcome="shadow_refused",code="body_timeout"} 1"#;
            until(late, SOON, || shown(&envoy, late));
            stream.write_all(rest.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            answer
        });
        slow.join().unwrap()
    });
    assert_eq!(&slow, b"HTTP/1.1 200");
    let reached = scene.reached();
    is_clean(&reached[0]);
    assert_eq!(reached[0].body, body.as_bytes());
}

/// The way of a rollout: shadow, then a part enforced, then all.
#[test]
fn a_listener_goes_from_shadow_to_enforcement() {
    let scene = Scene::new();
    let setup = |enforcement: &str, route: &str| {
        let routes = json!({"/pay": {"enforcement": route}});
        let changes = json!({"enforcement": enforcement, "routes": routes});
        let mut setup = scene.setup(changes, 1);
        setup.reloadable = true;
        setup
    };
    let envoy = setup("shadow", "shadow").start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    let status = |path: &str| {
        Client::connect(envoy.listener(0))
            .get(path, None, &[])
            .status
    };
    assert_eq!([status("/x"), status("/pay")], [200, 200]);
    until("the gauge says so", SOON, || {
        shown(&envoy, "caracal_shadow{} 1")
    });
    envoy.reconfigure(&setup("shadow", "enforce"));
    until("a part is enforced", SOON, || {
        [status("/x"), status("/pay")] == [200, 401]
    });
    assert_eq!(envoy.metric("caracal_shadow"), 1);
    envoy.reconfigure(&setup("enforce", "enforce"));
    until("all is enforced", SOON, || {
        [status("/x"), status("/pay")] == [401, 401]
    });
    // Once the listener before has drained.
    until("the gauge says so", SOON, || {
        shown(&envoy, "caracal_shadow{} 0")
    });
}

/// A real Envoy does not start with shadow in Gateway mode, and its log says why.
#[test]
fn gateway_mode_does_not_start_in_shadow() {
    let scene = Scene::new();
    let changes = json!({
        "enforcement": "shadow", "audience": null, "mode": "gateway",
        "revocation": {"upstream": "upstream", "token": "t"},
        "gateway": {"upstream": "upstream"},
        "resources": {"r": {"upstream_url": "https://a.test"}},
    });
    let log = scene.setup(changes, 1).start().map(|_| ()).unwrap_err();
    let line = "caracal: configuration: enforcement: shadow is not possible in Gateway mode";
    assert!(log.contains(line), "{log}");
}
