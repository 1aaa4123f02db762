//! What may be admitted: a mandate whose revocation a master has acknowledged may
//! be for `max_staleness_s` more, if that master's history is the one that stays. A
//! message that a lost master took with it was never revoked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the edges are told: `max_staleness_s`.
pub const STALENESS: Duration = Duration::from_secs(2);
/// Sessions that are asked for at a time; the oldest leave.
const WATCHED: usize = 24;

#[derive(Clone)]
pub struct Revocation {
    pub token: String,
    /// When a master acknowledged it, and the message's id there.
    pub acknowledged: Option<(Instant, String)>,
}

/// One that was admitted too late, if it counts.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub sid: String,
    pub id: String,
    pub late: Duration,
    pub edge: usize,
}

#[derive(Default)]
struct Inner {
    sessions: BTreeMap<u64, Revocation>,
    suspects: Vec<Suspect>,
    revoked: u64,
    requests: u64,
    admitted: u64,
}

#[derive(Clone, Default)]
pub struct Model(Arc<Mutex<Inner>>);

pub fn sid(number: u64) -> String {
    format!("chaos-{number}")
}

impl Model {
    /// One more mandate that will be revoked.
    pub fn add(&self, number: u64, token: String) {
        let mut inner = self.0.lock().unwrap();
        let acknowledged = None;
        let session = Revocation {
            token,
            acknowledged,
        };
        inner.sessions.insert(number, session);
        while inner.sessions.len() > WATCHED {
            inner.sessions.pop_first();
        }
    }

    pub fn acknowledged(&self, number: u64, id: String) {
        let mut inner = self.0.lock().unwrap();
        inner.revoked += 1;
        if let Some(session) = inner.sessions.get_mut(&number) {
            session.acknowledged = Some((Instant::now(), id));
        }
    }

    pub fn watched(&self) -> Vec<(u64, Revocation)> {
        let inner = self.0.lock().unwrap();
        let all = inner.sessions.iter();
        all.map(|(number, session)| (*number, session.clone()))
            .collect()
    }

    /// A request of a session, sent at a time, had this answer.
    pub fn answered(&self, number: u64, edge: usize, sent: Instant, status: u16) {
        let mut inner = self.0.lock().unwrap();
        inner.requests += 1;
        if status >= 400 {
            return;
        }
        inner.admitted += 1;
        let session = inner.sessions.get(&number).cloned();
        let Some((at, id)) = session.and_then(|session| session.acknowledged) else {
            return;
        };
        let late = sent.saturating_duration_since(at);
        if late > STALENESS + caracal_tests::bound::SLACK {
            inner.suspects.push(Suspect {
                sid: sid(number),
                id,
                late,
                edge,
            });
        }
    }

    pub fn suspects(&self) -> Vec<Suspect> {
        std::mem::take(&mut self.0.lock().unwrap().suspects)
    }

    pub fn told(&self) -> String {
        let inner = self.0.lock().unwrap();
        format!(
            "{} revoked, {} requests of them, {} admitted in time",
            inner.revoked, inner.requests, inner.admitted
        )
    }
}
