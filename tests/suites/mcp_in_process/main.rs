//! MCP in the in-process hosts: what the headers decide in each of them, what the message
//! decides in Envoy, and that nothing goes on before it is decided.

mod message;

use std::time::Duration;

use caracal_tests::host::{Answer, Outcome, Proxy, Request, Stream};
use caracal_tests::hosts::{ALL, ENVOY, On, outcome};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
const VERSION: &str = "2026-07-28";

fn mcp(body: bool) -> Value {
    json!({"required_scopes": ["mcp:use"], "routes": {
        "/mcp": {"mcp": {
            "tools": {"search": {}, "delete_all": {"required_scopes": ["mcp:delete"]}},
            "methods": {"resources/read": {"required_scopes": ["mcp:read"]}},
            "origins": ["https://app.example"],
            "body": body,
        }},
    }})
}

struct Edge {
    on: On,
    proxy: Proxy,
}

impl Edge {
    fn start(on: On, changes: Value) -> Self {
        let proxy = on
            .builder(&on.configuration(changes))
            .wall(Duration::from_secs(START))
            .on_callout(|_| Answer::json(&key_set(&[&Key::new("k1", 1)])));
        let proxy = match on {
            ENVOY => proxy.shows_body(),
            _ => proxy,
        };
        let mut proxy = proxy.start().unwrap();
        proxy.advance(Duration::from_millis(100));
        Edge { on, proxy }
    }

    fn ask(&mut self, request: &Request) -> (u32, String) {
        let last = *self.on.send(&mut self.proxy, 0, request).last().unwrap();
        outcome(&self.proxy, last)
    }

    /// A request of which more comes. The first VM gets it.
    fn begin(&mut self, request: Request) -> Stream {
        self.proxy.request(0, request)
    }

    fn is_held(&self, stream: Stream) -> bool {
        self.proxy.outcome(stream).is_paused() && self.proxy.upstream(stream).is_none()
    }
}

fn token(scope: &str) -> String {
    Key::new("k1", 1).mandate(START, json!({"scope": scope}))
}

fn with(mut request: Request, headers: &[(&str, &str)]) -> Request {
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
}

/// A call as a client of the newest version makes it.
fn call(tool: &str, scope: &str) -> Request {
    let request = Request::new("POST", "/mcp").bearer(token(scope));
    with(
        request,
        &[
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
        ],
    )
    .body("the edge does not read this")
}

fn ok() -> (u32, String) {
    (200, String::new())
}

fn refused(status: u32, error: &str) -> (u32, String) {
    (status, error.to_owned())
}

#[test]
fn a_tool_needs_what_the_route_and_the_tool_need() {
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        // The same mandate twice: what is known of it is not what it may do.
        for _ in 0..2 {
            assert_eq!(edge.ask(&call("search", "mcp:use")), ok(), "{on:?}");
            for (tool, scope, answer) in [
                ("delete_all", "mcp:use mcp:delete", ok()),
                ("delete_all", "mcp:use", refused(403, "insufficient_scope")),
                (
                    "delete_all",
                    "mcp:delete",
                    refused(403, "insufficient_scope"),
                ),
                ("search", "mcp:delete", refused(403, "insufficient_scope")),
                ("Search", "mcp:use mcp:delete", refused(403, "tool_denied")),
                (
                    "drop_all",
                    "mcp:use mcp:delete",
                    refused(403, "tool_denied"),
                ),
                // What is not listed is not told to whom the route would refuse.
                ("drop_all", "other", refused(403, "insufficient_scope")),
            ] {
                assert_eq!(
                    edge.ask(&call(tool, scope)),
                    answer,
                    "{on:?} {tool} {scope}"
                );
            }
        }
        let bad = Request::new("POST", "/mcp").bearer("a.b.c");
        let bad = with(
            bad,
            &[
                ("mcp-protocol-version", VERSION),
                ("mcp-method", "tools/call"),
                ("mcp-name", "drop_all"),
            ],
        );
        assert_eq!(edge.ask(&bad).0, 401);
        edge.proxy.assert_clean();
    }
}

