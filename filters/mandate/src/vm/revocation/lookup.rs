//! Revocation without a copy of the log (APISIX): each request asks the companion about
//! its own mandate, and the answers are kept for a while. All configurations of a worker
//! that ask the same companion in the same way about the same zone share the answers. Each
//! zone has its own, because an answer has the epoch of one zone.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use caracal_mandate::Mandate;
use caracal_mandate::config::{Configuration, Feed as Settings};
use caracal_mandate::fetch_failure::{Kind, Turn};
use caracal_mandate::revocation::lookup_cache::{self, LookupCache, LookupTiming};
use caracal_mandate::revocation::{AnchorId, Availability, RevocationView};
use caracal_mandate::zone::Zone;

use crate::abi::hostcalls::{self, LogLevel, Status};
use crate::proxy::callout::{CalloutFailure, CalloutResult};
use crate::vm::callouts::{CompanionClient, companion_error};
use crate::vm::dependency_log;
use crate::vm::shared_data::digest;

/// Longest wait for an answer. The companion answers from memory.
pub(crate) const TIMEOUT_MS: u64 = 2_000;

/// Most anchors of one mandate. A smaller part would have no room for any.
const ANCHORS_OF_A_MANDATE: usize = 4;

/// A lookup that some configuration uses, and the digest that names it.
type Registered = ([u8; 32], Weak<RefCell<RevocationLookup>>);

thread_local! {
    static IN_WORKER: RefCell<Vec<Registered>> = RefCell::default();
}

pub(crate) struct RevocationLookup {
    companion: CompanionClient,
    zone_id: String,
    /// Which zone it is about in log lines, if there are several.
    of_zone: String,
    answers: LookupCache,
    max_staleness_s: u64,
}

impl RevocationLookup {
    /// The lookup for a zone that is shared by all configurations of this worker with the
    /// same settings. `zones` is how many zones the configuration has.
    #[cold]
    pub(crate) fn in_worker(
        configuration: &Configuration,
        settings: &Settings,
        zone: &Zone,
        zones: usize,
    ) -> Rc<RefCell<Self>> {
        // The zones of a configuration share the room that it has.
        let max_anchors = usize::try_from(configuration.limits.max_anchors).unwrap_or(usize::MAX);
        let share = max_anchors.checked_div(zones).unwrap_or(max_anchors);
        let max_anchors = share.max(max_anchors.min(ANCHORS_OF_A_MANDATE));
        let name = name(settings, zone, max_anchors);
        let mut lookup = RevocationLookup::new(settings, zone, max_anchors);
        if zones > 1 {
            lookup.of_zone = format!(" of zone {}", zone.id);
        }
        let lookup = Rc::new(RefCell::new(lookup));
        IN_WORKER.with(|all| {
            // If no other configuration finds this one, the companion is asked more
            // often, and nothing else happens.
            let Ok(mut all) = all.try_borrow_mut() else {
                return lookup;
            };
            all.retain(|(_, lookup)| lookup.strong_count() > 0);
            let known = all.iter().find(|(known, _)| *known == name);
            if let Some(known) = known.and_then(|(_, lookup)| lookup.upgrade()) {
                return known;
            }
            all.push((name, Rc::downgrade(&lookup)));
            lookup
        })
    }

    fn new(settings: &Settings, zone: &Zone, max_anchors: usize) -> Self {
        let timing = LookupTiming {
            interval_ms: settings.poll_interval_ms,
            max_staleness_ms: settings.max_staleness_s.saturating_mul(1_000),
            timeout_ms: TIMEOUT_MS,
        };
        RevocationLookup {
            companion: CompanionClient::new(settings),
            zone_id: zone.id.clone(),
            of_zone: String::new(),
            answers: LookupCache::new(timing, max_anchors),
            max_staleness_s: settings.max_staleness_s,
        }
    }

    /// Asks about a mandate's anchors, and returns the token of the callout.
    pub(crate) fn query(&mut self, mandate: &Mandate, now_ms: u64) -> Result<u32, Status> {
        let question = lookup_cache::question(mandate.claims(), &self.zone_id);
        let token = self.companion.check_anchors(&question, TIMEOUT_MS)?;
        self.answers.asked(mandate.anchors(), now_ms);
        Ok(token)
    }

