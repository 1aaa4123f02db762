//! Several zones.

use super::*;

const LEAST_OF_SEVERAL: &str = r#""issuer":"https://sts.example.com","audience":"a","jwks":{"upstream":"sts"},"revocation":"disabled""#;

fn with(rest: &str) -> Result<Configuration, Vec<ConfigError>> {
    Configuration::from_json(
        format!("{{{LEAST_OF_SEVERAL},{rest}}}").as_bytes(),
        &nothing,
    )
}

#[test]
fn a_zone_has_the_issuer_and_the_key_set_of_the_top_level_unless_it_says_so() {
    let read = with(
        r#""zones":{"b":{},"a":{"issuer":"https://a.example/x/","jwks":{"upstream":"sts-a","ttl_s":60}},"c":{"jwks":{"upstream":"sts-c","url":"https://c.internal"}}}"#,
    )
    .unwrap();
    let all = read.accepted_zones();
    let told: Vec<_> = all
        .iter()
        .map(|one| {
            let target = one.jwks_target();
            let jwks = &one.jwks;
            (
                one.zone.id.as_str(),
                one.zone.issuer.as_str(),
                (jwks.upstream.as_str(), jwks.ttl_s),
                [target.authority, target.path].concat(),
            )
        })
        .collect();
    let path = "/.well-known/jwks.json?zone_id=";
    assert_eq!(
        told,
        [
            (
                "a",
                "https://a.example/x/",
                ("sts-a", 60),
                format!("a.example/x{path}a")
            ),
            (
                "b",
                "https://sts.example.com",
                ("sts", 300),
                format!("sts.example.com{path}b")
            ),
            (
                "c",
                "https://sts.example.com",
                ("sts-c", 300),
                format!("c.internal{path}c")
            ),
        ]
    );
    let zones = read.zones_in_force();
    assert!(zones.are_chosen());
    for (index, zone) in zones.iter() {
        assert_eq!(all[index.place()].zone, *zone);
    }
    // One zone in `zones` is chosen by its claim too; `zone_id` is not.
    assert!(
        with(r#""zones":{"a":{}}"#)
            .unwrap()
            .zones_in_force()
            .are_chosen()
    );
    assert!(!parse("").unwrap().zones_in_force().are_chosen());
}

#[test]
fn what_is_wrong_about_zones_is_named() {
    for (rest, path) in [
        (r#""zones":{}"#, "zones"),
        (r#""zones":[]"#, "zones"),
        (r#""zones":{"a":1}"#, r#"zones["a"]"#),
        (r#""zones":{"a b":{}}"#, r#"zones["a b"]"#),
        (r#""zones":{"":{}}"#, r#"zones[""]"#),
        (r#""zones":{"a":{"x":1}}"#, r#"zones["a"].x"#),
        (
            r#""zones":{"a":{"issuer":"http://a.example"}}"#,
            r#"zones["a"].issuer"#,
        ),
        (
            r#""zones":{"a":{"jwks":{}}}"#,
            r#"zones["a"].jwks.upstream"#,
        ),
        (r#""zones":{"a":{}},"zone_id":"a""#, "zone_id"),
        (r#""zones":{"a":{}},"expected_zone_id":"a""#, "zone_id"),
    ] {
        assert_eq!(paths(with(rest)), [path], "{rest}");
    }
    let longest = "z".repeat(128);
    assert!(with(&format!(r#""zones":{{"{longest}":{{}}}}"#)).is_ok());
    assert!(with(&format!(r#""zones":{{"{longest}z":{{}}}}"#)).is_err());
    let many = |n: usize| {
        let zones: Vec<String> = (0..n).map(|n| format!(r#""z{n}":{{}}"#)).collect();
        with(&format!(r#""zones":{{{}}}"#, zones.join(",")))
    };
    assert_eq!(many(64).unwrap().accepted_zones().len(), 64);
    assert_eq!(paths(many(65)), ["zones"]);
}

#[test]
fn the_environment_s_zone_does_not_count_beside_zones() {
    let environment = |name: &str| (name == "CARACAL_ZONE_ID").then(|| "env".to_owned());
    let document = format!(r#"{{{LEAST_OF_SEVERAL},"zones":{{"a":{{}}}}}}"#);
    let read = Configuration::from_json(document.as_bytes(), &environment).unwrap();
    assert_eq!(read.zone_id, None);
}

#[test]
fn a_resource_names_zones_of_the_configuration_only() {
    let resources = |zones: &str, resource: &str| {
        let document = LEAST_OF_SEVERAL.replace(r#""audience":"a","#, "");
        let document = format!(r#"{{{document},{zones},"resources":{{"r":{resource}}}}}"#);
        Configuration::from_json(document.as_bytes(), &nothing)
    };
    let several = r#""zones":{"a":{},"b":{}}"#;
    let read = resources(several, r#"{"zones":["b"]}"#).unwrap();
    let zones = read.zones_in_force();
    let set = read.in_force().all()[0].zones;
    let has = |id: &str| set.contains(zones.find(id).unwrap());
    assert_eq!((has("a"), has("b")), (false, true));
    assert!(resources(r#""zone_id":"z""#, r#"{"zones":["z"]}"#).is_ok());
    let path = r#"resources["r"].zones"#;
    for (zones, resource) in [
        (several, r#"{"zones":["c"]}"#),
        (several, r#"{"zones":["a","c"]}"#),
        (several, r#"{"zones":[]}"#),
        (several, r#"{"zones":"a"}"#),
        (r#""zone_id":"z""#, r#"{"zones":["a"]}"#),
    ] {
        assert_eq!(
            paths(resources(zones, resource)),
            [path],
            "{zones} {resource}"
        );
    }
}
