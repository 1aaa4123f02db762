//! What the page says of a real edge, while its parts are there and when they are gone.

use caracal_tests::edge::Around;
use caracal_tests::processes::{Redis, folder, until};
use caracal_tests::root;
use caracal_tests::servers::Client;

use super::browser::Browser;
use super::*;

/// Largest picture in the docs, in bytes.
const MOST_BYTES: usize = 200_000;

#[test]
fn it_says_what_is_so_of_a_real_edge() {
    let (around, redis) = (Around::default(), Redis::default());
    let own = folder("page");
    let file = |name: &str| own.join(name).to_str().unwrap().to_owned();
    let mut companion = Companion::of(&redis.url())
        .with(&["--audit-dir", &file("audit")])
        .environment(
            "STREAMS_HMAC_KEY",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        )
        .started();
    let browser = Browser::start();
    browser.open(&url(&companion, "/"));
    until("it is ready", SOON, || {
        browser.text("#verdict h2") == "Ready: everything is fit to decide"
    });
    assert!(browser.text("#facts").contains("No edge has asked"));
    assert!(
        browser
            .text("#facts")
            .contains("None since the companion started")
    );

    let audit = json!({"audit": {"upstream": "feed"}, "required_scopes": ["billing:read"]});
    let envoy = around.setup(companion.address, audit).start();
    let envoy = envoy.unwrap_or_else(|log| panic!("{log}"));
    let mut client = Client::connect(envoy.listener(0));
    let good = around.mandate(json!({}));
    until("the edge admits", SOON, || {
        client.get("/x", Some(&good), &[]).status == 200
    });
    // The page is not loaded again: its script sees this.
    until("the edge is there", SOON, || {
        let edges = browser.text("#edges ~ table tbody");
        edges.starts_with("127.0.0.1 caracal-edge/") && edges.contains("ago")
    });
    let now = caracal_tests::mint::now();
    let expired = json!({"iat": now - 1_900, "exp": now - 1_000, "client_id": "billing-agent"});
    let narrow = json!({"scope": "other:read", "client_id": "reporting-agent"});
    for (id, claims, status) in [("too-late", expired, 401), ("too-narrow", narrow, 403)] {
        let token = around.mandate(claims);
        let answer = client.get("/x", Some(&token), &[("x-request-id", id)]);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    until("both refusals are there", SOON, || {
        let list = browser.text(".refusals tbody");
        list.contains("401") && list.contains("403")
    });
    let list = browser.text(".refusals tbody");
    for said in [
        "401 invalid_token",
        "expired: row 3 or 12 of the contract compares exp with the time of the decision",
        "The caller gets a new mandate before the old one ends.",
        "403 insufficient_scope",
        "The caller asks the STS for the scopes",
    ] {
        assert!(list.contains(said), "{said} is not in {list}");
    }
    let streams = browser.text("#state ~ table + table tbody");
    assert!(
        streams.contains("caracal.sessions.revoke not behind"),
        "{streams}"
    );
    let picture = browser.picture();
    assert!(picture.starts_with(b"\x89PNG"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        assert!(picture.len() < MOST_BYTES, "{} bytes", picture.len());
        std::fs::write(root().join("docs/page.png"), &picture).unwrap();
    }
    assert_eq!(browser.complaints(), [""; 0]);

    drop(redis);
    // "Ready, but something needs attention" stands there for some seconds only: a slow browser
    // misses it.
    until("it is not fit", SOON, || {
        browser.text("#verdict h2") == "Not fit to decide"
    });
    for words in [
        "Redis does not confirm any more that everything is known here. It last did",
        "seconds ago",
        "Then they refuse every request that needs a mandate, with 503.",
        "Reading caracal.sessions.revoke fails:",
    ] {
        until(words, SOON, || browser.text("#verdict").contains(words));
    }
    assert_eq!(companion.get("/readyz").status, 503);
    companion.kill();
    until("the companion is missed", SOON, || {
        browser.text("#verdict h2") == "Not known: the companion does not answer"
    });
}

#[test]
fn what_was_never_told_is_not_known() {
    // Nobody listens there.
    let nobody = format!("redis://{}", caracal_tests::processes::free_address());
    let mut companion = Companion::of(&nobody);
    companion.start();
    let browser = Browser::start();
    browser.open(&url(&companion, "/"));
    assert_eq!(browser.text("#verdict h2"), "Not fit to decide");
    let said = browser.text("main");
    for words in [
        "Not everything was read from Redis yet",
        "Last confirmed by Redis never, since it started",
        "caracal.sessions.revoke not known never, since the start",
        "Not known: this companion keeps no audit events",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    assert!(!said.contains("not behind"), "{said}");
}
