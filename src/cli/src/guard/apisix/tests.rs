use super::*;

const ROUTES: &str = include_str!("../../../../../deploy/apisix/apisix.yaml");

fn said(yaml: &str) -> Vec<String> {
    unguarded(&crate::proxy_file::yaml::tree_of(yaml))
}

#[test]
fn the_file_as_it_is_shipped_leaves_nothing_open() {
    assert_eq!(said(ROUTES), [""; 0]);
    let other = "  - {id: site, uri: /site, upstream: {nodes: {'127.0.0.1:8080': 1}}}\n#END";
    assert_eq!(said(&ROUTES.replace("#END", other)), [""; 0]);
}

const HOLDS: &str =
    "return function() if ngx.var.caracal_gate ~= 'open' then return ngx.exit(503) end end";

fn global_rule(routes: &str) -> String {
    let rule = format!(
        "global_rules:\n  - id: g\n    plugins: {{serverless-post-function: {{functions: [\"{HOLDS}\"]}}}}\n#END"
    );
    routes.replace("#END", &rule)
}

#[test]
fn a_gate_may_stand_beside_the_filter_and_behind_it() {
    // Beside one on the route it does no harm that is the file's affair.
    assert_eq!(said(&global_rule(ROUTES)), [""; 0]);
    let conf = r#"{"forward": {"gate": {"variable": "caracal_gate", "upstream": "open"}}}"#;
    let both = format!(
        "routes: [{{id: a, uri: /a, upstream: {{nodes: {{'a.example:80': 1}}}}}}]\nglobal_rules: [{{id: g, plugins: {{caracal_filter: {{conf: '{conf}'}}, serverless-post-function: {{phase: access, functions: [\"{HOLDS}\"]}}}}}}]"
    );
    assert_eq!(said(&both), [""; 0]);
}

