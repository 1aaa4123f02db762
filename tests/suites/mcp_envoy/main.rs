//! MCP through a real Envoy: messages that are read before anything of the request goes on,
//! in every way in which a body can come, and headers that decide instead.

mod framing;
mod http2;
mod unread;
mod upstream;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use caracal_tests::edge::Around;
use caracal_tests::envoy::{Envoy, Paths, Setup};
use caracal_tests::mint::configuration;
use caracal_tests::processes::until;
use caracal_tests::servers::{Client, Response};
use serde_json::{Value, json};

use http2::Http2;
use upstream::{Seen, Upstream};

const SOON: Duration = Duration::from_secs(20);
const VERSION: &str = "2026-07-28";
const REACHED: (u16, &str) = (200, "");

struct Scene {
    around: Around,
    upstream: Upstream,
    envoy: Envoy,
}

fn mcp(body: bool) -> Value {
    json!({"required_scopes": ["mcp:use"], "limits": {"body_timeout_ms": 700, "max_body_bytes": 4096},
    "routes": {"/mcp": {"mcp": {
        "tools": {"search": {}, "delete_all": {"required_scopes": ["mcp:delete"]}},
        "methods": {"resources/read": {"required_scopes": ["mcp:read"]}},
        "origins": ["https://app.example"], "body": body,
    }}}})
}

impl Scene {
    fn new(body: bool, shows_body: bool) -> Self {
        let (around, upstream) = (Around::default(), Upstream::start());
        let mut setup = around
            .setup_of(Setup::new([configuration(mcp(body))]))
            .paths([Paths::SHIPPED])
            .cluster("upstream", upstream.address);
        if shows_body {
            setup = setup.shows_body();
        }
        let envoy = setup.start().unwrap_or_else(|log| panic!("{log}"));
        Scene {
            around,
            upstream,
            envoy,
        }
    }

    fn token(&self, scope: &str) -> String {
        self.around.mandate(json!({"scope": scope}))
    }

    fn client(&self) -> Client {
        Client::connect(self.envoy.listener(0))
    }

