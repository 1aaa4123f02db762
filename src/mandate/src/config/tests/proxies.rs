//! What a configuration may say for which proxy.

use super::{nothing, paths};
use crate::config::*;

fn parse(host: &str, upstream: &str, extra: &str) -> Result<Configuration, Vec<ConfigError>> {
    let text = format!(
        r#"{{"issuer":"https://sts.example.com","zone_id":"z","audience":"a","host":{host:?},"jwks":{{"upstream":{upstream:?}}},"revocation":"disabled"{extra}}}"#
    );
    // A second key with the same name would be an error, so `extra` replaces the key.
    let text = match extra.contains("\"revocation\"") {
        true => text.replace(r#","revocation":"disabled""#, ""),
        false => text,
    };
    Configuration::from_json(text.as_bytes(), &nothing)
}

#[test]
fn nginx_hosts_take_addresses_and_envoy_takes_names() {
    for (host, kind) in [("kong", ProxyKind::Kong), ("apisix", ProxyKind::Apisix)] {
        let good = ["sts.example.com:443", "127.0.0.1:8080", "[::1]:443"];
        for upstream in good {
            let configuration = parse(host, upstream, "").unwrap();
            assert_eq!(configuration.host, kind);
            assert!(!configuration.filter_state);
        }
        for upstream in [
            "sts",
            "sts:",
            ":443",
            "sts:0",
            "sts:65536",
            "https://sts:443",
            "sts:443/",
            "a b:1",
            "::1:443",
        ] {
            assert_eq!(
                paths(parse(host, upstream, "")),
                ["jwks.upstream"],
                "{upstream}"
            );
        }
    }
    assert!(parse("envoy", "sts", "").unwrap().filter_state);
    assert_eq!(paths(parse("nginx", "sts:1", "")), ["host"]);
}

#[test]
fn a_readiness_path_is_read_alike_by_everybody() {
    let of = |path: &str| parse("envoy", "sts", &format!(r#","readiness_path":{path:?}"#));
    for good in ["/r", "/caracal/ready", "/a.b/c-d_e"] {
        assert_eq!(of(good).unwrap().readiness_path.as_deref(), Some(good));
    }
    let long = format!("/{}", "x".repeat(256));
    for bad in [
        "",
        "/",
        "ready",
        "//ready",
        "/ready/../x",
        "/a%2fb",
        "/a b",
        "/ready?x",
        "/ready#x",
        "/a;b",
        "/a\\b",
        "http://h/ready",
        "/.well-known/oauth-protected-resource/ready",
        &long,
    ] {
        assert_eq!(paths(of(bad)), ["readiness_path"], "{bad}");
    }
}

#[test]
fn what_a_host_cannot_do_is_an_error_there() {
    let variables = r#","forward":{"variables":{"caracal_sub":"sub"}}"#;
    let gate = r#","forward":{"gate":{"variable":"gate","upstream":"app"}}"#;
    let waits = r#","limits":{"max_paused":5}"#;
    let none = r#","limits":{"max_paused":0}"#;
    let ends = r#","limits":{"pause_timeout_ms":50}"#;
    let state = r#","filter_state":true"#;
    let ready = r#","readiness_path":"/ready""#;
    let timings = r#","metrics":{"timings":true}"#;
    for (extra, path, good) in [
        (variables, "forward.variables", ["kong"].as_slice()),
        (gate, "forward.gate", &["kong", "apisix"]),
        (waits, "limits.max_paused", &["envoy", "apisix"]),
        (none, "limits.max_paused", &["envoy"]),
        (ends, "limits.pause_timeout_ms", &["envoy"]),
        (state, "filter_state", &["envoy"]),
        (ready, "readiness_path", &["envoy", "kong"]),
        (timings, "metrics.timings", &["envoy", "kong"]),
    ] {
        for (host, _) in ProxyKind::ALL {
            let parsed = parse(host, "sts:443", extra);
            match good.contains(&host) {
                true => assert!(parsed.is_ok(), "{host} {path} {parsed:?}"),
                false => assert_eq!(paths(parsed), [path], "{host}"),
            }
        }
    }
}

#[test]
fn the_companion_is_called_over_tls_unless_it_is_near() {
    let tls = |host: &str, upstream: &str, more: &str| {
        let extra = format!(r#","revocation":{{"upstream":{upstream:?}{more}}}"#);
        let configuration = parse(host, "sts:443", &extra).map_err(|e| e[0].path.clone())?;
        match configuration.revocation {
            Revocation::Feed(feed) => Ok(feed.tls),
            Revocation::Disabled(_) => panic!("there is one"),
        }
    };
    assert_eq!(tls("kong", "feed.internal:7700", ""), Ok(Some(true)));
    assert_eq!(tls("kong", "127.0.0.1:7700", ""), Ok(Some(false)));
    assert_eq!(tls("apisix", "[::1]:7700", ""), Ok(Some(false)));
    assert_eq!(
        tls("apisix", "localhost:7700", r#","tls":true"#),
        Ok(Some(true))
    );
    assert_eq!(
        tls("apisix", "feed:7700", r#","tls":false"#),
        Ok(Some(false))
    );
    assert_eq!(tls("envoy", "feed", ""), Ok(None));
    assert_eq!(
        tls("envoy", "feed", r#","tls":true"#),
        Err("revocation.tls".to_owned())
    );
}

#[test]
fn variables_and_the_gate_are_names_that_nginx_takes() {
    let forward = |text: &str| parse("kong", "sts:443", &format!(r#","forward":{{{text}}}"#));
    let good = forward(
        r#""variables":{"caracal_sub":"sub"},"gate":{"variable":"gate","upstream":"app:8080"}"#,
    );
    let good = good.unwrap().forward;
    assert_eq!(good.variables.len(), 1);
    assert_eq!(good.gate.unwrap().upstream, "app:8080");
    for (text, path) in [
        (
            r#""variables":{"$sub":"sub"}"#,
            r#"forward.variables["$sub"]"#,
        ),
        (
            r#""variables":{"Sub":"sub"}"#,
            r#"forward.variables["Sub"]"#,
        ),
        (
            r#""variables":{"sub":"nobody"}"#,
            r#"forward.variables["sub"]"#,
        ),
        (r#""gate":{"variable":"gate"}"#, "forward.gate.upstream"),
        (
            r#""gate":{"variable":"","upstream":"app"}"#,
            "forward.gate.variable",
        ),
        (
            r#""gate":{"variable":"gate","upstream":"http://app"}"#,
            "forward.gate.upstream",
        ),
        (
            r#""gate":{"variable":"gate","upstream":"app","x":1}"#,
            "forward.gate.x",
        ),
        (
            r#""variables":{"gate":"sub"},"gate":{"variable":"gate","upstream":"app"}"#,
            "forward.gate",
        ),
    ] {
        assert_eq!(paths(forward(text)), [path], "{text}");
    }
}
