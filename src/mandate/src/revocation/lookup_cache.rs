//! The companion's answers about single mandates (`POST /v1/check`), for a VM that has no
//! copy of the whole state: on APISIX each request asks for itself.
//!
//! The age of an answer counts from when the companion last had everything. If an answer
//! is older than the poll interval, one request asks again, and the others use the old
//! answer meanwhile. No answer is used that is older than the limit. Times are
//! milliseconds of a monotonic clock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{AnchorId, Availability};
use crate::fetch_failure::{Cause, Logged, Turn, turn};
use crate::json::{self, Number, Value};
use crate::token::anchor::anchor_texts;
use crate::token::claims::Claims;

/// Largest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// A revoked anchor and an epoch are remembered this long after the companion last
/// reported them. It is the longest time for which Caracal keeps them. An anchor that the
/// companion has forgotten since then is still revoked.
const REMEMBERED_MS: u64 = 86_400_000;
/// Wait after the first failed question. It doubles with each further failure.
const FIRST_BACKOFF_MS: u64 = 20;
/// If refusing begins again within this time after it ended, it is not logged again.
const TURNS_APART_MS: u64 = 10_000;
/// Longest wait after a failed question.
const MAX_BACKOFF_MS: u64 = 5_000;
/// Most anchors that are examined to make room for one.
const MAX_LOOKED_AT: usize = 1_000;
/// The whole memory is searched for old answers at most this often.
const SWEEP_EVERY_MS: u64 = 1_000;

/// The times of asking, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct LookupTiming {
    /// An answer of this age is asked for again.
    pub interval_ms: u64,
    /// Oldest answer that may be used.
    pub max_staleness_ms: u64,
    /// Longest wait for an answer.
    pub timeout_ms: u64,
}

/// The question about a mandate's anchors.
///
/// ```json
/// {"anchors": ["sid-1", "root-1"], "zone": "zone-1"}
/// ```
pub fn question(claims: &Claims, zone: &str) -> Vec<u8> {
    // Strings can always be serialized.
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let anchors: Vec<String> = anchor_texts(claims).map(quoted).collect();
    let (anchors, zone) = (anchors.join(","), quoted(zone));
    format!(r#"{{"anchors":[{anchors}],"zone":{zone}}}"#).into_bytes()
}

/// The companion's answer. Unknown members are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupResponse {
    /// The anchors among these that are revoked.
    pub revoked: Vec<AnchorId>,
    /// The zone's delegation epoch; 0 if none is known.
    pub epoch: u64,
    /// Time since the companion last knew that it had everything, in milliseconds.
    pub confirmed_age_ms: u64,
}

impl LookupResponse {
    /// Reads an answer of at most [`MAX_ANSWER_BYTES`]; `None` for anything else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_ANSWER_BYTES {
            return None;
        }
        let members = json::parse_object(bytes).ok()?;
        let member = |name: &str| {
            let found = members.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value)
        };
        let integer = |name| match member(name)? {
            Value::Number(Number::Integer(n)) => Some(*n),
            _ => None,
        };
        let Value::Array(revoked) = member("revoked")? else {
            return None;
        };
        let anchor = |value: &Value<'_>| match value {
            Value::String(text) => Some(AnchorId::of(text)),
            _ => None,
        };
        Some(LookupResponse {
            revoked: revoked.iter().map(anchor).collect::<Option<_>>()?,
            epoch: integer("epoch")?,
            confirmed_age_ms: integer("confirmed_age_ms")?,
        })
    }
}

/// Anchor ids are digests already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

#[derive(Debug, Clone, Copy)]
struct Known {
    confirmed_at_ms: u64,
    /// When a request last asked about it again.
    asked_ms: Option<u64>,
    /// When the companion last reported it as revoked.
    revoked_ms: Option<u64>,
}

impl Known {
    /// An anchor that was revoked stays revoked, whatever a companion has lost since.
    fn is_revoked(&self, now_ms: u64) -> bool {
        self.revoked_ms
            .is_some_and(|said| now_ms.saturating_sub(said) <= REMEMBERED_MS)
    }
}

