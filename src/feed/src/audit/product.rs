//! The product's event. Its bytes and their signature are made once: the consumer takes the
//! same id and time with other content for tampering.

use std::sync::Arc;

use rand::RngExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

use crate::event::HmacKey;

/// Largest event, in bytes. More is not known to pass the product's consumer.
pub(super) const MAX_DATA: usize = 64 * 1024;
/// Longest string of an event, in bytes. The product's indexes take 2.7 KB.
pub(super) const MAX_TEXT: usize = 1_024;
const MAX_REQUEST_ID: usize = 128;

/// An event, as it stays through every retry, disk and restart.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) id: u128,
    pub(super) request_id: Box<str>,
    /// Whether a request was refused.
    pub(super) denied: bool,
    pub(super) data: Arc<str>,
    /// Lower-case hex, or empty without a key.
    pub(super) sig: Box<str>,
}

#[derive(Serialize)]
struct Diagnostic<'a> {
    reason: &'a str,
}

/// What differs from event to event.
pub(super) struct Parts<'a, M> {
    pub(super) id: Uuid,
    pub(super) zone_id: &'a str,
    pub(super) event_type: &'a str,
    pub(super) request_id: &'a str,
    pub(super) decision: &'a str,
    pub(super) evaluation_status: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) metadata: &'a M,
    /// Unix microseconds.
    pub(super) occurred_at_us: i64,
}

#[derive(Serialize)]
struct Event<'a, M> {
    id: String,
    zone_id: &'a str,
    event_type: &'a str,
    request_id: &'a str,
    decision: &'a str,
    evaluation_status: &'a str,
    determining_policies_json: [(); 0],
    diagnostics_json: Vec<Diagnostic<'a>>,
    metadata_json: &'a M,
    occurred_at: String,
}

/// The event's bytes and signature; `None` if it would be too large.
pub(super) fn make<M: Serialize>(parts: &Parts<'_, M>, key: Option<&HmacKey>) -> Option<Made> {
    let event = Event {
        id: parts.id.hyphenated().to_string(),
        zone_id: parts.zone_id,
        event_type: parts.event_type,
        request_id: parts.request_id,
        decision: parts.decision,
        evaluation_status: parts.evaluation_status,
        determining_policies_json: [],
        diagnostics_json: parts
            .reason
            .map(|reason| Diagnostic { reason })
            .into_iter()
            .collect(),
        metadata_json: parts.metadata,
        occurred_at: rfc_3339(parts.occurred_at_us)?,
    };
    let data = serde_json::to_string(&event).ok()?;
    if data.len() > MAX_DATA {
        return None;
    }
    Some(Made {
        id: parts.id.as_u128(),
        request_id: parts.request_id.into(),
        denied: parts.decision == "deny",
        sig: key
            .map_or_else(String::new, |key| key.sign_text(data.as_bytes()))
            .into(),
        data: data.into(),
    })
}

/// Tells an event from another one with its id. The time is not in it: it is the last member,
/// and what the companion's clock says of it may change.
pub(super) fn digest(data: &[u8]) -> u64 {
    const TIME: &[u8] = b",\"occurred_at\":";
    let mut places = data.windows(TIME.len());
    let content = match places.rposition(|place| place == TIME) {
        Some(place) => data.get(..place).unwrap_or(data),
        None => data,
    };
    let digest = Sha256::digest(content);
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// UTC with microseconds. The consumer's key has no more digits.
fn rfc_3339(us: i64) -> Option<String> {
    let ns = i128::from(us).checked_mul(1_000)?;
    let at = OffsetDateTime::from_unix_timestamp_nanos(ns).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, us) = at.to_hms_micro();
    let month = u8::from(month);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z"
    ))
}

/// A new id that sorts by time.
pub(super) fn new_id(now_us: i64) -> Uuid {
    let ms = u64::try_from(now_us).unwrap_or(0).checked_div(1_000);
    let random: [u8; 10] = rand::rng().random();
    Builder::from_unix_timestamp_millis(ms.unwrap_or(0), &random).into_uuid()
}

