//! What is refused before any exchange.

use caracal_tests::mint::{AUDIENCE, now};
use serde_json::{Value, json};

use super::scene::{Scene, resource};

/// The guide's checklist and the rows before the exchange: refused, and the mandate is not
/// used up.
#[test]
fn rows_before_the_exchange_use_no_mandate_up() {
    let scene = Scene::start(json!({ AUDIENCE: resource(json!({})) }));
    let odd = |changes: Value| scene.sts.odd(&changes);
    let good = odd(json!({}));
    let named: [(&str, &str); 1] = [("x-caracal-resource", AUDIENCE)];
    for (what, path, mandate, headers, status, error) in [
        ("path", "/a/..%2fb", &good, &named[..], 400, "invalid_token"),
        (
            "no mandate",
            "/x",
            &String::new(),
            &named,
            401,
            "invalid_token",
        ),
        (
            "a client id",
            "/x",
            &good,
            &[named[0], ("x-caracal-client-id", "me")],
            400,
            "invalid_token",
        ),
        ("no resource", "/x", &good, &[], 400, "invalid_token"),
        (
            "two resources",
            "/x",
            &good,
            &[named[0], named[0]],
            400,
            "invalid_token",
        ),
        (
            "an unknown resource",
            "/x",
            &good,
            &[("x-caracal-resource", "resource://other")],
            403,
            "access_denied",
        ),
        (
            "ends in 34 s",
            "/x",
            &odd(json!({"exp": now() + 34})),
            &named,
            401,
            "credential_expired_not_renewable",
        ),
        (
            "use",
            "/x",
            &odd(json!({"use": "resource"})),
            &named,
            401,
            "invalid_token",
        ),
        (
            "aud",
            "/x",
            &odd(json!({"aud": [AUDIENCE]})),
            &named,
            401,
            "invalid_token",
        ),
        (
            "zone",
            "/x",
            &odd(json!({"zone_id": "other"})),
            &named,
            401,
            "zone_invalid",
        ),
        (
            "target",
            "/x",
            &odd(json!({"target": ["resource://other"]})),
            &named,
            403,
            "access_denied",
        ),
        (
            "scope",
            "/x",
            &odd(json!({"scope": "other"})),
            &named,
            403,
            "scope_insufficient",
        ),
    ] {
        let answer = scene.send_as(path, mandate, headers);
        assert_eq!(
            (answer.status, answer.error().as_str()),
            (status, error),
            "{what}: {answer:?}"
        );
        let body = answer.json();
        assert_eq!(
            Some(body["requestId"].as_str().unwrap()),
            answer.header("x-request-id"),
            "{what}"
        );
        if !mandate.is_empty() {
            assert_eq!(scene.used_by(mandate), None, "{what}");
        }
    }
    assert_eq!(scene.sts.exchanges(), 0);
    assert!(scene.reached().is_empty());
    // The good one is still good.
    assert_eq!(scene.send("/x", &good, &[]).status, 200);
    // Revoked: it ends at the filter.
    scene.revoke("sid-revoked");
    let revoked = || odd(json!({"sid": "sid-revoked"}));
    let revoked = scene.until_refused(revoked, 401, "invalid_token");
    assert_eq!(scene.used_by(&revoked), None);
}
