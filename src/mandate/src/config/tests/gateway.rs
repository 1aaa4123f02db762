//! Gateway mode, and where the key set comes from.

use super::*;

const GATEWAY: &str = r#""issuer":"https://sts.example.com","zone_id":"z","jwks":{"upstream":"sts"},"revocation":{"upstream":"feed","token":"feed-token"},"mode":"gateway""#;
const COMPANION: &str = r#""gateway":{"upstream":"companion"}"#;

fn gateway(rest: &str) -> Result<Configuration, Vec<ConfigError>> {
    Configuration::from_json(format!("{{{GATEWAY},{rest}}}").as_bytes(), &nothing)
}

fn resources(resource: &str) -> Result<Configuration, Vec<ConfigError>> {
    gateway(&format!(r#"{COMPANION},"resources":{{"r":{resource}}}"#))
}

#[test]
fn its_defaults_are_those_of_the_rule() {
    let read = resources(r#"{"upstream_url":"https://a.example/v1"}"#).unwrap();
    let companion = read.gateway.as_ref().unwrap();
    assert_eq!(
        (companion.timeout_ms, companion.min_remaining_s),
        (5_000, 35)
    );
    assert_eq!(companion.token.as_ref().unwrap().expose(), "feed-token");
    assert!(!read.forward.authorization && read.forward.headers.is_empty());
    let all = read.in_force();
    let [one] = all.all() else { panic!("{all:?}") };
    assert_eq!(one.audience, "https://sts.example.com");
    assert_eq!(one.upstream_url.as_ref().unwrap().authority(), "a.example");
    let matched = all.match_route(&crate::request::RequestView {
        target: Some(b"/x"),
        method: Some(b"GET"),
        ..Default::default()
    });
    let (_, required) = all.required(matched.unwrap()).unwrap();
    assert_eq!(
        required.required_use,
        crate::token::claims::TokenUse::Gateway
    );
}

#[test]
fn what_it_needs_and_what_has_no_place_in_it() {
    let good = r#"{"upstream_url":"https://a.example"}"#;
    for (document, path) in [
        (gateway(r#""audience":"a""#), "audience"),
        (
            gateway(&format!(r#""resources":{{"r":{good}}}"#)),
            "gateway",
        ),
        (
            gateway(&format!(r#""gateway":{{}},"resources":{{"r":{good}}}"#)),
            "gateway.upstream",
        ),
        (
            gateway(&format!(
                r#""gateway":{{"upstream":"c","timeout_ms":1}},"resources":{{"r":{good}}}"#
            )),
            "gateway.timeout_ms",
        ),
        (
            gateway(&format!(
                r#""gateway":{{"upstream":"c","min_remaining_s":3601}},"resources":{{"r":{good}}}"#
            )),
            "gateway.min_remaining_s",
        ),
        (
            gateway(&format!(
                r#""gateway":{{"upstream":"c","token":"a b"}},"resources":{{"r":{good}}}"#
            )),
            "gateway.token",
        ),
        (
            gateway(&format!(
                r#""gateway":{{"upstream":"c","other":1}},"resources":{{"r":{good}}}"#
            )),
            "gateway.other",
        ),
        (resources("{}"), "resources[\"r\"].upstream_url"),
        (
            resources(r#"{"upstream_url":1}"#),
            "resources[\"r\"].upstream_url",
        ),
        (
            resources(r#"{"upstream_url":"file:///x"}"#),
            "resources[\"r\"].upstream_url",
        ),
        (
            resources(r#"{"upstream_url":"https://u:p@a.example"}"#),
            "resources[\"r\"].upstream_url",
        ),
        (
            resources(r#"{"upstream_url":"https://a.example/a/../b"}"#),
            "resources[\"r\"].upstream_url",
        ),
        (
            resources(r#"{"upstream_url":"https://a.example","audience":"x"}"#),
            "resources[\"r\"].audience",
        ),
        (
            resources(r#"{"upstream_url":"https://a.example","required_use":"resource"}"#),
            "resources[\"r\"].required_use",
        ),
        (
            resources(
                r#"{"upstream_url":"https://a.example","routes":{"/a":{"required_use":"session"}}}"#,
            ),
            "resources[\"r\"].required_use",
        ),
        (
            gateway(&format!(
                r#"{COMPANION},"required_use":"resource","resources":{{"r":{good}}}"#
            )),
            "required_use",
        ),
        (
            gateway(&format!(
                r#"{COMPANION},"forward":{{"authorization":true}},"resources":{{"r":{good}}}"#
            )),
            "forward.authorization",
        ),
        (
            gateway(&format!(
                r#"{COMPANION},"forward":{{"baggage":"keep"}},"resources":{{"r":{good}}}"#
            )),
            "forward.baggage",
        ),
        (
            gateway(&format!(
                r#"{COMPANION},"host":"kong","jwks":{{"upstream":"a:1"}},"resources":{{"r":{good}}}"#
            )),
            "mode",
        ),
        (parse(COMPANION), "gateway"),
        (parse(r#""mode":"proxy""#), "mode"),
        (parse(r#""mode":1"#), "mode"),
    ] {
        let found = paths(document);
        assert!(found.iter().any(|one| one == path), "{path}: {found:?}");
    }
    // What may hold a password is not repeated.
    let refused = resources(r#"{"upstream_url":"https://user:hidden@a.example"}"#).unwrap_err();
    assert!(!format!("{refused:?}").contains("hidden"));
}

#[test]
fn on_apisix_all_resources_have_one_server() {
    let apisix = |companion: &str, second: &str| {
        let document = GATEWAY
            .replace(r#"{"upstream":"sts"}"#, r#"{"upstream":"sts:443"}"#)
            .replace(r#""upstream":"feed""#, r#""upstream":"127.0.0.1:7700""#);
        let first = "https://a.example/v1";
        let resources = format!(
            r#""resources":{{"r":{{"upstream_url":"{first}"}},"s":{{"upstream_url":"{second}"}}}}"#
        );
        let gateway = format!(r#""gateway":{{"upstream":{companion}}}"#);
        let rest = format!(r#""host":"apisix",{gateway},{resources}"#);
        Configuration::from_json(format!("{{{document},{rest}}}").as_bytes(), &nothing)
    };
    let local = r#""127.0.0.1:7700""#;
    for (same, tls) in [
        (local, false),
        (r#""feed.example:7700""#, true),
        (r#""feed.example:7700","tls":false"#, false),
    ] {
        let read = apisix(same, "https://a.example:443/v2").unwrap();
        assert_eq!(read.gateway.unwrap().tls, Some(tls), "{same}");
    }
    for other in [
        "https://b.example/v1",
        "http://a.example/v1",
        "https://a.example:444/v1",
    ] {
        let found = paths(apisix(local, other));
        assert_eq!(found, ["resources[\"s\"].upstream_url"], "{other}");
    }
    assert_eq!(
        paths(apisix(r#""companion""#, "https://a.example")),
        ["gateway.upstream"]
    );
    // On Envoy the cluster decides.
    let resource = r#""resources":{"r":{"upstream_url":"https://a.example"}}"#;
    let document = gateway(&format!(
        r#""gateway":{{"upstream":"c","tls":true}},{resource}"#
    ));
    assert_eq!(paths(document), ["gateway.tls"]);
}

#[test]
fn upstreams_have_no_place_in_connector_mode() {
    let document = LEAST.replace(
        r#""audience":"a""#,
        r#""resources":{"r":{"upstream_url":"https://a.example"}}"#,
    );
    let read = Configuration::from_json(format!("{{{document}}}").as_bytes(), &nothing);
    assert_eq!(paths(read), ["resources[\"r\"].upstream_url"]);
}

#[test]
fn the_key_set_may_come_from_another_address_than_the_issuer_s() {
    let with = |url: &str| {
        let document = LEAST.replace(
            r#"{"upstream":"sts"}"#,
            &format!(r#"{{"upstream":"sts","url":"{url}"}}"#),
        );
        Configuration::from_json(format!("{{{document}}}").as_bytes(), &nothing)
    };
    let read = with("http://127.0.0.1:7701/sts/").unwrap();
    let target = read.accepted_zones()[0].jwks_target();
    assert_eq!(
        (
            target.scheme.as_str(),
            target.authority.as_str(),
            target.path.as_str()
        ),
        (
            "http",
            "127.0.0.1:7701",
            "/sts/.well-known/jwks.json?zone_id=z"
        )
    );
    for bad in [
        "",
        "sts:443",
        "ftp://sts",
        "http://sts.internal",
        "https://a@b",
        "https://a/?x",
    ] {
        assert_eq!(paths(with(bad)), ["jwks.url"], "{bad}");
    }
}