/// The form without which the product finds no event by its request.
pub(super) fn is_request_id(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_.-:".contains(&b);
    (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(known)
}

/// Without control characters: jsonb refuses NUL, and the others could write to the terminal
/// of whoever reads the event.
pub(super) fn cleaned(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts<'a>(
        metadata: &'a serde_json::Value,
        reason: Option<&'a str>,
    ) -> Parts<'a, serde_json::Value> {
        Parts {
            id: Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001),
            zone_id: "z",
            event_type: "edge_resource_request",
            request_id: "r-1",
            decision: "deny",
            evaluation_status: "denied",
            reason,
            metadata,
            occurred_at_us: 1_767_225_600_000_001,
        }
    }

    #[test]
    fn the_bytes_are_the_products_event() {
        let metadata = json!({"method": "GET"});
        let made = make(&parts(&metadata, Some("session_revoked")), None).unwrap();
        assert_eq!(
            &*made.data,
            r#"{"id":"01980000-0000-7000-8000-000000000001","zone_id":"z","event_type":"edge_resource_request","request_id":"r-1","decision":"deny","evaluation_status":"denied","determining_policies_json":[],"diagnostics_json":[{"reason":"session_revoked"}],"metadata_json":{"method":"GET"},"occurred_at":"2026-01-01T00:00:00.000001Z"}"#
        );
        assert_eq!(&*made.sig, "");
        let made = make(&parts(&metadata, None), None).unwrap();
        assert!(made.data.contains(r#""diagnostics_json":[],"#));
    }

    const SIGNATURE: &str = "4ce767f015a2d86a311e0e6e8c8751261998fa8314029846b2f21a9a25f1ecde";

    /// The signature was computed by Python's `hmac` and `hashlib` over the same bytes.
    #[test]
    fn the_signature_is_over_the_bytes() {
        let key = HmacKey::from_hex(&"ab".repeat(32)).unwrap();
        let made = make(&parts(&json!({}), None), Some(&key)).unwrap();
        assert_eq!(&*made.sig, SIGNATURE);
    }

    const DIGEST: u64 = 0x0720_2d23_3101_ae38;

    /// The digest was computed by Python's `hashlib` over the bytes before the time.
    #[test]
    fn the_digest_is_of_everything_but_the_time() {
        let (metadata, other) = (json!({}), json!({"a": ",\"occurred_at\":"}));
        let of = |parts: &Parts<'_, _>| digest(make(parts, None).unwrap().data.as_bytes());
        let mut one = parts(&metadata, None);
        let first = of(&one);
        assert_eq!(first, DIGEST);
        one.occurred_at_us += 1;
        assert_eq!(of(&one), first);
        one.zone_id = "y";
        assert_ne!(of(&one), first);
        assert_ne!(of(&parts(&metadata, Some("no"))), first);
        assert_ne!(of(&parts(&other, None)), first);
        assert_ne!(digest(b"a"), digest(b""));
    }

    #[test]
    fn an_event_is_bounded() {
        let most = json!({"a": "x".repeat(MAX_DATA - 300)});
        assert!(make(&parts(&most, None), None).is_some());
        assert!(make(&parts(&json!({"a": "x".repeat(MAX_DATA)}), None), None).is_none());
    }

    #[test]
    fn a_time_has_microseconds_and_a_year_of_four_digits() {
        assert_eq!(rfc_3339(0).unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            rfc_3339(1_709_210_096_123_456).unwrap(),
            "2024-02-29T12:34:56.123456Z"
        );
        assert_eq!(rfc_3339(i64::MAX), None);
        assert_eq!(rfc_3339(i64::MIN), None);
    }

    #[test]
    fn ids_are_new_and_of_version_7() {
        let (one, two) = (new_id(1_767_225_600_000_000), new_id(1_767_225_600_000_000));
        assert_ne!(one, two);
        assert_eq!((one.get_version_num(), two.get_version_num()), (7, 7));
    }

    #[test]
    fn request_ids_are_those_that_the_product_finds() {
        for good in ["a", "A_1.-:", &"x".repeat(128)] {
            assert!(is_request_id(good), "{good}");
        }
        for bad in ["", "a b", "é", "a/b", "a\n", &"x".repeat(129)] {
            assert!(!is_request_id(bad), "{bad}");
        }
    }
}