#[test]
fn each_way_past_the_plugin_is_found() {
    let filter = "      caracal_filter:\n";
    let with = |meta: &str| ROUTES.replace(filter, &format!("{filter}        _meta: {{{meta}}}\n"));
    let beside = |more: &str| ROUTES.replace("#END", more);
    let changed = |from: &str, to: &str| {
        assert!(ROUTES.contains(from), "{from}");
        ROUTES.replace(from, to)
    };
    let behind = "      serverless-post-function:\n";
    let of_service = "
services:
  - id: s
    plugins: {caracal_filter: {conf: '{}'}}
    upstream_id: 7
upstreams: [{id: 7, nodes: [{host: a.example, port: 80, weight: 1}]}]
routes:
  - {id: guarded, uri: /a, service_id: s}
  - {id: overridden, uri: /b, service_id: s, plugins: {caracal_filter: {_meta: {disable: true}, conf: '{}'}}}
  - {id: direct, uri: /c, upstream: {nodes: {'a.example:80': 1}}}
";
    for (file, expected) in [
        (with("disable: true"), "_meta.disable"),
        (with("filter: [[uri, '==', /a]]"), "_meta.filter"),
        (with("priority: -3000"), "_meta.priority"),
        (
            of_service.replace("upstream: {nodes: {'a.example:80': 1}}", "upstream_id: \"7\""),
            "route \"direct\": nothing guards it",
        ),
        (
            of_service.replace("{nodes: {'a.example:80': 1}}", "{nodes: {'A.example': 1}}"),
            "route \"direct\": nothing guards it",
        ),
        (
            of_service.replace(
                "{id: direct, uri: /c, upstream: {nodes: {'a.example:80': 1}}}",
                "{id: direct, uri: /c, upstream: {nodes: {'b:80': 1}}, plugins: {traffic-split: {rules: [{weighted_upstreams: [{upstream_id: '7'}]}]}}}",
            ),
            "route \"direct\": nothing guards it",
        ),
        (
            of_service.replace(
                "{id: direct, uri: /c, upstream: {nodes: {'a.example:80': 1}}}",
                "{id: direct, uri: /c, upstream: {nodes: {'b:80': 1}}, plugins: {proxy-mirror: {host: 'http://a.example'}}}",
            ),
            "route \"direct\": nothing guards it",
        ),
        (
            beside(
                "global_rules: [{id: g, plugins: {proxy-rewrite: {uri: /x}}}]\n#END",
            ).replace(
                "      serverless-post-function:\n",
                "      proxy-rewrite: {_meta: {disable: true}}\n      serverless-post-function:\n",
            ),
            "proxy-rewrite",
        ),
        (
            beside(
                "consumers: [{username: u, plugins: {limit-count: {_meta: {pre_function: 'return function() ngx.var.caracal_gate = 1 end'}}}}]\n#END",
            ),
            "_meta.pre_function of limit-count sets the gate",
        ),
        (
            changed(
                behind,
                "      body-transformer: {request: {template: \"it's {% ngx.var.caracal_gate = 'open' %}\"}}\n      serverless-post-function:\n",
            ),
            "body-transformer sets the gate",
        ),
        (
            changed(
                behind,
                "      body-transformer: {request: {template_is_base64: true, template: eA==}}\n      serverless-post-function:\n",
            ),
            "cannot be seen",
        ),
        (
            changed(
                "      serverless-post-function:\n",
                "      serverless-pre-function: {functions: [\"return function(conf, ctx) ctx.var.upstream_uri = '/x' end\"]}\n      serverless-post-function:\n",
            ),
            "another path",
        ),
        (
            of_service.to_owned(),
            "route \"overridden\": nothing guards it",
        ),
        (of_service.to_owned(), "route \"direct\": nothing guards it"),
        (
            beside("  - {id: second, uri: /x, upstream: {nodes: {'127.0.0.1:7702': 1}}}\n#END"),
            "route \"second\": nothing guards it",
        ),
        (
            beside(
                "  - {id: s, uri: /x, script: 'x', upstream: {nodes: {'127.0.0.1:7702': 1}}}\n#END",
            ),
            "it has a script",
        ),
        (
            beside(
                "consumers: [{username: u, plugins: {serverless-post-function: {phase: access, functions: ['return function() end']}}}]\n#END",
            ),
            "replaces the route's",
        ),
        (
            beside(
                "consumer_groups: [{id: g, plugins: {caracal_filter: {_meta: {disable: true}, conf: '{}'}}}]\n#END",
            ),
            "replaces the route's",
        ),
        (
            beside("stream_routes: [{id: l4, upstream: {nodes: {'127.0.0.1:7702': 1}}}]\n#END"),
            "no filter sees it",
        ),
        (
            changed(
                behind,
                "      proxy-rewrite: {uri: /x}\n      serverless-post-function:\n",
            ),
            "proxy-rewrite",
        ),
        (
            changed(behind, "      another-plugin:\n"),
            "nothing looks at the gate",
        ),
        (
            changed(
                behind,
                "      serverless-post-function:\n        _meta: {disable: true}\n",
            ),
            "switches off",
        ),
        (changed("phase: access", "phase: log"), "another phase"),
        (changed("~= \"open\"", "~= \"shut\""), "does not compare"),
        (changed("~= \"open\"", "== \"open\""), "does not compare"),
        (changed("return 503", "return 200"), "does not compare"),
        (changed("return 503", "return"), "does not compare"),
        (
            changed("              if ngx", "              -- if ngx"),
            "does not compare",
        ),
        (
            changed(
                "            return function()\n",
                "            return function()\n              do return end\n",
            ),
            "does not compare",
        ),
        (
            changed(
                "            return function()\n",
                "            ngx.var.caracal_gate = \"open\"\n            return function()\n",
            ),
            "sets the gate",
        ),
        (
            changed(
                behind,
                "      serverless-pre-function: {functions: [\"return function() ngx.var.caracal_gate = 'open' end\"]}\n      serverless-post-function:\n",
            ),
            "serverless-pre-function sets the gate",
        ),
        (
            changed(
                behind,
                "      limit-count: {_meta: {pre_function: \"return function(conf, ctx) ctx.var[x .. y] = 'open' end\"}}\n      serverless-post-function:\n",
            ),
            "_meta.pre_function of limit-count sets the gate",
        ),
        (
            changed(
                "    plugins:\n",
                "    filter_func: \"function(vars) ngx.var.caracal_gate = 'open' return true end\"\n    plugins:\n",
            ),
            "filter_func sets the gate",
        ),
        (
            changed(
                ",\n            \"forward\": {\"gate\": {\"variable\": \"caracal_gate\", \"upstream\": \"open\"}}",
                "",
            ),
            "forward.gate is missing",
        ),
        (
            changed(
                "\"variable\": \"caracal_gate\"",
                "\"variable\": \"caracal_door\"",
            ),
            "declares the gate $caracal_gate",
        ),
        (
            changed("\"upstream\": \"open\"", "\"upstream\": \"deny\""),
            "from the start",
        ),
        (
            of_service.to_owned(),
            "route \"guarded\": forward.gate is missing",
        ),
        (
            global_rule(&ROUTES.replace(behind, "      another-plugin:\n")),
            "before the filter of a route",
        ),
    ] {
        let said = said(&file);
        assert!(
            said.iter().any(|one| one.contains(expected)),
            "{expected}: {said:?}"
        );
    }
}
