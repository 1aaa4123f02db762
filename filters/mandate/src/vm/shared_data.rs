//! Shared values. All VMs share them in the proxy's shared data, where other plugins can
//! write too. So each has a tag ([`Seal`]), and one without a good tag counts as empty. If
//! shared data is missing or unsafe, or the configuration has no secret for tags, the
//! configurations of one worker share values in its memory. Both have the same
//! compare-and-set rules, so one holder of a lease fetches for all. A map in memory is
//! dropped with its last user.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use caracal_mandate::bytes::is_same;
use caracal_mandate::jwks::key_set::MAX_DOCUMENT_BYTES;
use caracal_mandate::shared_record::seal::Seal;
use sha2::{Digest as _, Sha256};

use crate::abi::hostcalls::{self, LogLevel, SharedValue, Status};
use crate::abi::wasi;
use crate::proxy::adapter::SharedDataScope;

/// A version that no key ever has. A write with it inserts a missing key, and fails if
/// the key exists. A write with 0 would overwrite the key.
pub(crate) const CAS_UNWRITTEN: u32 = u32::MAX;

/// Most bytes of a value with its tag. A larger one is refused without reading it.
const MAX_SEALED_BYTES: usize = MAX_DOCUMENT_BYTES + 1_024;
/// Refused values are logged at most once in this time, in each VM.
const LOG_INTERVAL_MS: u64 = 60_000;

/// Keys with their values, sorted.
type WorkerMap = RefCell<Vec<(String, SharedValue)>>;

thread_local! {
    static WORKER_MAPS: RefCell<Vec<(String, Weak<WorkerMap>)>> = RefCell::default();
    static REFUSED: Refused = const { Refused::new() };
}

/// The values that this VM has refused.
struct Refused {
    /// Those that are not yet in the metric, and those that no line of the log has counted.
    uncounted: Cell<u64>,
    unlogged: Cell<u64>,
    logged_ms: Cell<Option<u64>>,
}

impl Refused {
    const fn new() -> Self {
        Refused {
            uncounted: Cell::new(0),
            unlogged: Cell::new(0),
            logged_ms: Cell::new(None),
        }
    }
}

/// A value is refused. `why` is a part of a sentence.
#[cold]
#[inline(never)]
pub(crate) fn refuse(why: &str) {
    REFUSED.with(|refused| {
        refused.uncounted.set(refused.uncounted.get().saturating_add(1));
        let unlogged = refused.unlogged.get().saturating_add(1);
        refused.unlogged.set(unlogged);
        let Some(now_ms) = wasi::monotonic_ms() else {
            return;
        };
        let last = refused.logged_ms.get();
        if last.is_some_and(|last| now_ms.saturating_sub(last) < LOG_INTERVAL_MS) {
            return;
        }
        refused.logged_ms.set(Some(now_ms));
        refused.unlogged.set(0);
        hostcalls::log(
            LogLevel::Error,
            &format!(
                "caracal: a value in the proxy's shared data is refused, because it {why}: does another plugin write under this vm_id? ({unlogged} since the last such line)"
            ),
        );
    });
}

/// How many values were refused since the last call.
pub(crate) fn take_refused() -> u64 {
    REFUSED.with(|refused| refused.uncounted.replace(0))
}

/// Where values are kept.
#[derive(Debug)]
pub(crate) enum SharedData {
    /// The proxy's shared data.
    Proxy(Seal),
    /// This worker's memory.
    Worker(Rc<WorkerMap>),
}

