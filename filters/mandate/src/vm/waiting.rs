//! Requests that wait for keys or revocations that another VM, or a tick, fetches. Each
//! has a deadline, and their number is bounded. Ticks and responses resolve them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use caracal_mandate::config::Limits;
use caracal_mandate::decision::verifier::{Credential, Missing, Verdict};
use caracal_mandate::jwks::refresh::FetchMark;
use caracal_mandate::revocation::{Availability, RevocationView as _};
use caracal_mandate::zone::{ZoneIndex, ZoneSet};

use crate::abi::wasi;
use crate::vm::authorizer::{Authorizer, WaitReason};
use crate::vm::missing;
use crate::vm::places::{Place, Places};
use crate::vm::request_info::{Authorization, RequestInfo, ResolvedRequest, StreamPhase};
use crate::vm::revocation::log_view::LogView;
use crate::vm::time_slice::SLICE_MS;

/// A request that waits.
struct WaitingRequest {
    request: RequestInfo,
    credential: Credential<'static>,
    phase: Rc<Cell<StreamPhase>>,
    _place: Place,
    zone: ZoneIndex,
    mark: FetchMark,
    reason: WaitReason,
    deadline_ms: u64,
    /// How many fetches had ended when it was last decided, and the key set of that
    /// decision. As long as both are the same, deciding again changes nothing.
    decided_at: u64,
    key_set: Option<(u64, u64)>,
}

/// The requests of one configuration that wait.
pub(crate) struct WaitingRequests {
    /// The requests, by stream.
    requests: BTreeMap<u32, WaitingRequest>,
    places: Places,
    timeout_ms: u64,
}

impl WaitingRequests {
    pub(crate) fn new(limits: &Limits, zones: usize) -> Self {
        WaitingRequests {
            requests: BTreeMap::new(),
            places: Places::new(limits.max_paused, zones),
            timeout_ms: limits.pause_timeout_ms,
        }
    }

    /// Decides on a request at once, or lets it wait.
    pub(crate) fn authorize(
        &mut self,
        authorizer: &mut Authorizer,
        stream: u32,
        request: &RequestInfo,
        credential: Credential<'_>,
        phase: &Rc<Cell<StreamPhase>>,
        now_ms: u64,
    ) -> Authorization {
        let verdict = authorizer.decide(&credential, false, now_ms);
        let reason = match verdict {
            Verdict::NeedsKeySet(missing) => WaitReason::KeySet(missing),
            Verdict::NeedsRevocations(_) => WaitReason::Revocations,
            verdict => return Authorization::Decided(verdict),
        };
        let zone = credential.zone();
        let key_set = zone.and_then(|zone| Some((zone, authorizer.key_sets.get(zone)?)));
        let Some((zone, key_set)) = key_set else {
            return Authorization::Decided(missing::no_zone());
        };
        let mark = key_set.record.fetch_mark();
        if let Some(verdict) = authorizer.verdict_without(reason, zone, mark, now_ms) {
            return Authorization::Decided(verdict);
        }
        let Some(place) = self.places.take(zone) else {
            return Authorization::Decided(too_many_wait());
        };
        let waiting = WaitingRequest {
            request: request.clone(),
            credential: credential.into_owned(),
            phase: Rc::clone(phase),
            _place: place,
            zone,
            mark,
            reason,
            deadline_ms: now_ms.saturating_add(self.timeout_ms),
            decided_at: key_set.record.attempts,
            key_set: key_set.current_id(),
        };
        self.requests.insert(stream, waiting);
        authorizer.metrics.paused(1);
        Authorization::Paused
    }

    /// Removes and returns the requests that can be decided now, as many as one callback
    /// has time for.
    pub(crate) fn resolve(
        &mut self,
        authorizer: &mut Authorizer,
        now_ms: u64,
    ) -> Vec<ResolvedRequest> {
        let mut resolved = Vec::new();
        let revocations_pending = authorizer.feed.as_ref().is_some_and(|feed| {
            let view = LogView {
                feed,
                zone: ZoneIndex::FIRST,
                now_ms,
            };
            !self.requests.is_empty() && view.availability() == Availability::Pending
        });
        let state_of = |authorizer: &Authorizer, zone| {
            let key_set = authorizer.key_sets.get(zone);
            key_set.map_or((0, None), |all| (all.record.attempts, all.current_id()))
        };
        let due: Vec<u32> = self
            .requests
            .iter()
            .filter(|(_, waiting)| {
                let may_have_come = match waiting.reason {
                    WaitReason::KeySet(_) => {
                        state_of(authorizer, waiting.zone) != (waiting.decided_at, waiting.key_set)
                    }
                    WaitReason::Revocations => !revocations_pending,
                };
                may_have_come || waiting.deadline_ms <= now_ms
            })
            .map(|(stream, _)| *stream)
            .collect();
        for stream in due {
            let Some(now_ms) =
                wasi::monotonic_ms().filter(|now| now.saturating_sub(now_ms) <= SLICE_MS)
            else {
                break;
            };
            let Some(mut waiting) = self.requests.remove(&stream) else {
                continue;
            };
            let mut verdict = authorizer.decide(&waiting.credential, false, now_ms);
            let reason = match verdict {
                Verdict::NeedsKeySet(missing) => Some(WaitReason::KeySet(missing)),
                Verdict::NeedsRevocations(_) => Some(WaitReason::Revocations),
                Verdict::Admitted(_) | Verdict::Refused(..) => None,
            };
            if let Some(reason) = reason {
                waiting.reason = reason;
                (waiting.decided_at, waiting.key_set) = state_of(authorizer, waiting.zone);
                let (zone, mark) = (waiting.zone, waiting.mark);
                verdict = match authorizer.verdict_without(reason, zone, mark, now_ms) {
                    Some(verdict) => verdict,
                    None if waiting.deadline_ms <= now_ms => missing::waited(match reason {
                        WaitReason::KeySet(_) => "The zone's key set did not come in time",
                        WaitReason::Revocations => "The revocation state did not come in time",
                    }),
                    None => {
                        self.requests.insert(stream, waiting);
                        continue;
                    }
                };
            }
            authorizer.metrics.paused(-1);
            let since_ms = waiting.deadline_ms.saturating_sub(self.timeout_ms);
            authorizer.metrics.key_wait(now_ms.saturating_sub(since_ms));
            resolved.push(ResolvedRequest {
                stream,
                request: waiting.request,
                phase: waiting.phase,
                verdict,
                rewrite: None,
            });
        }
        resolved
    }

    /// The zones whose key set a request waits for, and among them those whose key set
    /// lacks a request's key.
    pub(crate) fn wanted(&self) -> (ZoneSet, ZoneSet) {
        let (mut wanted, mut unknown_kids) = (ZoneSet::NONE, ZoneSet::NONE);
        for waiting in self.requests.values() {
            if let WaitReason::KeySet(missing) = waiting.reason {
                wanted = wanted.with(waiting.zone);
                if missing == Missing::Key {
                    unknown_kids = unknown_kids.with(waiting.zone);
                }
            }
        }
        (wanted, unknown_kids)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Removes a request whose stream has ended. True if it was waiting.
    pub(crate) fn remove(&mut self, stream: u32) -> bool {
        self.requests.remove(&stream).is_some()
    }
}

/// The verdict on a request for which there is no place to wait.
pub(crate) fn too_many_wait() -> Verdict {
    missing::waited("Too many requests wait at this edge")
}
