//! Good and bad configurations. Each bad one has the path that the error must name. The
//! schema is tested with the same table.

use super::*;

/// Additions to the smallest configuration that are accepted.
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
    r#""forward":{"baggage":"keep","claims":"x-caracal-claims","unsendable":"omit"}"#,
    r#""forward":{"baggage":"verified","unsendable":"refuse"}"#,
    r#""forward":{"baggage":"remove"}"#,
    r#""audit":{"upstream":"x"}"#,
    r#""audit":{"upstream":"x","token":"t","decisions":"denied"}"#,
    r#""streams":{"end_when_revoked":false}"#,
    r#""shared_data":{}"#,
    r#""shared_data":{"secret":"0123456789abcdef"}"#,
    r#""metrics":{}"#,
    r#""metrics":{"timings":true}"#,
];

/// Additions that are refused, the path of the error, and whether the schema refuses them
/// too.
const BAD: &[(&str, &str, bool)] = &[
    (r#""forward":{"baggage":"drop"}"#, "forward.baggage", true),
    (r#""forward":{"baggage":true}"#, "forward.baggage", true),
    (
        r#""forward":{"unsendable":"keep"}"#,
        "forward.unsendable",
        true,
    ),
    (r#""forward":{"claims":""}"#, "forward.claims", true),
    (r#""forward":{"claims":"baggage"}"#, "forward.claims", false),
    (
        r#""forward":{"claims":"authorization"}"#,
        "forward.claims",
        false,
    ),
    (
        r#""forward":{"claims":"x-caracal-sub"}"#,
        "forward.claims",
        false,
    ),
    (
        r#""forward":{"headers":{"x-a":"sub"},"claims":"x.a"}"#,
        "forward.claims",
        false,
    ),
    (
        r#""forward":{"headers":{"baggage":"sub"}}"#,
        "forward.headers[\"baggage\"]",
        false,
    ),
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
        r#""forward":{"claims":"mcp-claims"}"#,
        "forward.claims",
        false,
    ),
    (
        r#""forward":{"headers":{"mcp-name":"sub"}}"#,
        "forward.headers[\"mcp-name\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"mcp.method":"sub"}}"#,
        "forward.headers[\"mcp.method\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"mcp-param-a":"sub"}}"#,
        "forward.headers[\"mcp-param-a\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"origin":"sub"}}"#,
        "forward.headers[\"origin\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"content-encoding":"sub"}}"#,
        "forward.headers[\"content-encoding\"]",
        false,
    ),
    (
        r#""forward":{"headers":{"content.type":"sub"}}"#,
        "forward.headers[\"content.type\"]",
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
    (r#""audit":"all""#, "audit", true),
    (r#""streams":"all""#, "streams", true),
    (r#""metrics":true"#, "metrics", true),
    (r#""metrics":{"timings":1}"#, "metrics.timings", true),
    (r#""metrics":{"all":true}"#, "metrics.all", true),
    (
        r#""streams":{"end_when_idle":true}"#,
        "streams.end_when_idle",
        true,
    ),
    (
        r#""streams":{"end_when_revoked":1}"#,
        "streams.end_when_revoked",
        true,
    ),
    (r#""limits":{"max_streams":0}"#, "limits.max_streams", true),
    (r#""audit":{}"#, "audit.upstream", true),
    (r#""audit":{"upstream":"x","tls":true}"#, "audit.tls", false),
    (
        r#""audit":{"upstream":"x","decisions":"some"}"#,
        "audit.decisions",
        true,
    ),
    (
        r#""audit":{"upstream":"x","token":"a b"}"#,
        "audit.token",
        false,
    ),
    (r#""audit":{"upstream":"x","all":true}"#, "audit.all", true),
    (
        r#""shared_data":{"secret":"0123456789abcde"}"#,
        "shared_data.secret",
        false,
    ),
    (r#""shared_data":"secret""#, "shared_data", true),
    (r#""shared_data":{"key":"k"}"#, "shared_data.key", true),
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
