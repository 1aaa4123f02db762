//! Shared values. All VMs share them in the proxy's shared data. If that is missing or
//! unsafe, the configurations of one worker share them in its memory. Both have the same
//! compare-and-set rules, so one holder of a lease fetches for all. A map in memory is
//! dropped with its last user.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use sha2::{Digest as _, Sha256};

use crate::abi::hostcalls::{self, SharedValue, Status};
use crate::proxy::adapter::SharedDataScope;

/// A version that no key ever has. A write with it inserts a missing key, and fails if
/// the key exists. A write with 0 would overwrite the key.
pub(crate) const CAS_UNWRITTEN: u32 = u32::MAX;

/// Keys with their values, sorted.
type WorkerMap = RefCell<Vec<(String, SharedValue)>>;

thread_local! {
    static WORKER_MAPS: RefCell<Vec<(String, Weak<WorkerMap>)>> = RefCell::default();
}

/// Where values are kept.
#[derive(Debug)]
pub(crate) enum SharedData {
    /// The proxy's shared data.
    Proxy,
    /// This worker's memory.
    Worker(Rc<WorkerMap>),
}

impl SharedData {
    #[cold]
    pub(crate) fn new(scope: SharedDataScope, name: &str) -> Self {
        match scope {
            SharedDataScope::Proxy => SharedData::Proxy,
            SharedDataScope::Worker => SharedData::worker_local(name),
        }
    }

    /// The map of this name in this worker. Everybody who uses the same name finds it,
    /// and a name contains everything that its values depend on.
    #[cold]
    fn worker_local(name: &str) -> Self {
        let found = WORKER_MAPS.with(|maps| {
            let mut maps = maps.try_borrow_mut().ok()?;
            maps.retain(|(_, map)| map.strong_count() > 0);
            let known = maps.iter().find(|(known, _)| known == name);
            if let Some(map) = known.and_then(|(_, map)| map.upgrade()) {
                return Some(map);
            }
            let map: Rc<WorkerMap> = Rc::default();
            maps.push((name.to_owned(), Rc::downgrade(&map)));
            Some(map)
        });
        // If no other configuration finds this one, values are fetched more often, and
        // nothing else happens.
        SharedData::Worker(found.unwrap_or_default())
    }

    /// `None` if the key was never written.
    pub(crate) fn get(&self, key: &str) -> Result<Option<SharedValue>, Status> {
        match self {
            SharedData::Proxy => hostcalls::get_shared_data(key),
            SharedData::Worker(map) => read(map, key),
        }
    }

    /// Writes if the key's version is still `cas`. Returns `false` if it has changed.
    pub(crate) fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, Status> {
        match self {
            SharedData::Proxy => hostcalls::set_shared_data(key, value, cas),
            SharedData::Worker(map) => write(map, key, value, cas),
        }
    }
}

#[cold]
fn read(map: &WorkerMap, key: &str) -> Result<Option<SharedValue>, Status> {
    let map = map.try_borrow().map_err(|_| Status::INTERNAL_FAILURE)?;
    let index = map.binary_search_by(|(known, _)| known.as_str().cmp(key));
    let found = index.ok().and_then(|index| map.get(index));
    Ok(found.map(|(_, shared)| shared.clone()))
}

#[cold]
fn write(map: &WorkerMap, key: &str, value: &[u8], cas: u32) -> Result<bool, Status> {
    let mut map = map.try_borrow_mut().map_err(|_| Status::INTERNAL_FAILURE)?;
    let index = match map.binary_search_by(|(known, _)| known.as_str().cmp(key)) {
        Ok(index) => index,
        Err(index) => {
            let value = value.to_vec();
            map.insert(index, (key.to_owned(), SharedValue { value, cas: 0 }));
            return Ok(true);
        }
    };
    let Some((_, known)) = map.get_mut(index).filter(|(_, known)| known.cas == cas) else {
        return Ok(false);
    };
    known.cas = cas.wrapping_add(1);
    known.value.clear();
    known.value.extend_from_slice(value);
    Ok(true)
}

/// Stands for a list of texts. Different lists have different digests.
pub(crate) fn digest(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        // The length comes first, so that no two lists give the same bytes.
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// 128 bits of a digest in hex, for a name.
pub(crate) fn namespace_digest(texts: &[&str]) -> String {
    let digest = digest(texts);
    let bytes = digest.iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
