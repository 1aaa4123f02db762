//! The admitted requests of this VM that are still under way. Each is judged again when
//! something changes that could end its authority. An end is noted without the
//! configuration, because the proxy may tell it while a callback uses that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;

use caracal_mandate::Mandate;
use caracal_mandate::config::{Configuration, Streams};
use caracal_mandate::reply::{ErrorCode, Refusal};
use caracal_mandate::revocation::Disabled;
use caracal_mandate::routing::resources::RouteMatch;

use crate::vm::authorizer::{AuthorityStamp, Authorizer};
use crate::vm::cut_reason::CutReason;
use crate::vm::request_info::{RequestInfo, StreamPhase};

/// Most requests that one tick judges again. 50 000 take two seconds.
const SLICE: usize = 256;
/// The pause before requests are judged again that could not be judged.
const AGAIN_MS: u64 = 1_000;

/// An admitted request under way.
pub(crate) struct LiveStream {
    root: u32,
    pub(crate) mandate: Rc<Mandate>,
    matched: RouteMatch,
    pub(crate) request: RequestInfo,
    pub(crate) phase: Rc<Cell<StreamPhase>>,
}

/// A request whose authority has ended.
pub(crate) struct CutStream {
    pub(crate) stream: u32,
    pub(crate) live: Box<LiveStream>,
    pub(crate) refusal: Refusal,
    pub(crate) reason: CutReason,
}

thread_local! {
    static LIVE: RefCell<BTreeMap<u32, Box<LiveStream>>> = RefCell::default();
}

/// Forgets a request whose stream has ended.
pub(crate) fn forget(stream: u32) {
    LIVE.with(|live| {
        if let Ok(mut live) = live.try_borrow_mut() {
            live.remove(&stream);
        }
    });
}

/// Watches the requests of one configuration.
pub(crate) struct LiveStreams {
    settings: Streams,
    max: usize,
    /// The root context of the configuration.
    root: u32,
    /// What the last complete round judged by.
    stamp: Option<AuthorityStamp>,
    /// The last request that was judged in this round; none between rounds.
    position: Option<u32>,
    in_round: bool,
    /// Unix time in seconds at which the next mandate expires.
    next_expiry_s: u64,
    not_before_ms: u64,
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
            position: None,
            in_round: false,
            next_expiry_s: u64::MAX,
            not_before_ms: 0,
        })
    }

    /// Whether one more request can be watched.
    pub(crate) fn has_room(&self) -> bool {
        LIVE.with(|live| live.try_borrow().is_ok_and(|live| live.len() < self.max))
    }

    /// Watches an admitted request until its stream ends.
    #[inline(never)]
    pub(crate) fn begin(
        &mut self,
        stream: u32,
        request: &RequestInfo,
        mandate: &Rc<Mandate>,
        phase: &Rc<Cell<StreamPhase>>,
    ) {
        let Some(matched) = request.matched else {
            return;
        };
        self.next_expiry_s = self.next_expiry_s.min(mandate.claims().exp);
        let one = Box::new(LiveStream {
            root: self.root,
            mandate: Rc::clone(mandate),
            matched,
            request: request.clone(),
            phase: Rc::clone(phase),
        });
        LIVE.with(|live| {
            if let Ok(mut live) = live.try_borrow_mut() {
                live.insert(stream, one);
            }
        });
    }

    /// Takes out the requests whose authority has ended. A round judges each request once,
    /// a part of them in each tick. It begins when something has changed or a mandate has
    /// expired.
    #[cold]
    #[inline(never)]
    pub(crate) fn ended(&mut self, authorizer: &mut Authorizer, now_ms: u64) -> Vec<CutStream> {
        let Some(now_s) = authorizer.unix_time_s(now_ms) else {
            return Vec::new();
        };
        let stamp = authorizer.authority_stamp(now_ms);
        if self.stamp.as_ref() != Some(&stamp) {
            // What was judged before the change in this round is judged again.
            self.begin_round(Some(stamp));
        } else if !self.in_round && now_s >= self.next_expiry_s && now_ms >= self.not_before_ms {
            self.begin_round(Some(stamp));
        }
        if !self.in_round {
            return Vec::new();
        }
        let mut cut = Vec::new();
        let slice = self.slice();
        if slice.len() < SLICE {
            self.in_round = false;
        }
        for (stream, mandate, matched) in slice {
            self.position = Some(stream);
            let Err(refusal) = authorizer.decide_again(&mandate, matched, &Disabled, now_ms) else {
                self.next_expiry_s = self.next_expiry_s.min(mandate.claims().exp);
                continue;
            };
            let has_expired = mandate.claims().exp <= now_s;
            let reason = match refusal.code() {
                ErrorCode::SessionRevoked => CutReason::Revoked,
                ErrorCode::DelegationStale => CutReason::DelegationStale,
                ErrorCode::InvalidToken | ErrorCode::CredentialExpiring if has_expired => {
                    CutReason::Expired
                }
                ErrorCode::InvalidToken => CutReason::KeyGone,
                // What the edge lacks ends no request: whether its authority has ended is
                // seen when the edge has it again.
                _ => {
                    self.judge_later(now_ms);
                    continue;
                }
            };
            let is_wanted = match reason {
                CutReason::Expired => self.settings.end_when_expired,
                _ => self.settings.end_when_revoked,
            };
            if !is_wanted {
                continue;
            }
            let taken = LIVE.with(|live| live.try_borrow_mut().ok()?.remove(&stream));
            if let Some(live) = taken {
                cut.push(CutStream {
                    stream,
                    live,
                    refusal,
                    reason,
                });
            }
        }
        cut
    }

    fn begin_round(&mut self, stamp: Option<AuthorityStamp>) {
        self.stamp = stamp;
        self.in_round = true;
        self.position = None;
        self.next_expiry_s = u64::MAX;
    }

    /// Another round begins soon, although nothing has changed.
    fn judge_later(&mut self, now_ms: u64) {
        self.next_expiry_s = 0;
        self.not_before_ms = now_ms.saturating_add(AGAIN_MS);
    }

    /// The next requests of this round.
    fn slice(&self) -> Vec<(u32, Rc<Mandate>, RouteMatch)> {
        let from = self.position.map_or(Bound::Unbounded, Bound::Excluded);
        LIVE.with(|live| {
            let Ok(live) = live.try_borrow() else {
                return Vec::new();
            };
            live.range((from, Bound::Unbounded))
                .filter(|(_, one)| one.root == self.root)
                .take(SLICE)
                .map(|(stream, one)| (*stream, Rc::clone(&one.mandate), one.matched))
                .collect()
        })
    }
}
