//! Keys and mandates for the suites. Test-only keys, made from a seed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// The issuer, zone and audience of every suite that does not say otherwise.
pub const ISSUER: &str = "https://sts.example.test";
pub const ZONE: &str = "zone-1";
/// Authenticates what workers share.
pub const SHARED_DATA_SECRET: &str = "of-the-tests-0123456789";
pub const AUDIENCE: &str = "resource://billing-api";

/// A signing key of the zone.
#[derive(Clone)]
pub struct Key {
    kid: String,
    signing: SigningKey,
}

impl Key {
    pub fn new(kid: &str, seed: u8) -> Self {
        Key {
            kid: kid.to_owned(),
            signing: SigningKey::from_slice(&[seed; 32]).unwrap(),
        }
    }

    pub fn jwk(&self) -> Value {
        let point = self.signing.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        let (x, y) = (BASE64.encode(&bytes[1..33]), BASE64.encode(&bytes[33..]));
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y})
    }

    /// A token over claims as they are.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(
            &json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}),
            claims,
        )
    }

    /// The same with another header.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| BASE64.encode(part.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature: Signature = self.signing.sign(input.as_bytes());
        format!("{input}.{}", BASE64.encode(signature.to_bytes()))
    }

    /// A token of a payload as it is, encoded already.
    pub fn sign_raw(&self, payload: &str) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid});
        let input = format!("{}.{payload}", BASE64.encode(header.to_string()));
        let signature: Signature = self.signing.sign(input.as_bytes());
        format!("{input}.{}", BASE64.encode(signature.to_bytes()))
    }

    /// A good mandate at `now`, with these claims in place of the usual ones;
    /// null removes one.
    pub fn mandate(&self, now: u64, changes: Value) -> String {
        self.sign(&claims(now, changes))
    }
}

/// A key set document.
pub fn key_set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// The claims of a good mandate, changed.
pub fn claims(now: u64, changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": now + 900, "iat": now, "jti": "jti-1",
        "sub": "user-1", "sid": "sid-1", "root_sid": "root-1", "client_id": "app-1",
        "zone_id": ZONE, "use": "resource", "sub_type": "user", "scope": "billing:read",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Unix time in whole seconds.
pub fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs()
}

/// The least configuration of the filter that goes with these mandates, changed; null
/// removes a member.
pub fn configuration(changes: Value) -> Value {
    let mut configuration = json!({
        "issuer": ISSUER, "zone_id": ZONE, "audience": AUDIENCE,
        "jwks": {"upstream": "sts"}, "revocation": "disabled",
        "shared_data": {"secret": SHARED_DATA_SECRET},
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(configuration.as_object_mut().unwrap().remove(name)),
            value => configuration[name] = value.clone(),
        }
    }
    if matches!(configuration["host"].as_str(), Some("kong" | "apisix")) {
        // Their workers share nothing.
        configuration.as_object_mut().unwrap().remove("shared_data");
    }
    configuration
}