#[test]
fn a_challenge_names_all_scopes_of_the_operation() {
    let mut edge = Edge::start(ENVOY, mcp(false));
    let stream = edge.begin(call("delete_all", "mcp:use"));
    let Outcome::Replied(reply) = edge.proxy.outcome(stream) else {
        panic!("it is refused");
    };
    let challenge = reply.headers.text("www-authenticate").unwrap();
    assert!(
        challenge.ends_with(r#"scope="mcp:use mcp:delete""#),
        "{challenge}"
    );
}

#[test]
fn headers_that_do_not_say_what_the_body_does_are_refused() {
    let said = [
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "search"),
    ];
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        let all = token("mcp:use mcp:delete mcp:read");
        let mut post = |headers: &[(&str, &str)]| {
            edge.ask(&with(Request::new("POST", "/mcp").bearer(&all), headers).body("{}"))
        };
        assert_eq!(post(&said), ok(), "{on:?}");
        let invalid = refused(400, "invalid_request");
        for headers in [
            &[][..],
            &said[1..],
            &[("mcp-protocol-version", "2025-11-25"), said[1], said[2]],
            &[said[0], said[0], said[1], said[2]],
            &[
                said[0],
                ("mcp-protocol-version", "2025-06-18"),
                said[1],
                said[2],
            ],
            &[said[0], said[1], said[1], said[2]],
            &[said[0], ("mcp-method", "tools/list"), said[1], said[2]],
            &[said[0], said[1], said[2], ("mcp-name", "delete_all")],
            &[said[0], said[1]],
            &[said[0], said[2]],
            &[said[0], ("mcp-method", "Tools/Call"), said[2]],
            &[said[0], said[1], ("mcp-name", "=?base64?c2VhcmN?=")],
            &[
                said[0],
                ("mcp-method", "tools/list"),
                ("mcp_method", "tools/call"),
            ],
            &[said[0], said[1], said[2], ("x-http-method-override", "GET")],
        ] {
            assert_eq!(post(headers), invalid, "{on:?} {headers:?}");
        }
        edge.proxy.assert_clean();
    }
}

/// The next hop removes what `Connection` lists: nginx itself, or a proxy behind. A server of
/// two versions would then run the tool that the message alone names.
#[test]
fn what_was_judged_must_arrive() {
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        let list = [
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/list"),
        ];
        let request = || {
            let request = Request::new("POST", "/mcp").bearer(token("mcp:use"));
            with(request, &list).body("the next hop removes")
        };
        assert_eq!(edge.ask(&request().header("connection", "close")), ok());
        for listed in [
            "mcp-protocol-version, mcp-method, mcp-name",
            "close, Mcp-Method",
            "mcp-session-id",
            "origin",
            "content-type",
        ] {
            assert_eq!(
                edge.ask(&request().header("connection", listed)),
                refused(400, "invalid_request"),
                "{on:?} {listed}"
            );
        }
        edge.proxy.assert_clean();
    }
}

#[test]
fn an_upgrade_gets_around_no_rule() {
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        let get = |path: &str| with(Request::get(path).bearer(token("mcp:use")), &upgrade);
        assert_eq!(
            edge.ask(&get("/mcp")),
            refused(400, "invalid_request"),
            "{on:?}"
        );
        assert_eq!(edge.ask(&get("/other")), ok(), "{on:?}");
        let post = with(call("search", "mcp:use"), &upgrade);
        assert_eq!(edge.ask(&post), refused(400, "invalid_request"), "{on:?}");
        edge.proxy.assert_clean();
    }
}

#[test]
fn what_has_no_message_needs_what_the_route_needs() {
    for on in ALL {
        for body in [false, on == ENVOY] {
            let mut edge = Edge::start(on, mcp(body));
            for method in ["GET", "DELETE"] {
                let of = |scope: &str| Request::new(method, "/mcp").bearer(token(scope));
                assert_eq!(edge.ask(&of("mcp:use")), ok());
                assert_eq!(edge.ask(&of("other")), refused(403, "insufficient_scope"));
                let session = [
                    ("mcp-session-id", "1"),
                    ("mcp-protocol-version", "2025-06-18"),
                ];
                assert_eq!(edge.ask(&with(of("mcp:use"), &session)), ok());
                let long = of("mcp:use").header("content-length", "5");
                assert_eq!(
                    edge.ask(&long),
                    refused(400, "invalid_request"),
                    "{on:?} {method}"
                );
                let other = of("mcp:use").header("x-http-method-override", "POST");
                assert_eq!(edge.ask(&other), refused(400, "invalid_request"));
            }
            let lower = Request::new("post", "/mcp").bearer(token("mcp:use"));
            assert_eq!(edge.ask(&lower), refused(400, "invalid_request"));
            edge.proxy.assert_clean();
        }
    }
    // Envoy says that a body follows, although no header does.
    let mut edge = Edge::start(ENVOY, mcp(false));
    let open = Request::get("/mcp").bearer(token("mcp:use")).open();
    let stream = edge.begin(open);
    assert_eq!(
        outcome(&edge.proxy, stream),
        refused(400, "invalid_request")
    );
}

