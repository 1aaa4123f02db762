//! Requests in shadow, explained: what would have become of them, and that they go on.

use super::*;

fn explained(changes: Value, path: &str, as_json: bool) -> (Option<i32>, String) {
    let folder = Folder::new("shadow");
    let config = folder.file("config.json", configuration(changes).to_string());
    let claims = claims(NOW, json!({"scope": "c:d"})).to_string();
    let claims = folder.file("claims.json", claims);
    let now = NOW.to_string();
    let mut arguments = vec![&*config, "--claims", &claims, "--at", &now, "--path", path];
    if as_json {
        arguments.push("--json");
    }
    let done = call(&arguments, b"");
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn a_refusal_in_shadow_says_that_the_request_goes_on() {
    let of = |changes: Value| {
        let mut all = json!({"required_scopes": ["a:b"]});
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let route = json!({"routes": {"/try": {"enforcement": "shadow"}}});
    for (changes, path, goes_on) in [
        (json!({"enforcement": "shadow"}), "/x", true),
        (json!({"enforcement": "shadow"}), "/a/%2e%2e/x%00", true),
        (json!({}), "/x", false),
        (route.clone(), "/try/1", true),
        (route.clone(), "/x", false),
        // Nobody knows whose this is.
        (route, "/try/%2e%2e/x%00", false),
    ] {
        let changes = of(changes);
        let (status, said) = explained(changes.clone(), path, true);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(status, Some(1), "{said}");
        assert_eq!(said["verdict"], "refused", "{path}");
        assert_eq!(said["goes_on_in_shadow"], goes_on, "{changes} {path}");
        let (status, said) = explained(changes, path, false);
        assert_eq!(status, Some(1), "{said}");
        let words = "In shadow the edge lets it through unverified. Enforced, it refuses: 40";
        assert_eq!(said.starts_with(words), goes_on, "{said}");
        assert_eq!(said.starts_with("The edge refuses: 40"), !goes_on, "{said}");
        assert!(said.contains("What to change"), "{said}");
    }
    // What is admitted is admitted in both.
    let changes = json!({"enforcement": "shadow"});
    let (status, said) = explained(changes, "/x", true);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["verdict"]), (Some(0), &json!("admitted")));
    assert_eq!(said["goes_on_in_shadow"], false);
}
