//! Good and bad configurations. Each bad one names the path that the error must
//! name; the schema is held against the same table.

use super::*;
use crate::jwks::key_set::Algorithm;
use crate::routing::routes::{MethodId, RuleId};

const LEAST: &str = r#""issuer":"https://sts.example.com","zone_id":"z","audience":"a","jwks":{"upstream":"sts"},"revocation":"disabled""#;

pub(super) fn nothing(_: &str) -> Option<String> {
    None
}

fn parse(extra: &str) -> Result<Configuration, Vec<ConfigError>> {
    let comma = if extra.is_empty() { "" } else { "," };
    Configuration::from_json(format!("{{{LEAST}{comma}{extra}}}").as_bytes(), &nothing)
}

pub(super) fn paths(result: Result<Configuration, Vec<ConfigError>>) -> Vec<String> {
    result
        .expect_err("a configuration that should be refused")
        .into_iter()
        .map(|e| e.path)
        .collect()
}

/// Additions to the least configuration that are fine.
const GOOD: &[&str] = &[
    "",
    r#""required_scopes":["a","b"],"required_targets":[],"required_use":"session""#,
    r#""require_session":true,"require_delegation":false,"require_chain_contains":["app"],"max_hop_count":0"#,
    r#""require_agent":true"#,
    r#""routes":{"/":{},"/a":{"required_scopes":[]},"/b/":{"require_agent":false,"max_hop_count":1000}}"#,
    r#""exclude":["/healthz","/a/b/"]"#,
    r#""routes":{"/a":{"methods":{"GET":{"required_scopes":["r"]},"M-SEARCH":{}},"max_hop_count":1}}"#,
    r#""host":"envoy","algorithms":["ES256","EdDSA"],"clock_skew_s":0,"allow_insecure_issuer":true"#,
    r#""limits":{"max_token_bytes":65536,"max_paused":0,"pause_timeout_ms":10,"max_cached_mandates":0}"#,
    r#""limits":{"max_lifetime_s":60}"#,
    r#""limits":{"max_lifetime_s":86400}"#,
    r#""forward":{"authorization":false,"headers":{"x-user":"sub","x-scope":"scope"}}"#,
    r#""forward":{"headers":{}}"#,
];

