//! The development STS refuses what the product's refuses.

use caracal_feed::exchange::signature::{GatewayKey, Signed, TOKEN_PATH};
use caracal_tests::processes::form;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A Gateway's exchange, in parts.
struct Exchange {
    path: &'static str,
    kind: &'static str,
    body: String,
    at: u64,
    nonce: String,
    request_id: &'static str,
    key: String,
}

impl Exchange {
    fn of(mandate: &str) -> Self {
        Exchange::with(mandate, &[])
    }

    fn with(mandate: &str, more: &[(&str, &str)]) -> Self {
        let mut fields = vec![
            ("grant_type", GRANT),
            ("subject_token", mandate),
            ("subject_token_type", ACCESS),
            ("zone_id", ZONE),
            ("application_id", "app-1"),
            ("resource", AUDIENCE),
            ("request_method", "GET"),
            ("request_path", "/"),
            ("gateway_request_id", "r-1"),
        ];
        fields.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        fields.extend(more);
        Exchange {
            path: TOKEN_PATH,
            kind: FORM,
            body: form(&fields),
            at: now(),
            nonce: hex::encode(BASE64.encode(jti(mandate)).as_bytes())
                .chars()
                .cycle()
                .take(64)
                .collect(),
            request_id: "r-1",
            key: GATEWAY_KEY.to_owned(),
        }
    }

    fn send(&self, sts: &Sts) -> Response {
        let at = self.at.to_string();
        let key = GatewayKey::from_hex(&self.key).unwrap();
        let signature = key.sign(Signed {
            timestamp: &at,
            nonce: &self.nonce,
            method: "POST",
            path: TOKEN_PATH,
            body: self.body.as_bytes(),
        });
        let headers = [
            ("content-type", self.kind),
            ("x-request-id", self.request_id),
            ("x-caracal-gateway-timestamp", &at),
            ("x-caracal-gateway-request", &self.nonce),
            ("x-caracal-gateway-signature", &signature),
        ];
        sts.post(self.path, &headers, self.body.as_bytes())
    }
}

fn sts() -> Sts {
    Sts::start(&[ZONE, "zone-2"], &decided(json!("allow")))
}

#[track_caller]
fn refuses(answer: &Response, status: u16, error: &str, says: &str) {
    let body = answer.json();
    let text = body["error_description"].as_str().unwrap_or_default();
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (status, error),
        "{body}"
    );
    assert!(text.contains(says), "{text}");
}

#[test]
fn a_good_exchange_is_granted_once() {
    let sts = sts();
    let exchange = Exchange::of(&sts.mandate(AUDIENCE));
    let answer = exchange.send(&sts);
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["target_resources"], json!([AUDIENCE]));
    let again = exchange.send(&sts);
    refuses(
        &again,
        401,
        "access_denied",
        "invalid gateway exchange signature",
    );
}

#[test]
fn the_signature_its_time_and_its_request_are_checked() {
    let sts = sts();
    let says = "invalid gateway exchange signature";
    let refused = |change: fn(&mut Exchange)| {
        let mut exchange = Exchange::of(&sts.mandate(AUDIENCE));
        change(&mut exchange);
        refuses(&exchange.send(&sts), 401, "access_denied", says);
    };
    refused(|exchange| exchange.at -= 90);
    refused(|exchange| exchange.at += 90);
    refused(|exchange| exchange.nonce = "00".to_owned());
    refused(|exchange| exchange.request_id = "r-2");
    refused(|exchange| exchange.key = GATEWAY_KEY.replace("f1", "1f"));
    assert_eq!(sts.exchanges(), 0);
    let mut late = Exchange::of(&sts.mandate(AUDIENCE));
    late.at -= 50;
    assert_eq!(late.send(&sts).status, 200);
}

#[test]
fn the_form_is_read_in_one_way() {
    let sts = sts();
    let mut exchange = Exchange::of(&sts.mandate(AUDIENCE));
    exchange.body.push_str("&resource=resource%3A%2F%2Fother");
    refuses(
        &exchange.send(&sts),
        400,
        "invalid_token",
        "duplicate form field",
    );
    let mut exchange = Exchange::of(&sts.mandate(AUDIENCE));
    exchange.path = "/oauth/2/token?zone_id=zone-2";
    refuses(&exchange.send(&sts), 400, "invalid_token", "query");
    let mut exchange = Exchange::of(&sts.mandate(AUDIENCE));
    exchange.kind = "application/json";
    refuses(&exchange.send(&sts), 415, "invalid_token", "content type");
    let long = "x".repeat(64 * 1024);
    let exchange = Exchange::with(&sts.mandate(AUDIENCE), &[("request_path", &long)]);
    refuses(&exchange.send(&sts), 413, "payload_too_large", "too large");
    let get = caracal_tests::servers::get(sts.address, TOKEN_PATH, None);
    refuses(&get, 405, "invalid_token", "POST");
}

