//! What is wrong with a configuration: where it stands, and what was meant.

use caracal_tests::processes::folder;
use serde_json::{Value, json};

use super::{call, call_with_input, file, stderr};

const BROKEN: &str = r#"{
  "issuer": "https://sts.example.com",
  "zone_id": "z",
  "audience": "a",
  "jwks": {"upstream": "sts"},
  "revocation": {
    "upstream": "feed",
    "max_stalenes_s": 5
  },
  "routes": {
    "/pay.out": {"scopes": ["a"], "max_hop_count": -1}
  }
}"#;

#[test]
fn every_error_has_its_line_and_an_unknown_key_the_one_that_was_meant() {
    let folder = folder("errors");
    let broken = file(&folder, "filter.json", BROKEN);
    let expected = [
        "line 8, column 5: revocation.max_stalenes_s: unknown key; did you mean max_staleness_s? expected one of ",
        r#"line 11, column 18: routes["/pay.out"].scopes: unknown key; did you mean required_scopes? expected one of "#,
        r#"line 11, column 35: routes["/pay.out"].max_hop_count: expected an integer"#,
    ];
    for arguments in [
        &["check", &broken][..],
        &["explain", &broken, "--path", "/"],
    ] {
        let said = stderr(&call(arguments));
        for words in expected {
            assert!(said.contains(&format!("filter.json: {words}")), "{said}");
        }
    }
    let done = call(&["check", &broken, "--json"]);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let errors = said["errors"].as_array().unwrap();
    let place = |error: &Value| (error["line"].clone(), error["column"].clone());
    let places: Vec<_> = errors.iter().map(place).collect();
    for at in [(8, 5), (11, 18), (11, 35)] {
        let at = (json!(at.0), json!(at.1));
        assert!(places.contains(&at), "{said}");
    }
}

#[test]
fn what_is_no_json_is_told_from_yaml() {
    let yaml = "issuer: https://sts.example.com\nzone_id: z\njwks:\n  upstream: sts\n";
    for (text, expected) in [
        (
            yaml,
            "line 1, column 1: this looks like YAML; the filter's configuration is a JSON object",
        ),
        (
            "{\n  \"issuer\": \"x\"\n  \"zone_id\": \"z\"\n}",
            "line 3, column 3: the configuration is not JSON: expected `,` or `}`",
        ),
    ] {
        let done = call_with_input(&["check", "-"], text);
        assert_eq!(done.status.code(), Some(1));
        assert_eq!(stderr(&done), format!("caracal-edge: -: {expected}\n"));
    }
    // A proxy's file that has no filter is something else.
    let done = call_with_input(&["check", "-"], "services:\n- name: a\n");
    assert_eq!(done.status.code(), Some(2));
    assert!(
        stderr(&done).contains("no Caracal filter"),
        "{}",
        stderr(&done)
    );
}

#[test]
fn in_a_proxys_file_the_lines_are_those_of_the_filters_json() {
    let envoy = std::fs::read_to_string(caracal_tests::root().join("envoy.yaml")).unwrap();
    let said = |from: &str, to: &str| {
        let changed = envoy.replace(from, to);
        assert_ne!(envoy, changed, "{from}");
        stderr(&call_with_input(&["check", "-"], &changed))
    };
    let unknown = said(
        "\"required_scopes\": [\"billing:read\"]",
        "\"required_scope\": []",
    );
    let words =
        "line 7, column 3 of its JSON: required_scope: unknown key; did you mean required_scopes?";
    assert!(unknown.contains(words), "{unknown}");
    let broken = said("\"zone_id\": \"zone-demo\",", "\"zone_id\": \"zone-demo\"");
    let words = "line 4, column 3 of its JSON: the configuration is not JSON: expected `,` or `}`";
    assert!(broken.contains(words), "{broken}");

    // An object has no lines that are left when it is read.
    let kong =
        std::fs::read_to_string(caracal_tests::root().join("deploy/kong/kong.yaml")).unwrap();
    let changed = kong.replace("required_scopes", "required_scope");
    assert_ne!(kong, changed);
    let said = stderr(&call_with_input(&["check", "-"], &changed));
    assert!(
        said.contains("did you mean required_scopes?") && !said.contains("line "),
        "{said}"
    );
}

/// A token may stand in it.
#[test]
fn nothing_of_a_text_that_is_no_json_is_repeated() {
    let text = "{\"revocation\": {\"token\": \"hidden-1\" \"hidden-2\"}, hidden-3}";
    let done = call_with_input(&["check", "-"], text);
    let said = stderr(&done);
    assert!(
        said.contains("line 1") && !said.contains("hidden"),
        "{said}"
    );
}
