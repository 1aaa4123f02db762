//! Key sets: which keys of a zone's JWK Set (RFC 7517) may verify a mandate.
//! Contract, "Key sets".

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use serde_json::value::RawValue;

use crate::json::{self, InvalidJson, Members, Value};
use crate::jwks::algorithm::Algorithm;
use crate::jwks::signature::{P256Key, PublicKey};

/// Largest key set document accepted, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Usable keys kept of one set. Further keys are ignored.
pub const MAX_KEYS: usize = 64;
/// Unusable keys that are remembered with their reason; the others are counted.
const MAX_SKIPPED_TOLD: usize = 64;
/// Longest `kid` of an unusable key that is reported, in bytes.
const MAX_KID_TOLD_BYTES: usize = 48;
/// Keys tried under one `kid`: each costs a signature check.
pub const MAX_KEYS_PER_KID: usize = 4;

/// RFC 7638 thumbprint (SHA-256). It identifies a key, also if its `kid` comes back with
/// another key.
pub type Thumbprint = [u8; 32];

/// One usable key.
#[derive(Clone)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    thumbprint: Thumbprint,
    public: PublicKey,
}

/// Why a JWK is not used. Only this key is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableKey {
    /// The text is not strict JSON of one object.
    Text(InvalidJson),
    /// `kty`, `crv` and `alg` name no algorithm that the operator allows.
    Algorithm,
    /// `kid` is absent, not a string, or empty.
    KeyId,
    /// `use` is there and not `sig`, or `key_ops` is there without `verify`.
    Purpose,
    /// `d` is there: a private key was published, and anybody may sign with it.
    PrivateKey,
    /// The coordinates are not 32 bytes of base64url, or not a point on the curve.
    Point,
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnusableKey::Text(why) => return write!(f, "its text {why}"),
            UnusableKey::Algorithm => {
                "kty, crv and alg together name no algorithm that is allowed here"
            }
            UnusableKey::KeyId => "it has no kid",
            UnusableKey::Purpose => "its use or key_ops is not for verifying",
            UnusableKey::PrivateKey => "it holds the private key (d)",
            UnusableKey::Point => "its coordinates are not on the curve",
        })
    }
}

/// A key that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its `kid`, if it has one that can be reported: at most 48 bytes.
    pub kid: Option<String>,
    /// The reason.
    pub why: UnusableKey,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(f, "{kid:?}: {}", self.why),
            None => write!(f, "{}", self.why),
        }
    }
}

impl Skipped {
    fn new(jwk: &Members<'_>, why: UnusableKey) -> Self {
        let kid = text(jwk, "kid").filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID_TOLD_BYTES);
        let kid = kid.map(str::to_owned);
        Skipped { kid, why }
    }
}

impl Key {
    fn read(jwk: &RawValue, allowed: &[Algorithm]) -> Result<Self, Skipped> {
        match json::parse_object(jwk.get().as_bytes()) {
            Ok(jwk) => Key::parse(&jwk, allowed).map_err(|why| Skipped::new(&jwk, why)),
            Err(why) => Err(Skipped {
                kid: None,
                why: UnusableKey::Text(why),
            }),
        }
    }

    fn parse(jwk: &Members<'_>, allowed: &[Algorithm]) -> Result<Self, UnusableKey> {
        let algorithm = match (text(jwk, "kty"), text(jwk, "crv"), text(jwk, "alg")) {
            (Some("EC"), Some("P-256"), Some("ES256")) => Algorithm::Es256,
            (Some("OKP"), Some("Ed25519"), Some("EdDSA" | "Ed25519")) => Algorithm::EdDsa,
            _ => return Err(UnusableKey::Algorithm),
        };
        if !allowed.contains(&algorithm) {
            return Err(UnusableKey::Algorithm);
        }
        let kid = text(jwk, "kid")
            .filter(|kid| !kid.is_empty())
            .ok_or(UnusableKey::KeyId)?;
        let for_signatures = match json::member(jwk, "use") {
            None => true,
            Some(Value::String(purpose)) => purpose == "sig",
            Some(_) => false,
        };
        let may_verify = match json::member(jwk, "key_ops") {
            None => true,
            Some(Value::Array(ops)) => {
                ops.is_empty() || ops.iter().any(|op| *op == Value::String("verify".into()))
            }
            Some(_) => false,
        };
        if !for_signatures || !may_verify {
            return Err(UnusableKey::Purpose);
        }
        if json::member(jwk, "d").is_some() {
            return Err(UnusableKey::PrivateKey);
        }
        let (public, canonical) = match algorithm {
            Algorithm::Es256 => {
                let (x, y) = (coordinate(jwk, "x")?, coordinate(jwk, "y")?);
                let key = P256Key::from_coordinates(&x, &y).ok_or(UnusableKey::Point)?;
                let [x, y] = [x, y].map(|c| URL_SAFE_NO_PAD.encode(c));
                let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
                (PublicKey::P256(key), canonical)
            }
            Algorithm::EdDsa => {
                let x = coordinate(jwk, "x")?;
                let canonical = format!(
                    r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
                    URL_SAFE_NO_PAD.encode(x)
                );
                (
                    PublicKey::Ed25519(ed25519_compact::PublicKey::new(x)),
                    canonical,
                )
            }
        };
        Ok(Key {
            kid: kid.to_owned(),
            algorithm,
            thumbprint: Sha256::digest(canonical).into(),
            public,
        })
    }

