//! The decisions on this VM's streams that are still open, and those on streams that have
//! ended: what an event needs is complete only when the answer is. An end is noted without
//! the configuration, because the proxy may tell it while a callback uses that.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::audit::event::{Answered, Status};
use caracal_mandate::audit::queue::Batch;
use caracal_mandate::token::fingerprint::Fingerprint;

use crate::proxy::Proxy;
use crate::proxy::adapter::{Ending, SeenResponse};

/// Most streams whose decision is kept until they end. An event about one more is written
/// without its answer.
const MAX_OPEN: usize = 50_000;
/// Most ended streams that wait for the next ticks, and most events that a configuration
/// which is gone has left.
const MAX_ENDED: usize = 10_000;
/// Most ended streams that one tick makes events of.
const SLICE: usize = 200;

/// What is known of a request before it is judged.
pub(crate) struct AuditFacts {
    pub(crate) stream: u32,
    /// When its headers came, in nanoseconds of a clock that is never set.
    pub(crate) began_ns: u64,
    /// The client's id, if readers of the audit can look for it.
    pub(crate) request_id: Option<String>,
    pub(crate) method: Cow<'static, str>,
    pub(crate) trace_id: Option<String>,
}

/// A decision.
pub(crate) struct Decided {
    pub(crate) proxy: Proxy,
    /// Unix time, in microseconds.
    pub(crate) at_us: u64,
    pub(crate) facts: Rc<AuditFacts>,
    pub(crate) is_allowed: bool,
    pub(crate) in_shadow: bool,
    /// Its authority ended while it was under way.
    pub(crate) was_cut: bool,
    /// The same, because it was revoked.
    pub(crate) was_interrupted: bool,
    pub(crate) status: Status,
    /// The code of a refusal.
    pub(crate) reason: Option<&'static str>,
    /// The reason of a refusal.
    pub(crate) diagnostic: Option<&'static str>,
    /// What events say of the zone.
    pub(crate) zone: Rc<str>,
    /// The proxy's name for the companion.
    pub(crate) companion: Rc<str>,
    /// In Gateway mode the exchange has this id too.
    pub(crate) request_id: Option<String>,
    pub(crate) seen: SeenResponse,
    /// What events say of the resource.
    pub(crate) resource: Option<Rc<str>>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) mandate: Option<Rc<Mandate>>,
    /// Gateway mode.
    pub(crate) upstream_host: Option<String>,
}

/// A decision on a stream that has ended.
pub(crate) struct Ended {
    root: u32,
    pub(crate) decided: Box<Decided>,
    pub(crate) answered: Option<Answered>,
    /// Why there was no whole answer of the upstream.
    pub(crate) error_kind: Option<&'static str>,
}

#[derive(Default)]
struct Streams {
    /// By stream, with the root context of the configuration.
    open: BTreeMap<u32, (u32, Box<Decided>)>,
    ended: VecDeque<Ended>,
    /// Events of configurations that are gone, with the names of their companions.
    unsent: Vec<(Rc<str>, Batch)>,
    dropped: u64,
    /// The configurations that take what ends, with the names of their companions.
    takers: Vec<(u32, String)>,
}

thread_local! {
    /// A configuration of this VM has an audit.
    static IN_USE: Cell<bool> = const { Cell::new(false) };
    static STREAMS: RefCell<Streams> = RefCell::default();
}

/// Keeps a decision until its stream ends.
pub(crate) fn begin(root: u32, decided: Decided) {
    with(|streams| {
        let decided = Box::new(decided);
        if streams.open.len() >= MAX_OPEN {
            streams.end(root, decided, None);
            return;
        }
        let stream = decided.facts.stream;
        streams.open.insert(stream, (root, decided));
    });
}

/// Notes that an admitted request is ended because its authority has: revoked, or otherwise.
pub(crate) fn cut(stream: u32, is_revoked: bool) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some(open) = streams.open.get_mut(&stream) {
            open.1.was_cut = true;
            open.1.was_interrupted = is_revoked;
        }
    });
}

/// Notes that the stream of the current callback has ended.
pub(crate) fn end(stream: u32) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some((root, decided)) = streams.open.remove(&stream) {
            let ending = decided.proxy.ending(decided.seen);
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
        if let Some((root, decided)) = streams.open.remove(&stream) {
            streams.end(root, decided, None);
        }
    });
}

/// Counts a decision that is not recorded.
pub(crate) fn suppress() {
    with(|streams| streams.dropped = streams.dropped.saturating_add(1));
}

/// A configuration begins to take what ends.
pub(crate) fn register(root: u32, upstream: &str) {
    IN_USE.set(true);
    with(|streams| streams.takers.push((root, upstream.to_owned())));
}

