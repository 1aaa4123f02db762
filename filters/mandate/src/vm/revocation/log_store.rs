//! The revocation log in shared data: a head and numbered chunks, a fixed set of names that
//! are written over and over. A proxy may never free a name, so none is made for an anchor.

use caracal_mandate::config::{Configuration, Feed};
use caracal_mandate::revocation::log::ChunkName;

use crate::abi::hostcalls::{SharedValue, Status};
use crate::proxy::Proxy;
use crate::vm::shared_data::{CAS_UNWRITTEN, SharedData, namespace_digest};

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
        let kept = max_anchor_life_s(configuration).map(|keep_s| format!("kept {keep_s}"));
        texts.extend(kept.as_deref());
        // Whoever asks in the clear must not decide for one who asks over TLS.
        if let Some(tls) = feed.tls {
            texts.push(if tls { "tls" } else { "plain" });
        }
        let name = namespace_digest(&texts);
        let prefix = format!("caracal/v3/{name}/revocation");
        RevocationLogStore {
            data: SharedData::new(Proxy::of(configuration).capabilities().shared_data, &prefix),
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

/// The longest that an anchor is kept, where the life of mandates is bounded: none
/// outlives that, and clocks may differ twice, when it was issued and where it is
/// judged.
pub(crate) fn max_anchor_life_s(configuration: &Configuration) -> Option<u32> {
    let skew_s = configuration.clock_skew_s.saturating_mul(2);
    let longest = configuration.limits.max_lifetime_s?;
    u32::try_from(longest.saturating_add(skew_s)).ok()
}