/// The answers that one VM remembers.
#[derive(Debug)]
pub struct LookupCache {
    timing: LookupTiming,
    max: usize,
    known: HashMap<AnchorId, Known, BuildHasherDefault<AsItIs>>,
    epoch: u64,
    epoch_heard_ms: u64,
    failures: u32,
    retry_at_ms: u64,
    /// After a failure, one request asks before the others. This is when it did.
    probed_ms: Option<u64>,
    logged: Logged,
    swept_ms: u64,
    /// When a companion last gave a usable answer.
    heard_ms: Option<u64>,
    refusing_since_ms: u64,
    /// When refusing last ended.
    judged_ms: Option<u64>,
}

impl LookupCache {
    /// An empty memory for at most `max` anchors.
    pub fn new(timing: LookupTiming, max: usize) -> Self {
        LookupCache {
            timing,
            max,
            known: HashMap::default(),
            epoch: 0,
            epoch_heard_ms: 0,
            failures: 0,
            retry_at_ms: 0,
            probed_ms: None,
            logged: Logged::default(),
            swept_ms: 0,
            heard_ms: None,
            refusing_since_ms: 0,
            judged_ms: None,
        }
    }

    /// Whether a mandate with these anchors can be judged. `Pending` means: ask first. A
    /// request that has already asked (`asked`) is judged with what is there.
    pub fn availability(&self, anchors: &[AnchorId], asked: bool, now_ms: u64) -> Availability {
        let known: Option<Vec<&Known>> = anchors.iter().map(|id| self.known.get(id)).collect();
        let since = |at: u64| now_ms.saturating_sub(at);
        let oldest = known
            .as_ref()
            .and_then(|all| all.iter().map(|one| since(one.confirmed_at_ms)).max());
        let may_ask = !asked && self.may_ask(now_ms);
        match oldest {
            Some(age) if age <= self.timing.max_staleness_ms => {
                let (interval, timeout) = (self.timing.interval_ms, self.timing.timeout_ms);
                let is_fresh = |one: &&Known| since(one.confirmed_at_ms) <= interval;
                let waits = |one: &&Known| one.asked_ms.is_some_and(|at| since(at) <= timeout);
                let mut all = known.into_iter().flatten();
                // Every old anchor needs its own question. One in progress covers that
                // anchor only.
                if !may_ask || all.all(|one| is_fresh(&one) || waits(&one)) {
                    Availability::Ready
                } else {
                    Availability::Pending
                }
            }
            _ if may_ask => Availability::Pending,
            Some(_) => Availability::Unavailable("The revocation state is too old"),
            None => Availability::Unavailable("The companion has not answered about it"),
        }
    }

    /// Whether a question may be asked. After a failed question, a single request asks
    /// when the wait is over. The others may ask once it has an answer.
    fn may_ask(&self, now_ms: u64) -> bool {
        let probes = self
            .probed_ms
            .is_some_and(|at| now_ms.saturating_sub(at) <= self.timing.timeout_ms);
        now_ms >= self.retry_at_ms && !probes
    }

    /// A request asks about these anchors.
    pub fn asked(&mut self, anchors: &[AnchorId], now_ms: u64) {
        self.probed_ms = (self.failures != 0).then_some(now_ms);
        for id in anchors {
            if let Some(known) = self.known.get_mut(id) {
                known.asked_ms = Some(now_ms);
            }
        }
    }

    /// The request that asked about these anchors has left, so the next request asks.
    pub fn left(&mut self, anchors: &[AnchorId]) {
        self.probed_ms = None;
        for id in anchors {
            if let Some(known) = self.known.get_mut(id) {
                known.asked_ms = None;
            }
        }
    }

