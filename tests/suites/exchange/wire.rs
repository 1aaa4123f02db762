//! What is sent to the STS, byte by byte, and what a filter may ask.

use std::sync::{Arc, Mutex};

use caracal_tests::processes::form;
use caracal_tests::servers::{Incoming, Reply, Server};
use sha2::{Digest as _, Sha256};

use super::*;

/// HMAC-SHA256 (RFC 2104), written here: the companion's own would agree with itself.
fn hmac(key: &[u8], text: &[u8]) -> String {
    assert!(key.len() <= 64);
    let mut pad = [0_u8; 64];
    pad[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(pad.map(|b| b ^ 0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new()
        .chain_update(pad.map(|b| b ^ 0x5c))
        .chain_update(inner)
        .finalize();
    hex::encode(outer)
}

/// A companion whose STS remembers what it is sent and grants it.
fn recorded() -> (Companion, Sts, Server, Arc<Mutex<Vec<Incoming>>>) {
    let seen: Arc<Mutex<Vec<Incoming>>> = Arc::default();
    let record = Arc::clone(&seen);
    let server = Server::start(move |request| {
        record.lock().unwrap().push(request.clone());
        Reply::json(&json!({
            "access_token": "x", "upstreams": {AUDIENCE: {"url": "http://u", "auth_mode": "none"}},
        }))
        .header("content-type", "application/json")
    });
    let minting = Sts::start(&[ZONE], &decided(json!("allow")));
    let companion = Companion::new(&["--in-memory"])
        .gateway(&format!("http://{}/", server.address()))
        .started();
    (companion, minting, server, seen)
}

#[test]
fn the_request_is_what_the_gateway_sends() {
    let (companion, sts, _server, seen) = recorded();
    let ask = |path: &str, id: &str| {
        let mandate = sts.odd(&json!({"zone_id": ZONE}));
        let changes = json!({"path": path, "request_id": id, "method": "PATCH"});
        let answer = companion.post("/v1/exchange", &question(&mandate, changes), None);
        assert!(answer.json()["granted"].is_object(), "{}", answer.json());
        mandate
    };
    let mandate = ask("/a b/é?c", "id/1+2");
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/oauth/2/token")
    );
    let one = |name: &str| {
        let all = request.all(name);
        assert_eq!(all.len(), 1, "{name}");
        all[0].to_owned()
    };
    assert_eq!(one("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(one("accept"), "application/json");
    assert_eq!(one("user-agent"), "caracal-gateway");
    assert_eq!(one("x-request-id"), "id/1+2");
    let expected = form(&[
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", &mandate),
        (
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        ),
        ("zone_id", ZONE),
        ("application_id", "app-1"),
        ("resource", AUDIENCE),
        ("request_method", "PATCH"),
        ("request_path", "/a b/é?c"),
        ("gateway_request_id", "id/1+2"),
    ]);
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert_eq!(body.replace('+', "%20"), expected);
    let (at, nonce) = (
        one("x-caracal-gateway-timestamp"),
        one("x-caracal-gateway-request"),
    );
    assert!(at.parse::<u64>().unwrap().abs_diff(now()) <= 5);
    assert_eq!(nonce.len(), 64);
    let digest = hex::encode(Sha256::digest(&request.body));
    let text = format!("{at}\n{nonce}\nPOST\n/oauth/2/token\n{digest}");
    let key = hex::decode(GATEWAY_KEY).unwrap();
    assert_eq!(
        one("x-caracal-gateway-signature"),
        hmac(&key, text.as_bytes())
    );
    let known = [
        "host",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-request-id",
        "x-caracal-gateway-timestamp",
        "x-caracal-gateway-request",
        "x-caracal-gateway-signature",
    ];
    for (name, _) in &request.headers {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    ask("/", "2");
    let again = seen.lock().unwrap()[1].clone();
    assert_ne!(again.all("x-caracal-gateway-request"), [nonce]);
}

#[test]
fn a_question_is_strict_and_bounded() {
    let (companion, sts, _server, seen) = recorded();
    let send = |body: &Value| companion.post("/v1/exchange", body, None);
    for changes in [
        json!({"unknown": 1}),
        json!({"mandate": 1}),
        json!({"mandate": "a".repeat(16 * 1024 + 1)}),
        json!({"resource": "r".repeat(1025)}),
        json!({"method": "M".repeat(33)}),
        json!({"path": "invoices"}),
        json!({"path": format!("/{}", "p".repeat(32 * 1024))}),
        json!({"request_id": ""}),
        json!({"request_id": "a b"}),
        json!({"max_age_ms": "1"}),
    ] {
        let answer = send(&question(&sts.mandate(AUDIENCE), changes));
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (400, "invalid_request")
        );
    }
    assert_eq!(send(&json!({"mandate": "a.b.c"})).status, 400);
    let of = |path: String| {
        let mandate = sts.odd(&json!({}));
        let body = question(&mandate, json!({ "path": path }));
        (send(&body).json(), mandate)
    };
    let (answer, _) = of(format!("/{}", "p".repeat(32 * 1024 - 1)));
    assert!(answer["granted"].is_object(), "{answer}");
    // The STS reads no form over 64 KiB, and each byte of these is sent as three.
    let (answer, mandate) = of(format!("/{}", "\u{7f71}".repeat(10_922)));
    let refused = &answer["refused"];
    is(refused, 413, "payload_too_large", "malformed", false);
    let (answer, _) = of("/".to_owned());
    assert!(answer["granted"].is_object(), "{answer}");
    let again = send(&question(&mandate, json!({})));
    assert!(again.json()["granted"].is_object(), "it is not used up");
    assert_eq!(seen.lock().unwrap().len(), 3);
    let get = companion.get("/v1/exchange");
    assert_eq!(get.status, 405);
}

/// An exchange does not pay for a new connection.
#[test]
fn connections_are_kept() {
    let (companion, sts, server, _seen) = recorded();
    for _ in 0..20 {
        let body = question(&sts.odd(&json!({})), json!({}));
        let answer = companion.post("/v1/exchange", &body, None);
        assert!(answer.json()["granted"].is_object());
    }
    assert_eq!(server.requests(), 20);
    assert_eq!(server.connections(), 1);
}
