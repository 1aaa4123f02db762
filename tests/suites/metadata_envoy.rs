//! Challenges and public metadata (RFC 9728) in a real Envoy: the document byte for byte,
//! `HEAD`, everything that is almost its URL under each of Envoy's options about paths, and
//! the way from a challenge to the document.

use std::time::Duration;

use caracal_tests::edge::Recording;
use caracal_tests::envoy::Paths;
use caracal_tests::mint::now;
use caracal_tests::processes::until;
use caracal_tests::servers::{Client, Response, request};
use serde_json::{Value, json};

const PATH: &str = "/.well-known/oauth-protected-resource/mcp";
const ROOT: &str = "/.well-known/oauth-protected-resource";
const DOCUMENT: &str = r#"{"resource":"https://edge.test/mcp","authorization_servers":["https://sts.example.test"],"scopes_supported":["files:read","files:write"],"bearer_methods_supported":["header"],"resource_name":"Files of \"Ada\"","resource_documentation":"https://edge.test/docs#mcp"}"#;

/// Paths that somebody could take for the document's.
const NEAR: [&str; 30] = [
    "/.well-known/oauth-protected-resource/mcp/",
    "/.well-known/oauth-protected-resource/mcp//",
    "/.well-known/oauth-protected-resource/mcp?",
    "/.well-known/oauth-protected-resource/mcp?x=1",
    "/.well-known/oauth-protected-resource/mcp#x",
    "/.well-known/oauth-protected-resource/mcp;x=1",
    "/.well-known/oauth-protected-resource/mcp%00",
    "/.well-known/oauth-protected-resource/mcp%20",
    "/.well-known/oauth-protected-resource/mcp%3f",
    "/.well-known/oauth-protected-resource/mcp.json",
    "/.well-known/oauth-protected-resource/MCP",
    "/.well-known/oauth-protected-resource/mc%70",
    "/.well-known/oauth-protected-resource%2fmcp",
    "/.well-known/oauth-protected-resource\\mcp",
    "/.well-known/oauth-protected-resource%5cmcp",
    "/.well-known/oauth-protected-resource//mcp",
    "/.well-known/oauth-protected-resource/./mcp",
    "/.well-known/oauth-protected-resource/x/../mcp",
    "/.well-known/oauth-protected-resource/x/%2e%2e/mcp",
    "/.well-known/oauth-protected-resource/mcp/../../../admin",
    "/.well-known/oauth-protected-resource/mcp/tool",
    "/.well-known//oauth-protected-resource/mcp",
    "//.well-known/oauth-protected-resource/mcp",
    "/open/../.well-known/oauth-protected-resource/mcp",
    "/%2ewell-known/oauth-protected-resource/mcp",
    "/.WELL-KNOWN/oauth-protected-resource/mcp",
    "/.well-known/oauth-protected-resource/",
    "/.well-known/oauth-protected-resources",
    "/.well-known/oauth-protected-resource/other",
    "http://edge.test/.well-known/oauth-protected-resource/mcp?x",
];

fn client_of(edge: &Recording, listener: usize) -> Client {
    Client::connect(edge.envoy.listener(listener))
}

