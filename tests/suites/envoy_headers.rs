//! Headers that attack, in a real Envoy: what the upstream sees of them, and the logs.

use caracal_tests::edge::Recording;
use caracal_tests::mint::now;
use caracal_tests::servers::request;
use serde_json::{Value, json};

fn edge() -> Recording {
    let changes = json!({"exclude": ["/open"], "limits": {"max_token_bytes": 65_536}});
    Recording::start(changes, &[])
}

/// Status and error of raw bytes on a connection of their own.
fn send(edge: &Recording, bytes: &[u8]) -> (u16, String) {
    let answer = edge.client().exchange(bytes).unwrap();
    (answer.status, answer.error())
}

fn with_claims(edge: &Recording, changes: Value) -> String {
    format!("Bearer {}", edge.key.mandate(now(), changes))
}

/// A request with one header as bytes.
fn raw(name: &[u8], value: &[u8]) -> Vec<u8> {
    let head = b"GET / HTTP/1.1\r\nhost: edge.test\r\n";
    [head, name, b": ", value, b"\r\n\r\n"].concat()
}

#[test]
fn credentials_that_are_none() {
    let edge = edge();
    let good = with_claims(&edge, json!({}));
    let token = good.strip_prefix("Bearer ").unwrap();
    let long = |size: usize| format!("Bearer {}", "a".repeat(size));
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (raw(b"authorization", b""), 401),
        (raw(b"authorization", b" \t "), 401),
        (raw(b"authorization", b"Bearer"), 401),
        (raw(b"authorization", b"Bearer\t"), 401),
        (raw(b"authorization", b"Bearer \xff\xfe.\x80.\xc0"), 401),
        (
            raw(b"authorization", format!("Bearer\u{a0}{token}").as_bytes()),
            401,
        ),
        (
            raw(b"authorization", format!("Basic x, {good}").as_bytes()),
            401,
        ),
        (raw(b"authorization", format!("{good},").as_bytes()), 401),
        (
            raw(b"authorization", format!("{good} {token}").as_bytes()),
            401,
        ),
        (raw(b"authorization", format!("{good}\"").as_bytes()), 401),
        (raw(b"authorization", format!("{good}=").as_bytes()), 401),
        (raw(b"authorization", long(50_000).as_bytes()), 401),
        // Over what Envoy takes of headers.
        (raw(b"authorization", long(64_000).as_bytes()), 431),
        (raw(b"proxy-authorization", good.as_bytes()), 401),
        (raw(b"x-authorization", good.as_bytes()), 401),
        (raw(b"authorization_", good.as_bytes()), 401),
        (
            raw(b"cookie", format!("authorization={good}").as_bytes()),
            401,
        ),
        (request("GET", &format!("/?access_token={token}"), &[]), 401),
    ];
    for (bytes, status) in cases {
        let shown = String::from_utf8_lossy(&bytes[32..bytes.len().min(60)]).into_owned();
        assert_eq!(send(&edge, &bytes).0, status, "{shown:?}");
    }
    assert!(edge.reached().is_empty());
    assert_eq!(send(&edge, &raw(b"AUTHORIZATION", good.as_bytes())).0, 200);
}

#[test]
fn nobody_else_speaks_in_our_namespace() {
    let edge = edge();
    let names = [
        "x-caracal-sub",
        "X-Caracal-Sub",
        "x_caracal_sub",
        "X-CARACAL_SUB",
        "x-caracal_sub",
        "x.caracal.sub",
        "x-caracal-",
        "X_Caracal_Client_Id",
        "x-caracal-new",
        "x~caracal~sub",
    ];
    for name in names {
        let forged = [(name, "forged"), ("x-other", "kept")];
        let good = with_claims(&edge, json!({}));
        let mut with_mandate = forged.to_vec();
        with_mandate.push(("authorization", &good));
        assert_eq!(
            send(&edge, &request("GET", "/open", &forged)).0,
            200,
            "{name}"
        );
        assert_eq!(
            send(&edge, &request("GET", "/", &with_mandate)).0,
            200,
            "{name}"
        );
        let reached = edge.reached();
        assert_eq!(reached.len(), 2);
        for request in &reached {
            assert!(
                request.headers.iter().all(|(_, value)| value != "forged"),
                "{name}"
            );
            assert_eq!(request.all("x-other"), ["kept"]);
        }
        assert_eq!(reached[1].all("x-caracal-sub"), ["user-1"], "{name}");
    }
}

/// A hop that is told to drop our headers would leave the upstream without the
/// principal, or with the forged one that stood behind it.
#[test]
fn connection_does_not_name_our_headers_away() {
    let edge = edge();
    let good = with_claims(&edge, json!({}));
    for value in [
        "x-caracal-sub",
        "X-Caracal-Sub, authorization",
        "close, x-caracal-sub",
        "keep-alive, x-caracal-client-id",
    ] {
        let headers = [
            ("connection", value),
            ("authorization", good.as_str()),
            ("x-caracal-sub", "forged"),
        ];
        let (status, _) = send(&edge, &request("GET", "/", &headers));
        let reached = edge.reached();
        if status == 200 {
            assert_eq!(reached[0].all("x-caracal-sub"), ["user-1"], "{value}");
            assert_eq!(reached[0].all("x-caracal-client-id"), ["app-1"], "{value}");
            assert_eq!(reached[0].all("authorization"), [good.clone()], "{value}");
            let connection = reached[0].all("connection").join(",").to_ascii_lowercase();
            assert!(!connection.contains("caracal") && !connection.contains("authorization"));
        } else {
            assert!(reached.is_empty(), "{value}: {status}");
        }
    }
}

