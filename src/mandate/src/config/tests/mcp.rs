//! `routes.*.mcp`.

use super::{parse, paths};
use crate::config::Configuration;
use crate::mcp::rule::Operation;
use crate::routing::routes::{MethodId, Requirements, RuleId};

fn with(mcp: &str) -> Result<Configuration, Vec<crate::config::ConfigError>> {
    parse(&format!(r#""routes":{{"/mcp":{{"mcp":{mcp}}}}}"#))
}

#[test]
fn rules_are_read() {
    for good in [
        "{}",
        r#"{"tools":{}}"#,
        r#"{"tools":{"a":{"required_scopes":["s"],"require_agent":true},"b/c d":{}}}"#,
        r#"{"methods":{"resources/read":{"max_hop_count":1},"tools/call":{}}}"#,
        r#"{"origins":[]}"#,
        r#"{"origins":["https://a.example","http://localhost:6274","https://[::1]:8443","vscode-webview://abc"]}"#,
        r#"{"tools":{},"body":true}"#,
    ] {
        assert!(with(good).is_ok(), "{good} {:?}", with(good));
    }
    for (bad, path) in [
        ("[]", ""),
        (r#"{"tool":{}}"#, ".tool"),
        (r#"{"tools":[]}"#, ".tools"),
        (r#"{"tools":{"":{}}}"#, r#".tools[""]"#),
        (r#"{"tools":{"a\nb":{}}}"#, r#".tools["a\nb"]"#),
        (r#"{"tools":{"a":[]}}"#, r#".tools["a"]"#),
        (r#"{"tools":{"a":{},"a":{}}}"#, r#".tools["a"]"#),
        (r#"{"tools":{"a":{"scopes":[]}}}"#, r#".tools["a"].scopes"#),
        (
            r#"{"tools":{"a":{"required_use":"session"}}}"#,
            r#".tools["a"].required_use"#,
        ),
        (r#"{"methods":{"a b":{}}}"#, r#".methods["a b"]"#),
        (r#"{"methods":{"a,b":{}}}"#, r#".methods["a,b"]"#),
        (
            r#"{"methods":{"Tools/Call":{}}}"#,
            r#".methods["Tools/Call"]"#,
        ),
        (r#"{"methods":{"a/b":{},"A/b":{}}}"#, r#".methods["a/b"]"#),
        (
            r#"{"methods":{"a":{"methods":{}}}}"#,
            r#".methods["a"].methods"#,
        ),
        (r#"{"body":1}"#, ".body"),
        (r#"{"origins":"https://a"}"#, ".origins"),
        (r#"{"origins":["https://a","https://a"]}"#, ".origins[1]"),
    ] {
        assert_eq!(
            paths(with(bad)),
            [format!(r#"routes["/mcp"].mcp{path}"#)],
            "{bad}"
        );
    }
    for bad in [
        "*",
        "null",
        "a.example",
        "https://",
        "https://a.example/",
        "https://A.example",
        "https://a.example/x",
        "https://a.example:443",
        "http://a.example:80",
        "https://*.a.example",
        "https://a,https://b",
        "https://u@a.example",
        "https://a.example?x",
        "HTTPS://a.example",
        "https://a.example#x",
        "/",
    ] {
        let found = paths(with(&format!(r#"{{"origins":["{bad}"]}}"#)));
        assert_eq!(found, [r#"routes["/mcp"].mcp.origins[0]"#], "{bad}");
    }
}

#[test]
fn there_are_at_most_so_many() {
    let many = |n: usize, of: fn(usize) -> String| (0..n).map(of).collect::<Vec<_>>().join(",");
    let tools = |n| {
        format!(
            r#"{{"tools":{{{}}}}}"#,
            many(n, |n| format!(r#""t{n}":{{}}"#))
        )
    };
    let methods = |n| {
        format!(
            r#"{{"methods":{{{}}}}}"#,
            many(n, |n| format!(r#""m{n}":{{}}"#))
        )
    };
    let origins = |n| {
        format!(
            r#"{{"origins":[{}]}}"#,
            many(n, |n| format!(r#""https://h{n}""#))
        )
    };
    assert!(with(&tools(1_024)).is_ok());
    assert_eq!(paths(with(&tools(1_025))), [r#"routes["/mcp"].mcp.tools"#]);
    assert!(with(&methods(64)).is_ok());
    assert_eq!(paths(with(&methods(65))), [r#"routes["/mcp"].mcp.methods"#]);
    assert!(with(&origins(64)).is_ok());
    assert_eq!(paths(with(&origins(65))), [r#"routes["/mcp"].mcp.origins"#]);
    let both = format!(
        r#""routes":{{"/a":{{"mcp":{}}},"/b":{{"mcp":{}}}}}"#,
        tools(1_024),
        tools(1)
    );
    assert_eq!(paths(parse(&both)), ["routes"]);
}

#[test]
fn a_body_is_read_where_the_proxy_shows_it() {
    let on = |host: &str, more: &str| {
        parse(&format!(
            r#""host":"{host}","routes":{{"/mcp":{{"mcp":{{"body":true}}}}}}{more}"#
        ))
    };
    assert!(on("envoy", "").is_ok());
    // A tree of a message takes some twenty-five times its bytes.
    assert!(on("envoy", r#","limits":{"max_body_bytes":1048576}"#).is_ok());
    let over = on("envoy", r#","limits":{"max_body_bytes":1048577}"#);
    assert_eq!(paths(over), ["limits.max_body_bytes"]);
    let none = on("envoy", r#","limits":{"max_paused":0}"#);
    assert_eq!(paths(none), ["limits.max_paused"]);
    for host in ["kong", "apisix"] {
        let found = paths(on(
            host,
            r#","limits":{"max_body_bytes":2048,"body_timeout_ms":100}"#,
        ));
        for path in [
            r#"routes["/mcp"].mcp.body"#,
            "limits.max_body_bytes",
            "limits.body_timeout_ms",
        ] {
            assert!(found.contains(&path.to_owned()), "{host} {path} {found:?}");
        }
    }
}

#[test]
fn what_an_operation_needs_is_added_to_what_the_route_needs() {
    let configuration = parse(
        r#""required_scopes":["top"],"max_hop_count":5,"routes":{"/mcp":{
            "required_scopes":["route","s"],"required_targets":["t"],"require_session":true,
            "methods":{"POST":{"required_scopes":["post","s"]},"GET":{"required_scopes":["get"]}},
            "mcp":{"tools":{
                "a":{"required_scopes":["s","tool"],"required_targets":["u"],"require_session":false,
                     "require_delegation":true,"require_chain_contains":["app"],"max_hop_count":9,
                     "required_use":"resource"},
                "b":{"max_hop_count":2}},
              "methods":{"tools/call":{"required_scopes":["call"]},"resources/read":{}}}}}"#,
    )
    .unwrap();
    let resources = configuration.in_force();
    let rules = &resources.all()[0].rules;
    let needs = |operation| rules.requirements(RuleId::Route(0), MethodId::Mcp(operation));
    let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let base = Requirements {
        required_scopes: texts(&["post", "s"]),
        required_targets: texts(&["t"]),
        require_session: true,
        max_hop_count: 5,
        ..Requirements::default()
    };
    assert_eq!(needs(Operation::Method(0)), Some(&base));
    let call = Requirements {
        required_scopes: texts(&["post", "s", "call"]),
        ..base
    };
    assert_eq!(needs(Operation::Method(1)), Some(&call));
    assert_eq!(
        needs(Operation::Tool(0)),
        Some(&Requirements {
            required_scopes: texts(&["post", "s", "call", "tool"]),
            required_targets: texts(&["t", "u"]),
            require_delegation: true,
            require_chain_contains: texts(&["app"]),
            ..call.clone()
        })
    );
    let few = Requirements {
        max_hop_count: 2,
        ..call.clone()
    };
    assert_eq!(needs(Operation::Tool(1)), Some(&few));
    // No mandate is enough for a tool that is not listed.
    assert_eq!(needs(Operation::UnlistedTool), None);
    let unlisted = MethodId::Mcp(Operation::UnlistedTool);
    assert_eq!(
        rules.requirements_of_unlisted(RuleId::Route(0), unlisted),
        Some(&call)
    );
    for other in [
        MethodId::Any,
        MethodId::Listed(0),
        MethodId::Mcp(Operation::Tool(0)),
    ] {
        assert_eq!(
            rules.requirements_of_unlisted(RuleId::Route(0), other),
            None
        );
    }
}
