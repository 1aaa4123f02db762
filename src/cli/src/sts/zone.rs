//! A zone: its keys, and what they sign.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Verifier as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::dev::mint::Draft;
use crate::dev::signing_keys::ZoneKeys;

/// What a mandate is to differ in from a good one: claims and header members.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Order {
    pub(crate) claims: Map<String, Value>,
    pub(crate) header: Map<String, Value>,
}

/// See the module.
pub(crate) struct Zone {
    issuer: String,
    zone: String,
    keys: Mutex<ZoneKeys>,
    file: Option<PathBuf>,
    fetches: AtomicU64,
}

impl Zone {
    pub(crate) fn new(issuer: String, zone: String, file: Option<PathBuf>) -> Result<Arc<Self>> {
        let keys = match &file {
            Some(file) => ZoneKeys::open(file)?,
            None => ZoneKeys::generate()?,
        };
        Ok(Arc::new(Zone {
            issuer,
            zone,
            keys: Mutex::new(keys),
            file,
            fetches: AtomicU64::new(0),
        }))
    }

    fn keys(&self) -> MutexGuard<'_, ZoneKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The zone's id.
    pub(crate) fn id(&self) -> &str {
        &self.zone
    }

    /// The issuer of its mandates.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its key set, which counts as fetched.
    pub(super) fn key_set(&self) -> Value {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.keys().key_set()
    }

    /// Mints with the current key.
    pub(crate) fn mint(&self, order: &Order) -> Result<String> {
        let mut draft = Draft::demo(&self.issuer);
        draft.zone.clone_from(&self.zone);
        let claims = draft.claims(&order.claims)?;
        self.keys().sign(&order.header, &claims)
    }

    /// Signs claims with the current key.
    pub(super) fn sign(&self, claims: &Map<String, Value>) -> Result<String> {
        self.keys().sign(&Map::new(), claims)
    }

    /// The claims of a token that one of its keys has signed.
    pub(super) fn verify(&self, token: &str) -> Option<Map<String, Value>> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let object = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
        };
        let header = object(header)?;
        if header.get("alg") != Some(&json!("ES256")) {
            return None;
        }
        let key = self.keys().verifying_key(header.get("kid")?.as_str()?)?;
        let signature = Signature::from_slice(&BASE64.decode(signature).ok()?).ok()?;
        key.verify(input.as_bytes(), &signature).ok()?;
        object(claims)
    }

    /// Rotates; the id of the new key comes back.
    pub(crate) fn rotate(&self) -> Result<String> {
        let mut keys = self.keys();
        let mut next = keys.clone();
        next.rotate()?;
        if let Some(file) = &self.file {
            next.write(file)?;
        }
        *keys = next;
        Ok(keys.kid().to_owned())
    }

    /// Fetches of the key set so far.
    pub(crate) fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::SeqCst)
    }
}
