//! The revocation log in shared data: a head and numbered chunks. Their names are a fixed
//! set that is reused. Envoy never frees a name, so anchors cannot be names.

use caracal_mandate::config::{Configuration, Feed};
use caracal_mandate::revocation::log::ChunkName;
use caracal_mandate::shared_record::seal;
use caracal_mandate::zone::Zones;

use crate::abi::hostcalls::{SharedValue, Status};
use crate::proxy::Proxy;
use crate::vm::shared_data::{CAS_UNWRITTEN, SharedData, Watched, namespace_digest};

/// The names of one log. Configurations share a log if they ask the same companion in the
/// same way about the same zones.
#[derive(Debug)]
pub(crate) struct RevocationLogStore {
    data: SharedData,
    prefix: String,
    head: Watched,
}

impl RevocationLogStore {
    /// The version of a key that was never written.
    pub(crate) const CAS_UNWRITTEN: u32 = CAS_UNWRITTEN;

    pub(crate) fn new(configuration: &Configuration, feed: &Feed, zones: &Zones) -> Self {
        let numbers = [
            configuration.limits.max_anchors,
            feed.max_staleness_s,
            feed.poll_interval_ms,
        ];
        let numbers = numbers.map(|n| n.to_string());
        // A configuration with a wrong token must not spoil the log of others.
        let zones = zone_ids(zones);
        let mut texts: Vec<&str> = vec![
            &zones,
            &feed.upstream,
            feed.token.as_ref().map_or("", |token| token.expose()),
        ];
        texts.extend(numbers.iter().map(String::as_str));
        // A configuration that forgets anchors early, because it bounds the life of
        // mandates, must not write the log of one that does not.
        let kept = max_anchor_life_s(configuration).map(|keep_s| format!("kept {keep_s}"));
        texts.extend(kept.as_deref());
        // A configuration that asks without TLS must not decide for one that asks with
        // TLS.
        if let Some(tls) = feed.tls {
            texts.push(if tls { "tls" } else { "plain" });
        }
        let secret = configuration.shared_data_secret();
        let part = secret.and_then(seal::name_part);
        texts.extend(part.as_deref());
        let name = namespace_digest(&texts);
        let prefix = ["caracal/v5/", &name, "/revocation"].concat();
        let scope = Proxy::of(configuration).capabilities().shared_data;
        RevocationLogStore {
            data: SharedData::new(scope, secret, "revocation", &name),
            head: Watched::new([&prefix, "/head"].concat()),
            prefix,
        }
    }

    /// The head's bytes if they have changed, and its version. The bytes are empty if it was
    /// never written, or not by this filter.
    pub(crate) fn head(&mut self) -> Result<(Option<Vec<u8>>, u32), Status> {
        self.data.changed(&mut self.head)
    }

    /// Returns `false` if another VM wrote meanwhile.
    pub(crate) fn write_head(&mut self, bytes: &[u8], cas: u32) -> Result<bool, Status> {
        self.data.set_watched(&mut self.head, bytes, cas)
    }

    pub(crate) fn chunk(&self, name: ChunkName) -> Result<Option<SharedValue>, Status> {
        self.data.get(&self.key(name))
    }

    /// The bytes of a chunk, and the version that a write must replace.
    pub(crate) fn chunk_to_write(&self, name: ChunkName) -> Result<(Vec<u8>, u32), Status> {
        Ok(match self.data.get(&self.key(name))? {
            Some(shared) => (shared.value, shared.cas),
            None => (Vec::new(), CAS_UNWRITTEN),
        })
    }

    /// The version that a write of this chunk must replace.
    pub(crate) fn chunk_version(&self, name: ChunkName) -> Result<u32, Status> {
        self.data.version(&self.key(name))
    }

    /// Returns `false` if another VM wrote meanwhile.
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
}

/// One zone as it is; several as one text.
fn zone_ids(zones: &Zones) -> String {
    let ids: Vec<&str> = zones.iter().map(|(_, zone)| zone.id.as_str()).collect();
    match ids.as_slice() {
        [one] => (*one).to_owned(),
        several => namespace_digest(several),
    }
}

/// The longest time for which an anchor is kept if the life of mandates is bounded. No
/// mandate outlives it. Two clocks may be wrong: the issuer's and this one.
pub(crate) fn max_anchor_life_s(configuration: &Configuration) -> Option<u32> {
    let skew_s = configuration.clock_skew_s.saturating_mul(2);
    let longest = configuration.limits.max_lifetime_s?;
    u32::try_from(longest.saturating_add(skew_s)).ok()
}
