//! CONNECT-UDP (RFC 9298), which Envoy itself ends: datagrams of a client reach a UDP server.

use std::net::UdpSocket;

use super::*;

/// A DATAGRAM capsule (RFC 9297, section 3.5) with context 0 and this payload.
fn capsule(payload: &'static [u8]) -> &'static [u8] {
    let length = u8::try_from(payload.len() + 1).unwrap();
    assert!(length < 64, "the length is one byte");
    [&[0, length, 0], payload].concat().leak()
}

#[test]
fn datagrams_end_with_the_session() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let scene = Scene::with(json!({}), |setup| {
        let udp = json!({
            "match": {"connect_matcher": {}},
            "route": {"cluster": "udp", "upgrade_configs": [
                {"upgrade_type": "CONNECT-UDP", "connect_config": {}},
            ]},
        });
        let rest = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}});
        setup
            .cluster("udp", server.local_addr().unwrap())
            .virtual_hosts(json!([{"name": "all", "domains": ["*"], "routes": [udp, rest]}]))
    });
    let path = format!(
        "/.well-known/masque/udp/127.0.0.1/{}/",
        server.local_addr().unwrap().port()
    );
    let bearer = format!("Bearer {}", scene.token("s1", 900));
    let headers = [
        ("authorization", bearer.as_str()),
        ("capsule-protocol", "?1"),
    ];
    let mut connection = Http2::connect(scene.envoy.listener(0));
    let mut open = || connection.connected("connect-udp", &path, &headers);
    let datagrams = open();
    assert_eq!(datagrams.began(), 200);
    let mut got = [0; 64];
    datagrams.say(capsule(b"first"));
    let (read, envoy) = server.recv_from(&mut got).unwrap();
    assert_eq!(&got[..read], b"first");
    server.send_to(b"answer", envoy).unwrap();
    datagrams.until("answer");

    scene.revoke("s1");
    let (how, ..) = datagrams.end();
    assert_eq!(how, End::Reset(2));
    let line = &scene.logged(&path, 1)[0];
    assert_eq!(line["details"], "caracal_session_revoked", "{line}");
    assert_eq!(open().began(), 401);
}
