//! One message of a stream: its signature and its meaning (contract,
//! "Revocation streams").

use std::collections::BTreeMap;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How long a revocation and an epoch are kept (contract, "Revocation streams").
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest anchor that is accepted, in bytes. This is the largest token that a filter can
/// be configured to accept, so no mandate has a longer anchor.
pub const MAX_ANCHOR_BYTES: usize = 65_536;
/// Longest zone id, in bytes.
pub const MAX_ZONE_BYTES: usize = 2_048;
/// Longest part of a field that a dead letter keeps, in bytes.
const MAX_DEAD_FIELD_BYTES: usize = 4_096;
/// Most fields that a dead letter keeps.
const MAX_DEAD_FIELDS: usize = 64;
const SIGNATURE_FIELD: &[u8] = b"_sig";
const LEAST_KEY_BYTES: usize = 32;

/// The streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Sessions, agent sessions and delegation edges that have ended.
    Revocations,
    /// Delegation epochs of zones.
    Delegations,
}

impl Stream {
    /// Both of them.
    pub const ALL: [Stream; 2] = [Stream::Revocations, Stream::Delegations];

    /// Its key in Redis.
    pub fn key(self) -> &'static str {
        match self {
            Stream::Revocations => "caracal.sessions.revoke",
            Stream::Delegations => "caracal.delegations.invalidate",
        }
    }

    /// The key of its dead letters.
    pub fn dead_letters(self) -> &'static str {
        match self {
            Stream::Revocations => "caracal.sessions.revoke.dead",
            Stream::Delegations => "caracal.delegations.invalidate.dead",
        }
    }
}

/// Why a message has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// A key is configured, and the message is not signed with it.
    InvalidSignature,
    /// It names no anchor.
    MissingRevocationAnchor,
    /// It has no zone, or no epoch in 0..=2^63-1.
    InvalidDelegationEpoch,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Refused; 3] = [
        Refused::InvalidSignature,
        Refused::MissingRevocationAnchor,
        Refused::InvalidDelegationEpoch,
    ];

    /// The reason as dead letters and metrics give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::InvalidSignature => "invalid_signature",
            Refused::MissingRevocationAnchor => "missing_revocation_anchor",
            Refused::InvalidDelegationEpoch => "invalid_delegation_epoch",
        }
    }
}

/// The meaning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These anchors are revoked. None is empty, and none occurs twice.
    Revoked(Vec<String>),
    /// A zone's delegation epoch is at least this.
    Epoch {
        /// The zone.
        zone: String,
        /// Its epoch, 0..=2^63-1.
        epoch: u64,
    },
}

/// A message's fields. If a field occurs twice, the last one counts, as in the
/// connectors.
pub type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// The key that messages are signed with. It is never shown.
#[derive(Clone)]
pub struct HmacKey(Vec<u8>);

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl HmacKey {
    /// Reads a key from hex.
    ///
    /// # Errors What was expected, without repeating the text.
    pub fn from_hex(text: &str) -> Result<Self, String> {
        let key = hex::decode(text.trim())
            .map_err(|_| "expected hexadecimal digits, two for each byte".to_owned())?;
        if key.len() < LEAST_KEY_BYTES {
            return Err(format!(
                "expected at least {LEAST_KEY_BYTES} bytes, found {}",
                key.len()
            ));
        }
        Ok(HmacKey(key))
    }

    /// A name that tells this key from others and reveals nothing of it.
    pub fn name(&self) -> String {
        self.sign_text(b"caracal-edge: the name of this key")
    }

    /// Signs bytes; lower-case hex.
    pub(crate) fn sign_text(&self, text: &[u8]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(text);
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether a signature in hex is this key's, in constant time.
    pub(crate) fn has_signed_text(&self, text: &[u8], signature: &str) -> bool {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let (Ok(mut mac), Ok(given)) = (mac, hex::decode(signature)) else {
            return false;
        };
        mac.update(text);
        mac.verify_slice(&given).is_ok()
    }

    fn mac(&self, stream: Stream, fields: &Fields) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(stream.key().as_bytes());
        mac.update(b"\n");
        for (name, value) in fields {
            if name.as_slice() == SIGNATURE_FIELD {
                continue;
            }
            for part in [name.as_slice(), b"=", value, b"\n"] {
                mac.update(part);
            }
        }
        Some(mac)
    }

    /// Signs a message: adds its `_sig`.
    pub fn sign(&self, stream: Stream, fields: &mut Fields) {
        if let Some(mac) = self.mac(stream, fields) {
            let signature = hex::encode(mac.finalize().into_bytes());
            fields.insert(SIGNATURE_FIELD.to_vec(), signature.into_bytes());
        }
    }

    /// Compares in constant time. A signature with upper-case digits is not valid.
    fn has_signed(&self, stream: Stream, fields: &Fields) -> bool {
        let Some(given) = fields.get(SIGNATURE_FIELD) else {
            return false;
        };
        if given.iter().any(u8::is_ascii_uppercase) {
            return false;
        }
        let (Ok(given), Some(mac)) = (hex::decode(given), self.mac(stream, fields)) else {
            return false;
        };
        mac.verify_slice(&given).is_ok()
    }
}

