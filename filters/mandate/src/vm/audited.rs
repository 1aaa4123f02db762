//! The decisions on this VM's streams that are still open, and those on streams that have
//! ended: what an event needs is complete only when the answer is. An end is noted without
//! the configuration, because the proxy may tell it while a callback uses that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::audit::event::{Answered, Status};
use caracal_mandate::token::fingerprint::Fingerprint;

use crate::proxy::Proxy;
use crate::proxy::adapter::Ending;

/// Most streams whose decision is kept until they end. An event about one more is written
/// without its answer.
const MAX_OPEN: usize = 50_000;
/// Most ended streams that wait for the next tick.
const MAX_ENDED: usize = 10_000;

/// What is known of a request before it is judged.
pub(crate) struct AuditFacts {
    pub(crate) stream: u32,
    /// The client's id, if readers of the audit can look for it.
    pub(crate) request_id: Option<String>,
    pub(crate) method: Vec<u8>,
    pub(crate) trace_id: Option<String>,
}

/// A decision.
pub(crate) struct Decided {
    pub(crate) proxy: Proxy,
    /// Unix time, in microseconds.
    pub(crate) at_us: u64,
    pub(crate) facts: Rc<AuditFacts>,
    pub(crate) is_allowed: bool,
    /// Its authority ended while it was under way.
    pub(crate) was_interrupted: bool,
    pub(crate) status: Status,
    /// The code of a refusal.
    pub(crate) reason: Option<&'static str>,
    pub(crate) zone: Rc<str>,
    pub(crate) resource: Option<String>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) mandate: Option<Rc<Mandate>>,
    /// Gateway mode.
    pub(crate) upstream_host: Option<String>,
}

/// A decision on a stream that has ended.
pub(crate) struct Ended {
    pub(crate) decided: Decided,
    pub(crate) answered: Option<Answered>,
    /// Why there was no whole answer of the upstream.
    pub(crate) error_kind: Option<&'static str>,
}

#[derive(Default)]
struct Streams {
    /// By stream, with the root context of the configuration.
    open: BTreeMap<u32, Box<(u32, Decided)>>,
    ended: Vec<(u32, Box<Ended>)>,
    dropped: u64,
}

thread_local! {
    /// A configuration of this VM has an audit.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
    static STREAMS: RefCell<Streams> = RefCell::default();
}

/// Keeps a decision until its stream ends.
pub(crate) fn begin(root: u32, decided: Decided) {
    IN_USE.set(true);
    with(|streams| {
        if streams.open.len() >= MAX_OPEN {
            streams.end(root, decided, None);
            return;
        }
        let stream = decided.facts.stream;
        streams.open.insert(stream, Box::new((root, decided)));
    });
}

/// Notes that an admitted request is ended because its authority has.
pub(crate) fn interrupted(stream: u32) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some(open) = streams.open.get_mut(&stream) {
            open.1.was_interrupted = true;
        }
    });
}

/// Notes that the stream of the current callback has ended.
pub(crate) fn end(stream: u32) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some(open) = streams.open.remove(&stream) {
            let (root, decided) = *open;
            let ending = decided.proxy.ending();
            streams.end(root, decided, ending);
        }
    });
}

/// A stream is gone. If the proxy did not tell its end before, nothing is known of it.
pub(crate) fn forget(stream: u32) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some(open) = streams.open.remove(&stream) {
            let (root, decided) = *open;
            streams.end(root, decided, None);
        }
    });
}

/// Takes what has ended under a configuration, and the number of decisions that were
/// dropped in this VM.
#[cold]
#[inline(never)]
pub(crate) fn take(root: u32) -> (Vec<Ended>, u64) {
    if !IN_USE.get() {
        return (Vec::new(), 0);
    }
    let mut taken = (Vec::new(), 0);
    with(|streams| {
        for (of, ended) in std::mem::take(&mut streams.ended) {
            match of == root {
                true => taken.0.push(*ended),
                false => streams.ended.push((of, ended)),
            }
        }
        taken.1 = std::mem::take(&mut streams.dropped);
    });
    taken
}

fn with(act: impl FnOnce(&mut Streams)) {
    STREAMS.with(|streams| {
        if let Ok(mut streams) = streams.try_borrow_mut() {
            act(&mut streams);
        }
    });
}

impl Streams {
    fn end(&mut self, root: u32, mut decided: Decided, ending: Option<Ending>) {
        if self.ended.len() >= MAX_ENDED {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let answered = ending.map(|ending| ending.answered);
        let mut error_kind = None;
        if decided.is_allowed
            && decided.status == Status::Executed
            && !decided.was_interrupted
            && let Some(ending) = ending
        {
            if ending.answered.upstream_status.is_none() {
                error_kind = Some("transport_error");
            } else if ending.was_cut {
                error_kind = Some("response_copy_failed");
            }
            if error_kind.is_some() {
                decided.status = Status::UpstreamError;
            }
        }
        self.ended.push((
            root,
            Box::new(Ended {
                decided,
                answered,
                error_kind,
            }),
        ));
    }
}
