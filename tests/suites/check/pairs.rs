//! Pairs of configurations.

use caracal_tests::mint::configuration;
use serde_json::{Value, json};

pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) old: Value,
    pub(crate) new: Value,
    /// What the words must have.
    pub(crate) words: &'static [&'static str],
}

pub(crate) fn pairs() -> Vec<Pair> {
    let feed = json!({"upstream": "feed"});
    let edge = |changes: Value| {
        let mut edge = configuration(json!({"revocation": feed, "required_scopes": ["a"]}));
        for (name, value) in changes.as_object().unwrap() {
            edge[name] = value.clone();
            if value.is_null() {
                edge.as_object_mut().unwrap().remove(name);
            }
        }
        edge
    };
    let pair = |name, old: Value, new: Value, words| Pair {
        name,
        old: edge(old),
        new: edge(new),
        words,
    };
    let on = |name: &str, requires: Value| json!({"routes": {name: requires}});
    vec![
        pair("same", json!({}), json!({}), &["lets nothing through"]),
        pair(
            "stricter",
            json!({"exclude": ["/h"]}),
            json!({"required_scopes": ["a", "b"], "max_hop_count": 2, "clock_skew_s": 0}),
            &[],
        ),
        pair(
            "a scope less",
            on("/p", json!({"required_scopes": ["a", "b"]})),
            on("/p", json!({"required_scopes": ["a"]})),
            &["/p/*: also mandates without scope \"b\""],
        ),
        pair(
            "other scopes",
            json!({"required_scopes": ["a", "b"]}),
            json!({"required_scopes": ["c"]}),
            &["/*: also mandates without scope one of \"a\", \"b\""],
        ),
        pair(
            "a route in shadow",
            json!({"routes": {"/p": {}}}),
            json!({"routes": {"/p": {"enforcement": "shadow"}}}),
            &["/p/*: also requests without a mandate"],
        ),
        pair(
            "everything in shadow",
            json!({"exclude": ["/h"]}),
            json!({"exclude": ["/h"], "enforcement": "shadow"}),
            &["  /*: also requests without a mandate"],
        ),
        pair(
            "a route of MCP in shadow",
            json!({"routes": {"/mcp": {"mcp": {"tools": {"a": {}}}}}}),
            json!({"routes": {"/mcp": {"mcp": {"tools": {"a": {}}}, "enforcement": "shadow"}}}),
            &["/mcp/*: also requests without a mandate"],
        ),
        pair(
            "from shadow to enforcement",
            json!({"enforcement": "shadow"}),
            json!({"enforcement": "enforce", "required_scopes": []}),
            &["lets nothing through"],
        ),
        pair(
            "a prefix excluded",
            json!({"routes": {"/p": {"require_session": true}}}),
            json!({"routes": {"/p": {"require_session": true}}, "exclude": ["/p/open", "/h"]}),
            &["/h/*, /p/open/*: also requests without a mandate"],
        ),
        pair(
            "a route removed",
            json!({"routes": {"/p": {"required_scopes": ["b"], "require_delegation": true}, "/q": {"require_session": true}}}),
            json!({}),
            &[
                "can be read under more than one of",
                "without scope \"b\"",
                "not delegated",
            ],
        ),
        pair(
            "audience",
            json!({}),
            json!({"audience": "resource://other"}),
            &["for audience \"resource://other\" that are not for \"resource://billing-api\""],
        ),
        pair(
            "what cannot be sent is left out",
            json!({}),
            json!({"forward": {"unsendable": "omit"}}),
            &[
                "also mandates of which one of",
                "\"delegation_edge_id\"",
                "cannot be sent in a header",
            ],
        ),
        pair(
            "a claim less is sent",
            json!({"forward": {"headers": {"x-a": "delegation_edge_id", "x-b": "jti"}}}),
            json!({"forward": {"headers": {"x-b": "jti"}}}),
            &["also mandates of which \"delegation_edge_id\" cannot be sent in a header"],
        ),
        pair(
            "session and delegation",
            json!({"require_session": true, "require_delegation": true}),
            json!({"require_session": false, "require_delegation": false}),
            &["without an agent session", "that are not delegated"],
        ),
        pair(
            "hops",
            json!({"max_hop_count": 2, "routes": {"/p": {"max_hop_count": 0}}}),
            json!({"max_hop_count": 10, "routes": {"/p": {"max_hop_count": 2}}}),
            &[
                "/p/*: also mandates of 1 to 2 hops",
                "mandates of 3 to 10 hops",
            ],
        ),
        pair(
            "use",
            json!({}),
            on("/p", json!({"required_use": "session"})),
            &["/p/*: also mandates with use=session"],
        ),
        pair(
            "chain and targets",
            json!({"require_chain_contains": ["app-1", "app-2"], "required_targets": ["t1", "t2"]}),
            json!({"require_chain_contains": ["app-1"], "required_targets": ["t1"]}),
            &["chain lacks \"app-2\"", "without target \"t2\""],
        ),
        pair(
            "skew and size",
            json!({"clock_skew_s": 60}),
            json!({"clock_skew_s": 120, "limits": {"max_token_bytes": 12_000}}),
            &[
                "iat or nbf is 61 to 120 s ahead",
                "tokens of 8193 to 12000 bytes",
            ],
        ),
        pair(
            "algorithm",
            json!({}),
            json!({"algorithms": ["ES256", "EdDSA"]}),
            &["signed with EdDSA"],
        ),
        pair(
            "issuer and zone",
            json!({"exclude": ["/h"]}),
            json!({"issuer": "https://other.example.test", "zone_id": "zone-2"}),
            &[
                "of issuer \"https://other.example.test\"",
                "of zone \"zone-2\"",
            ],
        ),
        pair(
            "revocation disabled",
            json!({}),
            json!({"revocation": "disabled"}),
            &["that are revoked"],
        ),
        pair(
            "older states and key sets",
            json!({}),
            json!({"revocation": {"upstream": "other", "max_staleness_s": 60},
                "jwks": {"upstream": "sts", "ttl_s": 600}, "limits": {"max_anchors": 2_000_000}}),
            &[
                "over 30 and up to 60 s old",
                "withdrawn over 300 and up to 600 s",
                "1000001 to 2000000 anchors",
                "not compared: revocation.upstream",
            ],
        ),
        pair(
            "longer lives",
            json!({"limits": {"max_lifetime_s": 600}}),
            json!({"limits": {"max_lifetime_s": 900}}),
            &["valid for over 600 s and up to 900 s"],
        ),
        pair(
            "lives without a limit",
            json!({"limits": {"max_lifetime_s": 600}}),
            json!({}),
            &["valid for over 600 s"],
        ),
        pair(
            "methods",
            on(
                "/p",
                json!({"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["b", "c"]}, "GET": {}}}),
            ),
            on(
                "/p",
                json!({"required_scopes": ["b"], "methods": {"POST": {"required_scopes": ["b"]}, "PUT": {"required_scopes": ["a"]}}}),
            ),
            &[
                "POST /p/*: also mandates without scope \"c\"",
                "GET, but not in upper case",
                "PUT /p/*: also mandates without scope \"b\"",
            ],
        ),
        pair(
            "resources in place of one",
            json!({}),
            json!({"audience": null, "resources": {
                "resource://billing-api": {}, "resource://other": {"routes": {"/p": {"required_scopes": ["b"]}}}}}),
            &["X-Caracal-Resource \"resource://other\""],
        ),
        pair(
            "one in place of resources",
            json!({"audience": null, "resources": {
                "resource://billing-api": {"hosts": ["billing.test"]}, "resource://other": {}}}),
            json!({}),
            &["more than one X-Caracal-Resource", "all were refused"],
        ),
        pair(
            "a host more",
            json!({"audience": null, "resources": {
                "x": {"audience": "resource://billing-api", "hosts": ["billing.test"]},
                "y": {"audience": "resource://other", "hosts": ["other.test"], "exclude": ["/h"]}}}),
            json!({"audience": null, "resources": {
                "x": {"audience": "resource://billing-api", "hosts": ["billing.test", "third.test"]},
                "y": {"audience": "resource://other", "exclude": ["/h", "/p"]}}}),
            &["at host \"third.test\"", "also requests without a mandate"],
        ),
        pair(
            "zones in place of one",
            json!({}),
            json!({"zone_id": null, "zones": {
                "zone-1": {}, "zone-2": {"issuer": "https://other.example.test"}}}),
            &["also mandates of zone \"zone-2\""],
        ),
        pair(
            "one zone in place of several",
            json!({"zone_id": null, "zones": {
                "zone-2": {}, "zone-3": {"jwks": {"upstream": "sts", "ttl_s": 600}}}}),
            json!({}),
            &["also mandates of zone \"zone-1\""],
        ),
        pair(
            "zones that trust more",
            json!({"zone_id": null, "zones": {"zone-1": {}, "zone-2": {}}}),
            json!({"zone_id": null, "zones": {
                "zone-1": {"issuer": "https://other.example.test"},
                "zone-2": {"jwks": {"upstream": "other", "ttl_s": 600}}}}),
            &[
                "of issuer \"https://other.example.test\" of zone \"zone-1\"",
                "of zone \"zone-2\" whose key was withdrawn over 300",
                "not compared: jwks.upstream of zone \"zone-2\"",
            ],
        ),
        pair(
            "a resource that accepts another zone",
            json!({"audience": null, "zone_id": null, "zones": {"zone-1": {}, "zone-2": {}},
                "resources": {
                    "resource://billing-api": {"zones": ["zone-1"], "exclude": ["/h"]},
                    "resource://other": {"zones": ["zone-2"], "exclude": ["/h"]}}}),
            json!({"audience": null, "zone_id": null, "zones": {"zone-1": {}, "zone-2": {}},
                "resources": {
                    "resource://billing-api": {"exclude": ["/h"]},
                    "resource://other": {"zones": ["zone-2"], "exclude": ["/h"]}}}),
            &["also mandates of zone \"zone-2\""],
        ),
        pair(
            "nested",
            json!({"exclude": ["/e"], "routes": {"/e/p": {"required_scopes": ["b"]}, "/p/a": {"required_scopes": ["c"]}, "/p": {"require_session": true}}}),
            json!({"exclude": ["/p/a/b"], "routes": {"/p/a/b/c": {}, "/p": {"require_session": true}}}),
            &["/p/a/b/*: also requests without a mandate"],
        ),
        pair(
            "a route under an excluded prefix",
            json!({"exclude": ["/e"], "routes": {"/e/p": {"required_scopes": ["b"]}}}),
            json!({"required_scopes": []}),
            &["can be read under more than one of"],
        ),
    ]
}
