//! Who may see the page, and what other sites can do with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_tests::mint::now;
use caracal_tests::processes::form;
use caracal_tests::processes::{Redis, free_port_everywhere, until};
use caracal_tests::servers::{Client, Reply, Response, Server, request};

use super::browser::Browser;
use super::form::{judging, judging_with};
use super::*;

const PATHS: [&str; 4] = ["/", "/status", "/page.js", "/page.css"];

fn ask(companion: &Companion, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut client = Client::connect(companion.address);
    client.exchange(&request("GET", path, headers)).unwrap()
}

fn send(companion: &Companion, body: &[u8], headers: &[(&str, &str)]) -> Response {
    let size = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("content-length", &size));
    let mut bytes = request("POST", "/explain", &headers);
    bytes.extend_from_slice(body);
    Client::connect(companion.address).exchange(&bytes).unwrap()
}

#[test]
fn only_names_of_this_machine_are_answered() {
    let companion = alone(&["--page-host", "Edge-7.internal"]);
    let port = companion.address.port();
    for good in [
        format!("127.0.0.1:{port}"),
        "localhost".to_owned(),
        "LOCALHOST:1".to_owned(),
        "[::1]:7700".to_owned(),
        "edge-7.internal:7700".to_owned(),
    ] {
        for path in PATHS {
            let answer = ask(&companion, path, &[("host", &good)]);
            assert_eq!(answer.status, 200, "{good} {path}");
        }
    }
    for bad in [
        "evil.test",
        "evil.test:7700",
        "localhost.evil.test",
        "evil.localhost",
        "127.0.0.1.evil.test",
        "10.0.0.1",
        "127.0.0.1:x",
        "user@localhost",
        "localhost:1:2",
        "[::1",
        "[::2]",
        "[localhost]x",
        "",
    ] {
        for path in PATHS {
            let answer = ask(&companion, path, &[("host", bad)]);
            assert_eq!(answer.status, 421, "{bad} {path}");
        }
    }
    let two = [("host", "localhost"), ("host", "evil.test")];
    assert_eq!(ask(&companion, "/", &two).status, 421);
    // Filters and probes name it as they like, and docs/page.md warns of that.
    for path in ["/readyz", "/v1/audit/recent"] {
        assert_eq!(ask(&companion, path, &[("host", "evil.test")]).status, 200);
    }
}

