//! The key set in shared data: the control record of [`caracal_mandate::jwks::refresh`],
//! and the document of the STS. Any plugin with the same `vm_id` can write there. So a value
//! that this filter did not make counts as missing ([`SharedData`]), and so does one that is
//! older than what this VM has seen. Both values say when their fetch began, so an old
//! document does not get a new age.

use caracal_mandate::config::{AcceptedZone, Configuration};
use caracal_mandate::jwks::key_set::MAX_DOCUMENT_BYTES;
use caracal_mandate::jwks::refresh::{Control, Lease};
use caracal_mandate::shared_record::seal;

use crate::abi::hostcalls::Status;
use crate::proxy::Proxy;
use crate::vm::shared_data::{SharedData, Watched, namespace_digest, refuse};

/// While others spoil the record, this VM begins a fetch at most this often.
const SPOILED_APART_MS: u64 = 1_000;
const MAGIC: &[u8] = b"CRK2";

/// The names of the values of one zone of a configuration, and where they are kept.
#[derive(Debug)]
pub(crate) struct KeySetStore {
    data: SharedData,
    control: Watched,
    key_set: String,
    /// The control record when it was last read or written.
    known: Control,
    /// When the fetch of the newest key set began that this VM has seen.
    newest_ms: u64,
    /// The order of the newest record that this VM has seen.
    newest: (u64, u64),
    /// The record that was last read is not what this filter wrote last.
    spoiled: bool,
    /// When this VM last began a fetch.
    pub(crate) begun_ms: Option<u64>,
}

/// Names a key set: its generation, and when its fetch began.
pub(crate) type KeySetId = (u64, u64);

/// The key set in shared data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredKeySet {
    /// The document of the requested key set.
    Document(Vec<u8>),
    /// Another key set: a VM is writing. Look again later.
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
        let secret = configuration.shared_data_secret();
        let part = secret.and_then(seal::name_part);
        texts.extend(part.as_deref());
        let name = namespace_digest(&texts);
        let scope = Proxy::of(configuration).capabilities().shared_data;
        KeySetStore {
            data: SharedData::new(scope, secret, "key set", &name),
            control: Watched::new(["caracal/v5/", &name, "/control"].concat()),
            key_set: ["caracal/v5/", &name, "/key_set"].concat(),
            known: Control::default(),
            newest_ms: 0,
            newest: (0, 0),
            spoiled: false,
            begun_ms: None,
        }
    }

    /// Whether others spoil the record, and this VM has just begun a fetch.
    pub(crate) fn spares_sts(&self, now_ms: u64) -> bool {
        let begun = self.begun_ms.filter(|_| self.spoiled);
        begun.is_some_and(|begun| now_ms.saturating_sub(begun) < SPOILED_APART_MS)
    }

    /// The control record, and its version for a write. A record that is damaged, older than
    /// one that this VM has seen, or was never written counts as empty.
    #[inline(never)]
    pub(crate) fn control(&mut self) -> Result<(Control, u32), Status> {
        let (changed, cas) = self.data.changed(&mut self.control)?;
        let Some(bytes) = changed else {
            return Ok((self.known, cas));
        };
        let found = Control::decode(&bytes).filter(|control| {
            // A record after a lost one has no key set yet.
            let is_old = control.order() < self.newest
                || control
                    .key_set_id()
                    .is_some_and(|(_, fetched_ms)| fetched_ms < self.newest_ms);
            if is_old {
                refuse("is older than what this VM has seen");
            }
            !is_old
        });
        self.spoiled = found.is_none();
        self.know(found.unwrap_or_default());
        Ok((self.known, cas))
    }

    fn know(&mut self, control: Control) {
        self.known = control;
        self.newest = self.newest.max(control.order());
        if let Some((_, fetched_ms)) = control.key_set_id() {
            self.newest_ms = self.newest_ms.max(fetched_ms);
        }
    }

    /// Whether the holder of a lease may write what it began to fetch at a time: it still has
    /// the lease, and no key set was seen whose fetch began later.
    pub(crate) fn may_write(&self, control: &Control, lease: Lease, started_ms: u64) -> bool {
        control.holds(lease) && self.newest_ms <= started_ms
    }

    /// Returns `false` if another VM wrote meanwhile.
    #[inline(never)]
    pub(crate) fn write_control(&mut self, control: &Control, cas: u32) -> Result<bool, Status> {
        let bytes = control.encode();
        let written = self.data.set_watched(&mut self.control, &bytes, cas)?;
        if written {
            self.know(*control);
        }
        Ok(written)
    }

    pub(crate) fn key_set(&self, id: KeySetId) -> Result<StoredKeySet, Status> {
        let Some(shared) = self.data.get(&self.key_set)? else {
            return Ok(StoredKeySet::Damaged);
        };
        Ok(match decode(&shared.value) {
            Some((found, document)) if found == id => StoredKeySet::Document(document.to_vec()),
            Some(_) => StoredKeySet::OtherGeneration,
            None => StoredKeySet::Damaged,
        })
    }

    /// The version of the key set, for a write. It is read before the lease is checked,
    /// so a holder that loses the lease in between overwrites nothing.
    pub(crate) fn key_set_version(&self) -> Result<u32, Status> {
        self.data.version(&self.key_set)
    }

    /// Writes a key set. Only the holder of the lease does this. It
    /// then writes the record that puts the key set in force.
    pub(crate) fn write_key_set(
        &self,
        id: KeySetId,
        document: &[u8],
        cas: u32,
    ) -> Result<bool, Status> {
        self.data.set(&self.key_set, &encode(id, document), cas)
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

fn encode((generation, fetched_ms): KeySetId, document: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(document.len().saturating_add(24));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&fetched_ms.to_le_bytes());
    bytes.extend_from_slice(document);
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(KeySetId, &[u8])> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let (generation, rest) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (fetched_ms, document) = rest.split_first_chunk::<8>()?;
    let id = (
        u64::from_le_bytes(*generation),
        u64::from_le_bytes(*fetched_ms),
    );
    (document.len() <= MAX_DOCUMENT_BYTES).then_some((id, document))
}