    /// An answer has come to a question about these anchors, which was asked at
    /// `asked_ms`. False if there is no room to remember it.
    pub fn answered(
        &mut self,
        anchors: &[AnchorId],
        answer: &LookupResponse,
        asked_ms: u64,
        now_ms: u64,
    ) -> bool {
        self.failures = 0;
        self.retry_at_ms = 0;
        self.probed_ms = None;
        self.hear_epoch(answer.epoch, now_ms);
        // Assume the oldest possible answer: the companion made it after the question was
        // sent.
        let confirmed_at_ms = asked_ms.saturating_sub(answer.confirmed_age_ms);
        for id in anchors {
            let before = self.known.get(id).copied();
            if before.is_none() && !self.has_room(anchors, now_ms) {
                return false;
            }
            let revoked_ms = match answer.revoked.contains(id) {
                true => Some(now_ms),
                false => before.and_then(|known| known.revoked_ms),
            };
            let now = Known {
                confirmed_at_ms: before
                    .map_or(0, |known| known.confirmed_at_ms)
                    .max(confirmed_at_ms),
                asked_ms: None,
                revoked_ms,
            };
            self.known.insert(*id, now);
        }
        true
    }

    fn hear_epoch(&mut self, epoch: u64, now_ms: u64) {
        let forgotten = now_ms.saturating_sub(self.epoch_heard_ms) > REMEMBERED_MS;
        if epoch >= self.epoch || forgotten {
            self.epoch = epoch;
            self.epoch_heard_ms = now_ms;
        }
    }

    /// A question failed. Returns whether to log it.
    pub fn failed(&mut self, cause: Cause, now_ms: u64) -> bool {
        self.probed_ms = None;
        // Several questions that were under way at once count as one failure.
        if now_ms >= self.retry_at_ms {
            let doublings = self.failures.min(8);
            self.failures = self.failures.saturating_add(1);
            let wait = FIRST_BACKOFF_MS
                .saturating_mul(1_u64.wrapping_shl(doublings))
                .min(MAX_BACKOFF_MS);
            self.retry_at_ms = now_ms.saturating_add(wait);
        }
        self.logged.is_news(cause, now_ms)
    }

    /// A request is refused because there is no answer. Returns the start of refusing.
    /// None without a failure (the queue was only full), or if refusing ended a moment
    /// ago.
    #[inline(never)]
    pub fn refuses(&mut self, now_ms: u64) -> Option<Turn> {
        let just_ended = self
            .judged_ms
            .is_some_and(|at| now_ms.saturating_sub(at) < TURNS_APART_MS);
        if self.failures == 0 || just_ended {
            return None;
        }
        turn(&mut self.refusing_since_ms, true, false, now_ms)
    }

    /// A companion has answered. Returns the end of refusing, if requests were refused.
    #[inline(never)]
    pub fn judges(&mut self, now_ms: u64) -> Option<Turn> {
        self.heard_ms = Some(now_ms);
        let turn = turn(&mut self.refusing_since_ms, false, true, now_ms)?;
        self.judged_ms = Some(now_ms);
        Some(turn)
    }

    /// What the last failure was.
    pub fn cause(&self) -> Cause {
        self.logged.cause
    }

    /// Time since a companion last answered; `None` if none ever did.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.heard_ms.map(|at| now_ms.saturating_sub(at))
    }

    /// Whether an anchor is known to be revoked.
    pub fn is_revoked(&self, anchor: AnchorId, now_ms: u64) -> bool {
        let known = self.known.get(&anchor);
        known.is_some_and(|known| known.is_revoked(now_ms))
    }

    /// The zone's delegation epoch.
    pub fn delegation_epoch(&self) -> u64 {
        self.epoch
    }

    /// Makes room for one more anchor. Old answers are removed first, then any answer
    /// that says "not revoked", which will be asked for again. Revoked anchors and the
    /// `wanted` ones stay.
    fn has_room(&mut self, wanted: &[AnchorId], now_ms: u64) -> bool {
        if self.known.len() < self.max {
            return true;
        }
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_EVERY_MS {
            self.swept_ms = now_ms;
            let fresh = self.timing.max_staleness_ms;
            self.known.retain(|_, known| {
                let is_fresh = now_ms.saturating_sub(known.confirmed_at_ms) <= fresh;
                is_fresh || known.is_revoked(now_ms)
            });
        }
        if self.known.len() >= self.max {
            let mut some = self.known.iter().take(MAX_LOOKED_AT);
            let victim = some.find(|(id, known)| !known.is_revoked(now_ms) && !wanted.contains(id));
            let Some(victim) = victim.map(|(id, _)| *id) else {
                return false;
            };
            self.known.remove(&victim);
        }
        true
    }
}

#[cfg(test)]
mod tests;
