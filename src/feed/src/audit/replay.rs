//! The event of a mandate that was sent a second time, as the product's Gateway writes it.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::product::{MAX_TEXT, Made, Parts, cleaned, is_request_id, make, new_id};
use crate::event::HmacKey;

/// What is known of the mandate. The filter has verified it; here its claims are only read.
pub(crate) struct Replay<'a> {
    /// The token. Only a part of its digest is kept.
    pub(crate) mandate: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) jti: &'a str,
    pub(crate) client: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) request_id: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    jti: String,
    resource: String,
    client_id: String,
    subject_fp: String,
    request_id: &'a str,
}

impl Replay<'_> {
    pub(super) fn made(&self, key: Option<&HmacKey>, now_us: i64) -> Option<Made> {
        let id = new_id(now_us);
        let own = id.hyphenated().to_string();
        let is_found = is_request_id(self.request_id);
        let request_id = if is_found { self.request_id } else { &own };
        let mut fingerprint = Sha256::digest(self.mandate).to_vec();
        fingerprint.truncate(8);
        let metadata = Metadata {
            jti: shown(self.jti),
            resource: shown(self.resource),
            client_id: shown(self.client),
            subject_fp: hex::encode(fingerprint),
            request_id,
        };
        let parts = Parts {
            id,
            zone_id: self.zone,
            event_type: "replay_detected",
            request_id,
            decision: "deny",
            evaluation_status: "anomaly",
            reason: None,
            metadata: &metadata,
            occurred_at_us: now_us,
        };
        make(&parts, key)
    }
}

/// A claim, cut to what an event may hold.
fn shown(text: &str) -> String {
    let cut = text
        .get(..text.floor_char_boundary(MAX_TEXT))
        .unwrap_or_default();
    cleaned(cut)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_the_products_event_and_has_no_token() {
        let mut replay = Replay {
            mandate: "a.b.c",
            zone: "z",
            jti: &format!("j\u{0}{}", "é".repeat(2_000)),
            client: "app-1",
            resource: "resource://x",
            request_id: "r-1",
        };
        let made = replay.made(None, 1_767_225_600_000_000).unwrap();
        let mut event: Value = serde_json::from_str(&made.data).unwrap();
        let jti = event["metadata_json"]["jti"].take();
        assert_eq!(jti, format!("j{}", "é".repeat(511)));
        let id = event["id"].take();
        assert_eq!(
            event,
            json!({
                "id": null, "zone_id": "z", "event_type": "replay_detected", "request_id": "r-1",
                "decision": "deny", "evaluation_status": "anomaly",
                "determining_policies_json": [], "diagnostics_json": [],
                "metadata_json": {
                    "jti": null, "resource": "resource://x", "client_id": "app-1",
                    "subject_fp": "845e30448809e2bc", "request_id": "r-1",
                },
                "occurred_at": "2026-01-01T00:00:00.000000Z",
            })
        );
        assert_eq!(id.as_str().unwrap().len(), 36);
        replay.request_id = "a/b";
        let made = replay.made(None, 1).unwrap();
        assert_eq!(made.request_id.len(), 36);
        assert!(!made.data.contains("a/b") && !made.data.contains("a.b.c"));
    }
}
