//! The key set in shared data: the control record of [`caracal_mandate::jwks::refresh`],
//! and the document of the STS. Any plugin with the same `vm_id` can write there. So each
//! value has a version and a checksum, and a damaged value counts as missing.

use caracal_mandate::config::{AcceptedZone, Configuration};
use caracal_mandate::jwks::key_set::MAX_DOCUMENT_BYTES;
use caracal_mandate::jwks::refresh::Control;

use crate::abi::hostcalls::Status;
use crate::proxy::Proxy;
use crate::vm::shared_data::{CAS_UNWRITTEN, SharedData, namespace_digest};

const MAGIC: &[u8] = b"CRK1";

/// The names of the values of one zone of a configuration, and where they are kept.
#[derive(Debug)]
pub(crate) struct KeySetStore {
    data: SharedData,
    control: String,
    key_set: String,
}

/// The key set in shared data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredKeySet {
    /// The document of the requested generation.
    Document(Vec<u8>),
    /// Another generation: a VM is writing. Look again later.
    OtherGeneration,
    /// It is missing or damaged.
    Damaged,
}

impl KeySetStore {
    /// The names contain everything that makes two key sets different: the format, the
    /// issuer, the zone, the audience, the algorithms, the upstream, and the timing. A
    /// configuration that fetches rarely must not decide for one that must fetch often.
    pub(crate) fn new(configuration: &Configuration, accepted: &AcceptedZone) -> Self {
        let jwks = &accepted.jwks;
        let timing = [jwks.timeout_ms, jwks.ttl_s, jwks.max_stale_s].map(|n| n.to_string());
        let audience = audiences(configuration);
        let mut texts: Vec<&str> = timing.iter().map(String::as_str).collect();
        texts.extend([
            accepted.zone.issuer.as_str(),
            &accepted.zone.id,
            &audience,
            &jwks.upstream,
        ]);
        texts.extend(configuration.algorithms.iter().map(|a| a.as_jose()));
        texts.extend(jwks.url.as_deref());
        let name = namespace_digest(&texts);
        KeySetStore {
            data: SharedData::new(Proxy::of(configuration).capabilities().shared_data, &name),
            control: ["caracal/v3/", &name, "/control"].concat(),
            key_set: ["caracal/v3/", &name, "/key_set"].concat(),
        }
    }

    /// The control record, and its version for a write. A record that is damaged or was
    /// never written counts as empty.
    #[inline(never)]
    pub(crate) fn control(&self) -> Result<(Control, u32), Status> {
        Ok(match self.data.get(&self.control)? {
            Some(shared) => (
                Control::decode(&shared.value).unwrap_or_default(),
                shared.cas,
            ),
            None => (Control::default(), CAS_UNWRITTEN),
        })
    }

    /// Returns `false` if another VM wrote meanwhile.
    #[inline(never)]
    pub(crate) fn write_control(&self, control: &Control, cas: u32) -> Result<bool, Status> {
        self.data.set(&self.control, &control.encode(), cas)
    }

    pub(crate) fn key_set(&self, generation: u64) -> Result<StoredKeySet, Status> {
        let Some(shared) = self.data.get(&self.key_set)? else {
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

    /// The version of the key set, for a write. It is read before the lease is checked,
    /// so a holder that loses the lease in between overwrites nothing.
    pub(crate) fn key_set_version(&self) -> Result<u32, Status> {
        Ok(self
            .data
            .get(&self.key_set)?
            .map_or(CAS_UNWRITTEN, |shared| shared.cas))
    }

    /// Writes the key set of a generation. Only the holder of the lease does this. It
    /// then writes the record that puts the key set in force.
    pub(crate) fn write_key_set(
        &self,
        generation: u64,
        document: &[u8],
        cas: u32,
    ) -> Result<bool, Status> {
        self.data
            .set(&self.key_set, &encode(generation, document), cas)
    }
}

/// One audience as it is; several as one text that does not depend on their order.
fn audiences(configuration: &Configuration) -> String {
    let named = configuration
        .resources
        .iter()
        .map(|(id, resource)| resource.audience_of(id));
    let mut all: Vec<&str> = configuration
        .audience
        .as_deref()
        .into_iter()
        .chain(named)
        .collect();
    all.sort_unstable();
    match all.as_slice() {
        [one] => (*one).to_owned(),
        several => namespace_digest(several),
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
