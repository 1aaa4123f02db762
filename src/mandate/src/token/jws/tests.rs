use super::*;

fn limits() -> TokenLimits<'static> {
    TokenLimits {
        max_bytes: 8192,
        algorithms: &Algorithm::ALL,
    }
}

fn with_header(header: &str) -> Result<UnverifiedMandate, InvalidJws> {
    let token = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
    UnverifiedMandate::parse(token.as_bytes(), limits())
}

#[test]
fn header_rules() {
    assert!(with_header(r#"{"alg":"ES256","kid":"k"}"#).is_ok());
    assert!(
        with_header(r#"{"alg":"EdDSA","kid":"k","typ":7,"jku":"https://x","b64":true}"#).is_ok()
    );
    let cases = [
        (r#"{"alg":"ES256"}"#, InvalidJws::KeyId),
        (r#"{"alg":"ES256","kid":""}"#, InvalidJws::KeyId),
        (r#"{"alg":"ES256","kid":7}"#, InvalidJws::KeyId),
        (r#"{"alg":"es256","kid":"k"}"#, InvalidJws::Algorithm),
        (r#"{"alg":"none","kid":"k"}"#, InvalidJws::Algorithm),
        (r#"{"alg":["ES256"],"kid":"k"}"#, InvalidJws::Algorithm),
        (r#"{"kid":"k"}"#, InvalidJws::Algorithm),
        (
            r#"{"alg":"ES256","kid":"k","crit":[]}"#,
            InvalidJws::Critical,
        ),
        (
            r#"{"alg":"ES256","kid":"k","crit":null}"#,
            InvalidJws::Critical,
        ),
        (
            r#"{"alg":"ES256","kid":"k","b64":false}"#,
            InvalidJws::UnencodedPayload,
        ),
        (
            r#"{"alg":"ES256","kid":"k","kid":"k"}"#,
            InvalidJws::Header(InvalidJson::DuplicateName),
        ),
        (r#"["ES256"]"#, InvalidJws::Header(InvalidJson::NotAnObject)),
    ];
    for (header, why) in cases {
        assert_eq!(with_header(header), Err(why), "{header}");
    }
    let es256_only = TokenLimits {
        max_bytes: 8192,
        algorithms: &[Algorithm::Es256],
    };
    let token = format!(
        "{}.e30.AAAA",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#)
    );
    assert_eq!(
        UnverifiedMandate::parse(token.as_bytes(), es256_only),
        Err(InvalidJws::Algorithm)
    );
}

#[test]
fn compact_serialization_is_canonical() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k"}"#);
    let parse = |token: String| UnverifiedMandate::parse(token.as_bytes(), limits());
    assert!(parse(format!("{header}.e30.AAAA")).is_ok());
    assert!(parse(format!("{header}..")).is_ok());
    for (token, why) in [
        (format!("{header}.e30"), InvalidJws::NotCompact),
        (format!("{header}.e30.AAAA.AAAA"), InvalidJws::NotCompact),
        (format!("{header}.e30.AAA="), InvalidJws::Base64),
        (format!("{header}.e30.AAB"), InvalidJws::Base64), // trailing bits
        (format!("{header}.e30.AA+A"), InvalidJws::Base64),
        (format!("{header}.e3 0.AAAA"), InvalidJws::Base64),
        (format!("{header}.e30.A"), InvalidJws::Base64),
    ] {
        assert_eq!(parse(token.clone()), Err(why), "{token}");
    }
    let padding = 8192 - header.len() - 2;
    let body = "A".repeat(padding - padding % 4);
    let exact = format!("{header}.{body}.{}", "A".repeat(padding % 4));
    assert_ne!(parse(exact.clone()), Err(InvalidJws::TooLong));
    assert_eq!(parse(exact + "A"), Err(InvalidJws::TooLong));
}

#[test]
fn debug_does_not_show_the_token() {
    let mandate = with_header(r#"{"alg":"ES256","kid":"secret-kid"}"#).unwrap();
    assert!(!format!("{mandate:?}").contains("secret-kid"));
}
