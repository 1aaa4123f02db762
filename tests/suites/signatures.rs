//! The same signatures put to every verifier: the primitives natively and inside
//! the wasm file, and Envoy's own `verify_signature`. The same verdict everywhere.

use caracal_mandate::jwks::algorithm::Algorithm;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::signature::{
    P256Key, PublicKey, PureRust, SignatureVerifier as _, es256_signature_to_der,
};
use caracal_tests::envoy::Setup;
use caracal_tests::host::{Module, Outcome, Proxy, Request};
use caracal_tests::mint::configuration;
use caracal_tests::processes::filter_with_hooks;
use caracal_tests::servers::{Client, Reply, Server, request};
use caracal_tests::signature_cases::{Case, all};
use serde_json::json;

/// What a hook of the filter is asked, and what it must answer.
fn question(case: &Case) -> (String, String) {
    let hex = |bytes: &[u8]| format!("x{}", hex::encode(bytes));
    let (key, signature) = (hex(&case.key), hex(&case.signature));
    let question = format!(
        "{} {key} {signature} {}",
        case.algorithm,
        hex(&case.message)
    );
    let valid = case.valid;
    let answer = match case.algorithm {
        "ES256" => format!("wasm={valid} host={valid}"),
        _ => format!("wasm={valid}"),
    };
    (question, answer)
}

/// Prints the counts, and fails on a difference.
fn judge(verifier: &str, cases: &[Case], different: &[String]) {
    let of = |algorithm: &str| {
        let cases: Vec<_> = cases.iter().filter(|c| c.algorithm == algorithm).collect();
        let valid = cases.iter().filter(|c| c.valid).count();
        format!("{algorithm} {} cases, {valid} valid", cases.len())
    };
    println!(
        "signatures {verifier}: {}; {}; {} differences",
        of("ES256"),
        of("EdDSA"),
        different.len()
    );
    assert!(cases.len() > 600, "{}", cases.len());
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn native() {
    let cases = all();
    let accepts = |case: &Case| {
        let key = match case.algorithm {
            "ES256" => {
                let (x, y) = case.key[1..].split_first_chunk().unwrap();
                let key = P256Key::from_coordinates(x, y.try_into().unwrap()).unwrap();
                // What has no DER form is accepted by nobody, here or in a host.
                let der = es256_signature_to_der(&case.signature);
                assert!(der.is_some() || !case.valid, "{}", case.name);
                PublicKey::P256(key)
            }
            _ => PublicKey::Ed25519(ed25519_compact::PublicKey::new(
                case.key[..].try_into().unwrap(),
            )),
        };
        PureRust.verify(&key, &case.message, &case.signature)
    };
    let different = cases.iter().filter(|case| accepts(case) != case.valid);
    let different: Vec<String> = different.map(|case| case.name.clone()).collect();
    judge("native", &cases, &different);
}

#[test]
fn in_the_wasm_file() {
    let cases = all();
    let mut proxy = Proxy::envoy(Module::from_file(filter_with_hooks()).unwrap())
        .configuration(configuration(json!({})).to_string())
        .start()
        .unwrap();
    let mut different = Vec::new();
    for case in &cases {
        let (question, expected) = question(case);
        let stream = proxy.request(0, Request::get("/").header("x-test-signature", question));
        let answer = match proxy.outcome(stream) {
            Outcome::Replied(reply) => String::from_utf8(reply.body).unwrap(),
            other => panic!("{}: {other:?}", case.name),
        };
        if answer != expected {
            different.push(format!("{}: {answer}", case.name));
        }
    }
    judge("in the wasm file", &cases, &different);
}

#[test]
fn in_envoy_and_by_envoy() {
    let cases = all();
    let nobody = Server::start(|_| Reply::new(200, ""));
    let envoy = Setup::new([configuration(json!({}))])
        .cluster("sts", nobody.address())
        .cluster("upstream", nobody.address())
        .wasm(filter_with_hooks())
        .start()
        .unwrap_or_else(|log| panic!("{log}"));
    let mut client = Client::connect(envoy.listener(0));
    let mut different = Vec::new();
    for case in &cases {
        let (question, expected) = question(case);
        let answer = client.exchange(&request("GET", "/", &[("x-test-signature", &question)]));
        let answer = String::from_utf8(answer.unwrap().body).unwrap();
        if answer != expected {
            different.push(format!("{}: {answer}", case.name));
        }
    }
    judge("in Envoy and by Envoy", &cases, &different);
}

/// The examples of RFC 7515, 7517, 7519 and 8037 that are no mandates or no usable
/// keys, and why.
#[test]
fn examples_of_the_rfcs_that_are_refused() {
    use caracal_mandate::token::jws::{TokenLimits, UnverifiedMandate};
    let limits = TokenLimits {
        max_bytes: 8192,
        algorithms: &Algorithm::ALL,
    };
    let refused = |token: &str| {
        let parsed = UnverifiedMandate::parse(token.replace([' ', '\n'], "").as_bytes(), limits);
        parsed.err().expect("refused").to_string()
    };
    // RFC 7515 A.1 and RFC 7519 section 3.1: HS256.
    let hs256 =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog
        Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    // RFC 7515 A.5 and RFC 7519 section 6.1: unsecured.
    let none = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    for token in [hs256, none] {
        assert_eq!(refused(token), "the token's algorithm is not allowed here");
    }
    // RFC 7515 A.3 and RFC 8037 A.4: good signatures, and headers without a `kid`.
    for token in [
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ
            .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc
            .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ] {
        assert_eq!(refused(token), "the token names no key (kid)");
    }
    // RFC 7517 A.1 (an encryption key, an RSA key) and A.2 (private keys).
    let ec = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
    let okp = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    let usable = |key: String| {
        let document = format!(r#"{{"keys":[{{{key}}}]}}"#);
        KeySet::parse(document.as_bytes(), &Algorithm::ALL).is_ok()
    };
    let private = r#""d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","#;
    for key in [
        format!(r#"{ec},"use":"enc","kid":"1""#),
        format!(r#"{private}{ec},"use":"enc","kid":"1""#),
        r#""kty":"RSA","alg":"RS256","kid":"2011-04-29","e":"AQAB","n":"0vx7""#.to_owned(),
        // RFC 8037 A.1 and A.2: without `alg` and `kid`.
        format!(r#"{okp},"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#),
        okp.to_owned(),
    ] {
        assert!(!usable(key));
    }
    // With what the contract asks for, the same points are keys.
    assert!(usable(format!(r#"{ec},"alg":"ES256","kid":"1""#)));
    assert!(usable(format!(r#"{okp},"alg":"EdDSA","kid":"1""#)));
}