#[test]
fn every_answer_is_kept_to_itself() {
    let companion = alone(&[]);
    let own = [("host", "localhost")];
    let foreign = [("host", "evil.test")];
    let answers = PATHS
        .map(|path| ask(&companion, path, &own))
        .into_iter()
        .chain([
            ask(&companion, "/", &foreign),
            ask(&companion, "/explain", &own),
            send(&companion, b"request=x", &own),
        ]);
    for answer in answers {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn only_the_form_of_the_page_is_answered_and_it_is_bounded() {
    let (companion, _) = judging();
    let own = [
        ("host", "localhost:7700"),
        ("origin", "http://localhost:7700"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let with = |changes: &[(usize, &'static str)]| {
        let mut headers = own.to_vec();
        for (n, value) in changes {
            headers[*n].1 = value;
        }
        headers
    };
    let head = b"request=GET+/x+HTTP/1.1%0d%0aHost:+edge.test%0d%0a";
    let status = |body: &[u8], headers: &[(&str, &str)]| send(&companion, body, headers).status;
    assert_eq!(status(head, &own), 200);
    assert_eq!(status(head, &with(&[(1, "http://evil.test")])), 403);
    assert_eq!(status(head, &with(&[(1, "null")])), 403);
    assert_eq!(status(head, &own[..1]), 403);
    let mut site = own.to_vec();
    site.push(("sec-fetch-site", "cross-site"));
    assert_eq!(status(head, &site), 403);
    assert_eq!(status(head, &with(&[(2, "text/plain")])), 415);
    assert_eq!(status(b"other=x", &own), 400);
    assert_eq!(status(b"request=no+request", &own), 422);
    assert_eq!(status(b"", &own), 400);
    assert_eq!(status(&vec![b'a'; 64 * 1024 + 1], &own), 413);
    let mut long = head.to_vec();
    long.resize(64 * 1024, b'a');
    assert_eq!(status(&long, &own), 422);
    assert_eq!(ask(&companion, "/explain", &own[..1]).status, 405);
    let log = companion.log();
    assert!(!log.contains("edge.test"), "{log}");
}

/// Neither the log nor the answer has a part of a token, wherever else its parts stand, and
/// whatever white space was pasted with it.
#[test]
fn no_part_of_a_token_is_logged_or_shown() {
    let detailed = ["--log-level", "debug"];
    let (judges, key) = judging_with(&detailed);
    let reads = alone(&detailed);
    let headers = [
        ("host", "localhost"),
        ("origin", "http://localhost"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let token = key.mandate(now(), json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    for companion in [&judges, &reads] {
        for blank in ["", "\u{a0}", "\u{2003}"] {
            let head = format!(
                "GET /x HTTP/1.1\r\nHost: {}\r\n{blank}Authorization{blank}: Bearer {token}\r\nX-Caracal-Resource: {}\r\n",
                parts[2], parts[1],
            );
            let body = form(&[("request", &head)]);
            let answer = send(companion, body.as_bytes(), &headers);
            assert_eq!(answer.status, 200);
            let said = String::from_utf8(answer.body).unwrap();
            // It was read as the token.
            assert!(said.contains("&quot;k1&quot;"), "{blank:?}");
            for part in &parts {
                assert!(!said.contains(part), "{blank:?}: {part} is in {said}");
            }
        }
        let broken = form(&[("request", &format!("Authorization: Bearer {token}"))]);
        assert_eq!(send(companion, broken.as_bytes(), &headers).status, 422);
        let log = companion.log();
        assert!(log.contains("listening"), "{log}");
        for part in &parts {
            assert!(!log.contains(part), "{part} is in {log}");
        }
    }
}

#[test]
fn with_a_token_it_is_the_password() {
    let redis = Redis::default();
    let companion = Companion::of(&redis.url()).token("se:cret").started();
    let with = |path: &str, authorization: &str| {
        let headers = [("host", "localhost"), ("authorization", authorization)];
        ask(&companion, path, &headers).status
    };
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    for path in PATHS {
        let answer = ask(&companion, path, &[("host", "localhost")]);
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(companion.metric("caracal_feed_unauthorized_total"), 0.0);
    for path in PATHS {
        assert_eq!(with(path, "Bearer se:cret"), 200);
        assert_eq!(with(path, &basic("anybody:se:cret")), 200);
        assert_eq!(with(path, &basic(":se:cret")), 200);
        for wrong in [
            "Bearer secret",
            "Basic se:cret",
            &basic("se:cret"),
            &basic("se:cret:"),
            &basic("x:"),
        ] {
            assert_eq!(with(path, wrong), 401, "{wrong}");
        }
    }
    assert_eq!(companion.metric("caracal_feed_unauthorized_total"), 20.0);
    // A browser's credentials are good for the page alone.
    assert_eq!(with("/v1/feed", &basic("x:se:cret")), 401);
    let form = [
        ("host", "localhost"),
        ("origin", "http://localhost"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    assert_eq!(send(&companion, b"request=x", &form).status, 401);

    let browser = Browser::start();
    let signed_in = format!("http://x:se%3Acret@{}/", companion.address);
    browser.open(&signed_in);
    until("it is shown", SOON, || {
        browser.text("#verdict h2").starts_with("Ready")
    });
}

#[test]
fn beyond_loopback_there_is_no_page_without_a_token() {
    let redis = Redis::default();
    let (status, log) = Companion::of(&redis.url())
        .with(&["--page-host", "edge.test"])
        .listening_at("0.0.0.0:0")
        .fails();
    assert_ne!(status, Some(0));
    assert!(
        log.contains("is not on loopback: set CARACAL_FEED_TOKEN"),
        "{log}"
    );
}

#[test]
fn beyond_loopback_the_token_opens_it_under_an_address() {
    let (redis, port) = (Redis::default(), free_port_everywhere());
    let companion = Companion::of(&redis.url())
        .listening_at(&format!("0.0.0.0:{port}"))
        .token("secret")
        .started();
    let with = |host: &str, authorization: &str| {
        let headers = [("host", host), ("authorization", authorization)];
        ask(&companion, "/", &headers).status
    };
    for host in ["10.9.8.7:7700", "localhost", "[2001:db8::1]"] {
        assert_eq!(with(host, "Bearer secret"), 200, "{host}");
        assert_eq!(with(host, "Bearer other"), 401, "{host}");
        assert_eq!(ask(&companion, "/", &[("host", host)]).status, 401);
    }
    assert_eq!(with("evil.test", "Bearer secret"), 421);
}

/// What a site of somebody else can do in a browser that also sees the page.
#[test]
fn another_site_reads_and_sends_nothing() {
    let companion = alone(&[]);
    post(
        &companion,
        &[refused(1, json!({"request_id": "a-secret-id"}))],
    );
    let address = companion.address;
    let page = format!(
        "<!DOCTYPE html><title>other</title>\
        <form id=f method=post action='http://{address}/explain'><textarea name=request>GET / HTTP/1.1</textarea></form>\
        <iframe id=i src='http://{address}/'></iframe>\
        <script>window.got = 'nothing yet';\
        fetch('http://{address}/', {{credentials: 'include'}}).then(a => a.text()).then(t => window.got = t, e => window.got = 'refused');\
        window.blind = 'nothing yet';\
        fetch('http://{address}/status', {{mode: 'no-cors'}}).then(a => window.blind = a.type, e => window.blind = 'refused');\
        </script>"
    );
    let other =
        Server::start(move |_| Reply::new(200, page.clone()).header("content-type", "text/html"));
    let rules = "--host-resolver-rules=MAP evil.test 127.0.0.1";
    let browser = Browser::with(&[rules], true);
    let site = format!("http://evil.test:{}/", other.address().port());
    browser.open(&site);
    until("it cannot be read", SOON, || {
        browser.run("return window.got") == "refused"
    });
    until("it cannot be had unread either", SOON, || {
        browser.run("return window.blind") == "refused"
    });
    until("the frame stays empty", SOON, || {
        let complaints = browser.complaints().join("\n");
        complaints.contains("frame") || complaints.contains("ERR_BLOCKED_BY_RESPONSE")
    });
    browser.run("document.getElementById('f').submit()");
    until("its form is refused", SOON, || {
        browser
            .text("body")
            .contains("Only the form on this page may be sent here.")
    });
    // A name of its own that leads here does not make it this page.
    browser.open(&format!("http://evil.test:{}/", address.port()));
    let said = browser.text("body");
    assert!(said.contains("This page is for localhost"), "{said}");
    assert!(!browser.source().contains("a-secret-id"));
    browser.open(&url(&companion, "/"));
    assert!(browser.source().contains("a-secret-id"));
}
