//! Published gRPC and WebSocket clients and servers, through a real Envoy with a real Redis and
//! the companion: what each of them gets when its session is revoked. Needs a Python for them;
//! where `REQUIRE_ORACLE` is set, as in CI, there must be one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::Setup;
use caracal_tests::mint::configuration;
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::get;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const CASES: [&str; 15] = [
    "unary",
    "server_silent",
    "server_silent_after_first",
    "server_talks_after_first",
    "client_silent",
    "client_talks",
    "both_silent_after_first",
    "both_talk_after_first",
    "one_sided",
    "socket_silent",
    "socket_server_talks",
    "socket_client_talks",
    "socket_both_talk",
    "web",
    "web_text",
];

/// clients.py, which says a line and is told one.
struct Clients {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Clients {
    fn start() -> Self {
        let script = caracal_tests::root().join("tests/conformance/oracle/run.py");
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut child = Command::new(python)
            .arg(script)
            .arg("streams")
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Clients {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// `None` where there is no Python for it.
    fn said(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line).unwrap() > 0 {
            return Some(serde_json::from_str(&line).unwrap());
        }
        let code = self.child.wait().unwrap().code();
        let is_skipped = code == Some(3) && std::env::var_os("REQUIRE_ORACLE").is_none();
        assert!(is_skipped, "clients.py has ended: {code:?}");
        println!("skipped: no Python for the clients");
        None
    }

    fn tell(&mut self, what: &Value) {
        writeln!(self.input, "{what}").unwrap();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_of_streams_learn_that_they_were_revoked() {
    let mut clients = Clients::start();
    let Some(ports) = clients.said() else { return };
    let port = |name: &str| {
        let port = ports[name].as_u64().unwrap().try_into().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    };
    let redis = Redis::default();
    let around = Around::default();
    let companion = Companion::of(&redis.url()).started();
    let revocation = json!({"upstream": "feed", "max_staleness_s": 600, "poll_interval_ms": 200});
    let mut setup = around
        .setup_of(Setup::new([configuration(
            json!({"revocation": revocation}),
        )]))
        .http2_cluster("grpc", port("grpc"))
        .cluster("socket", port("socket"))
        .cluster("feed", companion.address)
        .virtual_hosts(json!([{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/warm"}, "direct_response": {"status": 200}},
            {"match": {"prefix": "/socket"}, "route": {"cluster": "socket"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "grpc", "timeout": "0s"}},
        ]}]));
    setup.grpc_web = true;
    let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
    let edge = envoy.listener(0);
    let token = |sid: &str| around.mandate(json!({"sid": sid, "root_sid": sid}));
    until("the edge is warm", SOON, || {
        (0..8).all(|_| get(edge, "/warm", Some(&token("warm"))).status == 200)
    });
    let all = CASES.iter().chain(&["stays"]);
    let tokens: serde_json::Map<String, Value> = all
        .map(|case| ((*case).to_owned(), json!(token(case))))
        .collect();
    clients.tell(&json!({"edge": edge.to_string(), "tokens": tokens, "silence": 1.5}));
    clients.said().unwrap();
    for case in CASES {
        let _: String = redis.ask(&["XADD", "caracal.sessions.revoke", "*", "session_id", case]);
    }
    clients.tell(&json!({}));
    let got = clients.said().unwrap();
    assert_eq!(got["early"], json!({}), "nothing ends before it is revoked");
    assert_eq!(got["stays"], true, "what is not revoked goes on: {got}");

    // Where no response has begun, the status and the trailers are ours.
    for case in [
        "unary",
        "server_silent",
        "client_silent",
        "client_talks",
        "one_sided",
    ] {
        let end = &got["clients"][case];
        assert_eq!(end["status"], "UNAUTHENTICATED", "{case}: {got}");
        assert_eq!(end["revoked"], "true", "{case}: {got}");
        let details = end["details"].as_str().unwrap();
        assert!(
            details.starts_with("session_revoked: "),
            "{case}: {details}"
        );
    }
    // Afterwards there is only a reset, and never an end as if it were complete.
    for case in [
        "server_silent_after_first",
        "server_talks_after_first",
        "both_silent_after_first",
        "both_talk_after_first",
    ] {
        let status = &got["clients"][case]["status"];
        assert_eq!(status, "INTERNAL", "{case}: {got}");
    }
    for case in CASES.iter().filter(|case| !case.starts_with("socket")) {
        assert_eq!(got["servers"][case], "cancelled", "{case}: {got}");
    }
    assert_eq!(got["again"]["status"], "UNAUTHENTICATED", "{got}");

    let told = json!({"code": 1008, "reason": "session_revoked"});
    for case in [
        "socket_server_talks",
        "socket_client_talks",
        "socket_both_talk",
    ] {
        assert_eq!(got["clients"][case], told, "{case}: {got}");
    }
    assert_eq!(
        got["clients"]["socket_silent"]["code"],
        Value::Null,
        "{got}"
    );
    assert_eq!(got["servers"]["socket_client_talks"], 1008, "{got}");

    for case in ["web", "web_text"] {
        let end = &got["clients"][case];
        assert_eq!(end["status"], "16", "{case}: {got}");
        assert_eq!(
            (&end["revoked"], &end["rest"]),
            (&json!("true"), &json!(0)),
            "{case}: {got}"
        );
    }
    let metric = "caracal_streams_cut_total.reason=session_revoked";
    until("all are counted", SOON, || {
        envoy.metric(metric) == CASES.len() as u64
    });
}
