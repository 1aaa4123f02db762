use super::*;

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const ONLY_ES256: &[Algorithm] = &[Algorithm::Es256];

fn jwk(extra: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"k","x":"{X}","y":"{Y}"{extra}}}"#)
}

fn parse_one(jwk: &str, allowed: &[Algorithm]) -> Result<Key, UnusableKey> {
    let jwk: &RawValue = serde_json::from_str(jwk).unwrap();
    Key::read(jwk, allowed).map_err(|skipped| skipped.why)
}

#[test]
fn usable_keys() {
    for extra in [
        "",
        r#","use":"sig""#,
        r#","key_ops":[]"#,
        r#","key_ops":["sign","verify"]"#,
        r#","x5c":["AAAA"],"unknown":{"a":1}"#,
    ] {
        assert!(parse_one(&jwk(extra), ONLY_ES256).is_ok(), "{extra}");
    }
}

#[test]
fn unusable_keys() {
    use UnusableKey as U;
    let with = |from: &str, to: &str| jwk("").replace(from, to);
    let off_curve = X.replace("f83O", "f83P");
    for (jwk, why) in [
        ("7".to_owned(), U::Text(InvalidJson::NotAnObject)),
        (with(r#""kty":"EC""#, r#""kty":"ec""#), U::Algorithm),
        (with("P-256", "P-384"), U::Algorithm),
        (with(r#""alg":"ES256","#, ""), U::Algorithm),
        (with(r#""alg":"ES256""#, r#""alg":"ES384""#), U::Algorithm),
        (with(r#""kid":"k","#, ""), U::KeyId),
        (with(r#""kid":"k""#, r#""kid":"""#), U::KeyId),
        (with(r#""kid":"k""#, r#""kid":1"#), U::KeyId),
        (jwk(r#","use":"enc""#), U::Purpose),
        (jwk(r#","use":null"#), U::Purpose),
        (jwk(r#","key_ops":["sign"]"#), U::Purpose),
        (jwk(r#","key_ops":"verify""#), U::Purpose),
        (jwk(r#","d":"AA""#), U::PrivateKey),
        (jwk(r#","d":null"#), U::PrivateKey),
        (with(X, &off_curve), U::Point),
        (with(X, &format!("{X}A")), U::Point),
        (with(X, &format!("{X}=")), U::Point),
        (with(X, X.get(..42).unwrap()), U::Point),
        (
            with(X, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            U::Point,
        ),
    ] {
        assert_eq!(parse_one(&jwk, ONLY_ES256).err(), Some(why), "{jwk}");
    }
    let okp = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(parse_one(okp, ONLY_ES256).err(), Some(U::Algorithm));
    assert!(parse_one(okp, &Algorithm::ALL).is_ok());
    assert!(parse_one(&okp.replace("EdDSA", "Ed25519"), &Algorithm::ALL).is_ok());
}

#[test]
fn thumbprints_are_rfc_7638() {
    // The example key of RFC 8037, appendix A.3.
    let okp = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let thumbprint = *parse_one(okp, &Algorithm::ALL).unwrap().thumbprint();
    assert_eq!(
        URL_SAFE_NO_PAD.encode(thumbprint),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

#[test]
fn sets_are_bounded_and_need_a_usable_key() {
    let set = |keys: &str| KeySet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes(), ONLY_ES256);
    let err = |document: &str| KeySet::parse(document.as_bytes(), ONLY_ES256).unwrap_err();
    assert_eq!(err("{}"), InvalidKeySet::NoKeys);
    assert_eq!(err(r#"{"keys":{}}"#), InvalidKeySet::NoKeys);
    assert_eq!(err(r#"{"keys":[]}"#), InvalidKeySet::NoUsableKey(None));
    assert_eq!(
        err(r#"{"keys":[{"kid":"k"}]}"#).to_string(),
        r#"the key set has no usable key: "k": kty, crv and alg together name no algorithm that is allowed here"#
    );
    assert_eq!(err("<html>"), InvalidKeySet::Json(InvalidJson::Syntax));
    let mixed = set(&[jwk(r#","use":"enc""#), "null".into(), jwk("")].join(",")).unwrap();
    assert_eq!((mixed.keys().len(), mixed.skipped()), (1, 2));

    // An odd key spoils only itself.
    let deep = format!(
        r#"{{"kid":"deep","a":{}{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let long = "k".repeat(49);
    let odd = [
        r#"{"kid":"a","kid":"b"}"#,
        r#"{"kid":"\ud800"}"#,
        &deep,
        &jwk("").replace(r#""kid":"k""#, &format!(r#""kid":"{long}","use":"enc""#)),
        r#"{"kid":"fifth"}"#,
        &jwk(""),
    ];
    let some = set(&odd.join(",")).unwrap();
    assert_eq!((some.keys().len(), some.skipped()), (1, 5));
    let why = |why| Skipped { kid: None, why };
    use InvalidJson as J;
    assert_eq!(
        some.skipped_keys(),
        [
            why(UnusableKey::Text(J::DuplicateName)),
            why(UnusableKey::Text(J::Syntax)),
            why(UnusableKey::Text(J::TooDeep)),
            why(UnusableKey::Purpose),
            Skipped {
                kid: Some("fifth".to_owned()),
                why: UnusableKey::Algorithm,
            },
        ]
    );
    // Nobody knows which of the two lists is meant.
    let two = format!(r#"{{"keys":[{}],"keys":[]}}"#, jwk(""));
    assert_eq!(err(&two), InvalidKeySet::Json(J::DuplicateName));
    assert!(set(&jwk("")).is_ok());
    let other = format!(r#"{{"x":{{"a":1,"a":2}},"keys":[{}]}}"#, jwk(""));
    assert!(KeySet::parse(other.as_bytes(), ONLY_ES256).is_ok());

    let same_kid = set(&vec![jwk(""); 6].join(",")).unwrap();
    assert_eq!(
        same_kid.candidates("k", Algorithm::Es256).count(),
        MAX_KEYS_PER_KID
    );
    assert_eq!(same_kid.candidates("other", Algorithm::Es256).count(), 0);

    let many: Vec<String> = (0..70)
        .map(|i| jwk("").replace(r#""kid":"k""#, &format!(r#""kid":"k{i}""#)))
        .collect();
    let many = set(&many.join(",")).unwrap();
    assert!(many.has_kid("k63") && !many.has_kid("k64"));

    let huge = format!(
        r#"{{"keys":[{}],"pad":"{}"}}"#,
        jwk(""),
        "x".repeat(MAX_DOCUMENT_BYTES)
    );
    assert_eq!(err(&huge), InvalidKeySet::TooLarge);
}

#[test]
fn a_key_is_in_a_set_as_long_as_it_would_be_tried() {
    // Different keys under one kid, made as in the suites.
    let key = |seed: u8| crate::mint::Key::new("k", seed);
    let all: Vec<_> = (1..=5).map(key).collect();
    let set = |keys: &[&crate::mint::Key]| {
        KeySet::parse(
            crate::mint::key_set(keys).to_string().as_bytes(),
            ONLY_ES256,
        )
        .unwrap()
    };
    let refs: Vec<&crate::mint::Key> = all.iter().collect();
    let five = set(&refs);
    let prints: Vec<Thumbprint> = five.keys().iter().map(|key| *key.thumbprint()).collect();
    let in_it: Vec<bool> = prints
        .iter()
        .map(|print| five.has_key("k", print))
        .collect();
    assert_eq!(in_it, [true, true, true, true, false]);
    assert!(!five.has_key("other", &prints[0]));
    assert!(!set(&refs[1..]).has_key("k", &prints[0]));
    assert!(five.keys().iter().all(|key| key.kid() == "k"));
    assert!(
        five.keys()
            .iter()
            .all(|key| key.algorithm() == Algorithm::Es256)
    );
}

#[test]
fn algorithms_are_named_as_in_jose() {
    assert_eq!(Algorithm::Es256.as_jose(), "ES256");
    assert_eq!(Algorithm::EdDsa.as_jose(), "EdDSA");
}

#[test]
fn as_many_skipped_keys_are_named_as_there_may_be_keys() {
    let unusable = jwk(r#","use":"enc""#);
    let document = |skipped: usize| {
        let mut all = vec![unusable.clone(); skipped];
        all.push(jwk(""));
        format!(r#"{{"keys":[{}]}}"#, all.join(","))
    };
    let set = KeySet::parse(document(MAX_SKIPPED_TOLD + 3).as_bytes(), ONLY_ES256).unwrap();
    assert_eq!(set.skipped(), MAX_SKIPPED_TOLD + 3);
    assert_eq!(set.skipped_keys().len(), MAX_SKIPPED_TOLD);
}
