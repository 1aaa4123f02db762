use serde_json::json;

use super::*;
use crate::reply::{Reply, ReplyFormat};

fn read(answer: &serde_json::Value) -> Result<Granted, Refusal> {
    parse(answer.to_string().as_bytes(), 30_000)
}

fn granted(directive: serde_json::Value) -> Result<Attachment, ErrorCode> {
    let mut directive = directive;
    directive["url"] = json!("https://a.example");
    let answer = json!({"revoked": [], "epoch": null, "confirmed_age_ms": 1, "granted": directive});
    read(&answer)
        .map(|granted| granted.attachment)
        .map_err(|refusal| refusal.code())
}

/// Not derived: no type that holds a credential is printed.
impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attachment::None => f.write_str("none"),
            Attachment::Header(name, _) => write!(f, "header {name}"),
            Attachment::Query(name, _) => write!(f, "query {name}"),
        }
    }
}

#[test]
fn each_kind_of_provider_is_attached_in_its_way() {
    let header =
        |name: &str, value: &str| Ok(Attachment::Header(name.to_owned(), value.to_owned()));
    for (directive, expected) in [
        (json!({"auth_mode": "none"}), Ok(Attachment::None)),
        (
            json!({"auth_mode": "caracal_jwt", "credential": "a.b.c"}),
            header("authorization", "Bearer a.b.c"),
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "t"}),
            header("authorization", "Bearer t"),
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "t", "auth_header": "X-Token", "auth_scheme": "Basic"}),
            header("x-token", "Basic t"),
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_location": "header", "auth_header": "X-Key", "credential": "k"}),
            header("x-key", "k"),
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_header": "X-Key", "auth_scheme": "Key", "credential": "k"}),
            header("x-key", "Key k"),
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_location": "query", "query_param_name": "key", "credential": "k"}),
            Ok(Attachment::Query("key".to_owned(), "k".to_owned())),
        ),
    ] {
        assert_eq!(granted(directive.clone()), expected, "{directive}");
    }
}

#[test]
fn what_cannot_be_attached_safely_is_refused() {
    for name in [
        "X-Caracal-Sub",
        "x_caracal_sub",
        "Host",
        "Proxy-Authorization",
        "x-forwarded-for",
        "X_Real_IP",
        "te",
        "a b",
        "a\r\nb",
        ":path",
    ] {
        let directive =
            json!({"auth_mode": "provider_oauth", "auth_header": name, "credential": "t"});
        assert_eq!(
            granted(directive),
            Err(ErrorCode::UpstreamRequest),
            "{name:?}"
        );
    }
    for (directive, code) in [
        (
            json!({"auth_mode": "mtls", "credential": "t"}),
            ErrorCode::UpstreamRequest,
        ),
        (
            json!({"auth_mode": "provider_apikey", "auth_location": "query", "credential": "t"}),
            ErrorCode::UpstreamRequest,
        ),
        (
            json!({"auth_mode": "provider_oauth", "auth_scheme": "a\r\nb", "credential": "t"}),
            ErrorCode::UpstreamRequest,
        ),
        (
            json!({"auth_mode": "provider_oauth"}),
            ErrorCode::ExchangeFailed,
        ),
        (
            json!({"auth_mode": "provider_oauth", "credential": "a\r\nx-caracal-sub: b"}),
            ErrorCode::ExchangeFailed,
        ),
        (
            json!({"auth_mode": "none", "identity": "a\nb"}),
            ErrorCode::ExchangeFailed,
        ),
        (
            json!({"auth_mode": "none", "allowed_token_hosts": "a.example"}),
            ErrorCode::ExchangeFailed,
        ),
        (json!({}), ErrorCode::ExchangeFailed),
    ] {
        assert_eq!(granted(directive.clone()), Err(code), "{directive}");
    }
}

#[test]
fn an_answer_that_is_neither_is_unreadable() {
    let ok = json!({"url": "https://a.example", "auth_mode": "none"});
    let no = json!({"status": 403, "error": "access_denied", "cause": "sts_refused"});
    for answer in [
        json!({}),
        json!({"revoked": []}),
        json!({"granted": ok}),
        json!({"revoked": [], "granted": ok, "refused": no}),
        json!({"revoked": [], "granted": [ok]}),
        json!({"revoked": "none", "granted": ok}),
        json!({"revoked": [], "refused": {"status": 403, "error": "a b", "cause": "sts_refused"}}),
        json!({"revoked": [], "refused": {"error": "access_denied"}}),
    ] {
        let refused = read(&answer).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ExchangeFailed, "{answer}");
    }
    assert!(parse(b"[]", 30_000).is_err());
    assert!(parse(&vec![b' '; MAX_ANSWER_BYTES + 1], 30_000).is_err());
    // Granted, and revoked all the same.
    let revoked = read(&json!({"revoked": ["sid-1"], "granted": ok})).unwrap_err();
    assert_eq!(revoked.code(), ErrorCode::SessionRevoked);
}

