//! The tag of a value in the host's shared data. Any plugin with the same `vm_id` can write
//! there, so a value counts only with a tag that this plugin cannot make: HMAC-SHA256 (RFC
//! 2104) of the value's name and bytes. Its key is the HMAC of a label under a secret of the
//! configuration. The form's version, what the values are for, and their
//! namespace are parts of the label. So a value of one name, zone or version has no
//! good tag under another.
//!
//! A tag does not tell an old value from the newest. What stands in the value does:
//! [`crate::revocation::log_head`] and [`crate::jwks::refresh`].

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 32;
/// The form of what is authenticated. Other forms have other keys.
const FORM: &[u8] = b"caracal shared data 1";

/// Makes and checks the tags of one kind of values.
#[derive(Clone)]
pub struct Seal(Hmac<Sha256>);

impl Seal {
    /// The seal for values of this purpose and namespace. None if the key cannot be derived.
    pub fn new(secret: &str, purpose: &str, namespace: &str) -> Option<Self> {
        let key = derive(secret, &[purpose.as_bytes(), namespace.as_bytes()])?;
        Hmac::new_from_slice(&key).ok().map(Seal)
    }

    /// The value with its tag behind it.
    #[inline(never)]
    pub fn seal(&self, name: &str, value: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(value.len().saturating_add(TAG_BYTES));
        sealed.extend_from_slice(value);
        sealed.extend_from_slice(&self.tag(name, value).finalize().into_bytes());
        sealed
    }

    /// The length of the value in `sealed`, which comes first there. None if the tag is not
    /// the one of this name and value. The comparison takes the same time wherever the tags
    /// differ.
    #[inline(never)]
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<usize> {
        let (value, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        self.tag(name, value).verify_slice(tag).ok()?;
        Some(value.len())
    }

    fn tag(&self, name: &str, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // The length comes first, so that no two pairs give the same bytes.
        mac.update(&size(name.as_bytes()));
        mac.update(name.as_bytes());
        mac.update(value);
        mac
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// 128 bits in hex that stand for a secret in names of values. Configurations with different
/// secrets have different names, and do not refuse each other's values. Who does not know
/// the secret cannot compute the names.
pub fn name_part(secret: &str) -> Option<String> {
    let key = derive(secret, &[b"names"])?;
    Some(key.iter().take(16).map(|b| format!("{b:02x}")).collect())
}

fn derive(secret: &str, labels: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(FORM);
    for label in labels {
        mac.update(&size(label));
        mac.update(label);
    }
    Some(mac.finalize().into_bytes().into())
}

fn size(bytes: &[u8]) -> [u8; 8] {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests;
