//! Gateway mode: exchanges a one-shot mandate for the way to the upstream.
//!
//! `wire` is what a filter asks and is answered, `claims` what is read of the mandate,
//! `replay` notes that it is used, `circuit` spares an STS that fails, `sts` asks it with
//! a `signature`, `answer` reads what it says, `count` counts.
//!
//! What can refuse without using the mandate up comes first: its claims, the revocation
//! state, the room here, the circuit. The product's Gateway looks at the circuit after
//! the mark, where every refusal costs its client a mandate.

mod answer;
mod circuit;
mod claims;
pub(crate) mod count;
mod replay;
pub mod signature;
mod sts;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

pub use sts::Address;

use crate::Companion;
use crate::audit::{Audit, Replay};
use crate::redis::health::Limited;
use crate::redis::target::Target;
use crate::state::page::NoPage;
use circuit::{Circuit, Permit};
use claims::{Claims, Unusable};
use replay::{Marks, Unmarked};
use sts::{NoReply, Sts};
use wire::{Answer, Asked, Cause, Granted, Outcome, Refused};

/// What Gateway mode is told.
pub struct Settings {
    /// Where the STS is.
    pub sts: Address,
    /// Where used mandates are noted; without it in memory, for development.
    pub redis: Option<Target>,
    /// Most exchanges at once.
    pub at_once: usize,
    /// The only zone whose delegation epochs are known here, if they are limited.
    pub zone: Option<String>,
    /// Where a replay is noted.
    pub audit: Option<Arc<Audit>>,
}

/// See the module.
pub struct Exchange {
    companion: Companion,
    sts: Sts,
    marks: Marks,
    circuit: Arc<Circuit>,
    places: Semaphore,
    zone: Option<String>,
    audit: Option<Arc<Audit>>,
    replays: Limited,
    failures: Limited,
    unsigned: Limited,
}

