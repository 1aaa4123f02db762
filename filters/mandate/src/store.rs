//! What all VMs of a proxy share: two values in the host's shared data, the
//! control record of [`caracal_mandate::refresh`] and the key set as the STS
//! sent it. A fixed set of keys, each value with a version, a length and a
//! checksum: any plugin under the same `vm_id` can write there.

use caracal_mandate::config::Configuration;
use caracal_mandate::keys::MAX_DOCUMENT_BYTES;
use caracal_mandate::refresh::Control;
use sha2::{Digest as _, Sha256};

use crate::host::{self, Failed};

/// A version number that no key ever has: a write against it inserts a missing
/// key and fails on an existing one, where 0 would overwrite.
const NEVER: u32 = u32::MAX;

const MAGIC: &[u8] = b"CRK1";

/// The names of one configuration's values.
#[derive(Debug)]
pub(crate) struct Store {
    control: String,
    key_set: String,
}

/// A key set as it stands in the shared data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredKeySet {
    /// The document of that generation.
    Document(Vec<u8>),
    /// Another generation: a write is under way, look again.
    OtherGeneration,
    /// Not there, or not what was written.
    Damaged,
}

impl Store {
    /// Names values after everything that makes two key sets different: the
    /// format, who issues, for whom, for which algorithms, and from where.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            // The length first, so that no two lists of texts run together.
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        for text in [
            &configuration.issuer,
            &configuration.zone_id,
            &configuration.audience,
            &configuration.jwks.upstream,
        ] {
            add(text);
        }
        for algorithm in &configuration.algorithms {
            add(algorithm.as_jose());
        }
        let name: String = hash
            .finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Store {
            control: format!("caracal/v1/{name}/control"),
            key_set: format!("caracal/v1/{name}/key_set"),
        }
    }

    /// The control record and the version to write against. A record that was
    /// never written, or is damaged, is the empty one.
    pub(crate) fn control(&self) -> Result<(Control, u32), Failed> {
        Ok(match host::shared_data(&self.control)? {
            Some(shared) => (
                Control::decode(&shared.value).unwrap_or_default(),
                shared.cas,
            ),
            None => (Control::default(), NEVER),
        })
    }

    /// `false` when another VM wrote meanwhile.
    pub(crate) fn write_control(&self, control: &Control, cas: u32) -> Result<bool, Failed> {
        host::set_shared_data(&self.control, &control.encode(), cas)
    }

    pub(crate) fn key_set(&self, generation: u64) -> Result<StoredKeySet, Failed> {
        let Some(shared) = host::shared_data(&self.key_set)? else {
            return Ok(StoredKeySet::Damaged);
        };
        Ok(match decode(&shared.value) {
            Some((found, document)) if found == generation => {
                StoredKeySet::Document(document.to_vec())
            }
            Some(_) => StoredKeySet::OtherGeneration,
            None => StoredKeySet::Damaged,
        })
    }

    /// Writes the key set of a generation. Only the holder of a lease does; the
    /// record that makes it valid is written after it.
    pub(crate) fn write_key_set(&self, generation: u64, document: &[u8]) -> Result<bool, Failed> {
        let cas = host::shared_data(&self.key_set)?.map_or(NEVER, |shared| shared.cas);
        host::set_shared_data(&self.key_set, &encode(generation, document), cas)
    }
}

fn encode(generation: u64, document: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(document.len().saturating_add(24));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(document);
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (generation, document) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    (document.len() <= MAX_DOCUMENT_BYTES).then_some((u64::from_le_bytes(*generation), document))
}
