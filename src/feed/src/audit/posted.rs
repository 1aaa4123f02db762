//! What a filter posts: a batch of events, each judged by itself, so that one that is wrong
//! does not cost the others. A member that is not known is left out: a newer filter may send
//! more than an older companion knows.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::product::{MAX_TEXT, Made, Parts, cleaned, is_request_id, make};
use crate::event::HmacKey;

/// Most events of a batch.
const MAX_EVENTS: usize = 500;
/// How far an event's time may be behind the companion's clock, in microseconds. The
/// product's tables have partitions for the time around now; other rows are in the way of
/// later ones.
const MAX_BEHIND_US: i64 = 24 * 60 * 60 * 1_000_000;
/// And ahead of it.
const MAX_AHEAD_US: i64 = 5 * 60 * 1_000_000;
const EVENT_TYPES: [&str; 2] = ["edge_resource_request", "gateway_resource_request"];
const DECISIONS: [&str; 2] = ["allow", "deny"];
const STATUSES: [&str; 6] = [
    "executed",
    "denied",
    "unavailable",
    "upstream_error",
    "upstream_rejected",
    "build_failed",
];
/// The largest whole number that every reader of JSON keeps as it is.
const MAX_NUMBER: u64 = 1 << 53;

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// A batch, read.
pub(super) struct Read {
    /// The events that are good, in their order.
    pub(super) made: Vec<Made>,
    /// How many are not.
    pub(super) rejected: u64,
    /// What was wrong with the last of those. It quotes nothing.
    pub(super) why: &'static str,
}

/// In the order in which the product's event has them.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegation_edge_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_kind: Option<String>,
    #[serde(skip_serializing_if = "is_not_true")]
    revocation_interrupted: Option<bool>,
    #[serde(skip_serializing_if = "is_not_true")]
    shadow: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn is_not_true(flag: &Option<bool>) -> bool {
    *flag != Some(true)
}

impl Metadata {
    fn texts(&mut self) -> [&mut Option<String>; 15] {
        [
            &mut self.application_id,
            &mut self.resource,
            &mut self.subject_fingerprint,
            &mut self.subject_kind,
            &mut self.method,
            &mut self.trace_id,
            &mut self.upstream_host,
            &mut self.auth_mode,
            &mut self.provider_id,
            &mut self.connection_id,
            &mut self.result_class,
            &mut self.agent_session_id,
            &mut self.delegation_edge_id,
            &mut self.error_kind,
            &mut self.reason,
        ]
    }

    /// Cleans every text; one that is then empty is left out.
    fn clean(&mut self) -> Result<(), &'static str> {
        for text in self.texts() {
            let Some(given) = text else { continue };
            if given.len() > MAX_TEXT {
                return Err("a text of metadata is over 1 KiB");
            }
            *text = Some(cleaned(given)).filter(|text| !text.is_empty());
        }
        let is_hex = |text: &String| {
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            text.len() == 16 && text.bytes().all(hex)
        };
        if !self.subject_fingerprint.as_ref().is_none_or(is_hex) {
            return Err("subject_fingerprint is not 16 hexadecimal digits");
        }
        let numbers = [self.latency_ms, self.response_bytes];
        if numbers.into_iter().flatten().any(|n| n > MAX_NUMBER) {
            return Err("a number of metadata is over 2^53");
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Posted {
    id: String,
    occurred_at_us: i64,
    zone_id: String,
    event_type: String,
    request_id: String,
    decision: String,
    evaluation_status: String,
    /// Why it was refused, more precisely than `metadata.reason`.
    #[serde(default)]
    diagnostic: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

impl Posted {
    fn made(mut self, key: Option<&HmacKey>, now_us: i64) -> Result<Made, &'static str> {
        let id = Uuid::try_parse(&self.id).ok();
        let id =
            id.filter(|id| id.get_version_num() == 7 && id.hyphenated().to_string() == self.id);
        let id = id.ok_or("id is not a UUID of version 7 in lower case")?;
        // Another zone than was meant would be shown to somebody else: it is not mended.
        if !(1..=MAX_TEXT).contains(&self.zone_id.len())
            || self.zone_id.chars().any(char::is_control)
        {
            return Err("zone_id is not 1 to 1024 bytes without control characters");
        }
        if !is_request_id(&self.request_id) {
            return Err("request_id does not match ^[A-Za-z0-9_.\\-:]{1,128}$");
        }
        for (known, text, why) in [
            (&EVENT_TYPES[..], &self.event_type, "event_type is unknown"),
            (&DECISIONS[..], &self.decision, "decision is unknown"),
            (
                &STATUSES[..],
                &self.evaluation_status,
                "evaluation_status is unknown",
            ),
        ] {
            if !known.contains(&text.as_str()) {
                return Err(why);
            }
        }
        if !self.diagnostic.as_deref().is_none_or(is_name) {
            return Err("diagnostic is not 1 to 64 lower-case letters, digits or _");
        }
        self.metadata.clean()?;
        let occurred_at_us = happened(self.occurred_at_us, id, now_us)
            .ok_or("occurred_at_us and the time of id are over a day behind, or over five minutes ahead of, the companion's clock")?;
        let parts = Parts {
            id,
            zone_id: &self.zone_id,
            event_type: &self.event_type,
            request_id: &self.request_id,
            decision: &self.decision,
            evaluation_status: &self.evaluation_status,
            reason: self
                .diagnostic
                .as_deref()
                .or(self.metadata.reason.as_deref()),
            metadata: &self.metadata,
            occurred_at_us,
        };
        make(&parts, key).ok_or("the event is over 64 KiB")
    }
}

fn is_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}

/// When an event happened: its time, or that of its id if its time cannot be. The clock only
/// judges and is not in the result, so that an event that comes again, maybe through another
/// companion, stays the same one.
fn happened(occurred_at_us: i64, id: Uuid, now_us: i64) -> Option<i64> {
    let can_be = now_us.saturating_sub(MAX_BEHIND_US)..=now_us.saturating_add(MAX_AHEAD_US);
    // The first 48 bits are milliseconds.
    let ms = i64::try_from(id.as_u128() >> 80_u32).unwrap_or(i64::MAX);
    [occurred_at_us, ms.saturating_mul(1_000)]
        .into_iter()
        .find(|us| can_be.contains(us))
}

/// Reads a batch. `now_us` is the companion's clock in Unix microseconds.
///
/// # Errors
/// It is no batch, in words that do not quote it.
pub(super) fn read(body: &[u8], key: Option<&HmacKey>, now_us: i64) -> Result<Read, &'static str> {
    // Bytes that are no UTF-8, and control characters, would make the whole batch unreadable.
    // Outside of texts, JSON has none but white space.
    let body = String::from_utf8_lossy(body).replace(|c: char| c < ' ', " ");
    let batch: Batch<'_> =
        serde_json::from_str(&body).map_err(|_| "expected {\"events\": [...]} in JSON")?;
    if !(1..=MAX_EVENTS).contains(&batch.events.len()) {
        return Err("events: expected 1 to 500");
    }
    let mut read = Read {
        made: Vec::with_capacity(batch.events.len()),
        rejected: 0,
        why: "",
    };
    for event in batch.events {
        let posted = serde_json::from_str::<Posted>(event.get());
        let made = posted
            .map_err(|_| "a member is missing, twice there or of a wrong type")
            .and_then(|posted| posted.made(key, now_us));
        match made {
            Ok(made) => read.made.push(made),
            Err(why) => {
                read.rejected = read.rejected.saturating_add(1);
                read.why = why;
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
