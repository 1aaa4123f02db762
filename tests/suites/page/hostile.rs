//! What others chose is text on the page, whatever it is.

use caracal_tests::processes::until;

use super::browser::Browser;
use super::form::judging;
use super::*;

/// Values that would run a script, leave an attribute, or turn what is around them.
const HOSTILE: [&str; 6] = [
    "<script>window.ran=1;alert(1)</script>",
    "\"><img src=x onerror=window.ran=1>",
    "' onmouseover='window.ran=1' x='",
    "</textarea></table><svg onload=window.ran=1>",
    "{{7*7}}${window.ran=1}&lt;&#x3c;script&#x3e;",
    "abc\u{202e}txt\u{2066}\u{200f}\u{feff}",
];

/// Nothing ran, nothing was complained of, and no direction was changed.
#[track_caller]
fn is_harmless(browser: &Browser) {
    assert_eq!(browser.dialog(), None);
    assert_eq!(browser.run("return window.ran === undefined"), true);
    assert_eq!(browser.complaints(), [""; 0]);
    let foreign = "return document.querySelectorAll('img, svg, script:not([src=\"/page.js\"]), iframe, [onerror], [onload], [onmouseover]').length";
    assert_eq!(browser.run(foreign), 0);
    let turned = "return /[\\u202a-\\u202e\\u2066-\\u2069\\u200e\\u200f\\ufeff\\u0000-\\u0008]/.test(document.documentElement.outerHTML)";
    assert_eq!(browser.run(turned), false);
}

#[test]
fn values_of_events_are_text() {
    let companion = alone(&[]);
    let events: Vec<Value> = (0..)
        .zip(HOSTILE)
        .map(|(number, text)| {
            refused(
                number,
                json!({
                    "zone_id": text,
                    "metadata": {
                        "application_id": text, "resource": text, "method": text,
                        "gateway_status": 401, "reason": text, "error_kind": text,
                    },
                }),
            )
        })
        .collect();
    post(&companion, &events);
    let agent = [
        ("content-type", "application/json"),
        ("user-agent", HOSTILE[0]),
    ];
    let asked = companion.try_post_with("/v1/check", b"{}", None, &agent);
    assert_eq!(asked.unwrap().status, 200);
    let browser = Browser::start();
    browser.open(&url(&companion, "/"));
    assert!(browser.text("#edges ~ table tbody").contains(HOSTILE[0]));
    let list = browser.text(".refusals tbody");
    for text in &HOSTILE[..5] {
        let quoted = text.replace('"', "\\\"");
        assert!(
            list.contains(text) || list.contains(&quoted),
            "{text}: {list}"
        );
    }
    assert!(list.contains("\\u{202e}"), "{list}");
    is_harmless(&browser);
    // What the script puts there is the same.
    let found = browser.run("return document.querySelectorAll('.refusals tbody tr').length");
    assert_eq!(found, HOSTILE.len());
    post(
        &companion,
        &[refused(99, json!({"request_id": "the-newest"}))],
    );
    until("the script has looked", SOON, || {
        browser.text(".refusals tbody").contains("the-newest")
    });
    is_harmless(&browser);
}

#[test]
fn values_of_a_pasted_request_are_text() {
    let (judging, key) = judging();
    let browser = Browser::start();
    for (companion, judges) in [(alone(&[]), false), (judging, true)] {
        for text in HOSTILE {
            let now = caracal_tests::mint::now();
            let claims =
                json!({"client_id": text, "scope": text, "aud": text, "sid": text, text: text});
            let token = key.mandate(now, claims);
            let path: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let head = format!(
                "GET /{path} HTTP/1.1\nHost: {path}\nX-Caracal-Resource: {text}\nAuthorization: Bearer {token}\n\n"
            );
            browser.open(&url(&companion, "/"));
            // WebDriver types only what a keyboard has.
            let value = serde_json::to_string(&head).unwrap();
            browser.run(&format!(
                "document.getElementById('request').value = {value}"
            ));
            browser.click("button");
            until("it is answered", SOON, || {
                browser.url() == url(&companion, "/explain")
            });
            assert!(!browser.text("#result").is_empty());
            assert_eq!(browser.text("main").contains("In the order"), judges);
            let source = browser.source();
            for part in token.split('.') {
                assert!(!source.contains(part), "{part}");
            }
            is_harmless(&browser);
        }
    }
}
