//! Headers that attack, in a real Envoy: what the upstream sees of them, and the logs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use caracal_tests::edge::Recording;
use caracal_tests::mint::now;
use caracal_tests::servers::request;
use serde_json::{Value, json};

fn edge() -> Recording {
    forwarding(json!({}))
}

fn forwarding(forward: Value) -> Recording {
    let limits = json!({"max_token_bytes": 65_536});
    let changes = json!({"exclude": ["/open"], "limits": limits, "forward": forward});
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
    let omitting = forwarding(json!({"unsendable": "omit"}));
    let refusing = edge();
    let edge = &omitting;
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
            let good = with_claims(edge, json!({claim: text}));
            let (status, error) = send(edge, &request("GET", "/", &[("authorization", &good)]));
            assert_eq!((status, error.as_str()), (200, ""), "{claim} {text:?}");
            sent += 1;
            // By default a claim that is to be sent and cannot be refuses the mandate.
            let good = with_claims(&refusing, json!({claim: text}));
            let answer = send(&refusing, &request("GET", "/", &[("authorization", &good)]));
            let is_sent = !["root_sid", "source_session_id", "target_session_id"].contains(&claim);
            match is_sent {
                true => assert_eq!(
                    answer,
                    (401, "invalid_token".to_owned()),
                    "{claim} {text:?}"
                ),
                false => assert_eq!(answer, (200, String::new()), "{claim} {text:?}"),
            }
        }
    }
    let quotes = "a\"b\\c'd{}[]%{}";
    let good = with_claims(
        edge,
        json!({"sub": quotes, "jti": quotes, "client_id": quotes}),
    );
    assert_eq!(
        send(edge, &request("GET", "/", &[("authorization", &good)])).0,
        200
    );
    assert!(!refusing.envoy.log().contains("smuggled"));
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

/// What two readers make of `baggage`: the upstream's, and Caracal's SDK with everything
/// decoded.
fn caracal_members(values: &[&str]) -> Vec<String> {
    let all = values.join(",");
    let members = all.split(',').map(|one| one.trim().to_owned());
    let is_ours = |one: &String| one.to_ascii_lowercase().contains("caracal");
    members.filter(is_ours).collect()
}

#[test]
fn the_upstream_gets_the_context_that_is_configured_and_no_other() {
    let claims =
        json!({"agent_session_id": "as-1", "delegation_edge_id": "edge-1", "hop_count": 1});
    let ours = "caracal.agent_session=as-1,caracal.delegation_edge=edge-1,caracal.hop=1,caracal.session=sid-1";
    let forged: [&[&str]; 6] = [
        &["a=1,caracal.session=forged,b=2"],
        &["a=1", "Caracal.session=forged", "b=2"],
        &["a=1", "\tCARACAL.hop = 9 ;p, b=2"],
        &["a=1,caracal%2Esession=forged"],
        &["caracal.session=forged,\"q,caracal.hop=9\""],
        &["a=1, b=2"],
    ];
    let left = [
        Some("a=1,b=2"),
        Some("a=1,b=2"),
        Some("a=1,b=2"),
        None,
        None,
        Some("a=1, b=2"),
    ];
    let removing = forwarding(json!({}));
    let writing = forwarding(json!({
        "authorization": false, "baggage": "verified", "claims": "x-principal",
    }));
    let keeping = forwarding(json!({"baggage": "keep"}));
    for (lines, left) in forged.iter().zip(left) {
        for edge in [&removing, &writing, &keeping] {
            let good = with_claims(edge, claims.clone());
            let mut headers = vec![("authorization", good.as_str()), ("x-principal", "forged")];
            headers.extend(lines.iter().map(|line| ("baggage", *line)));
            // Once verified now, once remembered, and once where nothing is judged.
            for path in ["/", "/", "/open"] {
                assert_eq!(send(edge, &request("GET", path, &headers)).0, 200);
            }
        }
        for got in &removing.reached()[..2] {
            assert_eq!(got.all("baggage"), Vec::from_iter(left), "{lines:?}");
            assert!(caracal_members(&got.all("baggage")).is_empty());
        }
        let written = writing.reached();
        for got in &written[..2] {
            let foreign = left.map(|left| left.replace(", ", ",") + ",");
            let expected = foreign.unwrap_or_default() + ours;
            assert_eq!(got.all("baggage"), [expected], "{lines:?}");
            assert!(got.all("authorization").is_empty());
            let values = got.all("x-principal");
            assert_eq!(values.len(), 1);
            let read: Value = serde_json::from_slice(&BASE64.decode(values[0]).unwrap()).unwrap();
            assert_eq!(read["delegation_edge_id"], "edge-1");
        }
        // An excluded path has its own credential and baggage, and no name of ours.
        let open = &written[2];
        let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        assert_eq!(open.all("baggage"), trimmed);
        assert_eq!(open.all("authorization").len(), 1);
        assert!(open.all("x-principal").is_empty());
        for got in keeping.reached() {
            assert_eq!(got.all("baggage"), trimmed);
        }
    }
}
