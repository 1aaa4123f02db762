//! The callback for a callout's answer, in place of the SDK's, which traps on a token
//! that it does not know and on statuses of the calls around it. The trim gives it
//! its name in the wasm file.
#![allow(unsafe_code, reason = "an exported symbol")]
#![allow(missing_docs, unreachable_pub, reason = "called by the host")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::root::Answered;

thread_local! {
    /// Who is told, by root context: one for each configuration in this VM.
    static ROOTS: RefCell<BTreeMap<u32, Weak<Answered>>> = RefCell::default();
}

/// Has the answers to a root context's callouts brought to it, while it lives.
pub(crate) fn register(root: u32, answered: &Rc<Answered>) {
    ROOTS.with(|roots| {
        if let Ok(mut roots) = roots.try_borrow_mut() {
            roots.retain(|_, root| root.strong_count() > 0);
            roots.insert(root, Rc::downgrade(answered));
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn caracal_on_http_call_response(
    root: u32,
    token: u32,
    num_headers: usize,
    body_size: usize,
    _num_trailers: usize,
) {
    let answered = ROOTS.with(|roots| roots.try_borrow().ok()?.get(&root)?.upgrade());
    if let Some(answered) = answered {
        answered.answer(token, num_headers, body_size);
    }
}
