//! What stands in for shared data on hosts whose own is none, or unsafe as a store:
//! memory of this VM, by the same rules, so that the configurations in one worker share
//! what they fetch, and a lease is one's. A map goes with the last who holds it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::abi::hostcalls::{self, SharedValue, Status};

/// Keys in order with their values.
type WorkerMap = RefCell<Vec<(String, SharedValue)>>;

thread_local! {
    static WORKER_MAPS: RefCell<Vec<(String, Weak<WorkerMap>)>> = RefCell::default();
}

/// Where the values of one name stand.
#[derive(Debug)]
pub(crate) enum SharedData {
    /// The proxy's shared data.
    Proxy,
    /// This worker's memory.
    Worker(Rc<WorkerMap>),
}

impl SharedData {
    /// The worker's own, found by all who name it alike: a name says everything that
    /// the values were fetched for.
    #[cold]
    pub(crate) fn worker_local(name: &str) -> Self {
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
        // One that nobody else finds is only dearer.
        SharedData::Worker(found.unwrap_or_default())
    }

    /// `None` when the key was never written.
    pub(crate) fn get(&self, key: &str) -> Result<Option<SharedValue>, Status> {
        match self {
            SharedData::Proxy => hostcalls::get_shared_data(key),
            SharedData::Worker(map) => read(map, key),
        }
    }

    /// Writes if the key's version is still `cas`; `false` when it is another.
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