/// There is no result.
pub(crate) enum NoResult {
    /// The question is wrong, and how.
    Wrong(&'static str),
    /// What is revoked is not known yet, and why.
    NotReady(&'static str),
    /// As many are under way as are allowed.
    Busy,
}

impl Exchange {
    /// Begins to keep in touch with Redis.
    ///
    /// # Errors
    /// A URL or certificates that cannot be used.
    pub fn start(companion: Companion, settings: Settings) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Exchange {
            sts: Sts::new(&settings.sts)?,
            marks: match settings.redis {
                Some(target) => Marks::in_redis(target, settings.at_once),
                None => Marks::in_memory(),
            },
            circuit: Arc::default(),
            places: Semaphore::new(settings.at_once),
            zone: settings.zone,
            audit: settings.audit,
            companion,
            replays: Limited::new(),
            failures: Limited::new(),
            unsigned: Limited::new(),
        }))
    }

    /// Exchanges a mandate once.
    ///
    /// # Errors
    /// There is no result, and the mandate is not used up.
    pub(crate) async fn answer(&self, asked: &Asked) -> Result<Answer, NoResult> {
        if let Some(problem) = asked.problem() {
            return Err(NoResult::Wrong(problem));
        }
        let metrics = &self.companion.metrics.exchange;
        let Ok(_place) = self.places.try_acquire() else {
            metrics.shed();
            return Err(NoResult::Busy);
        };
        let _under_way = metrics.under_way();
        let claims = Claims::read(&asked.mandate, now());
        let mut known = self.known(claims.as_ref().ok(), asked)?;
        let outcome = match (claims, known.refused.take()) {
            (Err(why), _) => Err(Box::new(unusable(&why))),
            (Ok(_), Some(refused)) => Err(refused),
            (Ok(claims), None) => {
                let done = self.exchange(asked, &claims).await;
                // The exchange took its time, and what was revoked meanwhile counts. So does
                // that the state is no longer known.
                match self.known(Some(&claims), asked) {
                    Ok(later) => known = later,
                    Err(_) => known.refused = Some(Box::new(stale())),
                }
                match (done, known.refused.take()) {
                    (Ok(_), Some(refused)) => Err(Box::new(refused.burnt())),
                    (done, _) => done,
                }
            }
        };
        let outcome = match outcome {
            Ok(granted) => Outcome::Granted(granted),
            Err(refused) => Outcome::Refused(*refused),
        };
        metrics.result(&outcome);
        Ok(Answer {
            revoked: known.revoked,
            epoch: known.epoch,
            confirmed_age_ms: known.age_ms,
            outcome,
        })
    }

    /// What is known of the mandate's authority, and whether that refuses it.
    fn known(&self, claims: Option<&Claims>, asked: &Asked) -> Result<Known, NoResult> {
        let (anchors, zone) = claims.map_or((&[][..], ""), |c| (&c.anchors, &c.zone));
        let checked = self.companion.state.check(anchors, zone);
        let (revoked, epoch, age_ms) = checked.map_err(|why| match why {
            NoPage::NotReady(why) => NoResult::NotReady(why),
            NoPage::Gone(_) | NoPage::Behind => NoResult::NotReady("the state is not known"),
        })?;
        let overtaken = claims
            .and_then(|claims| claims.epoch)
            .is_some_and(|own| own < epoch);
        let other_zone = claims.is_some_and(|claims| {
            let zone = self.zone.as_deref();
            zone.is_some_and(|zone| zone != claims.zone)
        });
        let invalid = |why, cause| Refused::new(401, "invalid_token", why, cause);
        let refused = if asked.max_age_ms.is_some_and(|most| age_ms > most) {
            Some(stale())
        } else if other_zone {
            let why = "this companion knows another zone";
            Some(Refused::new(401, "zone_invalid", why, Cause::Malformed))
        } else if !revoked.is_empty() {
            Some(invalid("session revoked", Cause::Revoked))
        } else if overtaken {
            Some(invalid("delegation changed since", Cause::Revoked))
        } else {
            None
        };
        Ok(Known {
            revoked: revoked.into_iter().map(str::to_owned).collect(),
            epoch: Some(epoch).filter(|epoch| *epoch > 0),
            age_ms,
            refused: refused.map(Box::new),
        })
    }

    async fn exchange(&self, asked: &Asked, claims: &Claims) -> Result<Granted, Box<Refused>> {
        let form = sts::form(asked, claims).ok_or_else(|| {
            let why = "the path is too long for the sts";
            Refused::new(413, "payload_too_large", why, Cause::Malformed)
        })?;
        let permit = self.circuit.permit(Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs().max(1);
            Refused::unavailable(503, "sts unavailable", Cause::CircuitOpen).after(seconds)
        })?;
        self.mark(asked, claims).await?;
        let metrics = &self.companion.metrics.exchange;
        let began = Instant::now();
        let reply = self.sts.exchange(form, &asked.request_id).await;
        metrics.took(began.elapsed().as_secs_f64());
        let done = match reply {
            Ok(reply) => answer::read(reply, &asked.resource, &asked.mandate),
            Err(why) => Err(Box::new(match why {
                NoReply::Timeout => Refused::unavailable(504, "sts timeout", Cause::StsTimeout),
                NoReply::Unreachable => {
                    Refused::unavailable(502, "sts unavailable", Cause::StsUnreachable)
                }
            })),
        };
        self.note(permit, done.as_ref().err().map(AsRef::as_ref));
        done.map_err(|refused| Box::new(refused.burnt()))
    }

    /// Notes that the mandate is used, unless it was.
    async fn mark(&self, asked: &Asked, claims: &Claims) -> Result<(), Box<Refused>> {
        let id = &asked.request_id;
        let marked = self.marks.first(&claims.jti, id, claims.exp, now()).await;
        let away = |why| Refused::unavailable(503, why, Cause::Redis).after(1);
        Err(Box::new(match marked {
            Ok(true) => return Ok(()),
            Ok(false) => {
                if let Some(audit) = &self.audit {
                    audit.replayed(&Replay {
                        mandate: &asked.mandate,
                        zone: &claims.zone,
                        jti: &claims.jti,
                        client: &claims.client,
                        resource: &asked.resource,
                        request_id: id,
                    });
                }
                if let Some(count) = self.replays.tell() {
                    let (zone, client_id) = (&claims.zone, &claims.client);
                    tracing::warn!(
                        count,
                        zone,
                        client_id,
                        request_id = id,
                        "replay: a mandate was sent a second time"
                    );
                }
                let why = "token replay detected";
                Refused::new(401, "invalid_token", why, Cause::Replay).burnt()
            }
            Err(Unmarked::Away) => away("replay protection unavailable"),
            Err(Unmarked::Unknown) => Refused {
                burnt: true,
                ..away(
                    "replay protection unavailable; this mandate may be used up, ask for a new one",
                )
            },
        }))
    }

    /// Tells circuit, log and metrics how the STS did.
    fn note(&self, permit: Permit, refused: Option<&Refused>) {
        let failed = refused.filter(|refused| answer::is_failure(refused));
        let has_opened = match failed {
            None => {
                if permit.well() {
                    tracing::info!("the STS answers again");
                }
                false
            }
            Some(_) => permit.failed(Instant::now()),
        };
        let metrics = &self.companion.metrics.exchange;
        metrics.circuit(self.circuit.is_open(), has_opened);
        if has_opened {
            let seconds = circuit::OPEN.as_secs();
            tracing::error!(seconds, "the STS fails: it is not asked for some seconds");
        }
        if let Some(failed) = failed
            && let Some(count) = self.failures.tell()
        {
            let (status, cause) = (failed.status, failed.cause.as_str());
            tracing::warn!(count, status, cause, "exchanges fail at the STS");
        }
        let unsigned = refused.is_some_and(|refused| {
            refused.status == 401
                && refused
                    .error_description
                    .contains("gateway exchange signature")
        });
        if unsigned && let Some(count) = self.unsigned.tell() {
            tracing::error!(
                count,
                "the STS does not take this companion's signature: GATEWAY_STS_HMAC_KEY is another one there, or the clocks differ by more than a minute"
            );
        }
    }
}

/// What the companion's state says of a mandate.
struct Known {
    revoked: Vec<String>,
    epoch: Option<u64>,
    age_ms: u64,
    refused: Option<Box<Refused>>,
}

fn stale() -> Refused {
    let why = "revocation state unavailable";
    Refused::unavailable(503, why, Cause::Stale).after(1)
}

fn unusable(why: &Unusable) -> Refused {
    let (error, description) = match why {
        Unusable::Malformed => ("invalid_token", "malformed bearer token"),
        Unusable::NoId => ("invalid_token", "missing token id"),
        Unusable::Expired => (
            "credential_expired_not_renewable",
            "credential expiring within pre-flight window",
        ),
        Unusable::TooLong => ("invalid_token", "token valid for too long"),
    };
    Refused::new(401, error, description, Cause::Malformed)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}
