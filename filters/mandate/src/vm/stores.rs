//! What all VMs of a proxy share, in the host's shared data, or, on nginx, all
//! configurations of a worker in its memory: the control record
//! of [`caracal_mandate::refresh`], the key set as the STS sent it, and the
//! revocation state of [`caracal_mandate::revocation`]. A fixed set of keys, each
//! value with a version, a length and a checksum: any plugin under the same
//! `vm_id` can write there.

use caracal_mandate::config::{Configuration, Feed, Host};
use caracal_mandate::keys::MAX_DOCUMENT_BYTES;
use caracal_mandate::refresh::Control;
use caracal_mandate::revocation::log::ChunkName;
use sha2::{Digest as _, Sha256};

use crate::abi::hostcalls::{SharedValue, Status};
use crate::vm::shared_data::SharedData;

/// A version number that no key ever has: a write against it inserts a missing
/// key and fails on an existing one, where 0 would overwrite.
const CAS_UNWRITTEN: u32 = u32::MAX;

const MAGIC: &[u8] = b"CRK1";

/// The names of one configuration's values.
#[derive(Debug)]
pub(crate) struct KeySetStore {
    data: SharedData,
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

impl KeySetStore {
    /// Names values after everything that makes two key sets different: the
    /// format, who issues, for whom, for which algorithms, from where, and when
    /// it is fetched: one that fetches seldom must not decide for one that must
    /// fetch often.
    pub(crate) fn new(configuration: &Configuration) -> Self {
        let jwks = &configuration.jwks;
        let timing = [jwks.timeout_ms, jwks.ttl_s, jwks.max_stale_s].map(|n| n.to_string());
        let audience = audiences(configuration);
        let mut texts: Vec<&str> = timing.iter().map(String::as_str).collect();
        texts.extend([
            configuration.issuer.as_str(),
            &configuration.zone_id,
            &audience,
            &jwks.upstream,
        ]);
        texts.extend(configuration.algorithms.iter().map(|a| a.as_jose()));
        let name = namespace_digest(&texts);
        KeySetStore {
            data: backend_for(configuration.host, &name),
            control: format!("caracal/v3/{name}/control"),
            key_set: format!("caracal/v3/{name}/key_set"),
        }
    }

    /// The control record and the version to write against. A record that was
    /// never written, or is damaged, is the empty one.
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

    /// `false` when another VM wrote meanwhile.
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

    /// The version to write the key set against. It is read before the lease is
    /// looked at: a holder that was overtaken in between changes nothing then.
    pub(crate) fn key_set_version(&self) -> Result<u32, Status> {
        Ok(self
            .data
            .get(&self.key_set)?
            .map_or(CAS_UNWRITTEN, |shared| shared.cas))
    }

    /// Writes the key set of a generation. Only the holder of a lease does; the
    /// record that makes it valid is written after it.
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

/// One audience as it is, several as one text that stands for all of them in any
/// order.
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

/// 128 bits in hex that stand for a list of texts.
fn namespace_digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        // The length first, so that no two lists of texts run together.
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    let digest = hash.finalize();
    let bytes = digest.iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The names of the revocation state. Configurations that ask the same companion
/// in the same way about the same zone share one.
#[derive(Debug)]
pub(crate) struct RevocationLogStore {
    data: SharedData,
    prefix: String,
    head: String,
}

impl RevocationLogStore {
    /// The version of a key that was never written.
    pub(crate) const CAS_UNWRITTEN: u32 = CAS_UNWRITTEN;

    pub(crate) fn new(configuration: &Configuration, feed: &Feed) -> Self {
        let numbers = [
            configuration.limits.max_anchors,
            feed.max_staleness_s,
            feed.poll_interval_ms,
        ];
        let numbers = numbers.map(|n| n.to_string());
        // The token too: one that is wrong must not spoil the state of others.
        let mut texts: Vec<&str> = vec![
            &configuration.zone_id,
            &feed.upstream,
            feed.token.as_ref().map_or("", |token| token.expose()),
        ];
        texts.extend(numbers.iter().map(String::as_str));
        // Nor may one that forgets anchors early, because it bounds the life of
        // mandates, write the log of one that does not.
        let kept = crate::vm::revocation::poller::max_anchor_life_s(configuration)
            .map(|keep_s| format!("kept {keep_s}"));
        texts.extend(kept.as_deref());
        // Whoever asks in the clear must not decide for one who asks over TLS.
        if let Some(tls) = feed.tls {
            texts.push(if tls { "tls" } else { "plain" });
        }
        let name = namespace_digest(&texts);
        let prefix = format!("caracal/v3/{name}/revocation");
        RevocationLogStore {
            data: backend_for(configuration.host, &prefix),
            head: format!("{prefix}/head"),
            prefix,
        }
    }

    /// The head's bytes, none when it was never written, and its version.
    pub(crate) fn head(&self) -> Result<(Vec<u8>, u32), Status> {
        self.read(&self.head)
    }

    /// `false` when another VM wrote meanwhile.
    pub(crate) fn write_head(&self, bytes: &[u8], cas: u32) -> Result<bool, Status> {
        self.data.set(&self.head, bytes, cas)
    }

    pub(crate) fn chunk(&self, name: ChunkName) -> Result<Option<SharedValue>, Status> {
        self.data.get(&self.key(name))
    }

    /// What stands where a chunk will be written, and its version.
    pub(crate) fn chunk_to_write(&self, name: ChunkName) -> Result<(Vec<u8>, u32), Status> {
        self.read(&self.key(name))
    }

    /// `false` when another VM wrote meanwhile.
    pub(crate) fn write_chunk(
        &self,
        name: ChunkName,
        bytes: &[u8],
        cas: u32,
    ) -> Result<bool, Status> {
        self.data.set(&self.key(name), bytes, cas)
    }

    fn key(&self, name: ChunkName) -> String {
        format!("{}/{}/{}", self.prefix, name.set, name.index)
    }

    fn read(&self, key: &str) -> Result<(Vec<u8>, u32), Status> {
        Ok(match self.data.get(key)? {
            Some(shared) => (shared.value, shared.cas),
            None => (Vec::new(), CAS_UNWRITTEN),
        })
    }
}

/// nginx's own shared data are none, or confuse keys, evict and tear (HOSTS, "Kong").
#[cold]
fn backend_for(host: Host, name: &str) -> SharedData {
    if host.is_nginx() {
        SharedData::worker_local(name)
    } else {
        SharedData::Proxy
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
