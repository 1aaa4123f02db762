//! Shadow mode: where it is said, where it is not possible, and what is in force.

use super::*;
use crate::decision::verifier::Verifier;
use crate::request::RequestView;
use crate::routing::resources::InShadow;

const SEVERAL: &str = r#""issuer":"https://sts.example.com","zone_id":"z","jwks":{"upstream":"sts"},"revocation":"disabled""#;

fn several(rest: &str) -> Result<Configuration, Vec<ConfigError>> {
    Configuration::from_json(format!("{{{SEVERAL},{rest}}}").as_bytes(), &nothing)
}

/// Whether a refusal of a request for this path is not carried out.
fn goes_on(configuration: &Configuration, path: &str) -> bool {
    let verifier = Verifier::from(configuration);
    let request = RequestView {
        target: Some(path.as_bytes()),
        method: Some(b"GET"),
        ..Default::default()
    };
    let matched = verifier.resources().match_route(&request);
    verifier.is_in_shadow(matched.ok())
}

#[test]
fn a_route_wins_over_the_top() {
    for (extra, in_shadow, paths) in [
        ("", InShadow::Nothing, [("/a", false), ("/a%2f", false)]),
        (
            r#""enforcement":"enforce""#,
            InShadow::Nothing,
            [("/a", false), ("/a%2f", false)],
        ),
        (
            r#""enforcement":"shadow""#,
            InShadow::Everything,
            [("/a", true), ("/a/../%2e%2e//b", true)],
        ),
        (
            r#""enforcement":"shadow","routes":{"/a":{"enforcement":"shadow"},"/b":{}}"#,
            InShadow::Everything,
            [("/b", true), ("/a/%2e%2e/b", true)],
        ),
        (
            r#""routes":{"/a":{"enforcement":"shadow"}}"#,
            InShadow::Parts,
            [("/a/1", true), ("/b", false)],
        ),
        // A route below one in shadow has what the top has.
        (
            r#""routes":{"/a":{"enforcement":"shadow"},"/a/b":{}}"#,
            InShadow::Parts,
            [("/a/c", true), ("/a/b", false)],
        ),
        (
            r#""enforcement":"shadow","routes":{"/a":{"enforcement":"enforce"}},"exclude":["/x"]"#,
            InShadow::Parts,
            [("/b", true), ("/a", false)],
        ),
    ] {
        let configuration = parse(extra).unwrap();
        let resources = configuration.in_force();
        assert_eq!(resources.in_shadow(), in_shadow, "{extra}");
        let has_shadow = in_shadow != InShadow::Nothing;
        assert_eq!(configuration.has_shadow(), has_shadow, "{extra}");
        for (path, is) in paths {
            assert_eq!(goes_on(&configuration, path), is, "{extra} {path}");
        }
    }
}

