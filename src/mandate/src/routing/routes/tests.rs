use super::*;

fn rules(routes: &[&str], exclude: &[&str]) -> Rules {
    let routes = routes
        .iter()
        .map(|p| Route {
            prefix: (*p).to_owned(),
            requirements: Requirements::default(),
            methods: Vec::new(),
            in_shadow: false,
            mcp: None,
        })
        .collect();
    let exclude: Vec<String> = exclude.iter().map(|p| (*p).to_owned()).collect();
    Rules::new(Requirements::default(), routes, &exclude)
}

#[test]
fn a_method_has_its_own_requirements_where_it_is_listed() {
    let of = |scope: &str| Requirements {
        required_scopes: vec![scope.to_owned()],
        ..Requirements::default()
    };
    let route = Route {
        prefix: "/a".to_owned(),
        requirements: of("any"),
        methods: vec![
            ("GET".to_owned(), of("read")),
            ("PUT".to_owned(), of("write")),
        ],
        in_shadow: false,
        mcp: None,
    };
    let rules = Rules::new(of("default"), vec![route], &["/a/open".to_owned()]);
    let scope = |path: &str, method: Option<&str>| {
        let rule = rules.find(Some(path.as_bytes())).unwrap();
        let method = rules.method(rule, method.map(str::as_bytes))?;
        let required = rules.requirements(rule, method);
        Ok(required.map_or("none", |r| r.required_scopes[0].as_str()))
    };
    for (path, method, found) in [
        ("/a/1", Some("GET"), Ok("read")),
        ("/a/1", Some("PUT"), Ok("write")),
        ("/a/1", Some("HEAD"), Ok("any")),
        ("/a/1", Some(""), Ok("any")),
        ("/a/1", Some("GETS"), Ok("any")),
        ("/a/1", None, Ok("any")),
        ("/a/1", Some("get"), Err(InvalidMethod)),
        ("/a/1", Some("Put"), Err(InvalidMethod)),
        ("/b", Some("get"), Ok("default")),
        ("/a/open", Some("get"), Ok("none")),
    ] {
        assert_eq!(scope(path, method), found, "{method:?} {path}");
    }
}

#[test]
fn the_longest_prefix_wins_and_exclude_wins_over_routes() {
    let rules = rules(&["/a", "/a/b/", "/"], &["/a/b/c", "/h/"]);
    let find = |path: &str| match rules.find(Some(path.as_bytes())) {
        Ok(RuleId::Route(n)) => format!("route {}", rules.routes()[n].prefix),
        Ok(RuleId::Excluded(n)) => format!("exclude {}", rules.exclude()[n]),
        Ok(RuleId::Default) => "default".to_owned(),
        Err(why) => format!("{why:?}"),
    };
    for (path, rule) in [
        ("/a", "route /a"),
        ("/a/", "route /a"),
        ("/ab", "route "),
        ("/a/b", "route /a/b"),
        ("/a/b/x", "route /a/b"),
        ("/a/bx", "route /a"),
        ("/a/b/c/d", "exclude /a/b/c"),
        ("/h", "exclude /h"),
        ("/h?x=/a", "exclude /h"),
        ("/A", "route "),
        ("/h/../a/b/c", "Ambiguous"),
        ("/a-b", "route "),
        ("/a_b", "route "),
        ("/a.json", "Ambiguous"),
        ("/a.json/1", "Ambiguous"),
        ("/a:cancel", "Ambiguous"),
        ("/a,v=1", "Ambiguous"),
        ("/a~", "Ambiguous"),
        ("/a%41", "Ambiguous"),
        ("/aé", "Ambiguous"),
        ("/a%C2%A0", "Ambiguous"),
        ("/a/b.json", "Ambiguous"),
        ("/a/b/c.json", "Ambiguous"),
        ("/a/b/c/d.json", "exclude /a/b/c"),
        ("/a/d.json", "route /a"),
        ("/h.json", "Ambiguous"),
        ("/x.json", "route "),
    ] {
        assert_eq!(find(path), rule, "{path}");
    }
}

/// If one excluded prefix covers all readings, they agree.
#[test]
fn what_is_cut_is_read_by_the_same_rules() {
    let rules = rules(&["/a", "/a/b", "/v1", "/v1.0"], &["/a"]);
    for path in ["/a/b.json", "/a/b", "/a/b/c"] {
        assert_eq!(
            rules.find(Some(path.as_bytes())),
            Ok(RuleId::Excluded(0)),
            "{path}"
        );
    }
    for path in ["/v1.0", "/v1.0/x", "/a.json"] {
        let found = rules.find(Some(path.as_bytes()));
        assert_eq!(found, Err(InvalidPath::Ambiguous), "{path}");
    }
}

#[test]
fn where_there_is_one_rule_every_readable_path_falls_under_it() {
    let strange = "/a/..//%2e%2e/b;c\\..%5c.%09./";
    for (rules, only) in [
        (rules(&[], &[]), RuleId::Default),
        (rules(&["/"], &[]), RuleId::Route(0)),
    ] {
        assert_eq!(rules.find(Some(strange.as_bytes())), Ok(only));
        let unreadable = rules.find(Some(b"/%zz"));
        assert_eq!(unreadable, Err(InvalidPath::Encoding));
    }
    for rules in [rules(&["/x"], &[]), rules(&[], &["/x"])] {
        let refused = rules.find(Some(strange.as_bytes()));
        assert_eq!(refused, Err(InvalidPath::Work));
    }
}

