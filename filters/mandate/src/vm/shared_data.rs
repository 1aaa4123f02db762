//! What stands in for shared data on hosts whose own is none, or unsafe as a store:
//! memory of this VM, by the same rules, so that the configurations in one worker share
//! what they fetch, and a lease is one's. A shelf goes with the last who holds it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::abi::hostcalls::{self, Failed, Shared};

/// "Busy": what a host would say of a call within a call.
const BUSY: Failed = Failed(10);

/// Keys in order with their values.
type Shelf = RefCell<Vec<(String, Shared)>>;

thread_local! {
    static SHELVES: RefCell<Vec<(String, Weak<Shelf>)>> = RefCell::default();
}

/// Where the values of one name stand.
#[derive(Debug)]
pub(crate) enum Place {
    /// The proxy's shared data.
    Proxy,
    /// This worker's memory.
    Worker(Rc<Shelf>),
}

impl Place {
    /// The worker's own, found by all who name it alike: a name says everything that
    /// the values were fetched for.
    #[cold]
    pub(crate) fn in_worker(name: &str) -> Self {
        let found = SHELVES.with(|shelves| {
            let mut shelves = shelves.try_borrow_mut().ok()?;
            shelves.retain(|(_, shelf)| shelf.strong_count() > 0);
            let known = shelves.iter().find(|(known, _)| known == name);
            if let Some(shelf) = known.and_then(|(_, shelf)| shelf.upgrade()) {
                return Some(shelf);
            }
            let shelf: Rc<Shelf> = Rc::default();
            shelves.push((name.to_owned(), Rc::downgrade(&shelf)));
            Some(shelf)
        });
        // One that nobody else finds is only dearer.
        Place::Worker(found.unwrap_or_default())
    }

    /// `None` when the key was never written.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Shared>, Failed> {
        match self {
            Place::Proxy => hostcalls::shared_data(key),
            Place::Worker(shelf) => read(shelf, key),
        }
    }

    /// Writes if the key's version is still `cas`; `false` when it is another.
    pub(crate) fn set(&self, key: &str, value: &[u8], cas: u32) -> Result<bool, Failed> {
        match self {
            Place::Proxy => hostcalls::set_shared_data(key, value, cas),
            Place::Worker(shelf) => write(shelf, key, value, cas),
        }
    }
}

#[cold]
fn read(shelf: &Shelf, key: &str) -> Result<Option<Shared>, Failed> {
    let shelf = shelf.try_borrow().map_err(|_| BUSY)?;
    let place = shelf.binary_search_by(|(known, _)| known.as_str().cmp(key));
    let found = place.ok().and_then(|place| shelf.get(place));
    Ok(found.map(|(_, shared)| shared.clone()))
}

#[cold]
fn write(shelf: &Shelf, key: &str, value: &[u8], cas: u32) -> Result<bool, Failed> {
    let mut shelf = shelf.try_borrow_mut().map_err(|_| BUSY)?;
    let place = match shelf.binary_search_by(|(known, _)| known.as_str().cmp(key)) {
        Ok(place) => place,
        Err(place) => {
            let value = value.to_vec();
            shelf.insert(place, (key.to_owned(), Shared { value, cas: 0 }));
            return Ok(true);
        }
    };
    let Some((_, known)) = shelf.get_mut(place).filter(|(_, known)| known.cas == cas) else {
        return Ok(false);
    };
    known.cas = cas.wrapping_add(1);
    known.value.clear();
    known.value.extend_from_slice(value);
    Ok(true)
}
