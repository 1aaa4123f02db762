//! What the product's consumer demands of an event before it stores it, written anew here
//! from its description: `data` present, `sig` over its bytes, types, required members, jsonb.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;

pub type Fields = BTreeMap<String, Vec<u8>>;

/// The members that the consumer decodes, with its types.
#[derive(Deserialize)]
struct Decoded {
    id: String,
    zone_id: String,
    event_type: String,
    request_id: String,
    decision: String,
    evaluation_status: String,
    determining_policies_json: Vec<serde_json::Map<String, Value>>,
    diagnostics_json: Vec<serde_json::Map<String, Value>>,
    metadata_json: serde_json::Map<String, Value>,
    occurred_at: String,
}

/// An event that the consumer stores.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub data: Vec<u8>,
    pub sig: Vec<u8>,
    pub event: Value,
}

impl Stored {
    pub fn id(&self) -> &str {
        self.event["id"].as_str().unwrap()
    }

    pub fn at(&self) -> OffsetDateTime {
        OffsetDateTime::parse(self.event["occurred_at"].as_str().unwrap(), &Rfc3339).unwrap()
    }
}

/// The stream as it is.
pub fn raw(redis: &Redis) -> Vec<Fields> {
    let all: Vec<(String, Fields)> = redis.ask(&["XRANGE", STREAM, "-", "+"]);
    all.into_iter().map(|(_, fields)| fields).collect()
}

/// The event of a message, which has to pass every check.
#[track_caller]
pub fn stored(fields: &Fields, key: &str) -> Stored {
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["data", "sig"]);
    let (data, sig) = (&fields["data"], &fields["sig"]);
    let mut mac = Hmac::<Sha256>::new_from_slice(&hex::decode(key).unwrap()).unwrap();
    mac.update(data);
    mac.verify_slice(&hex::decode(sig).unwrap())
        .expect("the signature");
    assert!(!sig.iter().any(u8::is_ascii_uppercase));
    assert!(data.len() <= 64 * 1024);
    let text = std::str::from_utf8(data).expect("UTF-8");
    // This refuses lone surrogates too, as jsonb does.
    let decoded: Decoded = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(
        !decoded.id.is_empty() && !decoded.zone_id.is_empty(),
        "{text}"
    );
    let at = OffsetDateTime::parse(&decoded.occurred_at, &Rfc3339).unwrap();
    let us = at.nanosecond() % 1_000;
    assert!(
        us == 0 && at.unix_timestamp() > 0 && at.offset().is_utc(),
        "{text}"
    );
    let ahead = at - OffsetDateTime::now_utc();
    assert!(
        ahead < time::Duration::minutes(6) && ahead > -time::Duration::hours(25),
        "{text}"
    );
    for required in [
        &decoded.event_type,
        &decoded.request_id,
        &decoded.decision,
        &decoded.evaluation_status,
    ] {
        assert!(!required.is_empty(), "{text}");
    }
    assert!(matches!(decoded.decision.as_str(), "allow" | "deny"));
    assert!(decoded.determining_policies_json.is_empty());
    let is_reason = |d: &serde_json::Map<String, Value>| d.len() == 1 && d["reason"].is_string();
    assert!(decoded.diagnostics_json.len() <= 1 && decoded.diagnostics_json.iter().all(is_reason));
    let redacted = [
        "session",
        "session_id",
        "token",
        "secret",
        "password",
        "authorization",
        "cookie",
    ];
    for (name, value) in &decoded.metadata_json {
        assert!(!redacted.contains(&name.as_str()), "{name}");
        let fits = value
            .as_str()
            .is_none_or(|text| text.len() <= 1_024 && !text.chars().any(char::is_control));
        assert!(fits, "{name}: {value}");
    }
    Stored {
        data: data.clone(),
        sig: sig.clone(),
        event: serde_json::from_str(text).unwrap(),
    }
}
