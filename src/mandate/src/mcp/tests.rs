use super::headers::McpHeaders;
use super::rule::{Head, McpRule, Operation};
use crate::reply::{ErrorCode, Refusal};

mod body;

const V: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const CALL: (&str, &str) = ("mcp-method", "tools/call");
const JSON: (&str, &str) = ("content-type", "application/json");

fn rule(body: bool) -> McpRule {
    let owned = |names: &[&str]| names.iter().map(|one| (*one).to_owned()).collect();
    McpRule::new(
        Some(owned(&["search", "delete_all", "na\u{ef}ve", "a,b"])),
        owned(&["resources/read", "tools/call"]),
        None,
        body.then_some(200),
    )
}

fn head_of(rule: &McpRule, method: &str, headers: &[(&str, &str)]) -> Result<Head, Refusal> {
    let pairs = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let headers = McpHeaders::of(pairs, Some(method != "POST"));
    rule.read(Some(method.as_bytes()), &headers)
}

/// What a POST with these headers is, where the headers decide.
fn post(headers: &[(&str, &str)]) -> Result<Option<Operation>, String> {
    match head_of(&rule(false), "POST", headers) {
        Ok(Head::Known(operation)) => Ok(operation),
        Ok(Head::Unread(_)) => panic!("no body is read"),
        Err(refusal) => {
            assert_eq!(refusal.code(), ErrorCode::InvalidRequest);
            Err(refusal.description().to_owned())
        }
    }
}

/// The tools are sorted by their names: a,b delete_all naïve search.
const SEARCH: Operation = Operation::Tool(3);

#[test]
fn the_headers_say_which_tool_is_called() {
    let name = |name| post(&[V, CALL, ("mcp-name", name)]);
    assert_eq!(name("search"), Ok(Some(SEARCH)));
    assert_eq!(name("=?base64?c2VhcmNo?="), Ok(Some(SEARCH)));
    assert_eq!(name("=?base64?bmHDr3Zl?="), Ok(Some(Operation::Tool(2))));
    assert_eq!(name("=?base64?YSxi?="), Ok(Some(Operation::Tool(0))));
    // Names are compared exactly, and what is not listed is not called.
    for other in [
        "Search",
        "SEARCH",
        "search2",
        "searc",
        "sear ch",
        "=?base64?U2VhcmNo?=",
    ] {
        assert_eq!(name(other), Ok(Some(Operation::UnlistedTool)), "{other}");
    }
    for bad in [
        "",
        " ",
        " search",
        "a,b",
        "search,search",
        "search, delete_all",
        "=?base64?c2VhcmNo",
        "=?base64?c2VhcmNo?",
        "=?base64??=",
        "=?base64?c2VhcmN?=",
        "=?base64?c2VhcmNo=?=",
        "=?base64?c2VhcmN=?=",
        "=?base64?YS==?=",
        "=?base64?_-__?=",
        "=?base64?c2Vh cmNo?=",
        "=?BASE64?c2VhcmNo?=",
        "=?Base64?c2VhcmNo?=",
        "=?base64?/w==?=",
        "=?utf-8?B?c2VhcmNo?=",
        "=?",
        "na\u{ef}ve",
        "search\t",
    ] {
        assert!(name(bad).is_err(), "{bad}");
    }
}

#[test]
fn only_a_version_that_demands_agreement_counts() {
    let called =
        |version: &[(&str, &str)]| post(&[version, &[CALL, ("mcp-name", "search")]].concat());
    assert_eq!(called(&[V]), Ok(Some(SEARCH)));
    assert!(called(&[]).is_err());
    for version in [
        "2025-11-25",
        "2025-06-18",
        "2025-03-26",
        "2024-11-05",
        "2026-07-29",
        "2027-01-01",
        "",
        "2026-07-28, 2026-07-28",
        "2026-07-28,2025-06-18",
        " 2026-07-28",
        "2026-07-28;a",
        "DRAFT-2026-v1",
        "=?base64?MjAyNi0wNy0yOA==?=",
    ] {
        assert!(
            called(&[("mcp-protocol-version", version)]).is_err(),
            "{version}"
        );
    }
    assert!(called(&[V, V]).is_err());
    assert!(called(&[V, ("MCP-Protocol-Version", "2025-06-18")]).is_err());
}

