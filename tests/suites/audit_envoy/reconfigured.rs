//! A new configuration while requests are under way and events wait: LDS, as a control plane
//! does it. The VM stays, and the old configuration's root context goes when it has drained.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use caracal_tests::envoy::Setup;
use caracal_tests::mint::configuration;
use caracal_tests::servers::Client;

use super::upstream::Upstream;
use super::*;

#[test]
fn a_new_configuration_records_what_the_old_one_has_left() {
    let redis = Redis::default();
    let around = Around::default();
    let upstream = Upstream::start();
    let mut companion = Companion::of(&redis.url())
        .with(&["--audit-dir", folder("audit").to_str().unwrap()])
        .environment("AUDIT_HMAC_KEY", KEY)
        .token(TOKEN)
        .started();
    let setup = |skew: u64| {
        let settings = configuration(json!({
            "audit": {"upstream": "feed", "token": TOKEN}, "clock_skew_s": skew,
        }));
        let mut setup = around
            .setup_of(Setup::new([settings]))
            .cluster("upstream", upstream.address)
            .cluster("feed", companion.address);
        setup.reloadable = true;
        setup
    };
    let (old, new) = (setup(60), setup(61));
    let envoy = old.start().unwrap_or_else(|log| panic!("{log}"));
    let token = around.mandate(json!({}));
    let send = |id: &str, token: Option<&str>| {
        let mut client = Client::connect(envoy.listener(0));
        client.get("/once", token, &[("x-request-id", id)]).status
    };
    until("the edge is warm", SOON, || {
        (0..8).all(|_| send("warm", Some(&token)) == 200)
    });
    // An answer that does not end, on each of some connections.
    let mut open = Vec::new();
    for n in 0..6 {
        let mut connection = TcpStream::connect(envoy.listener(0)).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        let head = format!(
            "GET /events HTTP/1.1\r\nhost: edge\r\nx-request-id: open-{n}\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        connection.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        open.push(connection);
    }
    until("all are under way", SOON, || upstream.open() == 6);
    // The companion is away, so these wait in the queue.
    companion.kill();
    for n in 0..10 {
        assert_eq!(send(&format!("waits-{n}"), None), 401);
    }
    let started = "with the configuration";
    let before = envoy.logged(started);
    envoy.reconfigure(&new);
    until("the new configuration is there", SOON, || {
        envoy.logged(started) > before
    });
    // The old one drains in a second, and is gone soon after.
    std::thread::sleep(Duration::from_secs(4));
    drop(open);
    companion.start();
    let wanted = |found: &Recorded| {
        let waits = (0..10).map(|n| format!("waits-{n}"));
        let open = (0..6).map(|n| format!("open-{n}"));
        waits.chain(open).all(|id| found.contains_key(&id))
    };
    until("the new configuration keeps requests going", SOON, || {
        send("after", Some(&token)) == 200
    });
    until("all are recorded", SOON * 3, || wanted(&recorded(&redis)));
    let found = recorded(&redis);
    for (id, events) in found.iter().filter(|(id, _)| id.contains('-')) {
        assert_eq!(events.len(), 1, "{id}");
    }
    for n in 0..6 {
        let event = &found[&format!("open-{n}")][0];
        assert_eq!(event["decision"], "allow");
        assert_eq!(event["evaluation_status"], "upstream_error", "{event}");
        assert_eq!(
            event["metadata_json"]["error_kind"], "response_copy_failed",
            "{event}"
        );
        assert_eq!(event["metadata_json"]["upstream_status"], 200, "{event}");
    }
    assert_eq!(envoy.metric("caracal_audit_dropped_total"), 0);
}
