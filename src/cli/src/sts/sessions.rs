//! Sessions of agents, and delegations between them, as the Coordinator's part has
//! started them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::clock::now;
use super::refusal::Refusal;

/// Most sessions, and most delegations.
const MAX: usize = 10_000;

pub(super) struct Session {
    pub(super) zone: String,
    pub(super) application: String,
    /// Unix time in seconds; in the past once it was ended.
    pub(super) until: u64,
}

pub(super) struct Edge {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) scopes: Vec<String>,
    /// All of them when there is no list.
    pub(super) resources: Option<Vec<String>>,
    pub(super) until: u64,
}

#[derive(Default)]
struct All {
    sessions: HashMap<String, Session>,
    edges: HashMap<String, Edge>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sessions(Mutex<All>);

impl Sessions {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a new session; `None` when there are too many.
    pub(super) fn start(&self, session: Session) -> Option<String> {
        let mut all = self.all();
        let id = format!("agent-{:032x}", rand::random::<u128>());
        let fits = all.sessions.len() < MAX;
        fits.then(|| {
            all.sessions.insert(id.clone(), session);
            id
        })
    }

    /// The id of a new delegation; `None` when there are too many.
    pub(super) fn delegate(&self, edge: Edge) -> Option<String> {
        let mut all = self.all();
        let id = format!("edge-{:032x}", rand::random::<u128>());
        let fits = all.edges.len() < MAX;
        fits.then(|| {
            all.edges.insert(id.clone(), edge);
            id
        })
    }

    /// Ends a session. It is kept, so that it is known to have ended.
    pub(super) fn end(&self, id: &str) {
        if let Some(session) = self.all().sessions.get_mut(id) {
            session.until = 0;
        }
    }

    pub(super) fn is_live(&self, id: &str, zone: &str, application: &str) -> bool {
        self.all().is_live(id, zone, application)
    }

    /// Whether something is delegated to a session.
    pub(super) fn is_delegated(&self, id: &str) -> bool {
        self.all().edges.values().any(|edge| edge.target == id)
    }

    /// Whether a mandate may rest on a session and a delegation. Ones that were not
    /// started here are taken as they are named, so that a test or a person can make them
    /// up.
    ///
    /// # Errors
    /// One of them was started here and does not carry the mandate.
    pub(super) fn permit(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        let all = self.all();
        let edge = all.edges.get(asked.edge);
        if !all.sessions.contains_key(asked.session) && edge.is_none() {
            return Ok(());
        }
        let denied = |why| Err(Refusal::new(403, "access_denied", why));
        let live = |id: &str| all.is_live(id, asked.zone, asked.application);
        let Some(edge) = edge.filter(|edge| edge.target == asked.session && edge.until > now())
        else {
            return denied("the session has no such delegation edge");
        };
        if !live(&edge.source) || !live(&edge.target) {
            return denied("the session is not active");
        }
        let has = |scope: &&str| edge.scopes.iter().any(|own| own == scope);
        if !asked.scopes.iter().all(has) {
            return Err(Refusal::denied("scope_mismatch"));
        }
        let resources = edge.resources.as_ref();
        if resources.is_some_and(|all| !all.iter().any(|one| one == asked.resource)) {
            return Err(Refusal::denied("resource_outside_delegation"));
        }
        Ok(())
    }
}

/// What a mandate would carry.
pub(super) struct Asked<'a> {
    pub(super) zone: &'a str,
    pub(super) application: &'a str,
    pub(super) session: &'a str,
    pub(super) edge: &'a str,
    pub(super) resource: &'a str,
    pub(super) scopes: &'a [&'a str],
}

impl All {
    fn is_live(&self, id: &str, zone: &str, application: &str) -> bool {
        let session = self.sessions.get(id);
        session.is_some_and(|session| {
            session.zone == zone && session.application == application && session.until > now()
        })
    }
}