fn settings(more: Value) -> Value {
    let mut all = json!({
        "required_scopes": ["files:read"],
        "routes": {"/write": {"required_scopes": ["files:read", "files:write"]}},
        "exclude": ["/open"],
        "metadata": {
            "resource": "https://edge.test/mcp",
            "scopes_supported": ["files:read", "files:write"],
            "resource_name": "Files of \"Ada\"",
            "resource_documentation": "https://edge.test/docs#mcp",
        },
    });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[test]
fn a_document_is_answered_byte_for_byte_and_goes_nowhere() {
    let edge = Recording::start(settings(json!({})), &[]);
    let mut client = edge.client();
    for path in [PATH, ROOT] {
        let response = client.get(path, None, &[("origin", "https://other.example")]);
        assert_eq!(response.status, 200);
        assert_eq!(response.body, DOCUMENT.as_bytes());
        let length = DOCUMENT.len().to_string();
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=300"),
            ("access-control-allow-origin", "*"),
            ("content-length", length.as_str()),
        ] {
            let named: Vec<&str> = response
                .headers
                .iter()
                .filter(|(one, _)| one == name)
                .map(|(_, value)| value.as_str())
                .collect();
            assert_eq!(named, [value], "{name}");
        }
        assert_eq!(response.header("www-authenticate"), None);
        // The next answer on the connection is read right: no body came with this one.
        let head = client.exchange(&request("HEAD", path, &[])).unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(
            head.header("content-length").unwrap_or(&length),
            length,
            "as GET has it (RFC 9110 section 8.6)"
        );
    }
    // A mandate makes no difference, and neither does a bad one.
    for token in ["x.y.z", edge.key.mandate(now(), json!({})).as_str()] {
        let response = client.get(PATH, Some(token), &[("x-caracal-sub", "admin")]);
        assert_eq!(response.body, DOCUMENT.as_bytes());
    }
    // Absolute form is the same request (RFC 9112 section 3.2.2).
    let absolute = format!("http://edge.test{PATH}");
    let response = client.get(&absolute, None, &[]);
    assert_eq!(response.body, DOCUMENT.as_bytes());
    assert!(edge.reached().is_empty());
}

#[test]
fn other_methods_are_judged() {
    let edge = Recording::start(settings(json!({})), &[]);
    let good = edge.key.mandate(now(), json!({"scope": "files:read"}));
    let bearer = format!("Bearer {good}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let mut client = edge.client();
        let length = ("content-length", "0");
        let bare = client.exchange(&request(method, PATH, &[length])).unwrap();
        assert_eq!(bare.status, 401, "{method}");
        assert!(edge.reached().is_empty(), "{method}");
        let headers = [length, ("authorization", bearer.as_str())];
        let admitted = client.exchange(&request(method, PATH, &headers)).unwrap();
        assert_eq!(admitted.status, 200, "{method}");
        assert_eq!(edge.reached().len(), 1, "{method}");
    }
}

/// Whatever Envoy makes of a path first: without a mandate it is the document or a refusal,
/// and nothing reaches the service.
#[test]
fn what_is_almost_a_document_never_reaches_the_service() {
    let edge = Recording::start(settings(json!({})), &Paths::all());
    for listener in 0..Paths::all().len() {
        for path in NEAR {
            for method in ["GET", "HEAD"] {
                let mut client = client_of(&edge, listener);
                let response = client.exchange(&request(method, path, &[])).unwrap();
                let is_document = response.header("cache-control") == Some("public, max-age=300");
                match response.status {
                    200 => assert!(is_document, "{listener} {path}"),
                    // Envoy's own answers, too.
                    301 | 307 | 400 | 401 => assert!(!is_document, "{listener} {path}"),
                    status => panic!("{listener} {path}: {status}"),
                }
                // No option changes a query, a case or a name.
                let is_kept = ["?", "#", "MCP", "WELL", "other", "tool", "json", "admin"];
                if is_kept.iter().any(|part| path.contains(part)) {
                    assert_ne!(response.status, 200, "{listener} {path}");
                }
            }
        }
        let exact = client_of(&edge, listener).get(PATH, None, &[]);
        assert_eq!(exact.body, DOCUMENT.as_bytes(), "{listener}");
    }
    assert_eq!(edge.reached().len(), 0);
}

/// Without normalization nothing but the exact path is one.
#[test]
fn only_the_exact_url_is_a_document() {
    let edge = Recording::start(settings(json!({})), &[]);
    for path in NEAR {
        let response = edge.client().get(path, None, &[]);
        assert!(
            matches!(response.status, 400 | 401),
            "{path}: {}",
            response.status
        );
    }
    assert!(edge.reached().is_empty());
}

