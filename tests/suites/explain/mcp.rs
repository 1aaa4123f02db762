//! Calls of tools, explained: what each needs, and what to do where it is refused.

use super::*;

fn mcp(body: bool) -> String {
    configuration(json!({"required_scopes": ["mcp:use"], "routes": {"/mcp": {"mcp": {
        "tools": {"search": {}, "naïve, too": {}, "delete_all": {"required_scopes": ["mcp:delete"]}},
        "methods": {"resources/read": {"required_scopes": ["mcp:read"]}},
        "origins": ["https://app.example"], "body": body,
    }}}}))
    .to_string()
}

/// The verdict, its code, what to change, and the outcome of each check by its name.
fn explained(body: bool, scope: &str, arguments: &[&str]) -> (Value, Value) {
    let folder = Folder::new("mcp");
    let config = folder.file("config.json", mcp(body));
    let claims = claims(NOW, json!({"scope": scope})).to_string();
    let claims = folder.file("claims.json", claims);
    let now = NOW.to_string();
    let common = [config.as_str(), "--claims", &claims, "--at", &now, "--json"];
    let path = match arguments.contains(&"--path") {
        true => &[][..],
        false => &["--path", "/mcp"],
    };
    let done = call(&[&common[..], path, arguments].concat(), b"");
    let said = String::from_utf8(done.stdout).unwrap();
    let said: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&done.stderr)));
    let checks = said["checks"].as_array().unwrap().iter();
    let checks = checks.map(|one| {
        (
            one["check"].as_str().unwrap().to_owned(),
            one["outcome"].clone(),
        )
    });
    let checks = Value::Object(checks.collect());
    (said, checks)
}

#[test]
fn a_call_is_explained_as_the_edge_decides_it() {
    for body in [false, true] {
        for (scope, arguments, verdict, error) in [
            (
                "mcp:use",
                &["--mcp-tool", "search"][..],
                "admitted",
                Value::Null,
            ),
            (
                "mcp:use",
                &["--mcp-tool", "naïve, too"],
                "admitted",
                Value::Null,
            ),
            (
                "mcp:use",
                &["--mcp-tool", "delete_all"],
                "refused",
                json!("insufficient_scope"),
            ),
            (
                "mcp:use mcp:delete",
                &["--mcp-tool", "delete_all"],
                "admitted",
                Value::Null,
            ),
            (
                "mcp:use mcp:delete",
                &["--mcp-tool", "Search"],
                "refused",
                json!("tool_denied"),
            ),
            (
                "other",
                &["--mcp-tool", "Search"],
                "refused",
                json!("insufficient_scope"),
            ),
            (
                "mcp:use",
                &["--mcp-method", "tools/list"],
                "admitted",
                Value::Null,
            ),
            (
                "mcp:use",
                &["--mcp-method", "resources/read"],
                "refused",
                json!("insufficient_scope"),
            ),
            (
                "mcp:use",
                &["--mcp-method", "tools/call"],
                "refused",
                json!("invalid_request"),
            ),
            (
                "mcp:use",
                &["--mcp-method", "Tools/Call"],
                "refused",
                json!("invalid_request"),
            ),
            (
                "mcp:use",
                &["--mcp-tool", "search", "--header", "Origin: null"],
                "refused",
                json!("origin_denied"),
            ),
            (
                "mcp:use",
                &[
                    "--mcp-tool",
                    "search",
                    "--header",
                    "Origin: https://app.example",
                ],
                "admitted",
                Value::Null,
            ),
            ("mcp:use", &[], "admitted", Value::Null),
        ] {
            let (said, _) = explained(body, scope, arguments);
            assert_eq!(
                (&said["verdict"], &said["error"]),
                (&json!(verdict), &error),
                "{body} {arguments:?} {said}"
            );
            let change = said["change"].as_array().unwrap();
            assert_eq!(change.is_empty(), verdict == "admitted", "{said}");
        }
        let older = ["--mcp-tool", "search", "--mcp-version", "2025-06-18"];
        let (said, checks) = explained(body, "mcp:use", &older);
        assert_eq!(said["verdict"], if body { "admitted" } else { "refused" });
        assert_eq!(checks["mcp message"], if body { "ok" } else { "failed" });
        if !body {
            let change = said["change"][0].as_str().unwrap();
            assert!(
                change.contains("2026-07-28") && change.contains("\"body\": true"),
                "{change}"
            );
        }
    }
}

#[test]
fn the_row_of_the_tool_is_the_last() {
    let (said, checks) = explained(false, "mcp:use", &["--mcp-tool", "drop"]);
    assert_eq!(checks["tool"], "failed");
    let last = said["checks"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["row"], &last["check"]), (&json!(14), &json!("tool")));
    assert_eq!(
        said["rule"],
        "a tool that is not listed of the route \"/mcp\""
    );
    let change = said["change"][0].as_str().unwrap();
    assert!(change.contains("mcp.tools"), "{change}");
    // It is looked at after what the route needs.
    let (said, checks) = explained(false, "other", &["--mcp-tool", "drop"]);
    assert_eq!(
        (&checks["scopes"], &checks["tool"]),
        (&json!("failed"), &json!("not_reached"))
    );
    assert!(said["change"].to_string().contains("Then also"), "{said}");
}

#[test]
fn what_gets_around_a_rule_is_explained() {
    let upper = ["--mcp-tool", "search", "--path", "/MCP"];
    let (said, checks) = explained(false, "mcp:use", &upper);
    assert_eq!(said["error"], "invalid_request");
    assert_eq!(checks["path"], "failed");
    let change = said["change"].to_string();
    assert!(change.contains("upper and lower case"), "{change}");
    for header in ["connection: mcp-name", "upgrade: websocket"] {
        let arguments = ["--mcp-tool", "search", "--header", header];
        let (said, _) = explained(false, "mcp:use", &arguments);
        assert_eq!(said["error"], "invalid_request", "{header}");
        let shown = said.to_string();
        let (name, _) = header.split_once(':').unwrap();
        assert!(shown.to_lowercase().contains(name), "{shown}");
    }
}

#[test]
fn a_recorded_message_is_explained() {
    let folder = Folder::new("mcp-recorded");
    let config = folder.file("config.json", mcp(true));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop"}}"#;
    let head = "POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let key = Key::new("k1", 1);
    let keys = folder.file("keys.json", key_set(&[&key]).to_string());
    let token = key.mandate(NOW, json!({"scope": "mcp:use"}));
    let now = NOW.to_string();
    let verdict = |rest: &str| {
        let recorded = format!("{head}Authorization: Bearer {token}\r\n{rest}");
        let arguments = [
            config.as_str(),
            "--key-set",
            &keys,
            "--at",
            &now,
            "--request",
            "-",
            "--json",
        ];
        let done = call(&arguments, recorded.as_bytes());
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        (said["error"].clone(), said["conditions"].to_string())
    };
    assert_eq!(verdict(&format!("\r\n{body}")).0, "tool_denied");
    assert_eq!(
        verdict(&format!("Mcp-Name: search\r\n\r\n{body}")).0,
        "invalid_request"
    );
    assert_eq!(verdict(&format!("\r\n{body}{body}")).0, "invalid_request");
    let (error, conditions) = verdict("\r\n");
    assert!(
        error.is_null() && conditions.contains("--mcp-tool"),
        "{error} {conditions}"
    );
}
