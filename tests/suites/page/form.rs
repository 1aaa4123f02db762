//! The form: what it explains, with and without a configuration, and without scripts.

use caracal_tests::mint::{Key, configuration, key_set, now};
use caracal_tests::processes::{folder, until};

use super::browser::Browser;
use super::*;

/// A companion that judges, and the key of its zone.
pub fn judging() -> (Companion, Key) {
    judging_with(&[])
}

/// The same with more arguments.
pub fn judging_with(arguments: &[&str]) -> (Companion, Key) {
    let key = Key::new("k1", 1);
    let own = folder("page");
    let (config, keys) = (own.join("filter.json"), own.join("keys.json"));
    std::fs::write(
        &config,
        configuration(json!({"revocation": {"upstream": "feed"}})).to_string(),
    )
    .unwrap();
    std::fs::write(&keys, key_set(&[&key]).to_string()).unwrap();
    let companion = Companion::new(&["--in-memory"])
        .with(&["--explain-config", config.to_str().unwrap()])
        .with(&["--explain-key-set", keys.to_str().unwrap()])
        .with(arguments)
        .started();
    (companion, key)
}

fn explained(browser: &Browser, companion: &Companion, token: &str) -> String {
    browser.open(&url(companion, "/"));
    let head =
        format!("GET /x?access={token} HTTP/1.1\nHost: edge.test\nAuthorization: Bearer {token}\n");
    browser.write("#request", &head);
    browser.click("button");
    until("it is answered", SOON, || {
        browser.url() == url(companion, "/explain")
    });
    let source = browser.source();
    for part in token.split('.') {
        assert!(!source.contains(part), "{part} is in {source}");
    }
    browser.text("main")
}

#[test]
fn it_judges_as_an_edge_and_needs_no_script() {
    let (companion, key) = judging();
    let revoked = companion.post("/v1/revocations", &json!({"anchors": ["gone"]}), None);
    assert_eq!(revoked.status, 200);
    post(&companion, &[refused(1, json!({}))]);
    let browser = Browser::with(&[], false);
    browser.open(&url(&companion, "/"));
    assert!(browser.text("#verdict h2").starts_with("Ready"));
    assert!(browser.text("noscript").contains("Reload the page"));
    assert!(
        browser
            .text(".refusals")
            .contains("The caller gets a new mandate")
    );
    let explain = |claims: Value| explained(&browser, &companion, &key.mandate(now(), claims));

    let said = explain(json!({}));
    assert!(said.contains("The edge lets it through"), "{said}");
    let said = explain(json!({"sid": "gone"}));
    for words in [
        "The edge refuses: 401 session_revoked",
        "What to change",
        r#"revoked: sid "gone""#,
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let said = explain(json!({"iat": now() - 1_900, "exp": now() - 1_000}));
    assert!(
        said.contains("The edge refuses: 401 invalid_token"),
        "{said}"
    );
    assert!(said.contains("expiry, with leeway failed"), "{said}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn without_a_configuration_it_reads_what_is_there() {
    let companion = alone(&[]);
    let revoked = json!({"anchors": ["gone"]});
    assert_eq!(
        companion.post("/v1/revocations", &revoked, None).status,
        200
    );
    let (browser, key) = (Browser::start(), Key::new("k1", 1));
    let explain = |claims: Value| explained(&browser, &companion, &key.mandate(now(), claims));
    // So long that no wait of the browser's changes what is said.
    let said = explain(json!({"client_id": "app-7", "exp": now() + 90_000}));
    for words in [
        "Nothing is wrong at first sight",
        "No signature and no rule was checked",
        r#"payload: client_id "app-7""#,
        r#"header: kid "k1""#,
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let is_ahead = |hours: &str| said.contains(hours);
    assert!(is_ahead("s (25 h 0 min)") || is_ahead("s (24 h "), "{said}");
    let said = explain(json!({"root_sid": "gone", "iat": now() - 1_900, "exp": now() - 1_000}));
    for words in [
        "An edge refuses it",
        "The token has expired",
        r#"It is revoked: root_sid "gone""#,
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let said = explain(json!({"iat": now() + 200, "exp": now() + 90_000}));
    for words in ["An edge may refuse it", "iat is", "clock_skew_s"] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    // Dark, and by the keyboard alone.
    let dark = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.open(&url(&companion, "/"));
    let back = "return getComputedStyle(document.body).backgroundColor";
    let light = browser.run(back);
    browser.devtools("Emulation.setEmulatedMedia", dark);
    assert_ne!(browser.run(back), light);
    browser.write("#request", "no request\u{e004}\u{e007}");
    until("it is sent", SOON, || {
        browser.text("main").contains("This cannot be explained")
    });
    assert!(
        browser
            .text("main")
            .contains("its first line is not a request line")
    );
    let complaints = browser.complaints();
    assert!(
        complaints.iter().all(|one| one.contains("status of 422")),
        "{complaints:?}"
    );
}
