//! Challenges and metadata, good and bad.

use super::{nothing, parse, paths};
use crate::config::*;

const HEAD: &str = r#""issuer":"https://sts.example.com","zone_id":"z","jwks":{"upstream":"sts"},"revocation":"disabled""#;

fn with_resources(members: &str) -> Result<Configuration, Vec<ConfigError>> {
    let document = format!("{{{HEAD},{members}}}");
    Configuration::from_json(document.as_bytes(), &nothing)
}

fn metadata(more: &str) -> Result<Configuration, Vec<ConfigError>> {
    parse(&format!(
        r#""metadata":{{"resource":"https://h.example/mcp"{more}}}"#
    ))
}

#[test]
fn what_is_named_is_bounded_and_fits_in_a_header() {
    for good in [
        r#""challenge":{"realm":"a realm, with ' and ="}"#,
        r#""challenge":{"resource_metadata":"https://h/.well-known/oauth-protected-resource"}"#,
        r#""challenge":{"realm":"r","resource_metadata":"http://127.0.0.1:8080/x?y=%20"}"#,
        r#""metadata":{"resource":"https://h.example"}"#,
        r#""metadata":{"resource":"http://localhost:8000/mcp"}"#,
        r#""metadata":{"resource":"https://h.example/mcp?a=b"}"#,
        r#""metadata":{"resource":"https://h/mcp"},"challenge":{"realm":"r"}"#,
        r#""metadata":{"resource":"https://h/mcp"},"challenge":{"resource_metadata":"https://h/.well-known/oauth-protected-resource/mcp"}"#,
    ] {
        assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
    }
    for (bad, path) in [
        (r#""challenge":{}"#, "challenge"),
        (r#""challenge":"r""#, "challenge"),
        (r#""challenge":{"scope":"x"}"#, "challenge.scope"),
        (r#""challenge":{"realm":""}"#, "challenge.realm"),
        (r#""challenge":{"realm":7}"#, "challenge.realm"),
        (r#""challenge":{"realm":"a\"b"}"#, "challenge.realm"),
        (r#""challenge":{"realm":"a\\b"}"#, "challenge.realm"),
        (r#""challenge":{"realm":"a\r\nx: y"}"#, "challenge.realm"),
        (r#""challenge":{"realm":"a\tb"}"#, "challenge.realm"),
        (r#""challenge":{"realm":"a\u007fb"}"#, "challenge.realm"),
        (r#""challenge":{"realm":"é"}"#, "challenge.realm"),
    ] {
        let found = paths(parse(bad));
        assert_eq!(found[0], path, "{bad}: {found:?}");
    }
    let realm = |n: usize| parse(&format!(r#""challenge":{{"realm":"{}"}}"#, "r".repeat(n)));
    assert!(realm(256).is_ok());
    assert_eq!(paths(realm(257)), ["challenge.realm"]);
    for url in [
        "",
        "/x",
        "h.example/x",
        "http://h.example/x",
        "ftp://h/x",
        "https://",
        "https://u:p@h/x",
        "https://h/x#y",
        "https://h/\\\"x",
        "https://h/\\\\x",
        "https://h/x y",
        "https://h/\\u000ax: y",
        "https://h/<x>",
        "https://h/é",
    ] {
        let challenge = format!(r#""challenge":{{"resource_metadata":"{url}"}}"#);
        assert_eq!(
            paths(parse(&challenge)),
            ["challenge.resource_metadata"],
            "{url}"
        );
        let metadata = format!(r#""metadata":{{"resource":"{url}"}}"#);
        assert_eq!(paths(parse(&metadata)), ["metadata.resource"], "{url}");
    }
    for url in [
        "https://h/a//b",
        "https://h/a/..",
        "https://h/%61",
        "https://h./x",
    ] {
        let metadata = format!(r#""metadata":{{"resource":"{url}"}}"#);
        assert_eq!(paths(parse(&metadata)), ["metadata.resource"], "{url}");
    }
    // A URL that may hold a password is not repeated.
    let secret = parse(r#""metadata":{"resource":"https://u:secret@h/x"}"#).unwrap_err();
    assert!(!secret[0].problem.contains("secret"), "{secret:?}");
}

#[test]
fn the_members_of_a_document_are_checked() {
    assert_eq!(paths(parse(r#""metadata":{}"#)), ["metadata.resource"]);
    assert_eq!(paths(parse(r#""metadata":"https://h""#)), ["metadata"]);
    for (more, path) in [
        (r#","x":1"#, "metadata.x"),
        (
            r#","bearer_methods_supported":["query"]"#,
            "metadata.bearer_methods_supported",
        ),
        (
            r#","authorization_servers":[]"#,
            "metadata.authorization_servers",
        ),
        (
            r#","authorization_servers":["http://sts.example"]"#,
            "metadata.authorization_servers[0]",
        ),
        (
            r#","authorization_servers":["https://a","https://b?x"]"#,
            "metadata.authorization_servers[1]",
        ),
        (r#","scopes_supported":[]"#, "metadata.scopes_supported"),
        (
            r#","scopes_supported":["a","b c"]"#,
            "metadata.scopes_supported[1]",
        ),
        (
            r#","scopes_supported":["a\"b"]"#,
            "metadata.scopes_supported[0]",
        ),
        (r#","resource_name":"a\nb""#, "metadata.resource_name"),
        (
            r#","resource_documentation":"javascript:x""#,
            "metadata.resource_documentation",
        ),
    ] {
        assert_eq!(paths(metadata(more)), [path], "{more}");
    }
    let servers = |n: usize| {
        let all: Vec<String> = (0..n).map(|n| format!("\"https://s{n}\"")).collect();
        metadata(&format!(r#","authorization_servers":[{}]"#, all.join(",")))
    };
    assert!(servers(16).is_ok());
    assert_eq!(paths(servers(17)), ["metadata.authorization_servers"]);
}

#[test]
fn a_document_and_a_challenge_are_bounded() {
    let scopes = |n: usize, size: usize| {
        let scope = |n: usize| format!("\"{n:0size$}\"");
        let all: Vec<String> = (0..n).map(scope).collect();
        all.join(",")
    };
    let document = |size| metadata(&format!(r#","scopes_supported":[{}]"#, scopes(256, size)));
    assert!(document(60).is_ok());
    assert_eq!(paths(document(61)), ["metadata"]);
    // 4,096 bytes of names and blanks.
    let required = |n| {
        let routes = format!(
            r#""routes":{{"/x":{{"methods":{{"PUT":{{"required_scopes":[{}]}}}}}}}}"#,
            scopes(n, 15)
        );
        [
            parse(&routes),
            parse(&format!(r#"{routes},"challenge":{{"realm":"r"}}"#)),
        ]
    };
    let [without, with] = required(256);
    assert!(without.is_ok() && with.is_ok());
    let long = format!("{},{}", scopes(255, 15), "\"0123456789abcdefg\"");
    let long = format!(r#""required_scopes":[{long}]"#);
    assert!(parse(&long).is_ok());
    let long = format!(r#"{long},"challenge":{{"realm":"r"}}"#);
    assert_eq!(paths(parse(&long)), ["required_scopes"]);
}

#[test]
fn a_contradiction_is_an_error_and_the_nearest_word_counts() {
    let made = "https://h/.well-known/oauth-protected-resource/mcp";
    let other = r#""challenge":{"resource_metadata":"https://h/other"}"#;
    let metadata = r#""metadata":{"resource":"https://h/mcp"}"#;
    assert_eq!(paths(parse(&format!("{other},{metadata}"))), ["challenge"]);
    assert_eq!(
        paths(with_resources(&format!(
            r#""resources":{{"a":{{{other},{metadata}}}}}"#
        ))),
        ["resources[\"a\"].challenge"]
    );
    let read = with_resources(&format!(
        r#""challenge":{{"realm":"top","resource_metadata":"https://top/x"}},"resources":{{
            "a":{{{metadata}}},
            "b":{{"challenge":{{"realm":"b"}}}},
            "c":{{{other}}}
        }}"#
    ));
    let read = read.unwrap();
    let resources = read.in_force();
    let said = |n: usize| {
        let challenge = resources.all()[n].challenge.clone().unwrap();
        (
            challenge.realm.unwrap(),
            challenge.resource_metadata.unwrap(),
        )
    };
    let text = |realm: &str, url: &str| (realm.to_owned(), url.to_owned());
    assert_eq!(said(0), text("top", made));
    assert_eq!(said(1), text("b", "https://top/x"));
    assert_eq!(said(2), text("top", "https://h/other"));
    let plain = parse("").unwrap().in_force();
    assert_eq!(plain.all()[0].challenge, None);
}

#[test]
fn two_documents_never_answer_one_request() {
    let two = |a: &str, b: &str| {
        with_resources(&format!(
            r#""resources":{{"a":{{"metadata":{{"resource":"{a}"}}}},"b":{{"metadata":{{"resource":"{b}"}}}}}}"#
        ))
    };
    assert!(two("https://h/a", "https://h/b").is_ok());
    // Without hosts nothing tells these apart.
    for (a, b) in [
        ("https://h/mcp", "https://h/mcp"),
        ("https://a.test/mcp", "https://b.test/mcp"),
        ("https://a.test", "https://b.test/"),
    ] {
        assert_eq!(
            paths(two(a, b)),
            ["resources[\"b\"].metadata.resource"],
            "{a}"
        );
    }
    let apart = with_resources(
        r#""resources":{
            "a":{"hosts":["a.test"],"metadata":{"resource":"https://a.test/mcp"}},
            "b":{"hosts":["b.test"],"metadata":{"resource":"https://b.test/mcp"}},
            "c":{"metadata":{"resource":"https://c.test/mcp"}}
        }"#,
    );
    assert!(apart.is_ok(), "{apart:?}");
    assert_eq!(
        paths(with_resources(
            r#""resources":{"a":{}},"metadata":{"resource":"https://h"}"#
        )),
        ["metadata"]
    );
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_has_the_same_shapes() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let is_valid = |members: &str| {
        let document = format!("{{{HEAD},{members}}}");
        validator.is_valid(&serde_json::from_str(&document).unwrap())
    };
    for good in [
        r#""audience":"a","challenge":{"realm":"r"},"metadata":{"resource":"https://h"}"#,
        r#""challenge":{"realm":"r"},"resources":{"a":{"challenge":{"resource_metadata":"https://h"},"metadata":{"resource":"https://h","scopes_supported":["a"]}}}"#,
    ] {
        assert!(is_valid(good), "{good}");
    }
    for bad in [
        r#""audience":"a","challenge":{}"#,
        r#""audience":"a","challenge":{"x":1}"#,
        r#""audience":"a","metadata":{}"#,
        r#""audience":"a","metadata":{"resource":"https://h","x":1}"#,
        r#""audience":"a","metadata":{"resource":"https://h","authorization_servers":[]}"#,
        r#""resources":{"a":{}},"metadata":{"resource":"https://h"}"#,
    ] {
        assert!(!is_valid(bad), "{bad}");
    }
}