impl SharedData {
    /// `name` contains everything that the values depend on. `purpose` says what they are.
    #[cold]
    pub(crate) fn new(
        scope: SharedDataScope,
        secret: Option<&str>,
        purpose: &str,
        name: &str,
    ) -> Self {
        let secret = secret.filter(|_| scope == SharedDataScope::Proxy);
        match secret.and_then(|secret| Seal::new(secret, purpose, name)) {
            Some(seal) => SharedData::Proxy(seal),
            None => SharedData::worker_local(&[purpose, "/", name].concat()),
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

    /// `None` if the key was never written. A value that is refused is empty.
    pub(crate) fn get(&self, key: &str) -> Result<Option<SharedValue>, Status> {
        match self {
            SharedData::Proxy(seal) => {
                let mut shared = hostcalls::get_shared_data(key)?;
                if let Some(shared) = &mut shared {
                    open(seal, key, &mut shared.value);
                }
                Ok(shared)
            }
            SharedData::Worker(map) => read(map, key),
        }
    }

    /// The version of a value, for a write.
    pub(crate) fn version(&self, key: &str) -> Result<u32, Status> {
        let shared = match self {
            SharedData::Proxy(_) => hostcalls::get_shared_data(key)?,
            SharedData::Worker(map) => read(map, key)?,
        };
        Ok(shared.map_or(CAS_UNWRITTEN, |shared| shared.cas))
    }

    /// Writes if the key's version is still `cas`. Returns `false` if it has changed.
    pub(crate) fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, Status> {
        match self {
            SharedData::Proxy(seal) => hostcalls::set_shared_data(key, &seal.seal(key, value), cas),
            SharedData::Worker(map) => write(map, key, value, cas),
        }
    }

    /// The value if it is another than the one that was last read or written here, and its
    /// version for a write. A value that is refused is empty. One that was never written, or
    /// is missing, is empty too.
    pub(crate) fn changed(&self, of: &mut Watched) -> Result<(Option<Vec<u8>>, u32), Status> {
        let seal = match self {
            SharedData::Proxy(seal) => seal,
            SharedData::Worker(map) => return changed_in(map, of),
        };
        match hostcalls::get_shared_data(&of.key)? {
            // Bytes that had a good tag have it still. Others learn by the time at most what
            // they can read there themselves.
            Some(shared) if is_same(&shared.value, &of.stored) => Ok((None, shared.cas)),
            None if of.stored.is_empty() => Ok((None, CAS_UNWRITTEN)),
            shared => Ok(of.take(seal, shared)),
        }
    }

    /// Writes such a value.
    pub(crate) fn set_watched(
        &self,
        of: &mut Watched,
        value: &[u8],
        cas: u32,
    ) -> Result<bool, Status> {
        let (stored, written) = match self {
            SharedData::Proxy(seal) => {
                let sealed = seal.seal(&of.key, value);
                let written = hostcalls::set_shared_data(&of.key, &sealed, cas)?;
                (sealed, written)
            }
            SharedData::Worker(map) => (value.to_vec(), write(map, &of.key, value, cas)?),
        };
        if written {
            of.stored = stored;
        }
        Ok(written)
    }
}

/// A small value that is read often, and is looked at only when its bytes have changed.
#[derive(Debug)]
pub(crate) struct Watched {
    key: String,
    /// The bytes that were last there, with their tag, good or bad.
    stored: Vec<u8>,
}

impl Watched {
    pub(crate) fn new(key: String) -> Self {
        Watched {
            key,
            stored: Vec::new(),
        }
    }

    #[cold]
    #[inline(never)]
    fn take(&mut self, seal: &Seal, shared: Option<SharedValue>) -> (Option<Vec<u8>>, u32) {
        let Some(SharedValue { mut value, cas }) = shared else {
            self.stored.clear();
            return (Some(Vec::new()), CAS_UNWRITTEN);
        };
        match value.len() <= MAX_SEALED_BYTES {
            true => self.stored.clone_from(&value),
            false => self.stored = Vec::new(),
        }
        open(seal, &self.key, &mut value);
        (Some(value), cas)
    }
}

/// Leaves the value without its tag, or nothing if the tag is not good.
fn open(seal: &Seal, key: &str, sealed: &mut Vec<u8>) {
    let fits = sealed.len() <= MAX_SEALED_BYTES;
    match fits.then(|| seal.open(key, sealed)).flatten() {
        Some(size) => sealed.truncate(size),
        None => {
            refuse("has no tag of this filter");
            sealed.clear();
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

/// See [`SharedData::changed`].
fn changed_in(map: &WorkerMap, of: &mut Watched) -> Result<(Option<Vec<u8>>, u32), Status> {
    let map = map.try_borrow().map_err(|_| Status::INTERNAL_FAILURE)?;
    let index = map.binary_search_by(|(known, _)| known.as_str().cmp(&of.key));
    let found = index.ok().and_then(|index| map.get(index));
    let Some((_, shared)) = found else {
        return Ok((None, CAS_UNWRITTEN));
    };
    if is_same(&shared.value, &of.stored) {
        return Ok((None, shared.cas));
    }
    of.stored.clone_from(&shared.value);
    Ok((Some(shared.value.clone()), shared.cas))
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
