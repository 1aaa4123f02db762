//! What a message says.

use super::*;
use crate::json::InvalidJson;
use crate::mcp::message::{InvalidMessage, Message};

fn body_of(body: &str, headers: &[(&str, &str)]) -> Result<Option<Operation>, ErrorCode> {
    let all = [&[JSON][..], headers].concat();
    let pairs = all.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let headers = McpHeaders::of(pairs, Some(false)).with_body(body.as_bytes());
    match rule(true).read(Some(b"POST"), &headers) {
        Ok(Head::Known(operation)) => Ok(operation),
        Ok(Head::Unread(_)) => panic!("the body is known"),
        Err(refusal) => Err(refusal.code()),
    }
}

const BAD: Result<Option<Operation>, ErrorCode> = Err(ErrorCode::InvalidRequest);

fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

#[test]
fn the_body_says_which_tool_is_called() {
    let of = |params: &str| body_of(&call(params), &[]);
    assert_eq!(
        of(r#"{"name":"search","arguments":{"name":"delete_all"}}"#),
        Ok(Some(SEARCH))
    );
    assert_eq!(of(r#"{"\u006eame":"sear\u0063h"}"#), Ok(Some(SEARCH)));
    assert_eq!(of(r#"{"name":"na\u00efve"}"#), Ok(Some(Operation::Tool(2))));
    for unlisted in ["Search", "search ", "search\\u0000", "", "nai\\u0308ve"] {
        let said = of(&format!(r#"{{"name":"{unlisted}"}}"#));
        assert_eq!(said, Ok(Some(Operation::UnlistedTool)), "{unlisted}");
    }
    for bad in [
        "{}",
        "[]",
        r#"["search"]"#,
        "null",
        r#""search""#,
        r#"{"name":null}"#,
        r#"{"name":1}"#,
        r#"{"name":["search"]}"#,
        r#"{"name":"search","name":"search"}"#,
        r#"{"name":"search","n\u0061me":"delete_all"}"#,
        r#"{"name":"search","Name":"delete_all"}"#,
        r#"{"Name":"search"}"#,
        r#"{"name":"search","arguments":{"a":1,"a":2}}"#,
        r#"{"name":"\ud800"}"#,
        r#"{"name":"search","_META":{}}"#,
        r#"{"name":"search","_meta":1}"#,
        r#"{"name":"search","_meta":{"io.modelcontextprotocol/protocolVersion":1}}"#,
    ] {
        assert_eq!(of(bad), BAD, "{bad}");
    }
    let plain = |text: &str| body_of(text, &[]);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(plain(list), Ok(None));
    assert_eq!(plain(&format!(" \r\n{list}\n ")), Ok(None));
    assert_eq!(
        plain(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        Ok(None)
    );
    assert_eq!(
        plain(r#"{"jsonrpc":"2.0","id":"a","result":{"method":"tools/call"}}"#),
        Ok(None)
    );
    assert_eq!(plain(r#"{"jsonrpc":"2.0","id":1.5,"error":{}}"#), Ok(None));
    let escaped =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools\u002fcal\u006c","params":{"name":"search"}}"#;
    assert_eq!(plain(escaped), Ok(Some(SEARCH)));
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        format!("[{list}]"),
        format!("[{list},{list}]"),
        format!("{list}{list}"),
        format!("{list}\n{list}"),
        format!("{list}x"),
        format!("{list}\0"),
        format!("\u{feff}{list}"),
        format!("\"{list}\""),
        list.replace("2.0", "1.0"),
        list.replace(r#""2.0""#, "2.0"),
        list.replace(r#""jsonrpc":"2.0","#, ""),
        list.replace(r#""id":1"#, r#""id":null"#),
        list.replace(r#""id":1"#, r#""id":{}"#),
        list.replace("tools/list", "Tools/Call"),
        list.replace("tools/list", "tools/call"),
        list.replace("tools/list", "tools/call\\u0000"),
        list.replace("tools/list", ""),
        list.replace("tools/list", " tools/call"),
        list.replace(r#""tools/list""#, "1"),
        list.replace(r#""tools/list""#, "null"),
        list.replace(r#""method""#, r#""Method""#),
        list.replace(r#""id":1"#, r#""id":1,"METHOD":"tools/call""#),
        list.replace(r#""id":1"#, r#""id":1,"method":"tools/list""#),
        list.replace(r#""id":1"#, r#""id":1,"m\u0065thod":"tools/call""#),
        list.replace(r#""id":1"#, r#""id":1,"param\u017f":{}"#),
        list.replace(r#""id":1"#, r#""id":1,"result":{}"#),
        list.replace(r#""id":1"#, r#""id":1,"extra":{}"#),
        r#"{"jsonrpc":"2.0","id":1}"#.to_owned(),
        r#"{"jsonrpc":"2.0","result":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{"name":"search"}}"#.to_owned(),
        list.replace("/list", "/list\u{80}"),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{}}}"#,
            "[".repeat(40)
        ),
        call(&format!(
            r#"{{"name":"search","arguments":{}1{}}}"#,
            "[".repeat(31),
            "]".repeat(31)
        )),
    ] {
        assert_eq!(plain(&bad), BAD, "{bad}");
    }
    assert_eq!(
        Message::parse(b"\xff"),
        Err(InvalidMessage::Json(InvalidJson::NotUtf8))
    );
}

#[test]
fn headers_that_are_there_agree_with_the_body() {
    let body = call(r#"{"name":"search"}"#);
    for good in [
        &[][..],
        &[V],
        &[CALL],
        &[V, CALL, ("mcp-name", "search")],
        &[("mcp-name", "=?base64?c2VhcmNo?=")],
        &[("mcp-protocol-version", "2025-06-18")],
    ] {
        assert_eq!(body_of(&body, good), Ok(Some(SEARCH)), "{good:?}");
    }
    for bad in [
        &[("mcp-method", "tools/list")][..],
        &[("mcp-name", "delete_all")],
        &[("mcp-name", "Search")],
        &[CALL, CALL],
        &[("mcp-name", "search"), ("mcp-name", "search")],
        &[V, V],
        &[("mcp-name", "=?base64?c2VhcmNo")],
        &[("mcp_name", "search")],
        &[("mcp-method", "Tools/Call")],
    ] {
        assert_eq!(body_of(&body, bad), BAD, "{bad:?}");
    }
    let versioned = call(
        r#"{"name":"search","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
    );
    assert_eq!(body_of(&versioned, &[V]), Ok(Some(SEARCH)));
    assert_eq!(
        body_of(&versioned, &[("mcp-protocol-version", "2025-06-18")]),
        BAD
    );
    // A response has no method that a header could name.
    assert_eq!(
        body_of(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[CALL]),
        BAD
    );
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}"#;
    assert_eq!(
        body_of(read, &[("mcp-name", "a:b")]),
        Ok(Some(Operation::Method(0)))
    );
    assert_eq!(body_of(read, &[("mcp-name", "a:c")]), BAD);
}

#[test]
fn a_body_is_announced_as_it_is_read() {
    let announced = |headers: &[(&str, &str)], ends| {
        let pairs = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        let read = rule(true).read(Some(b"POST"), &McpHeaders::of(pairs, Some(ends)));
        read.map(|head| matches!(head, Head::Unread(_)))
            .map_err(|why| why.code())
    };
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        assert_eq!(
            announced(&[("content-type", kind)], false),
            Ok(true),
            "{kind}"
        );
    }
    assert_eq!(
        announced(&[JSON, ("content-length", "200")], false),
        Ok(true)
    );
    let bad = Err(ErrorCode::InvalidRequest);
    for kind in [
        "",
        "text/plain",
        "application/json-rpc",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json, text/plain",
        "application/json; boundary=x",
        "multipart/form-data; application/json",
    ] {
        assert_eq!(announced(&[("content-type", kind)], false), bad, "{kind}");
    }
    assert_eq!(announced(&[], false), bad);
    assert_eq!(announced(&[JSON, JSON], false), bad);
    assert_eq!(announced(&[JSON, ("content-encoding", "gzip")], false), bad);
    assert_eq!(
        announced(&[JSON, ("content-encoding", "identity")], false),
        bad
    );
    assert_eq!(announced(&[JSON], true), bad);
    let long = Err(ErrorCode::BodyTooLarge);
    assert_eq!(announced(&[JSON, ("content-length", "201")], false), long);
    assert_eq!(
        announced(&[JSON, ("content-length", "99999999999999999999")], false),
        long
    );
}