/// Under one excluded prefix all readings agree, however many prefixes end inside the
/// path. The work to find that out is bounded.
#[test]
fn a_path_in_which_many_prefixes_end_is_refused() {
    let found = |count: usize| {
        let routes: Vec<String> = (1..count)
            .map(|n| format!("/p/a{}", "!".repeat(n)))
            .collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let path = format!("/p/a{}/x", "!".repeat(count));
        rules(&routes, &["/p"]).find(Some(path.as_bytes()))
    };
    assert_eq!(found(3), Ok(RuleId::Excluded(0)));
    assert_eq!(found(200), Err(InvalidPath::Work));
}

#[test]
fn without_a_root_route_the_default_holds() {
    assert_eq!(rules(&["/a"], &[]).find(Some(b"/b")), Ok(RuleId::Default));
}

#[test]
fn prefixes_of_one_length_stand_together_the_longest_first() {
    let mut prefixes = Prefixes(Vec::new());
    for (n, prefix) in ["/b", "/abc", "/a", "/b", "/c"].into_iter().enumerate() {
        prefixes.add(prefix, RuleId::Route(n));
    }
    let groups: Vec<(usize, usize)> = prefixes
        .0
        .iter()
        .map(|one| (one.length, one.rules.len()))
        .collect();
    assert_eq!(groups, [(4, 1), (2, 3)]);
    // The first of two equal ones counts.
    assert_eq!(prefixes.0[1].get(b"/b"), Some(RuleId::Route(0)));
}

#[test]
fn what_is_required_outside_routes_is_shown() {
    let strict = Requirements {
        require_session: true,
        ..Requirements::default()
    };
    let rules = Rules::new(strict.clone(), Vec::new(), &[]);
    assert_eq!(*rules.default_requirements(), strict);
    assert!(rules.routes().is_empty());
}

/// Servers that ignore case serve `/MCP` as `/mcp`. A path that only they take for one of a
/// route of MCP is under no other rule either.
#[test]
fn a_route_of_mcp_is_spelled_as_it_is_configured() {
    let route = |prefix: &str, of_mcp: bool| Route {
        prefix: prefix.to_owned(),
        requirements: Requirements::default(),
        methods: Vec::new(),
        in_shadow: false,
        mcp: of_mcp.then(|| {
            Box::new(RouteMcp {
                rule: McpRule::new(None, Vec::new(), None, None),
                methods: Vec::new(),
                tools: Vec::new(),
                unlisted: Requirements::default(),
            })
        }),
    };
    let of = |routes: Vec<Route>, exclude: &[&str], path: &str| {
        let exclude: Vec<String> = exclude.iter().map(|p| (*p).to_owned()).collect();
        let rules = Rules::new(Requirements::default(), routes, &exclude);
        rules.find(Some(path.as_bytes()))
    };
    let all = || {
        vec![
            route("/mcp", true),
            route("/mcp/Admin", true),
            route("/x", false),
        ]
    };
    for path in [
        "/MCP",
        "/Mcp",
        "/mCP/1",
        "/MCP.json",
        "/MCP:a",
        "/%4dCP",
        "/%254dcp",
        "/x/../MCP",
        "/mcp/admin",
        "/mcp/ADMIN/1",
        "/x/%2e%2e/Mcp",
        "//MCP",
        "/MCP;a=b",
    ] {
        assert!(of(all(), &["/health"], path).is_err(), "{path}");
    }
    assert_eq!(of(all(), &[], "/MCP"), Err(InvalidPath::Spelled));
    for (path, rule) in [
        ("/mcp", RuleId::Route(1)),
        ("/mcp/X", RuleId::Route(1)),
        ("/mcp/Admin", RuleId::Route(0)),
        ("/MCPS", RuleId::Default),
        ("/MCP-a", RuleId::Default),
        ("/a/MCP", RuleId::Default),
        // The case of other routes is as it was.
        ("/X", RuleId::Default),
    ] {
        assert_eq!(of(all(), &[], path), Ok(rule), "{path}");
    }
    // Nor is it under an exclusion or another route that is spelled so.
    assert_eq!(of(all(), &["/MCP"], "/MCP"), Err(InvalidPath::Spelled));
    let other = vec![route("/mcp", true), route("/MCP", false)];
    assert_eq!(of(other, &[], "/MCP"), Err(InvalidPath::Spelled));
    // Both have rules, and each spelling its own.
    let both = || vec![route("/mcp", true), route("/MCP", true)];
    assert_eq!(of(both(), &[], "/MCP"), Ok(RuleId::Route(0)));
    assert_eq!(of(both(), &[], "/mcp"), Ok(RuleId::Route(1)));
    assert_eq!(of(both(), &[], "/Mcp"), Err(InvalidPath::Spelled));
    // An exclusion wins over a route of the same prefix, which then is in force nowhere.
    let excluded = of(vec![route("/mcp", true)], &["/mcp"], "/MCP");
    assert_eq!(excluded, Ok(RuleId::Default));
    let plain = of(vec![route("/mcp", false)], &[], "/MCP");
    assert_eq!(plain, Ok(RuleId::Default));
}
