//! What each challenge says.

use std::rc::Rc;

use caracal_tests::companion::InProcess;
use caracal_tests::host::Outcome;

use super::*;

#[track_caller]
fn challenge(on: On, proxy: &mut Proxy, request: &Request, status: u32) -> String {
    let reply = replied(on, proxy, request);
    assert_eq!(reply.status, status, "{reply:?}");
    let said = reply.headers.all("www-authenticate");
    assert_eq!(said.len(), 1, "{reply:?}");
    String::from_utf8(said[0].to_vec()).unwrap()
}

/// Every challenge names what is configured, and all scopes of the operation.
#[test]
fn each_challenge_says_where_to_look_and_which_scopes() {
    for on in ALL {
        let companion = Rc::new(InProcess::default());
        companion.revoke("revoked-session");
        let keys = key_set(&[&Key::new("k1", 1)]);
        let changes = json!({
            "metadata": metadata(), "challenge": {"realm": "files"},
            "revocation": {"upstream": "feed", "max_staleness_s": 3600},
            "required_scopes": ["files:read"],
            "routes": {
                "/write": {"required_scopes": ["files:read", "files:write"]},
                "/free": {"required_scopes": []},
                "/agents": {"required_scopes": [], "require_session": true},
            },
        });
        let mut proxy = started(on, changes, move |callout| match on.is_sts(callout) {
            true => Answer::json(&keys),
            false => companion.answer(callout),
        });
        proxy.advance(Duration::from_secs(1));
        let with = |scope: &str, error: &str| {
            let part = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!(", {name}=\"{value}\""),
            };
            format!(
                "Bearer realm=\"files\"{}{}, resource_metadata=\"{URL}\"",
                part("error", error),
                part("scope", scope)
            )
        };
        let both = "files:read files:write";
        let reader = mandate(json!({"scope": "files:read"}));
        let writer = mandate(json!({"scope": "files:write"}));
        let revoked = mandate(json!({"scope": both, "sid": "revoked-session"}));
        let expired = mandate(json!({"scope": both, "exp": START - 600, "iat": START - 900}));
        for (path, token, status, expected) in [
            // RFC 6750 section 3.1: no error where there is no token.
            ("/", None, 401, with("files:read", "")),
            ("/write", None, 401, with(both, "")),
            ("/free", None, 401, with("", "")),
            ("/write", Some("x.y.z"), 401, with(both, "invalid_token")),
            (
                "/write",
                Some(expired.as_str()),
                401,
                with(both, "invalid_token"),
            ),
            (
                "/write",
                Some(revoked.as_str()),
                401,
                with(both, "invalid_token"),
            ),
            // All scopes, also the one that the mandate has.
            (
                "/write",
                Some(reader.as_str()),
                403,
                with(both, "insufficient_scope"),
            ),
            (
                "/write",
                Some(writer.as_str()),
                403,
                with(both, "insufficient_scope"),
            ),
        ] {
            let request = match token {
                Some(token) => Request::get(path).bearer(token),
                None => Request::get(path),
            };
            assert_eq!(
                challenge(on, &mut proxy, &request, status),
                expected,
                "{path}"
            );
        }
        // Other refusals have no challenge, as before.
        let session = Request::get("/agents").bearer(&reader);
        let reply = replied(on, &mut proxy, &session);
        assert_eq!(reply.status, 403);
        assert!(!reply.headers.has("www-authenticate"));
        proxy.assert_clean();
    }
}

/// A request that waited for the key set is told the same.
#[test]
fn a_request_that_waited_gets_the_same_challenge() {
    let keys = key_set(&[&Key::new("k1", 1)]);
    let changes = json!({"metadata": metadata(), "required_scopes": ["files:read"]});
    let late = Duration::from_millis(200);
    let mut proxy = started(ENVOY, changes, move |_| Answer::json(&keys).after(late));
    let request = Request::get("/").bearer(Key::new("k1", 2).mandate(START, json!({})));
    let stream = proxy.request(0, request);
    assert!(proxy.outcome(stream).is_paused());
    let Outcome::Replied(reply) = ENVOY.settle(&mut proxy, stream) else {
        panic!("it was not refused");
    };
    assert_eq!(
        reply.headers.text("www-authenticate").unwrap(),
        format!(
            "Bearer realm=\"caracal\", error=\"invalid_token\", scope=\"files:read\", resource_metadata=\"{URL}\""
        )
    );
}

/// Gateway mode: the path chooses the document. A challenge names that of the request's
/// resource, and what the top level says where no resource is known.
#[test]
fn gateway_mode_has_documents_and_challenges_too() {
    for on in [ENVOY, APISIX] {
        let of = |name: &str| {
            json!({
                "upstream_url": format!("https://api.example.test/{name}"),
                "required_scopes": [format!("{name}:use")],
                "metadata": {"resource": format!("https://edge.example.test/{name}")},
            })
        };
        let changes = json!({
            "audience": null, "mode": "gateway",
            "gateway": {"upstream": "feed"}, "revocation": {"upstream": "feed"},
            "challenge": {"realm": "edge"},
            "resources": {"resource://a": of("a"), "resource://b": of("b")},
        });
        let mut proxy = warm(on, changes);
        for name in ["a", "b"] {
            let path = format!("{ROOT}/{name}");
            let reply = replied(on, &mut proxy, &Request::get(&path));
            assert_eq!(reply.status, 200);
            let resource = format!("https://edge.example.test/{name}");
            assert_eq!(reply.json()["resource"], resource.as_str());
            let named =
                Request::get("/x").header("x-caracal-resource", format!("resource://{name}"));
            assert_eq!(
                challenge(on, &mut proxy, &named, 401),
                format!(
                    "Bearer realm=\"edge\", scope=\"{name}:use\", resource_metadata=\"https://edge.example.test{path}\""
                )
            );
        }
        // Two resources are served here: neither is that of the host.
        let nobody = challenge(on, &mut proxy, &Request::get(ROOT), 401);
        assert_eq!(nobody, "Bearer realm=\"edge\"");
        proxy.assert_clean();
    }
}

/// The token is looked for before the request has to name its resource.
#[test]
fn a_request_that_names_no_resource_is_challenged_for_the_only_one() {
    for on in [ENVOY, APISIX] {
        let changes = json!({
            "audience": null, "mode": "gateway",
            "gateway": {"upstream": "feed"}, "revocation": {"upstream": "feed"},
            "resources": {"a": {
                "upstream_url": "https://api.test/", "required_scopes": ["a:use"],
                "metadata": {"resource": "https://edge.test/a"},
            }},
        });
        let mut proxy = warm(on, changes);
        assert_eq!(
            challenge(on, &mut proxy, &Request::get("/x"), 401),
            "Bearer realm=\"caracal\", scope=\"a:use\", resource_metadata=\"https://edge.test/.well-known/oauth-protected-resource/a\""
        );
    }
}

/// Without `challenge` and `metadata` nothing is different.
#[test]
fn without_configuration_nothing_is_said() {
    for on in ALL {
        let mut proxy = warm(on, json!({"required_scopes": ["files:read"]}));
        let said = challenge(on, &mut proxy, &Request::get(PATH), 401);
        assert_eq!(said, "Bearer realm=\"caracal\"");
        let metrics = proxy.metrics();
        assert!(metrics.keys().all(|name| !name.contains("metadata")));
    }
}
