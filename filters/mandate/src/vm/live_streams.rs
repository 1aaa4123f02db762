//! The admitted requests of this VM that are still under way. Each is judged again when
//! something changes that could end its authority. An end is noted without the
//! configuration, because the proxy may tell it while a callback uses that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::config::{Configuration, Streams};
use caracal_mandate::decision::authority::{Authority, Ended};
use caracal_mandate::routing::resources::RouteMatch;

use crate::vm::authorizer::Authorizer;
use crate::vm::authorizer::under_way::AuthorityStamp;
use crate::vm::framed_streams;
use crate::vm::registry::Registry;
use crate::vm::request_info::{GatewayRequest, RequestInfo, StreamPhase};

/// Most requests that one tick judges again. 50 000 take two seconds.
const SLICE: usize = 256;
/// Most places that one tick looks at, where requests have ended.
const MOST_SLOTS: usize = 4_096;
/// Most requests that one tick ends. Envoy may end each within the end of the one before.
const MOST_CUTS: usize = 16;
/// Most of these that were told before. Nothing of theirs passes, so the others do not wait
/// for them: a session's talking streams must not hold up the end of its silent ones.
const MOST_PARTED: usize = 8;
/// Most streams that one tick begins to tell. That ends none.
const MOST_PARTING: usize = 16;
/// Longest time for a stream that talks to be told why it ends.
const PARTING_MS: u64 = 500;
/// Most streams that are being told. Others are ended at once.
const MAX_PARTING: usize = 1_024;
/// The pause before requests are judged again that could not be judged.
const AGAIN_MS: u64 = 1_000;

/// An admitted request under way.
pub(crate) struct LiveStream {
    root: u32,
    pub(crate) mandate: Rc<Mandate>,
    matched: RouteMatch,
    pub(crate) request: RequestInfo,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
    /// That its authority has ended is noted and counted.
    pub(crate) is_counted: bool,
    /// Why it ends, if its client is being told or was.
    parting_for: Option<Ended>,
}

/// A request whose authority has ended.
pub(crate) struct CutStream {
    pub(crate) stream: u32,
    pub(crate) live: Box<LiveStream>,
    pub(crate) reason: Ended,
    /// Its client can be told why.
    pub(crate) can_part: bool,
}

thread_local! {
    /// A request of this VM could not be ended.
    static ANY_AGAIN: Cell<bool> = const { Cell::new(false) };
    static LIVE: RefCell<Registry<Box<LiveStream>>> = RefCell::default();
}

/// `false` if there is no room.
fn insert(stream: u32, one: Box<LiveStream>, max: usize) -> bool {
    LIVE.with(|live| {
        let Ok(mut live) = live.try_borrow_mut() else {
            return false;
        };
        let has_room = live.len() < max;
        if has_room {
            live.insert(stream, one);
        }
        has_room
    })
}

/// Forgets a request whose stream has ended.
pub(crate) fn forget(stream: u32) {
    LIVE.with(|live| {
        if let Ok(mut live) = live.try_borrow_mut() {
            live.remove(stream);
        }
    });
}

/// Whether this VM has any.
pub(crate) fn any() -> bool {
    LIVE.with(|live| live.try_borrow().map_or(true, |live| live.len() > 0))
}

/// The same for one that was replied to, which is watched only if the reply failed.
pub(crate) fn forget_replied(stream: u32) {
    if ANY_AGAIN.get() {
        forget(stream);
    }
}

/// What a reply needs of a request. The mandate that was exchanged is not kept: a stream can
/// be open for days.
fn without_exchange(request: &RequestInfo) -> RequestInfo {
    let mut kept = request.clone();
    kept.gateway = request.gateway.as_ref().map(|gateway| {
        Rc::new(GatewayRequest {
            request_id: gateway.request_id.clone(),
            traceparent: String::new(),
            authority: Vec::new(),
            names_client: false,
            lists_end_to_end: false,
            exchange: None,
            resource: None,
        })
    });
    kept
}

/// Watches the requests of one configuration.
pub(crate) struct LiveStreams {
    settings: Streams,
    max: usize,
    /// The root context of the configuration.
    root: u32,
    /// What the last complete round judged by.
    stamp: Option<AuthorityStamp>,
    /// The next place whose request is judged in this round.
    position: usize,
    in_round: bool,
    /// Something has changed during this round.
    again: bool,
    /// Unix time in seconds at which the next mandate expires.
    next_expiry_s: u64,
    not_before_ms: u64,
    /// Streams that are being told why they end, until when.
    parting: Vec<(u64, CutStream)>,
}

