//! Challenges and public metadata (RFC 9728) in each of the hosts: what is answered before
//! anything is judged, what is judged although it looks like it, and what each challenge
//! says.

mod challenges;

use std::time::Duration;

use caracal_tests::host::{Answer, Callout, Proxy, Reply, Request};
use caracal_tests::hosts::{ALL, APISIX, ENVOY, KONG, On};
use caracal_tests::mint::{Key, key_set};
use serde_json::{Value, json};

const START: u64 = 1_767_225_600;
const FIRST_TICK: Duration = Duration::from_millis(30);
const PATH: &str = "/.well-known/oauth-protected-resource/mcp";
const HOST: &str = "mcp.example.test";
const ROOT: &str = "/.well-known/oauth-protected-resource";
const URL: &str = "https://mcp.example.test/.well-known/oauth-protected-resource/mcp";
const DOCUMENT: &str = r#"{"resource":"https://mcp.example.test/mcp","authorization_servers":["https://sts.example.test"],"scopes_supported":["files:read","files:write"],"bearer_methods_supported":["header"],"resource_name":"Files"}"#;

fn metadata() -> Value {
    json!({
        "resource": "https://mcp.example.test/mcp",
        "scopes_supported": ["files:read", "files:write"],
        "resource_name": "Files",
    })
}

fn started(on: On, changes: Value, answer: impl FnMut(&Callout) -> Answer + 'static) -> Proxy {
    let mut proxy = on
        .builder(&on.configuration(changes))
        .wall(Duration::from_secs(START))
        .on_callout(answer)
        .start()
        .unwrap();
    proxy.advance(FIRST_TICK);
    proxy
}

/// An edge whose STS answers.
fn warm(on: On, changes: Value) -> Proxy {
    let keys = key_set(&[&Key::new("k1", 1)]);
    started(on, changes, move |_| Answer::json(&keys))
}

fn mandate(changes: Value) -> String {
    Key::new("k1", 1).mandate(START, changes)
}

/// A request to the host of the document's URL.
fn at_its_host(on: On, method: &str, path: &str) -> Request {
    let request = Request::new(method, path).authority(HOST);
    match on == ENVOY {
        true => request,
        false => request.header("host", HOST),
    }
}

#[track_caller]
fn replied(on: On, proxy: &mut Proxy, request: &Request) -> Reply {
    on.ask(proxy, 0, request).replied()
}

#[track_caller]
fn is_document(reply: &Reply, body: &str) {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.body, body.as_bytes());
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=300"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(reply.headers.text(name), Some(value), "{name}");
        assert_eq!(reply.headers.all(name).len(), 1, "{name}");
    }
    assert!(!reply.headers.has("www-authenticate"));
}

/// Neither key set nor companion is there, and nobody asks for them because of it.
#[test]
fn a_document_needs_nothing() {
    for on in ALL {
        let changes = json!({
            "metadata": metadata(),
            "revocation": {"upstream": "feed"},
        });
        let mut proxy = started(on, changes, |_| Answer::with(503, "away"));
        for path in [PATH, ROOT] {
            let before = proxy.callouts().len();
            let stream = proxy.request(0, at_its_host(on, "GET", path));
            let reply = proxy.outcome(stream).replied();
            is_document(&reply, DOCUMENT);
            assert_eq!(reply.reason, if on == KONG { "OK" } else { "" });
            assert_eq!(proxy.callouts().len(), before);
            let head = proxy.request(0, at_its_host(on, "HEAD", path));
            is_document(&proxy.outcome(head).replied(), "");
            if on == ENVOY {
                assert_eq!(proxy.details(stream), "caracal_metadata");
            }
            assert_eq!(proxy.filter_state(stream, "caracal_decision"), None);
        }
        // What a client sends besides makes no difference.
        let laden = Request::get(PATH)
            .header("x-caracal-sub", "admin")
            .header("x-caracal-resource", "another")
            .header("origin", "https://evil.example")
            .bearer("not-a-mandate");
        is_document(&replied(on, &mut proxy, &laden), DOCUMENT);
        proxy.advance(Duration::from_secs(1));
        if on != APISIX {
            assert_eq!(proxy.metric_value("caracal_metadata_answers_total"), 5);
            let refused = "caracal_decisions_total.outcome=refused.code=missing_token";
            assert_eq!(proxy.metric_value(refused), 0);
        }
        proxy.assert_clean();
    }
}

/// What is not exactly the URL is judged, whatever a service or a cache takes it for.
#[test]
fn what_is_almost_a_document_is_judged() {
    for on in ALL {
        let mut proxy = warm(on, json!({"metadata": metadata()}));
        for path in [
            "/.well-known/oauth-protected-resource/mcp/",
            "/.well-known/oauth-protected-resource/mcp?",
            "/.well-known/oauth-protected-resource/mcp?x=1",
            "/.well-known/oauth-protected-resource/MCP",
            "/.well-known/oauth-protected-resource/mcp;x",
            "/.well-known/oauth-protected-resource/%6dcp",
            "/.well-known/oauth-protected-resource/mcp/tool",
            "/.well-known/oauth-protected-resource/x/../mcp",
            "/.well-known//oauth-protected-resource/mcp",
            "//.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-protected-resource/",
            "/.WELL-KNOWN/oauth-protected-resource",
            "/.well-known/oauth-authorization-server",
            "/mcp",
            // Only at its own host the document is at the root too.
            ROOT,
        ] {
            for method in ["GET", "HEAD"] {
                let reply = replied(on, &mut proxy, &Request::new(method, path));
                assert_eq!(reply.status, 401, "{method} {path}");
            }
        }
        for method in ["POST", "OPTIONS", "PUT", "DELETE", "get", "QUERY"] {
            let request = Request::new(method, PATH);
            assert_eq!(replied(on, &mut proxy, &request).status, 401, "{method}");
            let admitted = request.bearer(mandate(json!({})));
            assert!(on.ask(&mut proxy, 0, &admitted).is_forwarded(), "{method}");
        }
        proxy.assert_clean();
    }
}

