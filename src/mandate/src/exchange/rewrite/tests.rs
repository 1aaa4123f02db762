use super::*;

fn granted(url: &str, attachment: Attachment) -> Granted {
    Granted {
        url: url.to_owned(),
        allowed_hosts: Vec::new(),
        attachment,
        identity: None,
        epoch: 0,
    }
}

fn rewritten(
    upstream: &str,
    directive: &str,
    target: &str,
    attachment: Attachment,
) -> Result<String, ErrorCode> {
    let configured = UpstreamUrl::parse(upstream).unwrap();
    Rewrite::new(
        granted(directive, attachment),
        &configured,
        target.as_bytes(),
        0,
    )
    .map(|rewrite| String::from_utf8(rewrite.target).unwrap())
    .map_err(|refusal| refusal.code())
}

#[test]
fn a_hop_may_not_take_for_its_own_what_frames_routes_or_authorises() {
    for bad in [
        "Content-Length",
        "close, content-length",
        "keep-alive,\tTransfer-Encoding",
        "content_length",
        "Content-Type",
        "content-encoding",
        "HOST",
        "authorization",
        "X-Caracal-Resource",
        "close, Mcp-Method",
        "mcp_name",
        "Origin",
        ":path",
        ":authority",
        ",,host",
    ] {
        assert!(lists_end_to_end(bad.as_bytes()), "{bad}");
    }
    for good in [
        "",
        ",",
        "close",
        "Keep-Alive, Upgrade",
        "TE, HTTP2-Settings",
        "x-own, content",
        "hosts",
        "x-host",
        "x-caracal",
        "mcp",
    ] {
        assert!(!lists_end_to_end(good.as_bytes()), "{good}");
    }
}

#[test]
fn paths_are_joined_and_queries_merged() {
    let none = || Attachment::None;
    for (url, target, expected) in [
        ("https://a.example", "/", "/"),
        ("https://a.example/", "/x/1", "/x/1"),
        ("https://a.example/v1/", "/", "/v1"),
        (
            "https://a.example/v1",
            "/x/%C3%A9?b=2&a=1",
            "/v1/x/%C3%A9?a=1&b=2",
        ),
        (
            "https://a.example?key=own",
            "/x?key=mine&z=1",
            "/x?key=own&z=1",
        ),
        ("https://a.example", "/x?a=1&a=0&a", "/x?a=1&a=0&a="),
        ("https://a.example", "/x?", "/x"),
        ("https://a.example", "/x?a+b=%20%2B", "/x?a+b=+%2B"),
        ("https://a.example", "/x?a=%ff", "/x?a=%FF"),
    ] {
        let result = rewritten(url, url, target, none());
        assert_eq!(result.as_deref(), Ok(expected), "{url} {target}");
    }
    for bad in ["/x?a=1;b=2", "/x?a=%", "/x?a=%zz", "/x?%4=1"] {
        let result = rewritten("https://a.example", "https://a.example", bad, none());
        assert_eq!(result, Err(ErrorCode::UpstreamRequest), "{bad}");
    }
}

#[test]
fn a_key_in_the_query_replaces_the_client_s_however_it_is_written() {
    let key = || Attachment::Query("api_key".to_owned(), "s&cret".to_owned());
    for target in ["/x", "/x?api_key=mine", "/x?api%5Fkey=mine&%61pi_key=again"] {
        let result = rewritten("https://a.example", "https://a.example", target, key());
        assert_eq!(result.as_deref(), Ok("/x?api_key=s%26cret"), "{target}");
    }
}

#[test]
fn another_upstream_is_refused() {
    let upstream = "https://a.example/v1";
    for other in [
        "https://b.example/v1",
        "http://a.example/v1",
        "https://a.example:444/v1",
        "https://a.example/v2",
        "https://user@a.example/v1",
        "file:///v1",
        "",
    ] {
        let result = rewritten(upstream, other, "/", Attachment::None);
        assert_eq!(result, Err(ErrorCode::UpstreamMismatch), "{other}");
    }
    let configured = UpstreamUrl::parse(upstream).unwrap();
    let mut one = granted(upstream, Attachment::None);
    one.allowed_hosts = vec!["b.example".to_owned()];
    assert!(Rewrite::new(one.clone(), &configured, b"/", 0).is_err());
    one.allowed_hosts.push("a.example".to_owned());
    assert!(Rewrite::new(one, &configured, b"/", 0).is_ok());
}

#[test]
fn headers_are_the_credential_and_the_identity() {
    let header = Attachment::Header("x-api-key".to_owned(), "Key abc".to_owned());
    let mut one = granted("https://A.example:443/", header);
    one.identity = Some("a.b.c".to_owned());
    let configured = UpstreamUrl::parse("https://a.example").unwrap();
    let rewrite = Rewrite::new(one, &configured, b"/", 0).unwrap();
    assert_eq!(rewrite.authority, "a.example");
    let headers: Vec<_> = rewrite
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        headers,
        [("x-api-key", "Key abc"), ("x-caracal-identity", "a.b.c")]
    );
    assert!(!format!("{rewrite:?}").contains("abc"));
}

#[test]
fn who_called_is_not_the_client_s_to_say() {
    for name in [
        "X-Forwarded-For",
        "x_forwarded_proto",
        "Forwarded",
        "x.real.ip",
        "Proxy-Authorization",
        "X-Caracal-Sub",
    ] {
        assert!(is_dropped(name.as_bytes()), "{name}");
    }
    for name in ["cookie", "via", "x-forwarded", "te", "proxy", ":authority"] {
        assert!(!is_dropped(name.as_bytes()), "{name}");
    }
}

#[test]
fn a_location_on_another_host_is_found() {
    for absolute in [
        "https://a.example/",
        "//a.example",
        " HTTP://a",
        "/\\a.example",
        "\\\\a.example",
        "javascript:x",
        "mailto:a@b",
    ] {
        assert!(is_absolute(absolute.as_bytes()), "{absolute}");
    }
    for relative in ["/x", "x/y", "", "?a=b:c", "#a:b", "/x:y"] {
        assert!(!is_absolute(relative.as_bytes()), "{relative}");
    }
}