impl LiveStreams {
    /// None where requests under way do not end.
    #[cold]
    pub(crate) fn new(configuration: &Configuration, root: u32) -> Option<Self> {
        let settings = configuration.streams?;
        let watches = settings.end_when_revoked || settings.end_when_expired;
        watches.then(|| LiveStreams {
            settings,
            max: usize::try_from(configuration.limits.max_streams).unwrap_or(usize::MAX),
            root,
            stamp: None,
            position: 0,
            in_round: false,
            again: false,
            next_expiry_s: u64::MAX,
            not_before_ms: 0,
            parting: Vec::new(),
        })
    }

    /// Watches a request that is about to be let go on, until its stream ends. `false` if
    /// that is not possible: it must not go on then.
    #[must_use]
    #[inline(never)]
    pub(crate) fn watch(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        mandate: &Rc<Mandate>,
        phase: &Rc<Cell<StreamPhase>>,
    ) -> bool {
        let Some(matched) = request.matched else {
            return false;
        };
        let one = Box::new(LiveStream {
            root: self.root,
            mandate: Rc::clone(mandate),
            matched,
            request: without_exchange(request),
            phase: Rc::clone(phase),
            is_counted: false,
            parting_for: None,
        });
        let is_watched = insert(stream, one, self.max);
        if is_watched {
            self.next_expiry_s = self.next_expiry_s.min(mandate.claims().exp);
            if let Some(framing) = request.framing {
                framed_streams::insert(stream, framing);
            }
        }
        is_watched
    }

    /// A request that could not be ended is watched again, and judged again soon.
    #[cold]
    pub(crate) fn watch_again(&mut self, one: CutStream, now_ms: u64) {
        ANY_AGAIN.set(true);
        insert(one.stream, one.live, usize::MAX);
        self.judge_later(now_ms);
    }

    /// A stream is being told why it ends, and is ended soon.
    #[cold]
    pub(crate) fn parts(&mut self, mut one: CutStream, now_ms: u64) {
        one.live.parting_for = Some(one.reason);
        one.can_part = false;
        self.parting.push((now_ms.saturating_add(PARTING_MS), one));
    }

    /// Whether a tick has to look at streams: it cuts them when something changes.
    pub(crate) fn is_watching(&self) -> bool {
        !self.parting.is_empty() || any()
    }

    /// Takes out at most so many streams that were told, or that were silent for too long.
    #[cold]
    fn parted(&mut self, most: usize, now_ms: u64) -> Vec<CutStream> {
        let mut left = most;
        let parted = self.parting.extract_if(.., |(until_ms, one)| {
            let is_due = now_ms >= *until_ms || !framed_streams::awaits_farewell(one.stream);
            let is_taken = is_due && left > 0;
            left = left.saturating_sub(usize::from(is_taken));
            is_taken
        });
        parted.map(|(_, one)| one).collect()
    }

    /// Takes out requests whose authority has ended. A round judges each request once, a
    /// part of them in each tick. It begins when something has changed or a mandate has
    /// expired. A change during a round begins another one after it, and not this one anew:
    /// who can make changes could keep the last requests from ever being judged.
    #[cold]
    #[inline(never)]
    pub(crate) fn ended(&mut self, authorizer: &mut Authorizer, now_ms: u64) -> Vec<CutStream> {
        framed_streams::on_tick(now_ms);
        if self.parting.is_empty() {
            return self.judged(authorizer, MOST_CUTS, now_ms);
        }
        let mut cut = self.parted(MOST_PARTED, now_ms);
        let left = MOST_CUTS.saturating_sub(cut.len());
        let judged = self.judged(authorizer, left, now_ms);
        let ends = judged.iter().filter(|one| !one.can_part).count();
        cut.extend(judged);
        cut.extend(self.parted(left.saturating_sub(ends), now_ms));
        cut
    }

