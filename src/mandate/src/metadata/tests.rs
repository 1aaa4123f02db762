use super::*;
use crate::config::Configuration;
use crate::decision::verifier::Verifier;

const LEAST: &str = r#""issuer":"https://sts.example.com","zone_id":"z","jwks":{"upstream":"sts"},"revocation":"disabled""#;

fn verifier(members: &str) -> Verifier {
    let document = format!("{{{LEAST},{members}}}");
    let read = Configuration::from_json(document.as_bytes(), &|_| None);
    Verifier::from(&read.unwrap_or_else(|errors| panic!("{errors:?}")))
}

/// The `resource` of the document that answers a request.
fn answer(of: &Verifier, method: &str, host: &str, target: &str) -> Option<String> {
    let view = RequestView {
        method: Some(method.as_bytes()),
        target: Some(target.as_bytes()),
        authority: Some(host.as_bytes()),
        ..RequestView::default()
    };
    let body: serde_json::Value = serde_json::from_slice(of.document(&view)?.body()).unwrap();
    Some(body["resource"].as_str().unwrap().to_owned())
}

#[test]
fn the_well_known_part_stands_between_host_and_path() {
    for (resource, url) in [
        (
            "https://h",
            "https://h/.well-known/oauth-protected-resource",
        ),
        (
            "https://h/",
            "https://h/.well-known/oauth-protected-resource",
        ),
        (
            "https://h/a/mcp",
            "https://h/.well-known/oauth-protected-resource/a/mcp",
        ),
        (
            "https://H.example:8443/mcp/",
            "https://H.example:8443/.well-known/oauth-protected-resource/mcp/",
        ),
        (
            "https://h?tenant=1",
            "https://h/.well-known/oauth-protected-resource?tenant=1",
        ),
        (
            "https://h/?tenant=1",
            "https://h/.well-known/oauth-protected-resource?tenant=1",
        ),
        (
            "https://h/v1.0/mcp?a=b&c",
            "https://h/.well-known/oauth-protected-resource/v1.0/mcp?a=b&c",
        ),
        (
            "http://[::1]:80/mcp",
            "http://[::1]:80/.well-known/oauth-protected-resource/mcp",
        ),
    ] {
        let parsed = ResourceUrl::parse(resource).unwrap_or_else(|| panic!("{resource}"));
        assert_eq!(parsed.document_url(), url);
        assert!(url.ends_with(&parsed.target()), "{url}");
    }
    for bad in [
        "h/mcp",
        "https://",
        "https:///mcp",
        "https://u@h/mcp",
        "https://h:/mcp",
        "https://h#x",
        "https://h/mcp#x",
        "https://h/a//b",
        "https://h//",
        "https://h/a/../b",
        "https://h/a%2fb",
        "https://h/%61",
        "https://h/a;b",
        "https://h/a\\b",
        "https://h.ex ample/mcp",
    ] {
        assert_eq!(ResourceUrl::parse(bad), None, "{bad}");
    }
}