/// What one reader takes for a path in shadow and another for one that is enforced is
/// refused.
#[test]
fn no_spelling_of_an_enforced_path_leads_into_shadow() {
    let spellings = [
        "/pay",
        "/pay/",
        "/pay/1",
        "/Pay",
        "/PAY/1",
        "//pay",
        "/%70ay",
        "/%2570ay",
        "/%50AY",
        "/x/../pay",
        "/x/%2e%2e/pay",
        "/x/..%2fpay",
        "/pay;a=b",
        "/PAY;a=b",
        "/pay.json",
        "/./pay",
        "/pay%2f1",
        "/x\\..\\pay",
        "/pay:1",
        "/x/../PAY",
        "/pay%00",
        "/\u{212a}/../pay",
        "//x/pay",
        "///x/pay",
        "/\\x/pay",
        "//x//pay",
        "/%2fx/pay",
    ];
    for configuration in [
        r#""enforcement":"shadow","routes":{"/pay":{"enforcement":"enforce"}}"#,
        r#""enforcement":"shadow","routes":{"/pay":{"enforcement":"enforce"},"/x":{}}"#,
        r#""routes":{"/":{"enforcement":"shadow"},"/pay":{}}"#,
    ] {
        let configuration = parse(configuration).unwrap();
        assert!(goes_on(&configuration, "/x"));
        for path in spellings {
            assert!(!goes_on(&configuration, path), "{path}");
        }
    }
    // Letters that are k, s or i for readers which ignore case.
    let letters =
        parse(r#""enforcement":"shadow","routes":{"/tasks/in":{"enforcement":"enforce"}}"#);
    let letters = letters.unwrap();
    for path in [
        "/tas%E2%84%AAs/in",
        "/ta\u{17f}ks/in",
        "/TASKS/\u{130}n",
        "/tasks/\u{131}n",
    ] {
        assert!(!goes_on(&letters, path), "{path}");
    }
    assert!(goes_on(&letters, "/\u{142}\u{f3}d\u{17a}"));
    // Within a route in shadow too, and where the case of the outer prefix differs.
    let nested = r#""routes":{"/X":{"enforcement":"shadow"},"/x/pay":{}}"#;
    let nested = parse(nested).unwrap();
    assert!(goes_on(&nested, "/X/1"));
    for path in ["/X/pay", "/X/PAY", "/x/pay", "/x/PAY", "/x/1"] {
        assert!(!goes_on(&nested, path), "{path}");
    }
    // Where nothing around it is in shadow, the case of a route matters as before.
    let apart = r#""routes":{"/x":{"enforcement":"shadow"},"/pay":{}}"#;
    let rules = |extra: &str| parse(extra).unwrap().in_force().all()[0].rules.clone();
    assert_eq!(rules(apart).find(Some(b"/PAY")), Ok(RuleId::Default));
    assert!(!goes_on(&parse(apart).unwrap(), "/PAY"));
}

#[test]
fn it_is_one_of_two_words_and_never_shadow_in_gateway_mode() {
    assert_eq!(paths(parse(r#""enforcement":"off""#)), ["enforcement"]);
    assert_eq!(paths(parse(r#""enforcement":true"#)), ["enforcement"]);
    let route = r#""routes":{"/a":{"enforcement":"Shadow"}}"#;
    assert_eq!(paths(parse(route)), [r#"routes["/a"].enforcement"#]);
    let method = r#""routes":{"/a":{"methods":{"GET":{"enforcement":"shadow"}}}}"#;
    assert_eq!(
        paths(parse(method)),
        [r#"routes["/a"].methods["GET"].enforcement"#]
    );
    let resource = several(r#""resources":{"r":{"enforcement":"shadow"}}"#);
    assert_eq!(paths(resource), [r#"resources["r"].enforcement"#]);

    let gateway = |rest: &str, route: &str| {
        Configuration::from_json(
            format!(
                r#"{{"issuer":"https://sts.example.com","zone_id":"z","jwks":{{"upstream":"sts"}},"revocation":{{"upstream":"feed","token":"t"}},"mode":"gateway","gateway":{{"upstream":"c"}},"resources":{{"r":{{"upstream_url":"https://a.example","routes":{{"/a":{{{route}}}}}}}}}{rest}}}"#
            )
            .as_bytes(),
            &nothing,
        )
    };
    let (shadow, enforce) = (r#""enforcement":"shadow""#, r#""enforcement":"enforce""#);
    assert!(gateway(&format!(",{enforce}"), enforce).is_ok());
    let errors = gateway(&format!(",{shadow}"), shadow).unwrap_err();
    let found: Vec<&str> = errors.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(
        found,
        ["enforcement", r#"resources["r"].routes["/a"].enforcement"#]
    );
    for error in errors {
        assert!(error.problem.contains("no credential"), "{error}");
    }
}

/// Who chooses the resource must not choose that nothing is refused.
#[test]
fn resources_that_a_client_chooses_among_are_alike_in_it() {
    let of = |top: &str, a: &str, b: &str| {
        several(&format!(
            r#""enforcement":"{top}","resources":{{"a":{a},"b":{b}}}"#
        ))
    };
    let routes = |routes: &str| format!(r#"{{"routes":{{{routes}}}}}"#);
    let shadow = routes(r#""/x":{"enforcement":"shadow"}"#);
    let hosted = r#"{"hosts":["b.test"],"routes":{"/x":{"enforcement":"shadow"}}}"#;
    for (top, a, b, is_fine) in [
        ("enforce", shadow.as_str(), "{}", false),
        ("enforce", "{}", shadow.as_str(), false),
        ("shadow", shadow.as_str(), "{}", true),
        ("enforce", shadow.as_str(), shadow.as_str(), true),
        ("enforce", "{}", hosted, true),
        (
            "enforce",
            shadow.as_str(),
            &routes(r#""/x/":{"enforcement":"shadow"},"/y":{}"#),
            true,
        ),
        // Under the route in shadow, one has another rule.
        (
            "enforce",
            shadow.as_str(),
            &routes(r#""/x":{"enforcement":"shadow"},"/x/y":{}"#),
            false,
        ),
        (
            "shadow",
            &routes(r#""/x":{"enforcement":"enforce"}"#),
            "{}",
            false,
        ),
    ] {
        let read = of(top, a, b);
        assert_eq!(read.is_ok(), is_fine, "{top} {a} {b}: {read:?}");
        if let Err(errors) = read {
            assert_eq!(errors[0].path, "resources");
        }
    }
}
