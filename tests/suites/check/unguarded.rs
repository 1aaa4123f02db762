//! What a proxy's file leaves unguarded is an error, in words and as JSON. Each way is
//! tested where it is found, in `src/cli/src/guard`.

use super::*;

/// What is said of a shipped file that was changed, and the exit status.
fn said(name: &str, file: &str, from: &str, to: &str) -> (i32, String, Value) {
    let written = fs::read_to_string(root().join("deploy").join(file)).unwrap();
    assert!(written.contains(from), "{file}: {from}");
    let changed = folder(name).join(file.rsplit_once('/').unwrap().1);
    fs::write(&changed, written.replace(from, to)).unwrap();
    let changed = changed.to_str().unwrap();
    let words = call(&[changed]);
    let json = call(&["--json", changed]);
    assert_eq!(words.status.code(), json.status.code());
    let errors = String::from_utf8_lossy(&words.stderr).into_owned();
    let json = serde_json::from_slice(&json.stdout).unwrap();
    (words.status.code().unwrap(), errors, json)
}

#[test]
fn what_a_file_leaves_unguarded_is_an_error() {
    for (file, from, to, expected) in [
        (
            "kong/kong.yaml",
            "- name: billing-mandates",
            "- name: billing-mandates\n        enabled: false",
            "is disabled",
        ),
        (
            "kong/gate.conf",
            "proxy_pass http://$gate;",
            "proxy_pass http://billing;",
            "past the gate",
        ),
        (
            "apisix/apisix.yaml",
            "      caracal_filter:\n",
            "      caracal_filter:\n        _meta: {disable: true}\n",
            "_meta.disable",
        ),
        (
            "apisix/config.yaml",
            "rewrite_by_lua_block",
            "access_by_lua_block",
            "is not loaded",
        ),
    ] {
        let (code, errors, json) = said("unguarded", file, from, to);
        assert_eq!(code, 1, "{file}");
        assert!(errors.contains("not guarded: "), "{file}: {errors}");
        assert!(errors.contains(expected), "{file}: {errors}");
        assert_eq!(json["ok"], false, "{file}");
        let all = json["unguarded"].as_array().unwrap();
        let found = all
            .iter()
            .any(|one| one.as_str().unwrap().contains(expected));
        assert!(found, "{file}: {all:?}");
    }
}