/// A configuration ends. What it has not sent yet goes to one that sends to the same
/// companion: usually to its successor, which the proxy has made before.
pub(crate) fn unregister(root: u32, upstream: &Rc<str>, unsent: impl Iterator<Item = Batch>) {
    with(|streams| {
        let place = streams.takers.iter().position(|(of, _)| *of == root);
        if let Some(place) = place {
            streams.takers.remove(place);
        }
        for batch in unsent {
            let events = streams.unsent.iter().map(|(_, batch)| batch.events());
            match events.sum::<usize>() < MAX_ENDED {
                true => streams.unsent.push((Rc::clone(upstream), batch)),
                false => streams.drop_batch(&batch),
            }
        }
    });
}

/// What a configuration takes over.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) ended: Vec<Ended>,
    /// Events of a configuration that is gone.
    pub(crate) unsent: Vec<Batch>,
    /// Decisions that were dropped in this VM.
    pub(crate) dropped: u64,
}

/// Takes some of what has ended under a configuration, or under one that is gone and had
/// the same companion.
#[cold]
#[inline(never)]
pub(crate) fn take(root: u32, upstream: &str) -> Taken {
    let mut taken = Taken::default();
    with(|streams| {
        // What is left to others comes behind.
        for _ in 0..streams.ended.len() {
            if taken.ended.len() >= SLICE {
                break;
            }
            let Some(ended) = streams.ended.pop_front() else {
                break;
            };
            let of = ended.root;
            let is_alone = !streams.takers.iter().any(|(other, _)| *other == of);
            let is_ours = of == root || (is_alone && *ended.decided.companion == *upstream);
            match is_ours {
                true => taken.ended.push(ended),
                // Nobody sends to its companion any more.
                false if is_alone && !streams.sends_to(&ended.decided.companion) => {
                    streams.dropped = streams.dropped.saturating_add(1);
                }
                false => streams.ended.push_back(ended),
            }
        }
        for (of, batch) in std::mem::take(&mut streams.unsent) {
            match *of == *upstream {
                true => taken.unsent.push(batch),
                false if streams.sends_to(&of) => streams.unsent.push((of, batch)),
                false => streams.drop_batch(&batch),
            }
        }
        taken.dropped = std::mem::take(&mut streams.dropped);
    });
    taken
}

/// The response to the request of this callback begins.
pub(crate) fn response_begins(stream: u32, is_whole: bool) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some((_, decided)) = streams.open.get_mut(&stream) {
            decided.seen.has_begun = true;
            decided.seen.is_whole = is_whole;
        }
    });
}

/// So many bytes of its body pass, maybe the last ones.
pub(crate) fn response_passes(stream: u32, bytes: usize, is_whole: bool) {
    if !IN_USE.get() {
        return;
    }
    with(|streams| {
        if let Some((_, decided)) = streams.open.get_mut(&stream) {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            decided.seen.bytes = decided.seen.bytes.saturating_add(bytes);
            decided.seen.is_whole = is_whole;
        }
    });
}

fn with(act: impl FnOnce(&mut Streams)) {
    STREAMS.with(|streams| {
        if let Ok(mut streams) = streams.try_borrow_mut() {
            act(&mut streams);
        }
    });
}

impl Streams {
    fn sends_to(&self, companion: &str) -> bool {
        self.takers.iter().any(|(_, known)| known == companion)
    }

    fn drop_batch(&mut self, batch: &Batch) {
        let events = u64::try_from(batch.events()).unwrap_or(u64::MAX);
        self.dropped = self.dropped.saturating_add(events);
    }

    fn end(&mut self, root: u32, mut decided: Box<Decided>, ending: Option<Ending>) {
        if self.takers.is_empty() {
            return;
        }
        // A quarter is for requests without a verified mandate.
        let most = match decided.mandate {
            Some(_) => MAX_ENDED,
            None => MAX_ENDED / 4,
        };
        if self.ended.len() >= most {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let answered = ending.map(|ending| ending.answered);
        let mut error_kind = None;
        if decided.is_allowed
            && decided.status == Status::Executed
            && !decided.was_cut
            && let Some(ending) = ending
        {
            let answered = &ending.answered;
            // The proxy's own answer, such as a redirect of a route, is no failure.
            // nginx notes 499 for a client that has left.
            let has_failed = answered.status == 0 || answered.status >= 499;
            if answered.upstream_status.is_none() {
                error_kind = has_failed.then_some("transport_error");
            } else if ending.was_cut {
                error_kind = Some("response_copy_failed");
            }
            if error_kind.is_some() {
                decided.status = Status::UpstreamError;
            }
        }
        self.ended.push_back(Ended {
            root,
            decided,
            answered,
            error_kind,
        });
    }
}
