//! A bad configuration keeps a real Envoy from serving, and its log names the key.

use caracal_tests::envoy::Setup;
use caracal_tests::mint::{ZONE, configuration};
use caracal_tests::servers::{Reply, Server, get};
use serde_json::{Value, json};

fn start(configuration: String, setup: Setup) -> Result<caracal_tests::envoy::Envoy, String> {
    let server = Server::start(|_| Reply::new(200, "{}"));
    let mut setup = setup
        .cluster("upstream", server.address())
        .cluster("sts", server.address());
    setup.configurations = vec![configuration];
    setup.start()
}

/// Envoy's log of a start that must fail.
fn refused(configuration: String) -> String {
    match start(configuration.clone(), Setup::default()) {
        Ok(_) => panic!("Envoy serves with {configuration}"),
        Err(log) => log,
    }
}

fn without(name: &str) -> Value {
    let mut whole = configuration(json!({}));
    whole.as_object_mut().unwrap().remove(name);
    whole
}

#[test]
fn every_kind_of_mistake_is_refused_by_its_key() {
    let kinds: Vec<(&str, Value)> = vec![
        ("audiense", configuration(json!({"audiense": "x"}))),
        (
            "jwks.uri",
            configuration(json!({"jwks": {"upstream": "sts", "uri": "x"}})),
        ),
        ("audience", without("audience")),
        ("revocation", without("revocation")),
        ("issuer", without("issuer")),
        (
            "issuer",
            configuration(json!({"issuer": "http://sts.example.test"})),
        ),
        ("clock_skew_s", configuration(json!({"clock_skew_s": "60"}))),
        ("clock_skew_s", configuration(json!({"clock_skew_s": 301}))),
        (
            "limits.max_token_bytes",
            configuration(json!({"limits": {"max_token_bytes": 1}})),
        ),
        ("routes", configuration(json!({"routes": {"/a/../b": {}}}))),
        (
            "audience",
            configuration(json!({"routes": {"/a": {"audience": "x"}}})),
        ),
        ("exclude", configuration(json!({"exclude": ["/"]}))),
        (
            "required_scopes",
            configuration(json!({"required_scopes": [""]})),
        ),
        (
            "require_session",
            configuration(json!({"require_session": true, "require_agent": true})),
        ),
        ("algorithms", configuration(json!({"algorithms": ["none"]}))),
        (
            "forward.headers",
            configuration(json!({"forward": {"headers": {"host": "sub"}}})),
        ),
        ("host", configuration(json!({"host": "nginx"}))),
    ];
    for (key, configuration) in kinds {
        let log = refused(configuration.to_string());
        let named = log
            .lines()
            .any(|line| line.contains("caracal: configuration: ") && line.contains(key));
        assert!(named, "{key} is not named in:\n{log}");
    }
}

#[test]
fn what_is_no_object_or_says_a_key_twice_is_refused() {
    let twice = r#"{"issuer":"https://a.test","issuer":"https://b.test","zone_id":"z","audience":"a","jwks":{"upstream":"sts"},"revocation":"disabled"}"#;
    for (text, said) in [("[]", "object"), ("{", "JSON"), (twice, "issuer")] {
        let log = refused(text.to_owned());
        let named = log
            .lines()
            .any(|line| line.contains("caracal: configuration: ") && line.contains(said));
        assert!(named, "{said} is not named in:\n{log}");
    }
}

#[test]
fn issuer_and_zone_may_come_from_the_environment() {
    let setup = Setup::default()
        .environment("CARACAL_STS_URL", "https://sts.example.test/")
        .environment("CARACAL_ZONE_ID", ZONE);
    let mut bare = without("issuer");
    bare.as_object_mut().unwrap().remove("zone_id");
    let envoy = start(bare.to_string(), setup).unwrap_or_else(|log| panic!("{log}"));
    assert_eq!(get(envoy.listener(0), "/", None).error(), "missing_token");
}
