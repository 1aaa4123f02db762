use reqwest::header::HeaderValue;
use serde_json::json;

use super::*;

const MANDATE: &str = "head.payload.signature";

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status,
        headers: HeaderMap::new(),
        body: Some(body.into()),
    }
}

fn of(upstream: Value) -> Result<Granted, Box<Refused>> {
    let body = json!({
        "access_token": "minted", "token_type": "Bearer", "expires_in": 900,
        "upstreams": {"resource://x": upstream, "resource://y": {"url": "http://y", "auth_mode": "none"}},
    });
    read(reply(200, body.to_string()), "resource://x", MANDATE)
}

fn refused(reply: Reply) -> Refused {
    *read(reply, "resource://x", MANDATE).unwrap_err()
}

#[test]
fn each_mode_has_its_credential() {
    let credential = |upstream| {
        let granted = of(upstream).unwrap();
        (granted.credential, granted.identity)
    };
    let url = "http://upstream";
    assert_eq!(
        credential(json!({"url": url, "auth_mode": "none", "provider_token": "t"})),
        (None, None)
    );
    let minted = Some("minted".to_owned());
    let own = json!({"url": url, "auth_mode": "caracal_jwt", "forward_caracal_identity": true});
    assert_eq!(credential(own), (minted.clone(), None));
    for mode in ["provider_oauth", "provider_apikey"] {
        let mut upstream = json!({"url": url, "auth_mode": mode, "provider_token": "t"});
        assert_eq!(credential(upstream.clone()), (Some("t".to_owned()), None));
        upstream["forward_caracal_identity"] = json!(true);
        assert_eq!(credential(upstream), (Some("t".to_owned()), minted.clone()));
    }
}

#[test]
fn the_directive_is_passed_on_whole() {
    let granted = of(json!({
        "url": "http://u/base", "auth_mode": "provider_apikey", "auth_location": "query",
        "query_param_name": "key", "auth_header": "", "auth_scheme": null,
        "allowed_token_hosts": ["u"], "provider_token": "t", "provider_id": "p", "expires_at": 7,
    }));
    assert_eq!(
        serde_json::to_value(granted.unwrap()).unwrap(),
        json!({
            "url": "http://u/base", "auth_mode": "provider_apikey", "auth_location": "query",
            "query_param_name": "key", "allowed_token_hosts": ["u"], "credential": "t",
            "provider_id": "p",
        })
    );
}

#[test]
fn an_answer_that_is_none_is_502() {
    let is_invalid = |refused: &Refused| *refused == *invalid() && is_failure(refused);
    for body in [
        "",
        "<html>",
        "[]",
        r#"{"access_token":1}"#,
        r#"{"access_token":""}"#,
    ] {
        assert!(is_invalid(&refused(reply(200, body))), "{body}");
    }
    let huge = Reply {
        status: 200,
        headers: HeaderMap::new(),
        body: None,
    };
    assert!(is_invalid(&refused(huge)));
    for upstream in [
        json!({"url": "http://u", "auth_mode": "magic"}),
        json!({"url": "http://u"}),
        json!({"url": "http://u", "auth_mode": "provider_oauth"}),
        json!({"url": "http://u", "auth_mode": "provider_oauth", "provider_token": ""}),
        json!({"url": "http://u", "auth_mode": "provider_oauth", "provider_token": "a\r\nb"}),
    ] {
        assert!(is_invalid(&of(upstream.clone()).unwrap_err()), "{upstream}");
    }
}

#[test]
fn another_resource_is_no_upstream() {
    for body in [
        json!({"access_token": "a"}),
        json!({"access_token": "a", "upstreams": {"resource://y": {"url": "u", "auth_mode": "none"}}}),
        json!({"access_token": "a", "upstreams": {"resource://x": {"url": "", "auth_mode": "none"}}}),
    ] {
        let refused = refused(reply(200, body.to_string()));
        assert_eq!((refused.status, refused.cause), (403, Cause::NoUpstream));
        assert_eq!(refused.error, "access_denied");
        assert!(!is_failure(&refused));
    }
}

#[test]
fn a_refusal_is_passed_on_with_its_approval() {
    let body = json!({
        "error": "interaction_required", "error_description": "wait", "approval_id": "ap-1",
        "approval_type": "human", "state": "pending", "tier": 2, "binding": {"x": 1},
        "approval_expires_at": "2026-01-01T00:00:00Z", "secret": "no",
    });
    let mut reply = reply(401, body.to_string());
    let challenge = HeaderValue::from_static(r#"Bearer error="interaction_required""#);
    reply.headers.insert(WWW_AUTHENTICATE, challenge);
    reply
        .headers
        .insert(RETRY_AFTER, HeaderValue::from_static("7"));
    let refused = refused(reply);
    assert_eq!(
        refused.www_authenticate.unwrap(),
        r#"Bearer error="interaction_required""#
    );
    assert_eq!(refused.retry_after_s, Some(7));
    assert_eq!(
        Value::Object(refused.approval.unwrap()),
        json!({
            "approval_id": "ap-1", "approval_type": "human", "state": "pending", "tier": 2,
            "approval_expires_at": "2026-01-01T00:00:00Z",
        })
    );
}

#[test]
fn only_refusals_are_passed_on_and_nothing_of_the_token() {
    for (status, given) in [(302, 502), (204, 502), (418, 418), (503, 503), (400, 400)] {
        let body = json!({"error": "x_y", "error_description": "a\nb"}).to_string();
        let refused = refused(reply(status, body));
        assert_eq!((refused.status, refused.error.as_str()), (given, "x_y"));
        assert_eq!(refused.error_description, "ab");
    }
    for body in [
        "",
        "<html>",
        r#"{"error":1}"#,
        r#"{"error":"a b"}"#,
        r#"{"error":""}"#,
    ] {
        let refused = refused(reply(503, body));
        assert_eq!(
            (refused.status, refused.error.as_str()),
            (503, "sts_unavailable")
        );
        assert_eq!(refused.error_description, "Service Unavailable");
        assert!(is_failure(&refused));
    }
    let echo = json!({"error": "x", "error_description": format!("bad {MANDATE}")});
    let mut reply = reply(401, echo.to_string());
    reply.headers.insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer head.payload.signature"),
    );
    let refused = refused(reply);
    assert_eq!(refused.error_description, "the sts refused it");
    assert_eq!(refused.www_authenticate, None);
    let long = json!({"error": "x", "error_description": "é".repeat(10_000)}).to_string();
    let long = *read(super::tests::reply(400, long), "r", MANDATE).unwrap_err();
    assert_eq!(long.error_description.chars().count(), MAX_DESCRIPTION);
}