#[test]
fn an_origin_is_looked_at_before_the_mandate() {
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        let from = |request: Request, origins: &[&str]| {
            let add = |request: Request, origin: &&str| request.header("origin", origin);
            origins.iter().fold(request, add)
        };
        let denied = refused(403, "origin_denied");
        for bad in [
            &["null"][..],
            &["https://evil.example"],
            &[""],
            &["https://app.example", "null"],
            &["https://app.example", "https://app.example"],
            &["https://app.example, null"],
        ] {
            assert_eq!(
                edge.ask(&from(call("search", "mcp:use"), bad)),
                denied,
                "{on:?} {bad:?}"
            );
            assert_eq!(
                edge.ask(&from(Request::get("/mcp"), bad)),
                denied,
                "{on:?} {bad:?}"
            );
        }
        let good = ["https://app.example"];
        assert_eq!(edge.ask(&from(call("search", "mcp:use"), &good)), ok());
        assert_eq!(edge.ask(&from(Request::get("/mcp"), &good)).0, 401);
        // Other routes have no list.
        let elsewhere = Request::get("/").bearer(token("mcp:use"));
        assert_eq!(edge.ask(&from(elsewhere, &["null"])), ok());
        edge.proxy.assert_clean();
    }
}

#[test]
fn headers_of_mcp_are_forwarded_as_they_came() {
    let mut edge = Edge::start(ENVOY, mcp(false));
    let request = call("=?base64?c2VhcmNo?=", "mcp:use");
    let request = with(
        request,
        &[("Mcp-Param-Region", "eu, \"x\""), ("mcp-session-id", "s")],
    );
    let stream = edge.begin(request);
    let headers = &edge.proxy.upstream(stream).unwrap().headers;
    for (name, value) in [
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "=?base64?c2VhcmNo?="),
        ("mcp-param-region", "eu, \"x\""),
        ("mcp-session-id", "s"),
    ] {
        assert_eq!(headers.text(name), Some(value), "{name}");
    }
}

#[test]
fn paths_that_are_almost_the_route_are_not_another() {
    for on in ALL {
        let mut edge = Edge::start(on, mcp(false));
        for path in ["/mcp/", "/mcp/1", "/mcp?x=/"] {
            let plain = Request::new("POST", path).bearer(token("mcp:use"));
            assert_eq!(
                edge.ask(&plain),
                refused(400, "invalid_request"),
                "{on:?} {path}"
            );
        }
        for path in [
            "//mcp",
            "/%6dcp",
            "/x/../mcp",
            "/mcp;a=b",
            "/mcp.json",
            "/./mcp",
        ] {
            let plain = Request::new("POST", path).bearer(token("mcp:use"));
            assert_eq!(edge.ask(&plain).0, 400, "{on:?} {path}");
        }
        // Servers that ignore case serve these too.
        for path in [
            "/MCP",
            "/Mcp/",
            "/mcP/1",
            "/%4dCP",
            "/MCP.json",
            "/x/../MCP",
        ] {
            let plain = Request::new("POST", path).bearer(token("mcp:use"));
            assert_eq!(
                edge.ask(&plain),
                refused(400, "invalid_request"),
                "{on:?} {path}"
            );
        }
        for path in ["/other", "/MCPS", "/Other/MCP"] {
            let other = Request::new("POST", path).bearer(token("mcp:use"));
            assert_eq!(edge.ask(&other), ok(), "{on:?} {path}");
        }
    }
}