    /// The next part of a round: at most so many requests that end, and others that part.
    fn judged(
        &mut self,
        authorizer: &mut Authorizer,
        mut cuts_left: usize,
        now_ms: u64,
    ) -> Vec<CutStream> {
        let mut cut = Vec::new();
        let room = MAX_PARTING.saturating_sub(self.parting.len());
        let mut parting_left = MOST_PARTING.min(room);
        let Some(now_s) = authorizer.unix_time_s(now_ms) else {
            return cut;
        };
        let stamp = authorizer.authority_stamp(now_ms);
        let has_changed = self.stamp.as_ref() != Some(&stamp);
        self.stamp = Some(stamp);
        let is_due = now_s >= self.next_expiry_s && now_ms >= self.not_before_ms;
        if self.in_round {
            self.again |= has_changed;
        } else if has_changed || is_due {
            self.begin_round();
        } else {
            return cut;
        }
        let Some(slice) = self.slice() else {
            return cut;
        };
        let expires = self.settings.end_when_expired;
        let mut is_last = slice.is_last;
        let mut next = slice.next;
        for (slot, stream, one) in slice.streams {
            let exp = one.mandate.claims().exp;
            if expires && exp > now_s {
                self.next_expiry_s = self.next_expiry_s.min(exp);
            }
            let authority = match one.parting_for {
                // It was being told by the configuration before this one.
                Some(reason) => Authority::Ended(reason),
                None => authorizer.authority(&one.mandate, one.matched, expires, now_ms),
            };
            let reason = match authority {
                Authority::Stands => continue,
                // What the edge lacks ends no request: whether its authority has ended is
                // seen when the edge has it again.
                Authority::Unknown => {
                    self.judge_later(now_ms);
                    continue;
                }
                Authority::Ended(reason) => reason,
            };
            let is_off = reason != Ended::Expired && !self.settings.end_when_revoked;
            if is_off && one.parting_for.is_none() {
                continue;
            }
            let can_part = room > 0 && framed_streams::can_part(stream);
            let left = if can_part {
                &mut parting_left
            } else {
                &mut cuts_left
            };
            // It is the first of the next tick.
            let Some(less) = left.checked_sub(1) else {
                is_last = false;
                next = slot;
                break;
            };
            let taken = LIVE.with(|live| live.try_borrow_mut().ok()?.remove(stream));
            if let Some(live) = taken {
                *left = less;
                cut.push(CutStream {
                    stream,
                    live,
                    reason,
                    can_part,
                });
            }
        }
        self.position = next;
        if is_last {
            self.in_round = false;
            if std::mem::take(&mut self.again) {
                self.begin_round();
            }
        }
        cut
    }

    fn begin_round(&mut self) {
        self.in_round = true;
        self.position = 0;
        self.next_expiry_s = u64::MAX;
    }

    /// Another round begins soon, although nothing has changed.
    fn judge_later(&mut self, now_ms: u64) {
        self.next_expiry_s = 0;
        self.not_before_ms = now_ms.saturating_add(AGAIN_MS);
    }

    /// The next requests of this round.
    fn slice(&self) -> Option<Slice> {
        LIVE.with(|live| {
            let live = live.try_borrow().ok()?;
            let part = live.part(self.position, MOST_SLOTS);
            let mut slice = Slice {
                is_last: part.len() < MOST_SLOTS,
                next: self.position.saturating_add(part.len()),
                streams: Vec::new(),
            };
            for (slot, one) in part {
                let Some((stream, one)) = one.filter(|(_, one)| one.root == self.root) else {
                    continue;
                };
                if slice.streams.len() >= SLICE {
                    (slice.is_last, slice.next) = (false, slot);
                    break;
                }
                let judged = Judged {
                    mandate: Rc::clone(&one.mandate),
                    matched: one.matched,
                    parting_for: one.parting_for,
                };
                slice.streams.push((slot, stream, judged));
            }
            Some(slice)
        })
    }
}

/// Some requests of a round.
struct Slice {
    streams: Vec<(usize, u32, Judged)>,
    /// The place after them.
    next: usize,
    is_last: bool,
}

/// What of a request is judged.
struct Judged {
    mandate: Rc<Mandate>,
    matched: RouteMatch,
    parting_for: Option<Ended>,
}

/// Streams that are being told when a configuration is replaced are ended by its successor.
impl Drop for LiveStreams {
    fn drop(&mut self) {
        for (_, one) in self.parting.drain(..) {
            if framed_streams::is_parting(one.stream) {
                insert(one.stream, one.live, usize::MAX);
            }
        }
    }
}
