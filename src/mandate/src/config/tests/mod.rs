//! What a configuration is read as.

mod enforcement;
mod gateway;
mod mcp;
mod metadata;
mod proxies;
mod resources;
mod values;
mod zones;

use super::*;
use crate::jwks::algorithm::Algorithm;
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
fn an_unknown_key_comes_with_the_known_ones() {
    let errors = parse(r#""limits":{"max_pausd":1},"clock_skew_s":-1"#).unwrap_err();
    let known: Vec<_> = errors.iter().map(ConfigError::known_keys).collect();
    assert_eq!(known[0], None, "{errors:?}");
    let known = known[1].as_ref().unwrap();
    assert!(known.contains(&"max_paused") && !known.contains(&"issuer"));
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
    assert_eq!(from_environment.zone_id.as_deref(), Some("zone-env"));
    // The configuration wins over the environment, and is taken as written.
    let own = read(
        r#"{"issuer":"https://own/","expected_zone_id":"own","audience":"a","jwks":{"upstream":"s"},"revocation":"disabled"}"#,
    );
    assert_eq!(
        (own.issuer.as_str(), own.zone_id.as_deref()),
        ("https://own/", Some("own"))
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
        (c.issuer, c.zone_id) = (issuer.to_owned(), Some(zone.to_owned()));
        c.accepted_zones()[0].jwks_target()
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

#[test]
fn shared_values_have_the_secret_that_is_named_or_the_token() {
    let with = |revocation: &str, extra: &str, variables: &[(&str, &str)]| {
        let document = LEAST.replace(r#""disabled""#, revocation);
        let of = |name: &str| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Configuration::from_json(format!("{{{document}{extra}}}").as_bytes(), &of)
    };
    let secret = |read: Result<Configuration, _>| {
        let Ok::<_, Vec<ConfigError>>(read) = read else {
            panic!("refused");
        };
        read.shared_data_secret().map(str::to_owned)
    };
    let feed = r#"{"upstream":"f","token":"token"}"#;
    let own = r#","shared_data":{"secret":"0123456789abcdef"}"#;
    let variable = ("CARACAL_SHARED_DATA_SECRET", "from-the-environment");
    assert_eq!(secret(with(r#""disabled""#, "", &[])), None);
    assert_eq!(secret(with(r#"{"upstream":"f"}"#, "", &[])), None);
    assert_eq!(secret(with(feed, "", &[])).as_deref(), Some("token"));
    for (revocation, extra) in [(feed, own), (r#""disabled""#, own)] {
        let found = secret(with(revocation, extra, &[variable]));
        assert_eq!(found.as_deref(), Some("0123456789abcdef"));
    }
    let found = secret(with(feed, "", &[variable]));
    assert_eq!(found.as_deref(), Some(variable.1));
    let short = with(feed, "", &[(variable.0, "short")]);
    assert_eq!(paths(short), ["shared_data.secret"]);
    let read = with(feed, own, &[]).unwrap();
    let shown = format!("{read:?} {}", serde_json::to_string(&read).unwrap());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    // nginx's workers share nothing, and their environment may have the variable.
    let kong = r#","host":"kong","shared_data":{}"#;
    let kong = with(r#""disabled""#, kong, &[variable]);
    assert!(paths(kong).contains(&"shared_data".to_owned()));
}
