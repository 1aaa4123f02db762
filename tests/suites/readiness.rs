//! `readiness_path`: what the filter says of itself, in each proxy and in a real Envoy.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use caracal_tests::companion::InProcess;
use caracal_tests::edge::{Around, Recording};
use caracal_tests::host::{Answer, Outcome, Request};
use caracal_tests::hosts::{APISIX, ENVOY, KONG};
use caracal_tests::mint::{Key, key_set};
use caracal_tests::processes::{Companion, Redis, until};
use caracal_tests::servers::{Client, request};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
const SOON: Duration = Duration::from_secs(30);
const PATH: &str = "/caracal/ready";
/// Paths that somebody could take for it.
const NEAR: [&str; 12] = [
    "/caracal/ready/",
    "/caracal/ready?",
    "/caracal/ready?x=1",
    "/caracal/ready;x",
    "/caracal/READY",
    "/caracal/rea%64y",
    "/caracal%2fready",
    "//caracal/ready",
    "/caracal//ready",
    "/caracal/./ready",
    "/x/../caracal/ready",
    "/caracal/ready/../../payouts",
];

fn missing(body: &[u8]) -> (bool, Value) {
    let body: Value = serde_json::from_slice(body).unwrap();
    (body["ready"].as_bool().unwrap(), body["missing"].clone())
}

/// Ready when the key set and the revocation state are there, and no longer when one of them
/// is too old.
#[test]
fn it_follows_what_decisions_need() {
    for on in [ENVOY, KONG] {
        let companion = Rc::new(InProcess::default());
        let (sts, feed) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (sts_up, feed_up) = (Rc::clone(&sts), Rc::clone(&feed));
        let changes = json!({
            "readiness_path": PATH,
            "jwks": {"upstream": "sts", "ttl_s": 10, "max_stale_s": 10},
            "revocation": {"upstream": "feed", "max_staleness_s": 5},
        });
        let mut proxy = on
            .builder(&on.configuration(changes))
            .wall(Duration::from_secs(START))
            .on_callout(move |callout| match on.is_sts(callout) {
                true if sts_up.get() => Answer::json(&key_set(&[&Key::new("k1", 1)])),
                false if feed_up.get() => companion.answer(callout),
                _ => Answer::with(503, ""),
            })
            .start()
            .unwrap();
        for (sts_up, feed_up, status, expected) in [
            (false, false, 503, json!(["key_set", "revocations"])),
            (true, false, 503, json!(["revocations"])),
            (true, true, 200, json!([])),
            (true, false, 503, json!(["revocations"])),
            (false, true, 503, json!(["key_set"])),
            (true, true, 200, json!([])),
        ] {
            sts.set(sts_up);
            feed.set(feed_up);
            for _ in 0..300 {
                proxy.advance(Duration::from_millis(100));
            }
            for method in ["GET", "HEAD"] {
                let ask = Request::new(method, PATH);
                let reply = on.ask(&mut proxy, 0, &ask).replied();
                assert_eq!(reply.status, status, "{}", on.name());
                if method == "GET" {
                    assert_eq!(missing(&reply.body), (status == 200, expected.clone()));
                }
                assert_eq!(reply.headers.text("cache-control"), Some("no-store"));
                assert!(!reply.headers.has("www-authenticate"));
            }
        }
        // Every other spelling and method is judged.
        for path in NEAR {
            let reply = on.ask(&mut proxy, 0, &Request::get(path)).replied();
            assert!([400, 401].contains(&reply.status), "{} {path}", on.name());
        }
        for method in ["POST", "OPTIONS", "TRACE", "get"] {
            let reply = on.ask(&mut proxy, 0, &Request::new(method, PATH)).replied();
            assert_eq!(reply.status, 401, "{} {method}", on.name());
        }
    }
}

#[test]
fn in_apisix_it_is_an_error_of_the_configuration() {
    let configuration = APISIX.configuration(json!({"readiness_path": PATH}));
    // APISIX configures a plugin with the first request that uses it.
    let mut proxy = APISIX.builder(&configuration).start().unwrap();
    let outcome = APISIX.ask(&mut proxy, 0, &Request::get(PATH));
    assert!(matches!(outcome, Outcome::Trapped(reply) if reply.status == 503));
    let logged = format!("{:?}", proxy.logs());
    assert!(logged.contains("readiness_path: in APISIX"), "{logged}");
}

/// It lets nothing through, whatever the rules say of the path.
#[test]
fn in_a_real_envoy_it_goes_nowhere() {
    let settings = json!({"readiness_path": PATH, "exclude": ["/caracal"]});
    let edge = Recording::start(settings, &[]);
    let mut client = edge.client();
    until("it is ready", SOON, || {
        client.get(PATH, None, &[]).status == 200
    });
    let response = client.get(PATH, None, &[("x-caracal-sub", "me")]);
    assert_eq!(missing(&response.body), (true, json!([])));
    let head = client.exchange(&request("HEAD", PATH, &[])).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(edge.reached().is_empty());
    // What is excluded is excluded still.
    assert_eq!(client.get("/caracal/other", None, &[]).status, 200);
    assert_eq!(edge.reached().len(), 1);
}

#[test]
fn in_a_real_envoy_it_follows_the_companion() {
    let redis = Redis::default();
    let around = Around::default();
    let mut companion = Companion::of(&redis.url()).started();
    let changes = json!({"readiness_path": PATH});
    let envoy = around.setup(companion.address, changes).start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    // Both workers.
    let all = |status: u16| {
        (0..8).all(|_| {
            let response = Client::connect(envoy.listener(0)).get(PATH, None, &[]);
            response.status == status
        })
    };
    until("it is ready", SOON, || all(200));
    companion.kill();
    until("it is not", SOON, || all(503));
    let response = Client::connect(envoy.listener(0)).get(PATH, None, &[]);
    assert_eq!(missing(&response.body), (false, json!(["revocations"])));
    companion.start();
    until("it is again", SOON, || all(200));
}