/// A gRPC client would get the document as an error's text.
#[test]
fn a_grpc_request_is_judged() {
    let mut proxy = warm(ENVOY, json!({"metadata": metadata()}));
    let request = Request::get(PATH).header("content-type", "application/grpc");
    let reply = replied(ENVOY, &mut proxy, &request);
    assert_eq!(reply.grpc_status, Some(16));
}

/// An excluded prefix around the document changes nothing for it: the filter answers.
#[test]
fn a_document_never_comes_from_an_excluded_path() {
    for on in ALL {
        let changes = json!({"metadata": metadata(), "exclude": ["/.well-known"]});
        let mut proxy = warm(on, changes);
        is_document(&replied(on, &mut proxy, &Request::get(PATH)), DOCUMENT);
        let other = Request::get("/.well-known/other");
        assert!(on.ask(&mut proxy, 0, &other).is_forwarded());
        proxy.assert_clean();
    }
}

/// A reply that the proxy does not take lets nothing through.
#[test]
fn a_document_that_cannot_be_sent_is_no_way_through() {
    for on in ALL {
        for failures in [1, 2] {
            let mut proxy = warm(
                on,
                json!({"metadata": metadata(), "exclude": ["/.well-known"]}),
            );
            let mut left = failures;
            proxy.on_host_call(move |call| {
                let fails = call.name == "proxy_send_local_response" && left > 0;
                left -= usize::from(fails);
                fails.then_some(10)
            });
            let stream = proxy.request(0, Request::get(PATH).body("x"));
            proxy.no_faults();
            let outcome = proxy.outcome(stream);
            assert!(proxy.upstream(stream).is_none(), "{on:?}: {outcome:?}");
            if failures == 1 {
                assert_eq!(outcome.replied().status, 503);
            }
        }
    }
}

/// Each of two hosts gets its own document, also where the paths are the same.
#[test]
fn a_host_gets_its_own_document_and_no_other() {
    for on in ALL {
        let of =
            |host: &str| json!({"resource": format!("https://{host}/mcp"), "resource_name": host});
        let resources = json!({
            "resource://a": {"hosts": ["a.test"], "metadata": of("a.test")},
            "resource://b": {"hosts": ["b.test"], "metadata": of("b.test")},
            "resource://c": {"hosts": ["c.test"]},
        });
        let mut proxy = warm(on, json!({"audience": null, "resources": resources}));
        let at = |host: &str, path: &str| match on == ENVOY {
            true => Request::get(path).authority(host),
            false => Request::get(path).authority(host).header("host", host),
        };
        for host in ["a.test", "b.test"] {
            let document = format!(
                r#"{{"resource":"https://{host}/mcp","authorization_servers":["https://sts.example.test"],"bearer_methods_supported":["header"],"resource_name":"{host}"}}"#
            );
            for path in [PATH, ROOT] {
                is_document(&replied(on, &mut proxy, &at(host, path)), &document);
                // The header says what a mandate is for, and chooses no document.
                let named = at(host, path).header("x-caracal-resource", "resource://b");
                is_document(&replied(on, &mut proxy, &named), &document);
            }
        }
        for (host, status) in [("c.test", 401), ("d.test", 400), ("a.test:1", 400)] {
            for path in [PATH, ROOT] {
                let reply = replied(on, &mut proxy, &at(host, path));
                assert_eq!(reply.status, status, "{host}");
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                assert!(
                    !text.contains("a.test") && !text.contains("b.test"),
                    "{text}"
                );
                let said = reply.headers.text("www-authenticate").unwrap_or_default();
                assert!(!said.contains("resource_metadata"), "{said}");
            }
        }
        proxy.assert_clean();
    }
}

/// A document is no decision: there is no event of it.
#[test]
fn a_document_is_not_audited() {
    let keys = key_set(&[&Key::new("k1", 1)]);
    let changes = json!({"metadata": metadata(), "audit": {"upstream": "feed"}});
    let mut proxy = started(ENVOY, changes, move |callout| match ENVOY.is_sts(callout) {
        true => Answer::json(&keys),
        false => Answer::with(200, r#"{"taken":1,"refused":[]}"#),
    });
    is_document(&replied(ENVOY, &mut proxy, &Request::get(PATH)), DOCUMENT);
    proxy.advance(Duration::from_secs(2));
    assert!(proxy.callouts_to("feed").is_empty());
    // A refusal is one.
    replied(ENVOY, &mut proxy, &Request::get("/"));
    proxy.advance(Duration::from_secs(2));
    assert!(!proxy.callouts_to("feed").is_empty());
}
