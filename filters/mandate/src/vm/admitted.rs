//! Gateway mode: the requests of this VM that were let go on, with the end of their
//! mandate and their proxy. Their responses are looked at; all others pass untouched.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::proxy::Proxy;

thread_local! {
    /// A configuration of this VM is in Gateway mode.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
    static ADMITTED: RefCell<BTreeMap<u32, (Proxy, u64)>> = RefCell::default();
}

/// Notes a request that goes on, and when its mandate ends (Unix time, seconds).
pub(crate) fn insert(stream: u32, proxy: Proxy, expires_at: u64) {
    IN_USE.set(true);
    ADMITTED.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            all.insert(stream, (proxy, expires_at));
        }
    });
}

/// The proxy of a request, and when its mandate ends; `None` for a request that was not
/// let go on here.
pub(crate) fn find(stream: u32) -> Option<(Proxy, u64)> {
    if !IN_USE.get() {
        return None;
    }
    ADMITTED.with(|all| all.try_borrow().ok()?.get(&stream).copied())
}

/// Forgets a request whose stream has ended.
pub(crate) fn remove(stream: u32) {
    if IN_USE.get() {
        ADMITTED.with(|all| {
            if let Ok(mut all) = all.try_borrow_mut() {
                all.remove(&stream);
            }
        });
    }
}
