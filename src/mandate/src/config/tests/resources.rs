//! Configurations of several resources, good and bad.

use super::{nothing, paths};
use crate::config::*;
use crate::routing::resources::Resources;

const LEAST: &str = r#""issuer":"https://sts.example.com","zone_id":"z","jwks":{"upstream":"sts"},"revocation":"disabled""#;

fn parse(members: &str) -> Result<Configuration, Vec<ConfigError>> {
    Configuration::from_json(format!("{{{LEAST},{members}}}").as_bytes(), &nothing)
}

const GOOD: &[&str] = &[
    r#""resources":{"a":{"exclude":["/h","/i"]},"b":{"exclude":["/i","/h/"]},"c":{"hosts":["c.test"],"exclude":["/c"]}}"#,
    r#""resources":{"a":{}}"#,
    r#""resources":{"resource://a":{},"resource://b":{"audience":"https://b"}}"#,
    r#""resources":{"a":{"audience":"b"},"b":{"audience":"a"}}"#,
    r#""resources":{"a":{"hosts":["a.test","a.test:8443","10.0.0.1","[::1]","[::1]:80"]},"b":{"hosts":["b.test"]},"c":{}}"#,
    r#""required_scopes":["x"],"resources":{"a":{"required_scopes":[],"require_agent":true,"routes":{"/p":{"methods":{"POST":{"required_scopes":["w"]}}}},"exclude":["/h"]}}"#,
];