/// Additions that are refused, the path of the error, and whether the schema
/// can say so too.
const BAD: &[(&str, &str, bool)] = &[
    (r#""required_scope":["a"]"#, "required_scope", true),
    (r#""required_scopes":"a""#, "required_scopes", true),
    (r#""required_scopes":[""]"#, "required_scopes[0]", false),
    (
        r#""required_scopes":["a","a"]"#,
        "required_scopes[1]",
        false,
    ),
    (r#""required_scopes":["a b"]"#, "required_scopes[0]", false),
    (r#""required_scopes":[7]"#, "required_scopes[0]", true),
    (r#""required_scopes":null"#, "required_scopes", true),
    (
        r#""required_targets":["a",""]"#,
        "required_targets[1]",
        false,
    ),
    (r#""required_use":"gateway""#, "required_use", true),
    (r#""require_session":1"#, "require_session", true),
    (
        r#""require_session":true,"require_agent":true"#,
        "require_session",
        true,
    ),
    (r#""expected_zone_id":"z""#, "zone_id", true),
    (r#""require_delegation":"true""#, "require_delegation", true),
    (r#""max_hop_count":-1"#, "max_hop_count", true),
    (r#""max_hop_count":1001"#, "max_hop_count", true),
    (r#""max_hop_count":1.5"#, "max_hop_count", true),
    (r#""max_hop_count":1e1"#, "max_hop_count", false),
    (r#""audience":"b""#, "audience", false),
    (r#""routes":[]"#, "routes", true),
    (r#""routes":{"payouts":{}}"#, "routes[\"payouts\"]", false),
    (r#""routes":{"/a%20b":{}}"#, "routes[\"/a%20b\"]", false),
    (r#""routes":{"/a":{},"/a/":{}}"#, "routes[\"/a/\"]", false),
    (r#""routes":{"/a":{},"/a":{}}"#, "routes[\"/a\"]", false),
    (r#""routes":{"/a/../b":{}}"#, "routes[\"/a/../b\"]", false),
    (
        r#""routes":{"/a":{"audience":"x"}}"#,
        "routes[\"/a\"].audience",
        true,
    ),
    (
        r#""routes":{"/a":{"max_hop_count":"3"}}"#,
        "routes[\"/a\"].max_hop_count",
        true,
    ),
    (
        r#""routes":{"/a":{"require_session":true,"require_agent":true}}"#,
        "routes[\"/a\"].require_session",
        true,
    ),
    (
        r#""routes":{"/a":{"methods":[]}}"#,
        "routes[\"/a\"].methods",
        true,
    ),
    (
        r#""routes":{"/a":{"methods":{"get":{}}}}"#,
        "routes[\"/a\"].methods[\"get\"]",
        false,
    ),
    (
        r#""routes":{"/a":{"methods":{"G T":{}}}}"#,
        "routes[\"/a\"].methods[\"G T\"]",
        false,
    ),
    (
        r#""routes":{"/a":{"methods":{"":{}}}}"#,
        "routes[\"/a\"].methods[\"\"]",
        false,
    ),
    (
        r#""routes":{"/a":{"methods":{"GET":{},"GET":{}}}}"#,
        "routes[\"/a\"].methods[\"GET\"]",
        false,
    ),
    (
        r#""routes":{"/a":{"methods":{"GET":{"methods":{}}}}}"#,
        "routes[\"/a\"].methods[\"GET\"].methods",
        true,
    ),
    (
        r#""routes":{"/a":{"methods":{"GET":{"require_session":true,"require_agent":true}}}}"#,
        "routes[\"/a\"].methods[\"GET\"].require_session",
        true,
    ),
    (r#""methods":{}"#, "methods", true),
    (r#""hosts":["a.test"]"#, "hosts", true),
    (r#""resources":{"a":{}}"#, "audience", true),
    (r#""exclude":["/"]"#, "exclude[0]", false),
    (r#""exclude":["/a","/a/"]"#, "exclude[1]", false),
    (r#""exclude":["/a;b"]"#, "exclude[0]", false),
    (r#""exclude":["/a//b"]"#, "exclude[0]", false),
    (r#""exclude":[""]"#, "exclude[0]", false),
    (r#""host":"nginx""#, "host", true),
    (r#""algorithms":[]"#, "algorithms", true),
    (r#""algorithms":["RS256"]"#, "algorithms", true),
    (r#""algorithms":["ES256","ES256"]"#, "algorithms[1]", true),
    (r#""clock_skew_s":301"#, "clock_skew_s", true),
    (
        r#""limits":{"max_lifetime_s":59}"#,
        "limits.max_lifetime_s",
        true,
    ),
    (
        r#""limits":{"max_lifetime_s":86401}"#,
        "limits.max_lifetime_s",
        true,
    ),
    (
        r#""allow_insecure_issuer":"no""#,
        "allow_insecure_issuer",
        true,
    ),
    (
        r#""limits":{"max_token_bytes":511}"#,
        "limits.max_token_bytes",
        true,
    ),
    (
        r#""limits":{"max_paused":100001}"#,
        "limits.max_paused",
        true,
    ),
    (
        r#""limits":{"pause_timeout_ms":0}"#,
        "limits.pause_timeout_ms",
        true,
    ),
    (r#""limits":{"max_tokens":1}"#, "limits.max_tokens", true),
    (r#""limits":7"#, "limits", true),
    (
        r#""forward":{"headers":{"authorization":"sub"}}"#,
        "forward.headers[\"authorization\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"host":"sub"}}"#,
        "forward.headers[\"host\"]",
        false,
    ),
    (
        r#""forward":{"headers":{":path":"sub"}}"#,
        "forward.headers[\":path\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"connection":"sub"}}"#,
        "forward.headers[\"connection\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"X-User":"sub"}}"#,
        "forward.headers[\"X-User\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"x-user":"email"}}"#,
        "forward.headers[\"x-user\"]",
        true,
    ),
    (
        r#""forward":{"headers":{"x-user":"sub","x-user":"jti"}}"#,
        "forward.headers[\"x-user\"]",
        false,
    ),
    (r#""audit":{"upstream":"x"}"#, "audit", true),
];

#[test]
fn good_configurations_are_read() {
    for extra in GOOD {
        assert!(parse(extra).is_ok(), "{extra}: {:?}", parse(extra));
    }
}

#[test]
fn bad_configurations_are_refused_by_the_key_s_path() {
    for (extra, path, _) in BAD {
        assert_eq!(paths(parse(extra)), [*path], "{extra}");
    }
}

#[test]
fn every_error_is_reported_at_once() {
    let document = br#"{"issuer":"ftp://x","audience":7,"jwks":{"ttl_s":1},"surprise":1,"routes":{"x":{"y":1}}}"#;
    assert_eq!(
        paths(Configuration::from_json(document, &nothing)),
        [
            "issuer",
            "zone_id",
            "audience",
            "routes[\"x\"]",
            "routes[\"x\"].y",
            "jwks.upstream",
            "jwks.ttl_s",
            "revocation",
            "surprise"
        ]
    );
}

#[test]
fn what_is_no_object_is_refused() {
    for document in ["", " \n", "{", "[]", "\"x\"", "{}x", "\u{feff}{}"] {
        assert_eq!(
            paths(Configuration::from_json(document.as_bytes(), &nothing)),
            [""],
            "{document}"
        );
    }
}

#[test]
fn sizes_are_bounded() {
    let list = |n: usize| {
        let scopes: Vec<String> = (0..n).map(|n| format!("\"s{n}\"")).collect();
        format!(r#""required_scopes":[{}]"#, scopes.join(","))
    };
    let routes = |n: usize| {
        let routes: Vec<String> = (0..n).map(|n| format!("\"/r{n}\":{{}}")).collect();
        format!(r#""routes":{{{}}}"#, routes.join(","))
    };
    let text = |n: usize| format!(r#""required_scopes":["{}"]"#, "s".repeat(n));
    for (fits, does_not, path) in [
        (list(256), list(257), "required_scopes"),
        (routes(1_024), routes(1_025), "routes"),
        (text(2_048), text(2_049), "required_scopes[0]"),
    ] {
        assert!(parse(&fits).is_ok(), "{path}");
        assert_eq!(paths(parse(&does_not)), [path]);
    }
    let padded = |size: usize| {
        let mut document = format!("{{{LEAST}}}").into_bytes();
        document.resize(size, b' ');
        Configuration::from_json(&document, &nothing)
    };
    assert!(padded(1 << 20).is_ok());
    assert_eq!(paths(padded((1 << 20) + 1)), [""]);
}

#[test]
fn issuers() {
    let with = |issuer: &str, insecure: bool| {
        let document = format!(
            r#"{{"issuer":"{issuer}","zone_id":"z","audience":"a","jwks":{{"upstream":"s"}},"revocation":"disabled","allow_insecure_issuer":{insecure}}}"#
        );
        Configuration::from_json(document.as_bytes(), &nothing).is_ok()
    };
    for good in [
        "https://sts.example.com",
        "https://sts.example.com/zone/",
        "http://localhost:7701",
        "http://127.0.0.1",
        "http://[::1]:80/",
        "HTTPS://sts",
    ] {
        assert!(with(good, false), "{good}");
    }
    for bad in [
        "http://sts.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "https://",
        "sts.example.com",
        "/sts",
        "https://u:p@sts",
        "https://sts?x",
        "https://sts#x",
        "ftp://sts",
        "",
        "https://s ts",
        "https://sts/\u{e9}",
    ] {
        assert!(!with(bad, false), "{bad}");
    }
    assert!(with("http://sts.example.com", true));
}

#[test]
fn the_environment_fills_in_issuer_and_zone() {
    let environment = |name: &str| match name {
        "CARACAL_STS_URL" => Some("https://sts.example.com//".to_owned()),
        "CARACAL_ZONE_ID" => Some("zone-env".to_owned()),
        _ => None,
    };
    let read =
        |document: &str| Configuration::from_json(document.as_bytes(), &environment).unwrap();
    let from_environment =
        read(r#"{"audience":"a","jwks":{"upstream":"s"},"revocation":"disabled"}"#);
    assert_eq!(from_environment.issuer, "https://sts.example.com");
    assert_eq!(from_environment.zone_id, "zone-env");
    // The configuration wins, and is taken as written.
    let own = read(
        r#"{"issuer":"https://own/","expected_zone_id":"own","audience":"a","jwks":{"upstream":"s"},"revocation":"disabled"}"#,
    );
    assert_eq!(
        (own.issuer.as_str(), own.zone_id.as_str()),
        ("https://own/", "own")
    );
}

#[test]
fn defaults_are_the_design_s() {
    let c = parse("").unwrap();
    assert_eq!(
        (c.jwks.timeout_ms, c.jwks.ttl_s, c.jwks.max_stale_s),
        (5000, 300, 600)
    );
    assert_eq!(
        (c.clock_skew_s, c.algorithms.as_slice()),
        (60, &[Algorithm::Es256][..])
    );
    let l = c.limits;
    assert_eq!(
        (
            l.max_token_bytes,
            l.max_paused,
            l.pause_timeout_ms,
            l.max_cached_mandates
        ),
        (8192, 1000, 5000, 10000)
    );
    assert_eq!(
        (
            c.requirements.max_hop_count,
            c.forward.authorization,
            c.forward.headers.len()
        ),
        (10, true, 11)
    );
}

#[test]
fn routes_replace_only_what_they_name() {
    let c = parse(r#""required_scopes":["a"],"require_session":true,"routes":{"/b":{"required_scopes":["b"]},"/c":{"require_session":false}}"#).unwrap();
    let resources = c.in_force();
    let rules = &resources.all()[0].rules;
    let at = |path: &str| {
        let rule = rules.find(Some(path.as_bytes())).unwrap();
        rules.requirements(rule, MethodId::Any).unwrap().clone()
    };
    assert_eq!(rules.find(Some(b"/")), Ok(RuleId::Default));
    assert_eq!(
        (at("/").required_scopes, at("/").require_session),
        (vec!["a".to_owned()], true)
    );
    assert_eq!(
        (at("/b").required_scopes, at("/b").require_session),
        (vec!["b".to_owned()], true)
    );
    assert_eq!(
        (at("/c").required_scopes, at("/c").require_session),
        (vec!["a".to_owned()], false)
    );
}

#[test]
fn the_key_set_is_requested_below_the_issuer() {
    let mut c = parse("").unwrap();
    let mut target = |issuer: &str, zone: &str| {
        (c.issuer, c.zone_id) = (issuer.to_owned(), zone.to_owned());
        c.jwks_target()
    };
    let plain = target("https://sts.example.com", "z");
    assert_eq!(
        (plain.scheme.as_str(), plain.authority.as_str()),
        ("https", "sts.example.com")
    );
    assert_eq!(plain.path, "/.well-known/jwks.json?zone_id=z");
    assert_eq!(
        target("https://sts/a//", "a b&c=ü/").path,
        "/a/.well-known/jwks.json?zone_id=a+b%26c%3D%C3%BC%2F"
    );
}

#[cfg(feature = "schema")]
#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config.schema.json");
    let generated = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == generated,
        "config.schema.json is stale: run `make schema`"
    );
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_and_the_reader_agree() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let valid = |extra: &str| {
        let comma = if extra.is_empty() { "" } else { "," };
        validator.is_valid(&serde_json::from_str(&format!("{{{LEAST}{comma}{extra}}}")).unwrap())
    };
    for extra in GOOD {
        assert!(valid(extra), "{extra}");
    }
    for (extra, _, schema_says_so) in BAD {
        assert_eq!(valid(extra), !schema_says_so, "{extra}");
    }
}

#[test]
fn a_feed_is_read_and_its_token_is_shown_nowhere() {
    let with = |revocation: &str| {
        let document = LEAST.replace(r#""disabled""#, revocation);
        let environment =
            |name: &str| (name == "CARACAL_FEED_TOKEN").then(|| "from-env".to_owned());
        Configuration::from_json(format!("{{{document}}}").as_bytes(), &environment)
    };
    let Ok(read) = with(r#"{"upstream":"feed","token":"secret-1"}"#) else {
        panic!("refused");
    };
    let super::Revocation::Feed(feed) = &read.revocation else {
        panic!("{read:?}");
    };
    assert_eq!((feed.max_staleness_s, feed.poll_interval_ms), (30, 1_000));
    assert_eq!(
        feed.token.as_ref().map(|token| token.expose()),
        Some("secret-1")
    );
    let shown = format!("{read:?} {}", serde_json::to_string(&read).unwrap());
    assert!(!shown.contains("secret-1"), "{shown}");
    let Ok(read) = with(r#"{"upstream":"feed","max_staleness_s":1}"#) else {
        panic!("refused");
    };
    let super::Revocation::Feed(feed) = &read.revocation else {
        panic!("{read:?}");
    };
    assert_eq!(
        feed.token.as_ref().map(|token| token.expose()),
        Some("from-env")
    );
    for (bad, path) in [
        (r#"{}"#, "revocation.upstream"),
        (r#"{"upstream":"f","token":"a b"}"#, "revocation.token"),
        (
            r#"{"upstream":"f","max_staleness_s":0}"#,
            "revocation.max_staleness_s",
        ),
        (
            r#"{"upstream":"f","poll_interval_ms":9}"#,
            "revocation.poll_interval_ms",
        ),
        (r#"{"upstream":"f","x":9}"#, "revocation.x"),
        (r#""off""#, "revocation"),
        ("false", "revocation"),
    ] {
        let errors = with(bad).unwrap_err();
        assert!(
            errors.iter().any(|error| error.path == path),
            "{bad}: {errors:?}"
        );
        assert!(!format!("{errors:?}").contains("a b"), "{errors:?}");
    }
}