    /// `kid`: never empty.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm that the key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// The public key, checked and prepared.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

fn text<'v>(jwk: &'v Members<'_>, name: &str) -> Option<&'v str> {
    match json::member(jwk, name) {
        Some(Value::String(s)) => Some(s.as_ref()),
        _ => None,
    }
}

fn coordinate(jwk: &Members<'_>, name: &str) -> Result<[u8; 32], UnusableKey> {
    text(jwk, name)
        .and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(UnusableKey::Point)
}

/// The usable keys of one zone, at least one and at most [`MAX_KEYS`].
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
    told: Vec<Skipped>,
}

/// Why a key set document is a failed fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidKeySet {
    /// Larger than [`MAX_DOCUMENT_BYTES`].
    TooLarge,
    /// Not a strict JSON object.
    Json(InvalidJson),
    /// No array `keys`.
    NoKeys,
    /// None of the keys is usable. The first of them is given, if there is any.
    NoUsableKey(Option<Skipped>),
}

impl fmt::Display for InvalidKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidKeySet::TooLarge => write!(f, "the key set is over {MAX_DOCUMENT_BYTES} bytes"),
            InvalidKeySet::Json(why) => write!(f, "the key set {why}"),
            InvalidKeySet::NoKeys => f.write_str("the key set has no array \"keys\""),
            InvalidKeySet::NoUsableKey(None) => f.write_str("the key set has no key"),
            InvalidKeySet::NoUsableKey(Some(skipped)) => {
                write!(f, "the key set has no usable key: {skipped}")
            }
        }
    }
}

impl KeySet {
    /// Reads a JWK Set document and keeps the keys that are usable with `allowed`. The
    /// document is split into keys leniently, and each key is checked strictly by itself.
    /// An unusable key is skipped.
    ///
    /// # Errors See [`InvalidKeySet`]. Each one counts as a failed fetch.
    pub fn parse(document: &[u8], allowed: &[Algorithm]) -> Result<Self, InvalidKeySet> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(InvalidKeySet::TooLarge);
        }
        let jwks = json::list_member(document, "keys").map_err(InvalidKeySet::Json)?;
        let jwks = jwks.ok_or(InvalidKeySet::NoKeys)?;
        let (mut keys, mut told) = (Vec::new(), Vec::new());
        let mut skipped: usize = 0;
        for jwk in jwks {
            if keys.len() >= MAX_KEYS {
                break;
            }
            match Key::read(jwk, allowed) {
                Ok(key) => keys.push(key),
                Err(why) => {
                    skipped = skipped.saturating_add(1);
                    if told.len() < MAX_SKIPPED_TOLD {
                        told.push(why);
                    }
                }
            }
        }
        if keys.is_empty() {
            return Err(InvalidKeySet::NoUsableKey(told.into_iter().next()));
        }
        Ok(KeySet {
            keys,
            skipped,
            told,
        })
    }

    /// The usable keys, in the document's order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// How many keys of the document were skipped as unusable.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The first skipped keys, each with its reason.
    pub fn skipped_keys(&self) -> &[Skipped] {
        &self.told
    }

    /// Whether any key has this `kid`.
    pub fn has_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// Whether exactly this key is still tried for tokens with its `kid`.
    pub fn has_key(&self, kid: &str, thumbprint: &Thumbprint) -> bool {
        self.keys
            .iter()
            .filter(|key| key.kid == kid)
            .take(MAX_KEYS_PER_KID)
            .any(|key| key.thumbprint == *thumbprint)
    }

    /// The keys to try for a token: at most [`MAX_KEYS_PER_KID`] with its `kid` and its
    /// algorithm.
    pub fn candidates<'a>(
        &'a self,
        kid: &'a str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys
            .iter()
            .filter(move |key| key.kid == kid)
            .take(MAX_KEYS_PER_KID)
            .filter(move |key| key.algorithm == algorithm)
    }
}

/// Prints kids and counts only, because a set can be large.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field(
                "kids",
                &self.keys.iter().map(|key| &key.kid).collect::<Vec<_>>(),
            )
            .field("skipped", &self.skipped)
            .finish()
    }
}

#[cfg(test)]
mod tests;