/// With an upgrade Envoy sends `Connection` on as it came, and the next hop would act
/// on it.
#[test]
fn an_upgrade_does_not_name_our_headers_away() {
    let edge = edge();
    let good = with_claims(&edge, json!({}));
    let upgrade = |path: &str, value: &str| {
        let headers = [
            ("connection", value),
            ("upgrade", "websocket"),
            ("authorization", good.as_str()),
        ];
        // The upstream does not upgrade, and its answer ends with the connection.
        let answer = edge.client().exchange(&request("GET", path, &headers));
        answer.map_or((0, String::new()), |answer| (answer.status, answer.error()))
    };
    for value in ["Upgrade", "keep-alive, Upgrade"] {
        upgrade("/", value);
        let reached = edge.reached();
        assert_eq!(reached[0].all("x-caracal-sub"), ["user-1"], "{value}");
        let connection = reached[0].all("connection").join(",").to_ascii_lowercase();
        assert!(connection.contains("upgrade"), "{connection}");
    }
    for value in [
        "Upgrade, x-caracal-sub",
        "X_Caracal_Client_Id ,Upgrade",
        "upgrade,\tx-caracal-",
    ] {
        for path in ["/", "/open"] {
            let (status, error) = upgrade(path, value);
            assert_eq!(
                (status, error.as_str()),
                (400, "invalid_request"),
                "{value}"
            );
            assert!(edge.reached().is_empty(), "{value}");
        }
    }
}

/// Claims are signed, and still somebody's chosen texts.
#[test]
fn claims_become_no_headers_and_no_log_lines() {
    let edge = edge();
    let hostile = [
        "a\r\nx-injected: 1",
        "a\nx-injected: 1",
        "a\rb",
        "a\0b",
        "a\tb",
        " a",
        "a ",
        "\u{7f}",
        "\u{85}\u{2028}",
        "ü",
        "\u{202e}a",
        "\u{feff}a",
        "a\r\n\r\nGET /smuggled HTTP/1.1\r\n",
        &"x".repeat(1025),
        &"y".repeat(8 * 1024),
    ];
    let claims = [
        "sub",
        "client_id",
        "jti",
        "sid",
        "root_sid",
        "agent_session_id",
        "delegation_edge_id",
        "source_session_id",
        "target_session_id",
        "scope",
    ];
    let mut sent = 0;
    for text in hostile {
        for claim in claims {
            let good = with_claims(&edge, json!({claim: text}));
            let (status, error) = send(&edge, &request("GET", "/", &[("authorization", &good)]));
            assert_eq!((status, error.as_str()), (200, ""), "{claim} {text:?}");
            sent += 1;
        }
    }
    let quotes = "a\"b\\c'd{}[]%{}";
    let good = with_claims(
        &edge,
        json!({"sub": quotes, "jti": quotes, "client_id": quotes}),
    );
    assert_eq!(
        send(&edge, &request("GET", "/", &[("authorization", &good)])).0,
        200
    );
    let reached = edge.reached();
    assert_eq!(
        reached.len(),
        sent + 1,
        "one request for each, and none that was smuggled"
    );
    for request in &reached {
        assert!(request.all("x-injected").is_empty());
        for (name, value) in &request.headers {
            if name.starts_with("x-caracal-") {
                assert!(
                    value.bytes().all(|b| (0x20..0x7f).contains(&b)) && value.len() <= 1024,
                    "{name}"
                );
            }
        }
    }
    assert_eq!(reached.last().unwrap().all("x-caracal-sub"), [quotes]);
    assert!(
        edge.envoy.metric("caracal_headers_not_sent_total") >= 1,
        "those that were left out are counted"
    );
    // Every line of the access log is one object, and says nothing of the texts.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while edge.envoy.access_log().len() < sent + 1 {
        assert!(std::time::Instant::now() < deadline, "no access log");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let log = edge.envoy.access_log();
    assert_eq!(log.len(), sent + 1);
    assert!(
        log.iter()
            .all(|line| line["caracal_decision"] == "admitted")
    );
    assert!(log.iter().any(|line| line["caracal_jti"] == quotes));
    assert!(!edge.envoy.log().contains("smuggled") && !edge.envoy.log().contains("injected"));
}

/// A body with trailers: Envoy drops them over HTTP/1.1 unless it is told not to
/// (with them the in-process host shows what becomes of forged names).
#[test]
fn trailers_bring_no_names_of_ours() {
    let edge = edge();
    let good = with_claims(&edge, json!({}));
    let bytes = format!(
        "POST / HTTP/1.1\r\nhost: edge.test\r\nauthorization: {good}\r\ntransfer-encoding: chunked\r\n\
         trailer: x-caracal-sub\r\n\r\n0\r\nx-caracal-sub: forged\r\n\r\n"
    );
    let mut client = edge.client();
    // The upstream of this suite reads no chunks: it sees the head, and that is enough.
    let _ = client.exchange(bytes.as_bytes());
    let reached = edge.reached();
    assert_eq!(reached[0].all("x-caracal-sub"), ["user-1"]);
    assert!(
        reached
            .iter()
            .all(|r| r.headers.iter().all(|(_, value)| value != "forged"))
    );
}