/// Configurations that are refused, the path of the error, and whether the schema refuses
/// them too.
const BAD: &[(&str, &str, bool)] = &[
    (r#""host":"envoy""#, "audience", true),
    (r#""resources":{}"#, "resources", true),
    (r#""resources":[]"#, "resources", true),
    (r#""resources":null"#, "resources", true),
    (
        r#""resources":{"a":{}},"resources":{"b":{}}"#,
        "resources",
        false,
    ),
    (r#""resources":{"a":{}},"audience":"a""#, "audience", true),
    (r#""resources":{"a":{}},"routes":{}"#, "routes", true),
    (r#""resources":{"a":{}},"exclude":[]"#, "exclude", true),
    (r#""resources":{"a":{},"a":{}}"#, "resources[\"a\"]", false),
    (r#""resources":{"":{}}"#, "resources[\"\"]", false),
    (r#""resources":{"a b":{}}"#, "resources[\"a b\"]", false),
    (r#""resources":{"a,b":{}}"#, "resources[\"a,b\"]", false),
    (r#""resources":{"é":{}}"#, "resources[\"é\"]", false),
    (r#""resources":{"a":[]}"#, "resources[\"a\"]", true),
    (r#""resources":{"a":{"x":1}}"#, "resources[\"a\"].x", true),
    (
        r#""resources":{"a":{"resources":{}}}"#,
        "resources[\"a\"].resources",
        true,
    ),
    (
        r#""resources":{"a":{"audience":""}}"#,
        "resources[\"a\"].audience",
        true,
    ),
    (
        r#""resources":{"a":{"exclude":["/h"]},"b":{"exclude":["/h/i"]}}"#,
        "resources",
        false,
    ),
    (
        r#""resources":{"a":{},"b":{"audience":"a"}}"#,
        "resources[\"b\"]",
        false,
    ),
    (
        r#""resources":{"a":{"audience":"x"},"b":{"audience":"x"}}"#,
        "resources[\"b\"]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":[]}}"#,
        "resources[\"a\"].hosts",
        true,
    ),
    (
        r#""resources":{"a":{"hosts":"a.test"}}"#,
        "resources[\"a\"].hosts",
        true,
    ),
    (
        r#""resources":{"a":{"hosts":[""]}}"#,
        "resources[\"a\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["a.test:"]}}"#,
        "resources[\"a\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["a.test."]}}"#,
        "resources[\"a\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["*.test"]}}"#,
        "resources[\"a\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["::1"]}}"#,
        "resources[\"a\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["a.test","A.Test"]}}"#,
        "resources[\"a\"].hosts[1]",
        false,
    ),
    (
        r#""resources":{"a":{"hosts":["[::1]"]},"b":{"hosts":["[0::1]"]}}"#,
        "resources[\"b\"].hosts[0]",
        false,
    ),
    (
        r#""resources":{"a":{"routes":{"x":{}}}}"#,
        "resources[\"a\"].routes[\"x\"]",
        false,
    ),
    (
        r#""resources":{"a":{"exclude":["/"]}}"#,
        "resources[\"a\"].exclude[0]",
        false,
    ),
    (
        r#""resources":{"a":{"require_session":true,"require_agent":true}}"#,
        "resources[\"a\"].require_session",
        true,
    ),
    (
        r#""resources":{"a":{}},"forward":{"headers":{"x-caracal-resource":"sub"}}"#,
        "forward.headers[\"x-caracal-resource\"]",
        false,
    ),
    (
        r#""resources":{"a":{}},"forward":{"claims":"x-caracal-resource"}"#,
        "forward.claims",
        false,
    ),
];

#[test]
fn resources_are_read_or_refused_by_their_path() {
    for members in GOOD {
        assert!(parse(members).is_ok(), "{members}: {:?}", parse(members));
    }
    for (members, path, _) in BAD {
        assert_eq!(paths(parse(members)), [*path], "{members}");
    }
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_says_the_same_of_resources() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let valid = |members: &str| {
        validator.is_valid(&serde_json::from_str(&format!("{{{LEAST},{members}}}")).unwrap())
    };
    for members in GOOD {
        assert!(valid(members), "{members}");
    }
    for (members, _, schema_says_so) in BAD {
        assert_eq!(valid(members), !schema_says_so, "{members}");
    }
}

#[test]
fn resources_hosts_methods_and_all_routes_together_are_bounded() {
    let many =
        |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().join(",");
    let resources = |n| {
        format!(
            r#""resources":{{{}}}"#,
            many(n, &|n| format!(r#""r{n}":{{}}"#))
        )
    };
    let hosts = |n| {
        let hosts = many(n, &|n| format!(r#""h{n}.test""#));
        format!(r#""resources":{{"a":{{"hosts":[{hosts}]}}}}"#)
    };
    let methods = |n| {
        let methods = many(n, &|n| format!(r#""M{n}":{{}}"#));
        format!(r#""resources":{{"a":{{"routes":{{"/":{{"methods":{{{methods}}}}}}}}}}}"#)
    };
    let id = |n| format!(r#""resources":{{"{}":{{}}}}"#, "a".repeat(n));
    // Two resources with hosts; `extra` is added to the second.
    let two = |key: &str,
               open: &str,
               close: &str,
               each: usize,
               extra: usize,
               one: &dyn Fn(usize) -> String| {
        let own = |n| format!(r#""{key}":{open}{}{close}"#, many(n, one));
        format!(
            r#""resources":{{"a":{{{}}},"b":{{{}}}}}"#,
            own(each),
            own(each + extra)
        )
    };
    let routes = |extra| {
        two("routes", "{", "}", 512, extra, &|n| {
            format!(r#""/r{n}":{{}}"#)
        })
    };
    let exclude = |extra: usize| {
        two("exclude", "[", "]", 512 + extra, 0, &|n| {
            format!(r#""/e{n}""#)
        })
    };
    let all_methods = |extra| {
        let sixteen = many(16, &|n| format!(r#""M{n}":{{}}"#));
        two("routes", "{", "}", 32, extra, &move |n| {
            format!(r#""/r{n}":{{"methods":{{{sixteen}}}}}"#)
        })
    };
    for (fits, does_not, path) in [
        (resources(64), resources(65), "resources"),
        (hosts(64), hosts(65), "resources[\"a\"].hosts"),
        (
            methods(16),
            methods(17),
            "resources[\"a\"].routes[\"/\"].methods",
        ),
        (routes(0), routes(1), "resources"),
        (exclude(0), exclude(1), "resources"),
        (all_methods(0), all_methods(1), "resources"),
    ] {
        assert!(parse(&fits).is_ok(), "{:?}", parse(&fits));
        assert_eq!(paths(parse(&does_not)), [path]);
    }
    assert!(parse(&id(1_024)).is_ok());
    assert_eq!(paths(parse(&id(1_025))).len(), 1);
}

/// Scopes and session in force for a resource, a method and a path.
fn at(resources: &Resources, id: &str, method: &str, path: &str) -> Option<(String, bool)> {
    let id = resources.choose(None, &[id.as_bytes()]).unwrap();
    let rules = &resources.get(id).unwrap().rules;
    let rule = rules.find(Some(path.as_bytes())).unwrap();
    let method = rules.method(rule, Some(method.as_bytes())).unwrap();
    let required = rules.requirements(rule, method)?;
    Some((required.required_scopes.join(" "), required.require_session))
}

#[test]
fn each_level_replaces_what_it_names_of_the_one_around_it() {
    let c = parse(
        r#""required_scopes":["top"],"resources":{
            "a":{"exclude":["/h/"]},
            "b":{"required_scopes":["b"],"require_session":true,"exclude":["/h"],"routes":{
                "/p":{"required_scopes":["p"],"methods":{
                    "POST":{"required_scopes":["w"]},"DELETE":{"require_session":false}}}}}}"#,
    )
    .unwrap();
    let resources = c.in_force();
    let at = |id, method, path| at(&resources, id, method, path);
    let is = |scopes: &str, session| Some((scopes.to_owned(), session));
    assert_eq!(at("a", "GET", "/p"), is("top", false));
    assert_eq!(at("a", "GET", "/h"), None);
    assert_eq!(at("b", "GET", "/x"), is("b", true));
    assert_eq!(at("b", "GET", "/p/1"), is("p", true));
    assert_eq!(at("b", "HEAD", "/p/1"), is("p", true));
    assert_eq!(at("b", "POST", "/p/1"), is("w", true));
    assert_eq!(at("b", "DELETE", "/p/1"), is("p", false));
    assert_eq!(at("b", "POST", "/x"), is("b", true));
    assert_eq!(at("b", "POST", "/h"), None);
    assert_eq!(resources.all()[1].audience, "b");
}