#[test]
fn a_grant_says_how_old_it_is_and_which_epoch_it_knows() {
    let answer = |epoch: serde_json::Value, age: serde_json::Value| {
        let ok = json!({"url": "https://a.example", "auth_mode": "none"});
        read(&json!({"revoked": [], "epoch": epoch, "confirmed_age_ms": age, "granted": ok}))
            .map(|granted| granted.delegation_epoch())
            .map_err(|refusal| refusal.code())
    };
    assert_eq!(answer(json!(null), json!(30_000)), Ok(0));
    assert_eq!(answer(json!(7), json!(0)), Ok(7));
    assert_eq!(
        answer(json!(7), json!(30_001)),
        Err(ErrorCode::StsUnavailable)
    );
    for (epoch, age) in [
        (json!("7"), json!(0)),
        (json!(-1), json!(0)),
        (json!(7), json!(null)),
        (json!(7), json!("0")),
    ] {
        let found = answer(epoch.clone(), age.clone());
        assert_eq!(found, Err(ErrorCode::ExchangeFailed), "{epoch} {age}");
    }
    let ok = json!({"url": "https://a.example", "auth_mode": "none"});
    for lacking in [
        json!({"revoked": [], "confirmed_age_ms": 1, "granted": ok}),
        json!({"revoked": [], "epoch": 1, "granted": ok}),
    ] {
        let refused = read(&lacking).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ExchangeFailed, "{lacking}");
    }
}

#[test]
fn a_step_up_reaches_the_client_whole() {
    let refused = read(&json!({"revoked": [], "epoch": 1, "confirmed_age_ms": 1, "refused": {
        "status": 401, "error": "interaction_required", "error_description": "approve \u{e9}",
        "cause": "sts_refused", "burnt": true, "www_authenticate": "Bearer error=\"interaction_required\"",
        "approval": {"approval_id": "ap-1", "state": "pending", "approval_expires_at": 5, "other": "x"},
    }}))
    .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ExchangeRefused);
    let reply = Reply::of_gateway(&refused, ReplyFormat::Http, "id-1");
    let header = |name| {
        reply
            .headers
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(reply.status, 401);
    assert_eq!(
        header("www-authenticate"),
        Some("Bearer error=\"interaction_required\"")
    );
    assert_eq!(header("x-request-id"), Some("id-1"));
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], "interaction_required");
    assert_eq!(body["error_description"], "approve ?");
    assert_eq!(body["approval_id"], "ap-1");
    assert_eq!(body["approval_expires_at"], 5);
    assert_eq!(body["requestId"], "id-1");
    assert_eq!(body.get("other"), None);
}

#[test]
fn refusals_have_the_gateway_s_names() {
    let cause = |cause: &str, status: u16, error: &str| {
        let refused = read(&json!({"revoked": [], "refused": {
            "status": status, "error": error, "error_description": "why", "cause": cause, "burnt": true, "retry_after_s": 7,
        }}))
        .unwrap_err();
        let reply = Reply::of_gateway(&refused, ReplyFormat::Http, "id-1");
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        (
            refused.code().as_str(),
            reply.status,
            body["error"].as_str().unwrap().to_owned(),
        )
    };
    for (name, status, error, code) in [
        ("replay", 401, "invalid_token", "token_replay"),
        ("revoked", 401, "invalid_token", "session_revoked"),
        ("redis", 503, "sts_unavailable", "sts_unavailable"),
        ("circuit_open", 503, "sts_unavailable", "sts_unavailable"),
        ("sts_timeout", 504, "sts_unavailable", "exchange_failed"),
        ("sts_answer", 502, "sts_unavailable", "exchange_failed"),
        ("sts_refused", 429, "rate_limited", "exchange_refused"),
        ("no_upstream", 403, "access_denied", "exchange_refused"),
    ] {
        assert_eq!(
            cause(name, status, error),
            (code, status, error.to_owned()),
            "{name}"
        );
    }
    // A status that is no refusal must not become one of success.
    assert_eq!(
        cause("sts_refused", 200, "ok"),
        ("exchange_failed", 502, "sts_unavailable".to_owned())
    );
}
