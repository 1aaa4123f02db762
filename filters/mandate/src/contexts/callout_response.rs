//! The callback for a callout's answer, in place of the SDK's, which traps on a token
//! that it does not know and on statuses of the calls around it. The trim gives it
//! its name in the wasm file.
#![allow(unsafe_code, reason = "an exported symbol")]
#![allow(missing_docs, unreachable_pub, reason = "called by the host")]

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::contexts::root_context::Answered;
use crate::vm::plugin::Phase;

thread_local! {
    /// Who is told, by root context: one for each configuration in this VM.
    static ROOTS: RefCell<Vec<(u32, Weak<Answered>)>> = RefCell::default();
    /// Why configurations were refused in this VM, each reason once.
    static REFUSALS: RefCell<Vec<u32>> = RefCell::default();
    /// Requests call out themselves in this VM.
    static REQUESTS_CALL: Cell<bool> = const { Cell::new(false) };
    /// The requests that called out themselves and wait, by their context.
    static STREAMS: RefCell<Vec<Waits>> = RefCell::default();
}

/// A request that waits for its own call: under which root, and where it stands.
struct Waits {
    stream: u32,
    root: u32,
    /// Of its call, once that is made.
    token: Option<u32>,
    phase: Rc<Cell<Phase>>,
}

/// Has the answers to a root context's callouts brought to it, while it lives.
pub(crate) fn register(root: u32, answered: &Rc<Answered>) {
    ROOTS.with(|roots| {
        if let Ok(mut roots) = roots.try_borrow_mut() {
            roots.retain(|(id, known)| *id != root && known.strong_count() > 0);
            roots.push((root, Rc::downgrade(answered)));
        }
    });
}

/// Most reasons that are remembered. What is beyond is said each time.
const MAX_REFUSALS: usize = 64;

/// Whether a configuration is refused for these reasons for the first time. APISIX puts
/// it to the filter twice for each request, and one line for each reason is enough.
pub(crate) fn is_news(reasons: &str) -> bool {
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
pub(crate) fn requests_call() {
    REQUESTS_CALL.set(true);
}

/// A request is about to call out by itself. False when its answer would be nobody's.
pub(crate) fn expect(stream: u32, root: u32, phase: &Rc<Cell<Phase>>) -> bool {
    let phase = Rc::clone(phase);
    STREAMS.with(|streams| {
        streams
            .try_borrow_mut()
            .map(|mut streams| {
                streams.push(Waits {
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
pub(crate) fn called(stream: u32, token: u32) {
    STREAMS.with(|streams| {
        if let Ok(mut streams) = streams.try_borrow_mut()
            && let Some(waits) = streams.iter_mut().find(|waits| waits.stream == stream)
        {
            waits.token = Some(token);
        }
    });
}

/// It did not, or has ended.
pub(crate) fn forget(stream: u32) {
    let _ = take(|waits| waits.stream == stream);
}

fn take(which: impl Fn(&Waits) -> bool) -> Option<Waits> {
    STREAMS.with(|streams| {
        let mut streams = streams.try_borrow_mut().ok()?;
        let place = streams.iter().position(which)?;
        Some(streams.swap_remove(place))
    })
}

fn root(id: u32) -> Option<Rc<Answered>> {
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
    let is_its = |waits: &Waits| {
        waits.stream == context || (waits.root == context && waits.token == Some(token))
    };
    if let Some(waits) = take(is_its) {
        // Where requests call out, one that is left without an answer goes on: so it
        // gets one, whatever has become of its configuration.
        let phase = match root(waits.root) {
            Some(answered) => answered.answer_stream(waits.stream, num_headers, body_size),
            None => crate::request::outcome::reply_broken("The configuration is gone"),
        };
        waits.phase.set(phase);
    } else if let Some(answered) = root(context).filter(|root| root.ticks()) {
        answered.answer(token, num_headers, body_size);
    } else if REQUESTS_CALL.get() {
        // A request that is not known goes on, unless it is answered.
        crate::request::outcome::reply_broken("The edge does not know what this answers");
    }
}
