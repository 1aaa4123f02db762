//! The development zone's signing keys, in a file that only its owner can read: a JSON
//! Web Key Set (RFC 7517) with private keys, the current key first.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jwt_simple::algorithms::ES256KeyPair;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Number of keys that a zone serves: the current one and the previous one.
const KEPT: usize = 2;

#[derive(Clone, Serialize, Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
    kid: String,
    x: String,
    y: String,
    d: String,
}

/// The zone's signing keys, the current one first; never empty.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ZoneKeys {
    keys: Vec<PrivateJwk>,
}

impl ZoneKeys {
    /// One new key.
    pub(crate) fn generate() -> Result<Self> {
        Ok(ZoneKeys {
            keys: vec![PrivateJwk::generate()?],
        })
    }

    /// Reads a file, or makes one.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        if file.exists() {
            return ZoneKeys::read(file);
        }
        let keys = ZoneKeys::generate()?;
        keys.write(file)?;
        Ok(keys)
    }

    pub(crate) fn read(file: &Path) -> Result<Self> {
        let what = || {
            format!(
                "cannot read the keys in {}: expected the file that `caracal-edge sts --keys` writes",
                file.display()
            )
        };
        let text = std::fs::read(file).with_context(what)?;
        let keys: ZoneKeys = serde_json::from_slice(&text).with_context(what)?;
        ensure!(!keys.keys.is_empty(), "{} has no key", file.display());
        Ok(keys)
    }

    /// Replaces the file in one step, readable only by its owner.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let what = || format!("cannot write the keys to {}", file.display());
        let next = file.with_extension("new");
        let _ = std::fs::remove_file(&next);
        let mut made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&next)
            .with_context(what)?;
        made.write_all(&serde_json::to_vec_pretty(self)?)
            .and_then(|()| made.sync_all())
            .and_then(|()| std::fs::rename(&next, file))
            .with_context(what)
    }

    /// Makes a new current key. The previous one is still served (contract, "Key sets").
    pub(crate) fn rotate(&mut self) -> Result<()> {
        self.keys.insert(0, PrivateJwk::generate()?);
        self.keys.truncate(KEPT);
        Ok(())
    }

    /// Id of the key that signs.
    pub(crate) fn kid(&self) -> &str {
        self.keys.first().map_or("", |key| key.kid.as_str())
    }

    /// The public key under an id.
    pub(crate) fn verifying_key(&self, kid: &str) -> Option<VerifyingKey> {
        let key = self.keys.iter().find(|key| key.kid == kid)?;
        Some(*key.signing_key().ok()?.verifying_key())
    }

    /// The public key set document.
    pub(crate) fn key_set(&self) -> Value {
        let public = |key: &PrivateJwk| {
            json!({
                "kty": key.kty, "crv": key.crv, "alg": key.alg, "use": key.usage,
                "kid": key.kid, "x": key.x, "y": key.y,
            })
        };
        json!({"keys": self.keys.iter().map(public).collect::<Vec<_>>()})
    }

    /// Signs the given claims with the current key. Members of `header` replace the usual
    /// ones; null removes one.
    pub(crate) fn sign(
        &self,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<String> {
        let key = self.keys.first().context("there is no key")?;
        let mut full = Map::from_iter([
            ("alg".to_owned(), json!("ES256")),
            ("typ".to_owned(), json!("JWT")),
            ("kid".to_owned(), json!(key.kid)),
        ]);
        replace(&mut full, header);
        let encode = |part: &Map<String, Value>| -> Result<String> {
            Ok(BASE64.encode(serde_json::to_vec(part)?))
        };
        let input = format!("{}.{}", encode(&full)?, encode(claims)?);
        let signature: Signature = key.signing_key()?.sign(input.as_bytes());
        Ok(format!("{input}.{}", BASE64.encode(signature.to_bytes())))
    }
}

/// Replaces members; null removes one.
pub(crate) fn replace(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
}

impl PrivateJwk {
    fn generate() -> Result<Self> {
        let secret = ES256KeyPair::generate().to_bytes();
        let signing = SigningKey::from_slice(&secret).context("a new key is not usable")?;
        let point = signing.verifying_key().to_sec1_point(false);
        let (Some(x), Some(y)) = (point.x(), point.y()) else {
            anyhow::bail!("a new key has no point");
        };
        let kid = format!("dev-{}", BASE64.encode(x.get(..6).unwrap_or_default()));
        Ok(PrivateJwk {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            alg: "ES256".to_owned(),
            usage: "sig".to_owned(),
            kid,
            x: BASE64.encode(x),
            y: BASE64.encode(y),
            d: BASE64.encode(secret),
        })
    }

    fn signing_key(&self) -> Result<SigningKey> {
        let what = "a key of the key file is not a P-256 private key";
        let secret = BASE64.decode(&self.d).ok().context(what)?;
        SigningKey::from_slice(&secret).context(what)
    }
}