impl Event {
    /// Reads a message of which only the meaningful fields were fetched, because the
    /// whole message is too large. The signature of a part cannot be checked. Nobody who
    /// signs needs such large messages.
    ///
    /// # Errors Why it has no effect.
    pub fn read_part(
        stream: Stream,
        fields: &Fields,
        key: Option<&HmacKey>,
    ) -> Result<Self, Refused> {
        match key {
            Some(_) => Err(Refused::InvalidSignature),
            None => Event::read(stream, fields, None),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Why it has no effect.
    pub fn read(stream: Stream, fields: &Fields, key: Option<&HmacKey>) -> Result<Self, Refused> {
        if key.is_some_and(|key| !key.has_signed(stream, fields)) {
            return Err(Refused::InvalidSignature);
        }
        match stream {
            Stream::Revocations => revoked(fields),
            Stream::Delegations => epoch(fields),
        }
    }
}

fn text<'a>(fields: &'a Fields, name: &str, max: usize) -> Option<&'a str> {
    let value = fields.get(name.as_bytes())?;
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty() && text.len() <= max).then_some(text)
}

fn revoked(fields: &Fields) -> Result<Event, Refused> {
    let mut anchors: Vec<String> = Vec::new();
    for name in [
        "session_id",
        "sid",
        "root_sid",
        "agent_session_id",
        "delegation_edge_id",
        // An older name of the previous field.
        "edge_id",
    ] {
        if let Some(anchor) = text(fields, name, MAX_ANCHOR_BYTES)
            && !anchors.iter().any(|known| known == anchor)
        {
            anchors.push(anchor.to_owned());
        }
    }
    if anchors.is_empty() {
        return Err(Refused::MissingRevocationAnchor);
    }
    Ok(Event::Revoked(anchors))
}

fn epoch(fields: &Fields) -> Result<Event, Refused> {
    let zone = text(fields, "zone_id", MAX_ZONE_BYTES);
    let epoch = text(fields, "epoch", 19).and_then(parse_epoch);
    match (zone, epoch) {
        (Some(zone), Some(epoch)) => Ok(Event::Epoch {
            zone: zone.to_owned(),
            epoch,
        }),
        _ => Err(Refused::InvalidDelegationEpoch),
    }
}

/// One to nineteen digits, at most 2^63-1.
pub fn parse_epoch(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
    let epoch: i64 = digits.then(|| text.parse().ok())??;
    u64::try_from(epoch).ok()
}

/// The fields of a refused message for its dead letter: JSON, sorted by name. What is not
/// UTF-8 is replaced, and what is too long is cut off.
pub fn dead_payload(fields: &Fields) -> String {
    let mut payload = serde_json::Map::new();
    for (name, value) in fields.iter().take(MAX_DEAD_FIELDS) {
        payload.insert(cut(name), serde_json::Value::String(cut(value)));
    }
    serde_json::Value::Object(payload).to_string()
}

fn cut(bytes: &[u8]) -> String {
    match bytes.get(..MAX_DEAD_FIELD_BYTES) {
        None => String::from_utf8_lossy(bytes).into_owned(),
        Some(kept) => format!("{}… ({} bytes)", String::from_utf8_lossy(kept), bytes.len()),
    }
}

#[cfg(test)]
mod tests;
