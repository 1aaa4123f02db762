//! The callback for a callout's answer, in place of the SDK's, which traps on a token
//! that it does not know and on statuses of the calls around it. The trim gives it
//! its name in the wasm file.
#![allow(unsafe_code, reason = "an exported symbol")]
#![allow(missing_docs, unreachable_pub, reason = "called by the host")]

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::contexts::root_context::RootState;
use crate::vm::plugin::StreamPhase;

thread_local! {
    /// Who is told, by root context: one for each configuration in this VM.
    static ROOTS: RefCell<Vec<(u32, Weak<RootState>)>> = RefCell::default();
    /// Why configurations were refused in this VM, each reason once.
    static REFUSALS: RefCell<Vec<u32>> = RefCell::default();
    /// Requests call out themselves in this VM.
    static REQUEST_CALLOUTS: Cell<bool> = const { Cell::new(false) };
    /// The requests that called out themselves and wait, by their context.
    static PENDING: RefCell<Vec<PendingCallout>> = RefCell::default();
}

/// A request that waits for its own call: under which root, and where it stands.
struct PendingCallout {
    stream: u32,
    root: u32,
    /// Of its call, once that is made.
    token: Option<u32>,
    phase: Rc<Cell<StreamPhase>>,
}

/// Has the answers to a root context's callouts brought to it, while it lives.
pub(crate) fn register(root: u32, state: &Rc<RootState>) {
    ROOTS.with(|roots| {
        if let Ok(mut roots) = roots.try_borrow_mut() {
            roots.retain(|(id, known)| *id != root && known.strong_count() > 0);
            roots.push((root, Rc::downgrade(state)));
        }
    });
}

/// Most reasons that are remembered. What is beyond is said each time.
const MAX_REFUSALS: usize = 64;

/// Whether a configuration is refused for these reasons for the first time. APISIX puts
/// it to the filter twice for each request, and one line for each reason is enough.
pub(crate) fn is_first_refusal(reasons: &str) -> bool {
    let reasons = crc32fast::hash(reasons.as_bytes());
    REFUSALS.with(|refusals| {
        let Ok(mut refusals) = refusals.try_borrow_mut() else {
            return true;
        };
        let is_known = refusals.contains(&reasons);
        if !is_known && refusals.len() < MAX_REFUSALS {
            refusals.push(reasons);
        }
        !is_known
    })
}

/// From now on requests call out.
pub(crate) fn enable_request_callouts() {
    REQUEST_CALLOUTS.set(true);
}

/// A request is about to call out by itself. False when its answer would be nobody's.
pub(crate) fn reserve(stream: u32, root: u32, phase: &Rc<Cell<StreamPhase>>) -> bool {
    let phase = Rc::clone(phase);
    PENDING.with(|all| {
        all.try_borrow_mut()
            .map(|mut all| {
                all.push(PendingCallout {
                    stream,
                    root,
                    token: None,
                    phase,
                });
            })
            .is_ok()
    })
}

/// It has called out.
pub(crate) fn set_token(stream: u32, token: u32) {
    PENDING.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut()
            && let Some(pending) = all.iter_mut().find(|pending| pending.stream == stream)
        {
            pending.token = Some(token);
        }
    });
}

/// It did not, or has ended.
pub(crate) fn cancel(stream: u32) {
    let _ = take(|pending| pending.stream == stream);
}

fn take(which: impl Fn(&PendingCallout) -> bool) -> Option<PendingCallout> {
    PENDING.with(|all| {
        let mut all = all.try_borrow_mut().ok()?;
        let index = all.iter().position(which)?;
        Some(all.swap_remove(index))
    })
}

fn find_root(id: u32) -> Option<Rc<RootState>> {
    ROOTS.with(|roots| {
        let roots = roots.try_borrow().ok()?;
        let found = roots.iter().find(|(known, _)| *known == id);
        found.and_then(|(_, root)| root.upgrade())
    })
}

#[unsafe(no_mangle)]
extern "C" fn caracal_on_http_call_response(
    context: u32,
    token: u32,
    num_headers: usize,
    body_size: usize,
    _num_trailers: usize,
) {
    // By what was observed the request is named, by the module's source its root: then
    // the token tells.
    let is_its = |pending: &PendingCallout| {
        pending.stream == context || (pending.root == context && pending.token == Some(token))
    };
    if let Some(pending) = take(is_its) {
        // Where requests call out, one that is left without an answer goes on: so it
        // gets one, whatever has become of its configuration.
        let phase = match find_root(pending.root) {
            Some(root) => root.on_request_callout_response(pending.stream, num_headers, body_size),
            None => crate::request::outcome::reply_unavailable("The configuration is gone"),
        };
        pending.phase.set(phase);
    } else if let Some(root) = find_root(context).filter(|root| root.has_ticks()) {
        root.on_callout_response(token, num_headers, body_size);
    } else if REQUEST_CALLOUTS.get() {
        // A request that is not known goes on, unless it is answered.
        crate::request::outcome::reply_unavailable("The edge does not know what this answers");
    }
}