#[test]
fn methods_are_those_of_the_message() {
    let method = |method| post(&[V, ("mcp-method", method)]);
    assert_eq!(method("tools/list"), Ok(None));
    assert_eq!(method("initialize"), Ok(None));
    let read = post(&[
        V,
        ("mcp-method", "resources/read"),
        ("mcp-name", "file:///a,b"),
    ]);
    assert_eq!(read, Ok(Some(Operation::Method(0))));
    // A call without a tool is no call of a tool that is allowed.
    assert!(method("tools/call").is_err());
    for bad in [
        "",
        "Tools/Call",
        "TOOLS/CALL",
        "tools/Call",
        "Resources/read",
        "tools/call,tools/list",
        "tools/list, tools/call",
        "tools/call ",
        "tools /call",
        "tools\u{2044}call",
        "=?base64?dG9vbHMvY2FsbA==?=",
        "tools/call\u{200b}",
    ] {
        let name = ("mcp-name", "search");
        assert!(post(&[V, ("mcp-method", bad), name]).is_err(), "{bad}");
    }
    assert!(post(&[V, ("mcp-name", "search")]).is_err());
    assert!(post(&[V, CALL, CALL, ("mcp-name", "search")]).is_err());
    let twice = [("mcp-name", "search"), ("mcp-name", "search")];
    assert!(post(&[&[V, CALL][..], &twice].concat()).is_err());
    // Nor where it decides nothing.
    assert!(post(&[&[V, ("mcp-method", "tools/list")][..], &twice].concat()).is_err());
}

#[test]
fn a_header_that_some_servers_read_as_another_is_refused() {
    for odd in [
        "mcp_name",
        "Mcp_Method",
        "mcp.name",
        "mcp~name",
        "mcp+name",
        "Mcp!Method",
        "mcp'protocol|version",
        "mcp-protocol_version",
        "content_type",
        "Content.Encoding",
        "X-HTTP-Method-Override",
        "x_http_method_override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let all = [V, ("mcp-method", "tools/list"), (odd, "tools/call")];
        assert!(post(&all).is_err(), "{odd}");
        let get = head_of(&rule(false), "GET", &[(odd, "POST")]);
        assert!(get.is_err(), "{odd}");
    }
    // These are others' headers.
    let all = [
        V,
        ("mcp-method", "tools/list"),
        ("mcp-param-a", "b"),
        ("mcp-names", "c"),
    ];
    assert_eq!(post(&all), Ok(None));
}

/// The next hop removes what `Connection` lists, and an older server believes the message.
#[test]
fn a_connection_must_not_list_what_decides() {
    let no_tools = McpRule::new(None, Vec::new(), Some(Vec::new()), None);
    for listed in [
        "mcp-method",
        "Mcp-Name",
        "close, MCP-Protocol-Version",
        "keep-alive ,\tmcp-session-id",
        "mcp_method",
        "mcp-param-a",
        "Origin",
        "content-type",
        "Content-Encoding",
        "content-length",
        "transfer-encoding",
        "host",
        ",,mcp-name",
    ] {
        let headers = [V, ("mcp-method", "tools/list"), ("Connection", listed)];
        assert!(post(&headers).is_err(), "{listed}");
        // In a second line of it too, and whatever the rule looks at besides.
        let headers = [JSON, ("connection", "close"), ("connection", listed)];
        assert!(head_of(&rule(true), "POST", &headers).is_err(), "{listed}");
        assert!(head_of(&no_tools, "GET", &headers).is_err(), "{listed}");
    }
    for listed in ["close", "keep-alive", "te, close", "mcp", "", "x-origin"] {
        let headers = [V, ("mcp-method", "tools/list"), ("connection", listed)];
        assert_eq!(post(&headers), Ok(None), "{listed}");
    }
}

/// What follows an upgrade is no message of a request.
#[test]
fn an_upgrade_is_refused() {
    for kind in ["websocket", "h2c", "TLS/1.3, websocket", ""] {
        for name in ["upgrade", "Upgrade"] {
            let headers = [V, ("mcp-method", "tools/list"), (name, kind)];
            assert!(post(&headers).is_err(), "{kind}");
            for body in [false, true] {
                let got = head_of(&rule(body), "GET", &[(name, kind)]);
                assert!(got.is_err(), "{kind}");
            }
        }
    }
    // Where nothing is judged, the route's own requirements are all.
    let open = McpRule::new(None, Vec::new(), None, None);
    let got = head_of(&open, "GET", &[("upgrade", "websocket")]);
    assert_eq!(got, Ok(Head::Known(None)));
}

