//! Routes of MCP: what is in force, for one call too, what Envoy must be set to, and what a
//! newer configuration lets through.

use super::*;

fn with(mcp: Value) -> Value {
    configuration(json!({"required_scopes": ["mcp:use"], "routes": {"/mcp": {"mcp": mcp}}}))
}

fn tools() -> Value {
    json!({"search": {}, "delete_all": {"required_scopes": ["mcp:delete"]}})
}

fn said_of(configuration: &Value, arguments: &[&str]) -> (Value, String) {
    let file = folder("mcp").join("config.json");
    fs::write(&file, configuration.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let json = call(&[&[file, "--json"], arguments].concat());
    let words = call(&[&[file], arguments].concat());
    let text = String::from_utf8(words.stdout).unwrap();
    (serde_json::from_slice(&json.stdout).unwrap(), text)
}

#[test]
fn the_rule_for_a_call_is_shown() {
    let all = with(json!({"tools": tools(), "methods": {"resources/read": {}}, "origins": []}));
    let scopes = |arguments: &[&str]| {
        let (said, _) = said_of(&all, &[&["--path", "/mcp"], arguments].concat());
        let request = &said["request"];
        (
            request["requires"]["required_scopes"].clone(),
            request["refused"]["error"].clone(),
            request["excluded"].clone(),
        )
    };
    let is = |scopes: Value| (scopes, Value::Null, json!(false));
    assert_eq!(scopes(&["--mcp-tool", "search"]), is(json!(["mcp:use"])));
    assert_eq!(
        scopes(&["--mcp-tool", "delete_all"]),
        is(json!(["mcp:use", "mcp:delete"]))
    );
    assert_eq!(scopes(&["--mcp-method", "ping"]), is(json!(["mcp:use"])));
    assert_eq!(scopes(&[]), is(json!(["mcp:use"])));
    let denied = (Value::Null, json!("tool_denied"), json!(false));
    assert_eq!(scopes(&["--mcp-tool", "drop"]), denied);
    let older = (Value::Null, json!("invalid_request"), json!(false));
    assert_eq!(
        scopes(&["--mcp-tool", "search", "--mcp-version", "2025-06-18"]),
        older
    );
    let (said, text) = said_of(&all, &[]);
    let lines = said["in_force"].as_array().unwrap();
    let tool = lines
        .iter()
        .find(|line| line["mcp_tool"] == "delete_all")
        .unwrap();
    assert_eq!(
        tool["requires"]["required_scopes"],
        json!(["mcp:use", "mcp:delete"])
    );
    assert!(
        text.contains("MCP by its headers, from 0 origins, only 2 tools may be called"),
        "{text}"
    );
    assert!(text.contains(r#"tool "delete_all""#), "{text}");
}

#[test]
fn an_envoy_that_shows_no_message_is_warned_of() {
    let envoy = |body: bool, config: Value| {
        let mut plugin = json!({"name": "caracal", "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": with(json!({"tools": tools(), "body": body})).to_string(),
        }});
        for (name, value) in config.as_object().unwrap() {
            plugin[name] = value.clone();
        }
        let filter = json!({"name": "caracal", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": plugin,
        }});
        let (said, _) = said_of(&json!({"http_filters": [filter]}), &[]);
        let warnings = said["warnings"].as_array().unwrap().clone();
        assert_eq!(said["ok"], true, "{said}");
        warnings.iter().any(|one| one["name"] == "body_not_shown")
    };
    assert!(envoy(true, json!({})));
    assert!(envoy(
        true,
        json!({"allow_on_headers_stop_iteration": false})
    ));
    assert!(!envoy(
        true,
        json!({"allow_on_headers_stop_iteration": true})
    ));
    assert!(!envoy(true, json!({"allowOnHeadersStopIteration": true})));
    assert!(!envoy(false, json!({})));
}

#[test]
fn what_a_newer_configuration_lets_be_called_is_said() {
    let old = with(json!({"tools": tools(), "origins": ["https://a"]}));
    for (new, words) in [
        (
            json!({"tools": {"search": {}, "delete_all": {}}, "origins": ["https://a"]}),
            &["the tool \"delete_all\": also mandates without scope \"mcp:delete\""][..],
        ),
        (
            json!({"tools": {"search": {}, "delete_all": {"required_scopes": ["mcp:delete"]}, "x": {}}, "origins": ["https://a"]}),
            &["the tool \"x\""],
        ),
        (
            json!({"origins": ["https://a"]}),
            &[
                "any other tool",
                "the tool \"delete_all\"",
                "do not say in the older way",
            ],
        ),
        (
            json!({"tools": tools(), "origins": ["https://a", "https://b"]}),
            &["also requests from \"https://b\""],
        ),
        (json!({"tools": tools()}), &["every other origin"]),
        (
            json!({"tools": tools(), "origins": ["https://a"], "body": true}),
            &["do not say in the older way"],
        ),
    ] {
        let (said, text, status) = compare("mcp", &old, &with(new.clone()));
        assert_eq!(
            (&said["lets_more_through"], status),
            (&json!(true), 1),
            "{new}"
        );
        for word in words {
            assert!(text.contains(word), "{new} {text}");
        }
    }
    let none = configuration(json!({"required_scopes": ["mcp:use"], "routes": {"/mcp": {}}}));
    let (_, text, status) = compare("mcp", &old, &none);
    assert!(
        status == 1 && text.contains("any other tool") && text.contains("every other origin"),
        "{text}"
    );
    for new in [
        old.clone(),
        with(json!({"tools": {"search": {"require_session": true}}, "origins": []})),
        with(json!({"tools": {}, "methods": {"a": {"required_scopes": ["b"]}}, "origins": []})),
    ] {
        let (said, text, status) = compare("mcp", &old, &new);
        assert_eq!(
            (&said["lets_more_through"], status),
            (&json!(false), 0),
            "{text}"
        );
    }
    // Where there was no rule, one can only refuse more.
    let (_, text, status) = compare("mcp", &none, &old);
    assert_eq!(status, 0, "{text}");
}