    /// The request that asked has ended before the response came.
    pub(crate) fn abandon(&mut self, mandate: &Mandate) {
        self.answers.left(mandate.anchors());
    }

    /// The callout that began at `asked_ms` has ended, with an answer or with a failure.
    pub(crate) fn on_response(
        &mut self,
        mandate: &Mandate,
        answer: CalloutResult,
        asked_ms: u64,
        now_ms: u64,
    ) {
        let read = match answer {
            Ok((200, body)) => lookup_cache::LookupResponse::parse(&body)
                .ok_or_else(|| CalloutFailure::new(Kind::Unreadable, "the answer cannot be read")),
            Ok((status, body)) => Err(companion_error(status, &body)),
            Err(why) => Err(why),
        };
        let why = match read {
            Ok(answer)
                if self
                    .answers
                    .answered(mandate.anchors(), &answer, asked_ms, now_ms) =>
            {
                if let Some(turn) = self.answers.judges(now_ms) {
                    self.log_refusal_turn(turn, now_ms);
                }
                return;
            }
            Ok(_) => CalloutFailure::new(
                Kind::Capacity,
                "too many anchors are revoked (limits.max_anchors)",
            ),
            Err(why) => why,
        };
        self.record_failure(&why, now_ms);
    }

    /// A request is refused because there is no answer. The first such request is logged.
    #[cold]
    pub(crate) fn record_refusal(&mut self, now_ms: u64) {
        if let Some(turn) = self.answers.refuses(now_ms) {
            self.log_refusal_turn(turn, now_ms);
        }
    }

    #[cold]
    fn log_refusal_turn(&self, turn: Turn, now_ms: u64) {
        let limit_s = self.max_staleness_s;
        dependency_log::refusal_turn(
            turn,
            &["revocation state of its mandate", &self.of_zone].concat(),
            &self.companion.upstream,
            self.answers.cause().words(),
            self.answers.age_ms(now_ms),
            &format!("{limit_s} s (revocation.max_staleness_s)"),
        );
    }

    /// The companion was not asked, or its answer is not usable.
    pub(crate) fn record_failure(&mut self, why: &CalloutFailure, now_ms: u64) {
        if self.answers.failed(why.cause(), now_ms) {
            let upstream = &self.companion.upstream;
            hostcalls::log(
                LogLevel::Error,
                &format!(
                    "caracal: revocation lookup{} failed at {upstream}: {}",
                    self.of_zone, why.words
                ),
            );
        }
    }
}

/// A digest of everything that decides what the companion is asked and how long an answer
/// is kept. It is a digest because the token is part of it.
fn name(settings: &Settings, zone: &Zone, max_anchors: usize) -> [u8; 32] {
    let token = settings.token.as_ref().map(|token| token.expose());
    let tls = match settings.tls {
        None => "",
        Some(false) => "plain",
        Some(true) => "tls",
    };
    let numbers = [
        settings.poll_interval_ms.to_string(),
        settings.max_staleness_s.to_string(),
        max_anchors.to_string(),
    ];
    let mut texts: Vec<&str> = vec![&settings.upstream, tls, &zone.id];
    texts.extend(numbers.iter().map(String::as_str));
    texts.extend(token);
    digest(&texts)
}

/// The companion's answers for one decision.
pub(crate) struct LookupView<'a> {
    pub(crate) lookup: &'a RevocationLookup,
    /// The request has already asked the companion.
    pub(crate) already_checked: bool,
    pub(crate) now_ms: u64,
    /// The decision found no usable answer.
    pub(crate) was_unavailable: Cell<bool>,
}

impl RevocationView for LookupView<'_> {
    /// Without the anchors of a mandate nothing is known.
    fn availability(&self) -> Availability {
        Availability::Pending
    }

    fn availability_of(&self, anchors: &[AnchorId]) -> Availability {
        let answers = &self.lookup.answers;
        let found = answers.availability(anchors, self.already_checked, self.now_ms);
        self.was_unavailable
            .set(matches!(found, Availability::Unavailable(_)));
        found
    }

    fn is_revoked(&self, anchor: AnchorId) -> bool {
        self.lookup.answers.is_revoked(anchor, self.now_ms)
    }

    fn delegation_epoch(&self) -> u64 {
        self.lookup.answers.delegation_epoch()
    }
}