#[test]
fn what_is_no_post_has_no_message() {
    for body in [false, true] {
        let of = |method: &str, headers: &[(&str, &str)]| head_of(&rule(body), method, headers);
        for method in ["GET", "DELETE", "HEAD", "OPTIONS", "PUT"] {
            // Older sessions, and a call that is said and cannot be made.
            for headers in [
                &[][..],
                &[("mcp-session-id", "1")],
                &[CALL, ("content-length", "0")],
            ] {
                assert_eq!(of(method, headers), Ok(Head::Known(None)), "{method}");
            }
            for with in [
                ("content-length", "5"),
                ("content-length", "x"),
                ("transfer-encoding", "chunked"),
            ] {
                assert!(of(method, &[with]).is_err(), "{method} {with:?}");
            }
        }
        for method in ["post", "Post", "POSt", ""] {
            assert!(
                of(method, &[V, ("mcp-method", "tools/list"), JSON]).is_err(),
                "{method}"
            );
        }
        // The proxy says that a body follows, without a length (HTTP/2, an upgrade).
        let headers = McpHeaders::of(std::iter::empty(), Some(false));
        assert!(rule(body).read(Some(b"GET"), &headers).is_err());
        let headers = McpHeaders::of(std::iter::empty(), None);
        assert_eq!(
            rule(body).read(Some(b"GET"), &headers),
            Ok(Head::Known(None))
        );
    }
}

#[test]
fn origins() {
    let known = vec![
        "https://app.example.com".to_owned(),
        "http://localhost:6274".to_owned(),
    ];
    let rule = |origins| McpRule::new(None, Vec::new(), origins, None);
    let from = |rule: &McpRule, origins: &[&str]| {
        let pairs = origins.iter().map(|one| (&b"Origin"[..], one.as_bytes()));
        rule.check_origin(&McpHeaders::of(pairs, None))
            .map_err(|one| one.code())
    };
    let listed = rule(Some(known));
    for good in [
        &[][..],
        &["https://app.example.com"],
        &["http://localhost:6274"],
    ] {
        assert_eq!(from(&listed, good), Ok(()));
    }
    for bad in [
        &["null"][..],
        &[""],
        &["https://app.example.com/"],
        &["https://App.example.com"],
        &["https://app.example.com:443"],
        &["http://app.example.com"],
        &["https://evil.example"],
        &["https://app.example.com.evil.example"],
        &["https://app.example.com, https://x"],
        &["https://app.example.com https://evil.example"],
        &["*"],
        &["https://app.example.com", "https://app.example.com"],
        &["https://app.example.com", "null"],
    ] {
        assert_eq!(from(&listed, bad), Err(ErrorCode::OriginDenied), "{bad:?}");
    }
    assert_eq!(from(&rule(Some(Vec::new())), &[]), Ok(()));
    assert!(from(&rule(Some(Vec::new())), &["https://a"]).is_err());
    assert_eq!(from(&rule(None), &["null", "null"]), Ok(()));
    // Without tools and methods there is nothing to read.
    let older = McpHeaders::of(std::iter::empty(), None);
    assert_eq!(listed.read(Some(b"POST"), &older), Ok(Head::Known(None)));
}

#[test]
fn a_rule_without_tools_lets_every_tool_be_called() {
    let rule = McpRule::new(None, vec!["tools/call".to_owned()], None, None);
    let of = |headers: &[(&str, &str)]| head_of(&rule, "POST", headers).ok();
    let called = Some(Head::Known(Some(Operation::Method(0))));
    assert_eq!(of(&[V, CALL, ("mcp-name", "anything")]), called);
    assert_eq!(of(&[V, CALL]), None);
    let none = McpRule::new(Some(Vec::new()), Vec::new(), None, None);
    let unlisted = Head::Known(Some(Operation::UnlistedTool));
    assert_eq!(
        head_of(&none, "POST", &[V, CALL, ("mcp-name", "a")]),
        Ok(unlisted)
    );
}
