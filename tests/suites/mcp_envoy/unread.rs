//! Where no message is read.

use super::*;

#[test]
fn an_envoy_that_shows_no_message_lets_none_through() {
    let scene = Scene::new(true, false);
    for scope in ["mcp:use", "mcp:use mcp:delete"] {
        is(
            scene.post(scope, &[], &call("search")),
            (408, "body_timeout"),
        );
    }
    scene.settle();
    assert_eq!(scene.reached().0, 0);
    assert!(
        scene
            .envoy
            .log()
            .contains("allow_on_headers_stop_iteration")
    );
}

#[test]
fn headers_decide_where_no_message_is_read() {
    // Whether Envoy could show it makes no difference.
    for shows_body in [false, true] {
        let scene = Scene::new(false, shows_body);
        let said = |name: &'static str| {
            [
                ("MCP-Protocol-Version", VERSION),
                ("Mcp-Method", "tools/call"),
                ("Mcp-Name", name),
            ]
        };
        let body = call("search");
        is(scene.post("mcp:use", &said("search"), &body), REACHED);
        is(
            scene.post("mcp:use", &said("=?base64?c2VhcmNo?="), &body),
            REACHED,
        );
        let (_, seen) = scene.reached();
        assert!(
            seen[1].head.contains("mcp-name: =?base64?c2vhcmno?="),
            "{}",
            seen[1].head
        );
        is(
            scene.post("mcp:use", &said("delete_all"), &body),
            (403, "insufficient_scope"),
        );
        is(
            scene.post("mcp:use mcp:delete", &said("delete_all"), &body),
            REACHED,
        );
        is(
            scene.post("mcp:use mcp:delete", &said("SEARCH"), &body),
            (403, "tool_denied"),
        );
        scene.reached();
        let [version, method, name] = said("search");
        for headers in [
            &[][..],
            &[method, name],
            &[("mcp-protocol-version", "2025-11-25"), method, name],
            &[version, version, method, name],
            &[version, method],
            &[version, name],
            &[version, method, name, ("mcp-name", "delete_all")],
            &[
                version,
                ("mcp-method", "tools/list"),
                ("mcp_method", "tools/call"),
            ],
            &[version, ("mcp-method", "tools/list, tools/call"), name],
            &[version, method, ("mcp-name", "=?BASE64?c2VhcmNo?=")],
        ] {
            is(
                scene.post("mcp:use mcp:delete", headers, &body),
                (400, "invalid_request"),
            );
        }
        // What was judged is not taken away by the next hop.
        let list = [version, ("Mcp-Method", "tools/list")];
        let lists = "mcp-protocol-version, mcp-method, mcp-name";
        let invalid = (400, "invalid_request");
        for (more, expected) in [
            (vec![("connection", lists)], invalid),
            (
                vec![("connection", "upgrade"), ("upgrade", "websocket")],
                invalid,
            ),
            (vec![("connection", "close")], REACHED),
        ] {
            let headers = [&list[..], &more].concat();
            is(scene.post("mcp:use", &headers, &body), expected);
            let reached = usize::from(expected == REACHED);
            assert_eq!(scene.reached().0, reached, "{more:?}");
        }
        // A server that ignores case would serve it.
        let head = scene.head("POST", "/MCP", "mcp:use", &list);
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let response = scene.client().exchange(whole.as_bytes()).unwrap();
        is(super::said(&response), invalid);
        assert_eq!(scene.reached().0, 0);
        let get = scene.send("GET", "mcp:use", &said("search"), b"");
        assert_eq!(get.status, 200);
        assert_eq!(scene.reached().0, 1);
    }
}