#[test]
fn only_the_exact_url_is_answered() {
    let edge = verifier(r#""audience":"a","metadata":{"resource":"https://mcp.example/mcp"}"#);
    let url = "/.well-known/oauth-protected-resource/mcp";
    for method in ["GET", "HEAD"] {
        // Rules hold at every host, and so does the document.
        for host in ["mcp.example", "127.0.0.1:10000", ""] {
            let found = answer(&edge, method, host, url);
            assert_eq!(found.as_deref(), Some("https://mcp.example/mcp"));
        }
        // There is one resource, so it is found at the root of its host too.
        for host in ["mcp.example", "MCP.example"] {
            assert!(answer(&edge, method, host, WELL_KNOWN).is_some());
        }
        // At the root of another host it would be what that host says of itself.
        for host in [
            "h",
            "mcp.example:443",
            "mcp.example.",
            "127.0.0.1:10000",
            "",
        ] {
            assert_eq!(answer(&edge, method, host, WELL_KNOWN), None, "{host}");
        }
    }
    for method in [
        "POST", "OPTIONS", "PUT", "get", "Head", "CONNECT", "GET ", "",
    ] {
        assert_eq!(answer(&edge, method, "h", url), None, "{method}");
    }
    for near in [
        "/.well-known/oauth-protected-resource/mcp/",
        "/.well-known/oauth-protected-resource/mcp?",
        "/.well-known/oauth-protected-resource/mcp?x=1",
        "/.well-known/oauth-protected-resource/mcp#x",
        "/.well-known/oauth-protected-resource/mcp;x",
        "/.well-known/oauth-protected-resource/MCP",
        "/.well-known/oauth-protected-resource/mc%70",
        "/.well-known/oauth-protected-resource//mcp",
        "/.well-known//oauth-protected-resource/mcp",
        "//.well-known/oauth-protected-resource/mcp",
        "/./.well-known/oauth-protected-resource/mcp",
        "/x/../.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource/mcp/x",
        "/.well-known/oauth-protected-resource/mcp\0",
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-protected-resource?",
        "/.well-known/oauth-protected-resources/mcp",
        "/.Well-Known/oauth-protected-resource/mcp",
        "/%2ewell-known/oauth-protected-resource/mcp",
        "https://mcp.example/.well-known/oauth-protected-resource/mcp",
        "/mcp",
        "*",
        "",
    ] {
        assert_eq!(answer(&edge, "GET", "mcp.example", near), None, "{near}");
    }
    assert!(edge.document(&RequestView::default()).is_none());
    let none = verifier(r#""audience":"a""#);
    assert_eq!(answer(&none, "GET", "mcp.example", url), None);
}

#[test]
fn a_query_of_the_resource_is_part_of_the_url() {
    let edge = verifier(r#""audience":"a","metadata":{"resource":"https://h/?t=1"}"#);
    let asked = |target: &str| answer(&edge, "GET", "h", target).is_some();
    assert!(asked("/.well-known/oauth-protected-resource?t=1"));
    assert!(asked("/.well-known/oauth-protected-resource"));
    assert!(!asked("/.well-known/oauth-protected-resource?t=2"));
    assert!(!asked("/.well-known/oauth-protected-resource/?t=1"));
}

#[test]
fn a_host_gets_only_its_own_resource_s_document() {
    let edge = verifier(
        r#""resources":{
            "a":{"hosts":["a.test","a.test:8443"],"metadata":{"resource":"https://a.test/mcp"}},
            "b":{"hosts":["b.test"],"metadata":{"resource":"https://b.test/mcp"}},
            "c":{"hosts":["c.test"]},
            "d":{"metadata":{"resource":"https://d.test/mcp"}}
        }"#,
    );
    let path = "/.well-known/oauth-protected-resource/mcp";
    for (host, found) in [
        ("a.test", Some("https://a.test/mcp")),
        ("A.TEST:8443", Some("https://a.test/mcp")),
        ("b.test", Some("https://b.test/mcp")),
        // Served there, without a document.
        ("c.test", None),
        // Nobody's host.
        ("e.test", Some("https://d.test/mcp")),
        // Almost a host of a, or no host.
        ("a.test:443", None),
        ("a.test.", None),
        ("b.test:", None),
        ("a.test,b.test", None),
        ("a.test@e.test", None),
        ("", None),
    ] {
        let at_path = answer(&edge, "GET", host, path);
        assert_eq!(at_path.as_deref(), found, "{host}");
        // Only at the host of its URL it is found at the root too.
        let own = found.filter(|_| matches!(host, "a.test" | "b.test"));
        let at_root = answer(&edge, "GET", host, WELL_KNOWN);
        assert_eq!(at_root.as_deref(), own, "{host}");
    }
    let at_own = answer(&edge, "GET", "d.test", WELL_KNOWN);
    assert_eq!(at_own.as_deref(), Some("https://d.test/mcp"));
    let view = RequestView {
        method: Some(b"GET"),
        target: Some(path.as_bytes()),
        ..RequestView::default()
    };
    assert!(edge.document(&view).is_none(), "a request without a host");
}

/// The header names a resource for judging. A client that looks for a document does not
/// send it, and another could send what it likes.
#[test]
fn the_path_chooses_among_resources_without_hosts_and_no_header() {
    let edge = verifier(
        r#""resources":{
            "a":{"metadata":{"resource":"https://h/a"}},
            "b":{"metadata":{"resource":"https://h/b"}},
            "c":{}
        }"#,
    );
    for names in [&[][..], &[&b"b"[..]], &[b"b", b"c"], &[b"unknown"]] {
        let view = RequestView {
            method: Some(b"GET"),
            target: Some(b"/.well-known/oauth-protected-resource/a"),
            authority: Some(b"h"),
            resource: names,
            ..RequestView::default()
        };
        let document = edge.document(&view).unwrap();
        assert_eq!(edge.resources().get(document.resource).unwrap().id, "a");
    }
    // Which one it is about could only be guessed.
    assert_eq!(answer(&edge, "GET", "h", WELL_KNOWN), None);
    let c = "/.well-known/oauth-protected-resource/c";
    assert_eq!(answer(&edge, "GET", "h", c), None);
}

#[test]
fn the_document_has_what_is_configured_and_nothing_empty() {
    let edge =
        verifier(r#""audience":"resource://pipernet","metadata":{"resource":"https://h/mcp"}"#);
    let reply = edge.documents()[0].reply();
    assert_eq!(
        String::from_utf8(reply.body).unwrap(),
        r#"{"resource":"https://h/mcp","authorization_servers":["https://sts.example.com"],"bearer_methods_supported":["header"]}"#
    );
    assert_eq!(reply.status, 200);
    let headers: Vec<(&str, &str)> = reply
        .headers
        .iter()
        .map(|(n, v)| (*n, v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("content-type", "application/json"),
            ("cache-control", "public, max-age=300"),
            ("access-control-allow-origin", "*"),
        ]
    );
    let full = verifier(
        r#""audience":"a","metadata":{"resource":"https://h/mcp",
            "authorization_servers":["https://one.example","http://127.0.0.1:7701"],
            "scopes_supported":["files:read","files:write"],
            "resource_name":"Füle \"s\"","resource_documentation":"https://h/docs#mcp"}"#,
    );
    assert_eq!(
        std::str::from_utf8(full.documents()[0].body()).unwrap(),
        r#"{"resource":"https://h/mcp","authorization_servers":["https://one.example","http://127.0.0.1:7701"],"scopes_supported":["files:read","files:write"],"bearer_methods_supported":["header"],"resource_name":"Füle \"s\"","resource_documentation":"https://h/docs#mcp"}"#
    );
}

#[test]
fn the_issuers_are_those_of_the_zones_that_the_resource_accepts() {
    let document = r#"{"issuer":"https://sts.example.com","jwks":{"upstream":"sts"},"revocation":"disabled",
        "zones":{"one":{},"two":{"issuer":"https://two.example"},"three":{"issuer":"https://two.example"}},
        "resources":{
            "a":{"hosts":["a"],"metadata":{"resource":"https://a"}},
            "b":{"hosts":["b"],"zones":["two","three"],"metadata":{"resource":"https://b"}}
        }}"#;
    let read = Configuration::from_json(document.as_bytes(), &|_| None).unwrap();
    let edge = Verifier::from(&read);
    let servers = |n: usize| {
        let body = edge.documents()[n].body();
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["authorization_servers"].clone()
    };
    assert_eq!(
        servers(0),
        serde_json::json!(["https://sts.example.com", "https://two.example"])
    );
    assert_eq!(servers(1), serde_json::json!(["https://two.example"]));
}