#[test]
fn a_challenge_leads_to_the_document() {
    let edge = Recording::start(settings(json!({"challenge": {"realm": "files"}})), &[]);
    let mut client = edge.client();
    let challenge = |response: &Response| response.header("www-authenticate").unwrap().to_owned();
    let url = "resource_metadata=\"https://edge.test/.well-known/oauth-protected-resource/mcp\"";
    let missing = client.get("/mcp", None, &[]);
    assert_eq!(missing.status, 401);
    assert_eq!(
        challenge(&missing),
        format!("Bearer realm=\"files\", scope=\"files:read\", {url}")
    );
    let reader = edge.key.mandate(now(), json!({"scope": "files:read"}));
    let lacking = client.get("/write/1", Some(&reader), &[]);
    assert_eq!(lacking.status, 403);
    assert_eq!(
        challenge(&lacking),
        format!(
            "Bearer realm=\"files\", error=\"insufficient_scope\", scope=\"files:read files:write\", {url}"
        )
    );
    let bad = client.get("/write/1", Some("x.y.z"), &[]);
    assert_eq!(
        challenge(&bad),
        format!(
            "Bearer realm=\"files\", error=\"invalid_token\", scope=\"files:read files:write\", {url}"
        )
    );
    // As a client follows it: the URL's path at the URL's host.
    let named = challenge(&missing);
    let named = named.split("resource_metadata=\"").nth(1).unwrap();
    let path = named
        .trim_end_matches('"')
        .strip_prefix("https://edge.test")
        .unwrap();
    let document = client.get(path, None, &[]).json();
    assert_eq!(document["resource"], "https://edge.test/mcp");
}

/// Two resources on one listener, by host: each host's document is its own.
#[test]
fn a_host_gets_its_own_document_and_no_other() {
    let of = |host: &str| {
        json!({
            "hosts": [host],
            "metadata": {"resource": format!("https://{host}/mcp")},
        })
    };
    let changes = json!({
        "audience": null,
        "resources": {"resource://a": of("a.test"), "resource://b": of("b.test")},
    });
    let edge = Recording::start(changes, &[]);
    let at = |host: &str, path: &str| edge.client().get(path, None, &[("host", host)]);
    for host in ["a.test", "b.test"] {
        for path in [PATH, ROOT] {
            let resource = format!("https://{host}/mcp");
            assert_eq!(at(host, path).json()["resource"], resource.as_str());
        }
        let said = at(host, "/");
        let said = said.header("www-authenticate").unwrap().to_owned();
        assert!(
            said.contains(&format!("\"https://{host}{PATH}\"")),
            "{said}"
        );
    }
    for host in ["c.test", "a.test:8080", "a.test.", "b.test, a.test"] {
        for path in [PATH, ROOT] {
            let response = at(host, path);
            assert_eq!(response.status, 400, "{host}");
            assert!(!String::from_utf8_lossy(&response.body).contains("/mcp"));
        }
    }
    assert!(edge.reached().is_empty());
}

/// What an operator sees of it.
#[test]
fn a_document_is_counted_and_no_decision() {
    let edge = Recording::start(settings(json!({})), &[]);
    edge.client().get(PATH, None, &[]);
    edge.client().get("/", None, &[]);
    until("it is counted", Duration::from_secs(10), || {
        edge.envoy.metric("caracal_metadata_answers_total") == 1
            && edge
                .envoy
                .metric("caracal_decisions_total.outcome=refused.code=missing_token")
                == 1
    });
    let mut lines = Vec::new();
    until("it is logged", Duration::from_secs(10), || {
        lines = edge.envoy.access_log();
        lines.len() == 2
    });
    let line = lines
        .iter()
        .find(|line| line["details"] == "caracal_metadata");
    let line = line.unwrap_or_else(|| panic!("{lines:?}"));
    let of_decision = |(name, value): (&String, &Value)| {
        name.contains("decision") && value.as_str().is_some_and(|text| text != "-")
    };
    assert!(!line.as_object().unwrap().iter().any(of_decision), "{line}");
}
