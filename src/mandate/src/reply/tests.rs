use super::*;

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply
        .headers
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, v)| v.as_str())
}

#[test]
fn statuses_are_the_contract_s() {
    let of = |status: u16| -> Vec<&str> {
        ErrorCode::ALL
            .iter()
            .filter(|c| c.http_status() == status)
            .map(|c| c.as_str())
            .collect()
    };
    assert_eq!(of(400), ["invalid_request"]);
    assert_eq!(
        of(401),
        [
            "missing_token",
            "invalid_token",
            "invalid_zone",
            "session_revoked",
            "delegation_stale"
        ]
    );
    assert_eq!(
        of(403),
        [
            "insufficient_scope",
            "session_required",
            "delegation_required",
            "chain_mismatch",
            "hop_count_exceeded"
        ]
    );
    assert_eq!(of(503), ["sts_unavailable"]);
}

#[test]
fn replies_are_json_and_not_stored() {
    let refusal =
        Refusal::insufficient_scope("billing:\"pay\"", &["a".into(), "billing:\"pay\"".into()]);
    let reply = Reply::new(&refusal, ReplyFormat::Http);
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], "insufficient_scope");
    assert_eq!(
        body["error_description"],
        "Missing required scope: billing:\"pay\""
    );
    assert!(body["error_hint"].is_string());
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
    // A scope that could break out of the quotes is left out.
    assert_eq!(
        header(&reply, "www-authenticate"),
        Some("Bearer realm=\"caracal\", error=\"insufficient_scope\"")
    );
}

#[test]
fn challenges() {
    let challenge = |refusal: &Refusal| {
        let reply = Reply::new(refusal, ReplyFormat::Http);
        header(&reply, "www-authenticate").map(str::to_owned)
    };
    assert_eq!(
        challenge(&Refusal::missing_token()).unwrap(),
        "Bearer realm=\"caracal\""
    );
    assert_eq!(
        challenge(&Refusal::insufficient_scope("b", &["a".into(), "b".into()])).unwrap(),
        "Bearer realm=\"caracal\", error=\"insufficient_scope\", scope=\"a b\""
    );
    for code in ErrorCode::ALL {
        let challenge = challenge(&Refusal::new(code, "x"));
        let expected = code.http_status() == 401 || code == ErrorCode::InsufficientScope;
        assert_eq!(challenge.is_some(), expected, "{code:?}");
    }
    let unavailable = Reply::new(&Refusal::unavailable("x"), ReplyFormat::Http);
    assert_eq!(header(&unavailable, "retry-after"), Some("1"));
    let used_up = Refusal::unavailable("gone").used_up();
    let used_up = Reply::new(&used_up, ReplyFormat::Http);
    assert_eq!(header(&used_up, "retry-after"), None);
}

#[test]
fn grpc_gets_words() {
    for (content_type, format) in [
        ("application/grpc", ReplyFormat::Grpc),
        ("application/grpc+proto", ReplyFormat::Grpc),
        ("application/grpc;charset=x", ReplyFormat::Grpc),
        ("application/grpc-web", ReplyFormat::Http),
        ("application/json", ReplyFormat::Http),
    ] {
        assert_eq!(
            ReplyFormat::for_content_type(Some(content_type.as_bytes())),
            format
        );
    }
    let reply = Reply::new(&Refusal::missing_token(), ReplyFormat::Grpc);
    assert_eq!(reply.body, b"missing_token: Missing bearer token");
    assert_eq!(reply.grpc_status, 16);
}

#[test]
fn what_is_configured_is_in_every_challenge_of_the_edge_s_own() {
    let both = Challenge {
        realm: Some("pay".to_owned()),
        resource_metadata: Some("https://h/x".to_owned()),
    };
    let scopes = ["a".to_owned(), "b".to_owned()];
    let said = |mut reply: Reply, refusal: &Refusal, of: &Challenge, scopes: &[String]| {
        reply.say_in_challenge(refusal, of, scopes);
        header(&reply, "www-authenticate").map(str::to_owned)
    };
    let plain = |refusal: &Refusal, of: &Challenge| {
        let reply = Reply::new(refusal, ReplyFormat::Http);
        said(reply, refusal, of, &scopes)
    };
    let missing = Refusal::missing_token();
    assert_eq!(
        plain(&missing, &both).unwrap(),
        "Bearer realm=\"pay\", scope=\"a b\", resource_metadata=\"https://h/x\""
    );
    let lacking = Refusal::insufficient_scope("b", &["b".into(), "c".into()]);
    assert_eq!(
        plain(&lacking, &both).unwrap(),
        "Bearer realm=\"pay\", error=\"insufficient_scope\", scope=\"b c\", resource_metadata=\"https://h/x\""
    );
    let url = Challenge {
        realm: None,
        ..both.clone()
    };
    let realm = Challenge {
        resource_metadata: None,
        ..both.clone()
    };
    for code in ErrorCode::ALL {
        let refusal = Refusal::new(code, "x");
        let has_one = code.http_status() == 401 || code == ErrorCode::InsufficientScope;
        for (of, begins, ends) in [
            (
                &both,
                "Bearer realm=\"pay\"",
                ", resource_metadata=\"https://h/x\"",
            ),
            (
                &url,
                "Bearer realm=\"caracal\"",
                ", resource_metadata=\"https://h/x\"",
            ),
            (&realm, "Bearer realm=\"pay\"", "scope=\"a b\""),
        ] {
            let plain = plain(&refusal, of);
            assert_eq!(plain.is_some(), has_one, "{code:?}");
            if let Some(plain) = plain {
                assert!(
                    plain.starts_with(begins) && plain.ends_with(ends),
                    "{plain}"
                );
            }
            let reply = Reply::of_gateway(&refusal, ReplyFormat::Http, "1");
            let of_gateway = said(reply, &refusal, of, &scopes);
            assert_eq!(of_gateway.is_some(), code.of_gateway().0 == 401, "{code:?}");
            if let Some(said) = of_gateway {
                assert!(said.starts_with(begins) && said.ends_with(ends), "{said}");
            }
        }
    }
    // What could end the quoted string is left out, and so is an empty list.
    for scopes in [&["a\"b".to_owned()][..], &[]] {
        let reply = Reply::new(&missing, ReplyFormat::Http);
        let said = said(reply, &missing, &realm, scopes);
        assert_eq!(said.unwrap(), "Bearer realm=\"pay\"");
    }
    // The words of the STS stay as they are.
    let step_up = Refusal::new(ErrorCode::ExchangeRefused, "x").relaying(Relayed {
        status: 401,
        error: "interaction_required".to_owned(),
        www_authenticate: Some("Bearer error=\"interaction_required\"".to_owned()),
        ..Relayed::default()
    });
    let reply = Reply::of_gateway(&step_up, ReplyFormat::Http, "1");
    assert_eq!(
        said(reply, &step_up, &both, &scopes).unwrap(),
        "Bearer error=\"interaction_required\""
    );
}
