//! Which request waits for which callout. When a response comes, the proxy names the
//! request or its root context. So there is one list for all configurations in this VM.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::vm::request_info::StreamPhase;

thread_local! {
    /// Whether requests of this VM make callouts.
    static REQUEST_CALLOUTS: Cell<bool> = const { Cell::new(false) };
    /// Whether some of these callouts may be exchanges.
    static EXCHANGES: Cell<bool> = const { Cell::new(false) };
    static PENDING: RefCell<Vec<PendingCallout>> = RefCell::default();
}

/// A request that waits for its own callout.
pub(crate) struct PendingCallout {
    pub(crate) stream: u32,
    /// The root context of its configuration.
    pub(crate) root: u32,
    /// The callout's token, after the proxy has accepted it.
    token: Option<u32>,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
}

/// From now on requests make callouts in this VM, in Gateway mode also exchanges.
pub(crate) fn enable_request_callouts(is_gateway: bool) {
    REQUEST_CALLOUTS.set(true);
    EXCHANGES.set(is_gateway || EXCHANGES.get());
}

/// Whether a callout of which nothing is known may have been an exchange.
pub(crate) fn may_be_exchanges() -> bool {
    EXCHANGES.get()
}

/// Whether requests make callouts in this VM.
pub(crate) fn are_request_callouts_enabled() -> bool {
    REQUEST_CALLOUTS.get()
}

/// Prepares for the response of a callout that a request is about to make. False if the
/// response could not be matched to the request: then the callout must not be made.
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

/// Stores the token of a callout that the proxy has accepted.
pub(crate) fn set_token(stream: u32, token: u32) {
    PENDING.with(|all| {
        if let Ok(mut all) = all.try_borrow_mut()
            && let Some(pending) = all.iter_mut().find(|pending| pending.stream == stream)
        {
            pending.token = Some(token);
        }
    });
}

/// The response is not expected any more: the callout was not made, or the request has
/// ended.
pub(crate) fn cancel(stream: u32) {
    let _ = take(|pending| pending.stream == stream);
}

/// Removes and returns the request that a response is for. APISIX was seen to pass the
/// request's context, but its module's source says that it passes the root's. Both are
/// accepted; in the second case the token identifies the request.
pub(crate) fn take_for(context: u32, token: u32) -> Option<PendingCallout> {
    take(|pending| {
        pending.stream == context || (pending.root == context && pending.token == Some(token))
    })
}

fn take(which: impl Fn(&PendingCallout) -> bool) -> Option<PendingCallout> {
    PENDING.with(|all| {
        let mut all = all.try_borrow_mut().ok()?;
        let index = all.iter().position(which)?;
        Some(all.swap_remove(index))
    })
}