#[test]
fn the_subject_is_verified() {
    let sts = sts();
    for changes in [
        json!({"use": "resource"}),
        json!({"use": "session"}),
        json!({"aud": [AUDIENCE]}),
        json!({"aud": [sts.url(), AUDIENCE]}),
        json!({"iss": "http://other"}),
        json!({"zone_id": "zone-2"}),
        json!({"exp": now() - 90}),
        json!({"iat": now() + 90}),
    ] {
        let answer = Exchange::of(&sts.odd(&changes)).send(&sts);
        refuses(&answer, 401, "invalid_token", "invalid subject_token");
    }
    let mut forged = sts.mandate(AUDIENCE);
    forged.truncate(forged.rfind('.').unwrap() + 1);
    forged.push_str(&BASE64.encode([7_u8; 64]));
    refuses(
        &Exchange::of(&forged).send(&sts),
        401,
        "invalid_token",
        "invalid subject_token",
    );
    let other_zone = Exchange::with(&sts.mandate(AUDIENCE), &[("zone_id", "zone-2")]);
    refuses(
        &other_zone.send(&sts),
        401,
        "invalid_token",
        "invalid subject_token",
    );
    for changes in [
        json!({"client_id": "app-2"}),
        json!({"agent_session_id": ""}),
        json!({"delegation_edge_id": ""}),
    ] {
        let answer = Exchange::of(&sts.odd(&changes)).send(&sts);
        refuses(&answer, 403, "access_denied", "");
    }
    let unknown = Exchange::with(&sts.mandate(AUDIENCE), &[("resource", "resource://x")]);
    refuses(&unknown.send(&sts), 403, "access_denied", "policy denied");
    let nobody = Exchange::with(&sts.mandate(AUDIENCE), &[("application_id", "app-9")]);
    refuses(
        &nobody.send(&sts),
        401,
        "access_denied",
        "invalid client credentials",
    );
}

#[test]
fn an_application_gets_session_and_one_shot_mandates() {
    let sts = sts();
    let one_shot = claims(&sts.mandate(AUDIENCE));
    assert_eq!(
        (&one_shot["use"], &one_shot["aud"]),
        (&json!("gateway"), &json!([sts.url()]))
    );
    assert_eq!(one_shot["target"], json!([AUDIENCE]));
    let other = claims(&sts.mandate(AUDIENCE));
    assert_ne!(one_shot["jti"], other["jti"]);
    let session = [
        ("agent_session_id", ""),
        ("delegation_edge_id", ""),
        ("scope", "agent:lifecycle"),
    ];
    let answer = sts.ask(&session);
    let session = claims(answer.json()["access_token"].as_str().unwrap());
    assert_eq!(session["use"], "session");
    assert!(session.get("target").is_none());
    let elsewhere = sts.ask(&[("zone_id", "zone-2")]);
    let elsewhere = elsewhere.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(claims(&elsewhere)["zone_id"], "zone-2");
    let set = |zone: &str| {
        let path = format!("/.well-known/jwks.json?zone_id={zone}");
        caracal_tests::servers::get(sts.address, &path, None).json()
    };
    assert_ne!(set(ZONE)["keys"][0]["kid"], set("zone-2")["keys"][0]["kid"]);
}

#[test]
fn an_application_gets_nothing_else() {
    let sts = sts();
    let refused = |changes: &[(&str, &str)], status, error, says| {
        refuses(&sts.ask(changes), status, error, says);
    };
    let credentials = "invalid client credentials";
    refused(
        &[("client_secret", "wrong")],
        401,
        "access_denied",
        credentials,
    );
    refused(&[("client_secret", "")], 401, "access_denied", credentials);
    refused(
        &[("application_id", "app-9")],
        401,
        "access_denied",
        credentials,
    );
    refused(&[("zone_id", "zone-9")], 401, "access_denied", credentials);
    refused(&[("resource", "")], 400, "invalid_token", "resource");
    refused(
        &[("resource", "resource://x")],
        403,
        "access_denied",
        "policy denied",
    );
    refused(
        &[("scope", "billing:all")],
        403,
        "access_denied",
        "scope_mismatch",
    );
    refused(&[("scope", "")], 403, "access_denied", "scope_mismatch");
    refused(&[("agent_session_id", "")], 403, "access_denied", "session");
    refused(
        &[("grant_type", "client_credentials")],
        400,
        "invalid_token",
        "grant_type",
    );
    refused(&[("actor_token", "x")], 400, "invalid_token", "actor_token");
    refused(
        &[("ttl_seconds", "soon")],
        400,
        "invalid_token",
        "ttl_seconds",
    );
    let mandate = sts.mandate(AUDIENCE);
    let subject = [
        ("subject_token", mandate.as_str()),
        ("subject_token_type", ACCESS),
    ];
    refused(&subject, 403, "access_denied", "must use the Gateway");
    refused(&subject[..1], 400, "invalid_token", "subject_token_type");
}
