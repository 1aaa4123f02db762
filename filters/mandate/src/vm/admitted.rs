//! Gateway mode: the requests of this VM that were let go on, with the end of their
//! mandate. Their responses are looked at; all others pass untouched.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

thread_local! {
    /// A configuration of this VM is in Gateway mode.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
    static EXPIRES_AT: RefCell<BTreeMap<u32, u64>> = RefCell::default();
}

/// Notes a request that goes on, and when its mandate ends (Unix time, seconds).
pub(crate) fn insert(stream: u32, expires_at: u64) {
    IN_USE.set(true);
    EXPIRES_AT.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut() {
            all.insert(stream, expires_at);
        }
    });
}

/// When the mandate of a request ends; `None` for a request that was not let go on here.
pub(crate) fn expires_at(stream: u32) -> Option<u64> {
    if !IN_USE.get() {
        return None;
    }
    EXPIRES_AT.with(|all| all.try_borrow().ok()?.get(&stream).copied())
}

/// Forgets a request whose stream has ended.
pub(crate) fn remove(stream: u32) {
    if IN_USE.get() {
        EXPIRES_AT.with(|all| {
            if let Ok(mut all) = all.try_borrow_mut() {
                all.remove(&stream);
            }
        });
    }
}