    fn head(&self, method: &str, path: &str, scope: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: edge\r\n");
        head += &format!("authorization: Bearer {}\r\n", self.token(scope));
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    /// A request with a length.
    fn send(&self, method: &str, scope: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let head = self.head(method, "/mcp", scope, headers);
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        let whole = [head.as_bytes(), body].concat();
        self.client().exchange(&whole).unwrap()
    }

    fn post(&self, scope: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let all = [&[("content-type", "application/json")][..], headers].concat();
        said(&self.send("POST", scope, &all, body.as_bytes()))
    }

    /// A request that is begun: its head, chunked.
    fn begin(&self, scope: &str) -> TcpStream {
        let headers = [
            ("content-type", "application/json"),
            ("transfer-encoding", "chunked"),
        ];
        let head = self.head("POST", "/mcp", scope, &headers);
        let mut connection = TcpStream::connect(self.envoy.listener(0)).unwrap();
        let patience = Some(Duration::from_secs(20));
        connection.set_read_timeout(patience).unwrap();
        connection
            .write_all(format!("{head}\r\n").as_bytes())
            .unwrap();
        connection
    }

    /// Waits until Envoy has done whatever it does with what was sent before: several
    /// requests have gone through each of its workers since.
    fn settle(&self) {
        for _ in 0..8 {
            assert_eq!(
                self.client()
                    .get("/other", Some(&self.token("mcp:use")), &[])
                    .status,
                200
            );
        }
    }

    /// What has reached the server but for those.
    fn reached(&self) -> (usize, Vec<Seen>) {
        let (heads, seen) = self.upstream.taken();
        let is_other = |one: &&Seen| one.head.starts_with("get /other ");
        let others = seen.iter().filter(is_other).count();
        let rest = seen.iter().filter(|one| !is_other(one)).cloned();
        (heads - others, rest.collect())
    }
}

fn said(response: &Response) -> (u16, String) {
    (response.status, response.error())
}

fn chunk(mut connection: &TcpStream, text: &str) {
    let _ = write!(connection, "{:x}\r\n{text}\r\n", text.len());
}

fn answer(mut connection: TcpStream) -> String {
    let mut got = Vec::new();
    let mut part = [0; 4_096];
    loop {
        match connection.read(&mut part) {
            Ok(read @ 1..) => got.extend_from_slice(&part[..read]),
            Ok(_) | Err(_) => break,
        }
        let text = String::from_utf8_lossy(&got);
        if text.contains("reached") || text.contains("error_hint") {
            break;
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

fn message(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn call(tool: &str) -> String {
    message(
        "tools/call",
        &format!(r#"{{"name":"{tool}","arguments":{{"q":"é"}}}}"#),
    )
}

#[track_caller]
fn is(got: (u16, String), expected: (u16, &str)) {
    assert_eq!((got.0, got.1.as_str()), expected);
}

#[test]
fn the_message_decides_and_is_forwarded_byte_for_byte() {
    let scene = Scene::new(true, true);
    for (scope, body, expected) in [
        ("mcp:use", call("search"), REACHED),
        ("mcp:use", call("delete_all"), (403, "insufficient_scope")),
        ("mcp:use mcp:delete", call("delete_all"), REACHED),
        (
            "mcp:use",
            call("delete\\u005fall"),
            (403, "insufficient_scope"),
        ),
        ("mcp:use mcp:delete", call("Search"), (403, "tool_denied")),
        ("other", call("search"), (403, "insufficient_scope")),
        ("mcp:use", message("tools/list", "{}"), REACHED),
        (
            "mcp:use",
            format!(" \n{}\r\n ", message("tools/list", "{}")),
            REACHED,
        ),
        (
            "mcp:use",
            message("resources/read", r#"{"uri":"a"}"#),
            (403, "insufficient_scope"),
        ),
        (
            "mcp:use",
            call("search").replace("\"name\"", "\"name\":\"search\",\"n\\u0061me\""),
            (400, "invalid_request"),
        ),
        (
            "mcp:use",
            format!("[{}]", call("search")),
            (400, "invalid_request"),
        ),
        (
            "mcp:use",
            format!("{}{}", call("search"), call("delete_all")),
            (400, "invalid_request"),
        ),
        (
            "mcp:use",
            format!("\u{feff}{}", call("search")),
            (400, "invalid_request"),
        ),
        ("mcp:use", String::new(), (400, "invalid_request")),
        (
            "mcp:use",
            message(
                "tools/call",
                &format!(r#"{{"name":"search","a":"{}"}}"#, "x".repeat(4_096)),
            ),
            (413, "body_too_large"),
        ),
    ] {
        // The second time the mandate is known.
        for _ in 0..2 {
            is(scene.post(scope, &[], &body), expected);
            let (heads, seen) = scene.reached();
            assert_eq!(heads, usize::from(expected == REACHED), "{body}");
            if expected == REACHED {
                assert_eq!(seen[0].body, body.as_bytes());
                assert!(seen[0].head.contains("x-caracal-sub: user-1"));
            }
        }
    }
    let log = || scene.envoy.access_log();
    until("the log is written", SOON, || log().len() >= 30);
    let log = log();
    let denied = log
        .iter()
        .find(|line| line["caracal_error"] == "tool_denied")
        .unwrap();
    assert_eq!(denied["details"], "caracal_tool_denied");
    assert_eq!(denied["caracal_client_id"], "app-1");
    assert!(
        log.iter()
            .any(|line| line["caracal_error"] == "body_too_large" && line["status"] == 413)
    );
}

#[test]
fn what_the_server_could_read_otherwise_is_refused() {
    let scene = Scene::new(true, true);
    let all = "mcp:use mcp:delete mcp:read";
    for headers in [
        &[("mcp-method", "tools/list")][..],
        &[("mcp-name", "delete_all")],
        &[("mcp-name", "search"), ("mcp-name", "search")],
        &[("mcp-method", "Tools/Call")],
        &[("mcp-name", "=?base64?c2VhcmN?=")],
        &[("mcp_name", "delete_all")],
        &[("content-encoding", "gzip")],
        &[("content-type", "text/plain")],
        &[("x-http-method-override", "GET")],
    ] {
        is(
            scene.post(all, headers, &call("search")),
            (400, "invalid_request"),
        );
    }
    for kind in [
        "text/plain",
        "application/json; charset=utf-16",
        "application/jsonx",
    ] {
        let response = scene.send(
            "POST",
            all,
            &[("content-type", kind)],
            call("search").as_bytes(),
        );
        is(said(&response), (400, "invalid_request"));
    }
    is(
        scene.post(
            all,
            &[
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?c2VhcmNo?="),
            ],
            &call("search"),
        ),
        REACHED,
    );
    scene.reached();
    is(
        scene.post(all, &[("origin", "null")], &call("search")),
        (403, "origin_denied"),
    );
    is(
        scene.post(
            all,
            &[
                ("origin", "https://app.example"),
                ("origin", "https://app.example"),
            ],
            &call("search"),
        ),
        (403, "origin_denied"),
    );
    let with_body = scene.send(
        "GET",
        all,
        &[("content-type", "application/json")],
        call("delete_all").as_bytes(),
    );
    is(said(&with_body), (400, "invalid_request"));
    let without_mandate = {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: e\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        said(&scene.client().exchange(head.as_bytes()).unwrap())
    };
    is(without_mandate, (401, "missing_token"));
    for path in [
        "//mcp",
        "/x/../mcp",
        "/mcp;a",
        "/%6dcp",
        "/mcp.json",
        "/mcp%2f",
    ] {
        let head = scene.head("POST", path, all, &[("content-type", "application/json")]);
        let body = call("Drop");
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let status = scene.client().exchange(whole.as_bytes()).unwrap().status;
        assert!(matches!(status, 400 | 403), "{path} {status}");
    }
    assert_eq!(scene.reached().0, 0);
}
