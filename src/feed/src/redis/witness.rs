//! The witnesses that say which server is the master: Sentinels, or the masters of a
//! cluster. A server that was cut off from the others still believes that it is the
//! master, so its own word is not enough. The witnesses are asked twice a second. A
//! majority must name the same server, and none may know of a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::Notify;

use super::connection::{Login, Named, connect};
use super::slots::Slots;
use super::testimony::{MAX_WITNESSES, Said, agreed, of_master, of_sentinel, owners_of};
use crate::Companion;
use crate::event::Stream;

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(500);
/// Longest wait for one witness.
const ANSWER: Duration = Duration::from_secs(1);
/// A view that is older than this names nobody.
const MAX_AGE: Duration = Duration::from_secs(10);

/// What the witnesses agree on.
#[derive(Debug, Clone)]
pub struct View {
    /// The server.
    pub named: Named,
    /// When they were asked.
    pub at: Instant,
}

/// The master of each slot, as the witnesses agree.
#[derive(Debug, Clone)]
pub struct Owners {
    /// The slots, as most witnesses report them.
    pub slots: Slots,
    /// A majority agrees on every slot, and not only on who the masters are.
    pub exact: bool,
    /// When they were asked.
    pub at: Instant,
}

/// The last agreement.
#[derive(Default)]
struct Agreed {
    views: BTreeMap<Stream, Result<View, &'static str>>,
    owners: Option<Result<Owners, &'static str>>,
}

enum Kind {
    Sentinels(String),
    Masters,
}

/// What is kept from one question to the next.
#[derive(Default)]
struct Round {
    connections: BTreeMap<(String, u16), MultiplexedConnection>,
    found: BTreeSet<(String, u16)>,
}

/// The witnesses, and their last agreement.
pub struct Witness {
    kind: Kind,
    told: Vec<(String, u16)>,
    login: Login,
    agreed: Mutex<Agreed>,
    asked: Notify,
}

const SILENT: &str = "the Sentinels or masters that name the master have not answered";

fn nobody(why: &'static str) -> RedisError {
    (ErrorKind::Client, why).into()
}

impl Witness {
    pub(super) fn sentinels(told: Vec<(String, u16)>, login: Login, master: String) -> Arc<Self> {
        Witness::new(Kind::Sentinels(master), told, login)
    }

    pub(super) fn masters(told: Vec<(String, u16)>, login: Login) -> Arc<Self> {
        Witness::new(Kind::Masters, told, login)
    }

    fn new(kind: Kind, told: Vec<(String, u16)>, login: Login) -> Arc<Self> {
        Arc::new(Witness {
            kind,
            told,
            login,
            agreed: Mutex::default(),
            asked: Notify::new(),
        })
    }

    /// The addresses that were given, for logs.
    pub(super) fn name(&self) -> String {
        let told = self
            .told
            .iter()
            .map(|(host, port)| format!("{host}:{port}"));
        let told = told.collect::<Vec<_>>().join(",");
        match &self.kind {
            Kind::Sentinels(master) => format!("{master} by Sentinels {told}"),
            Kind::Masters => format!("cluster {told}"),
        }
    }

    /// The server that they named when they were last asked.
    ///
    /// # Errors Why they name nobody.
    pub fn view(&self, stream: Stream) -> RedisResult<View> {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        match agreed.views.get(&stream) {
            Some(Ok(view)) if view.at.elapsed() <= MAX_AGE => Ok(view.clone()),
            Some(Ok(_)) | None => Err(nobody(SILENT)),
            Some(Err(why)) => Err(nobody(why)),
        }
    }

    /// The master of each slot when they were last asked.
    ///
    /// # Errors Why this is not known.
    pub fn owners(&self) -> RedisResult<Owners> {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        match &agreed.owners {
            Some(Ok(owners)) if owners.at.elapsed() <= MAX_AGE => Ok(owners.clone()),
            Some(Ok(_)) | None => Err(nobody(SILENT)),
            Some(Err(why)) => Err(nobody(why)),
        }
    }

    /// [`Witness::view`], or the one after the next answers if there is none now.
    pub(super) async fn fresh_view(&self, stream: Stream) -> RedisResult<View> {
        self.after_answers(|| self.view(stream).ok(), || self.view(stream))
            .await
    }

    /// [`Witness::owners`], or those after the next answers if they are not known now.
    pub(super) async fn fresh_owners(&self) -> RedisResult<Owners> {
        self.after_answers(|| self.owners().ok(), || self.owners())
            .await
    }

    /// [`Witness::owners`], asked later than `since`.
    pub(super) async fn owners_since(&self, since: Instant) -> RedisResult<Owners> {
        let newer = || self.owners().ok().filter(|owners| owners.at >= since);
        // The question for the answers that are on their way may have been too early.
        for _ in 0..2 {
            if let Some(owners) = self.after_answers(newer, || Ok(newer())).await? {
                return Ok(owners);
            }
        }
        Err(nobody(
            "the masters of the cluster do not give their own ids",
        ))
    }

    async fn after_answers<T, U>(
        &self,
        now: impl Fn() -> Option<U>,
        then: impl Fn() -> RedisResult<T>,
    ) -> RedisResult<T> {
        let next = self.asked.notified();
        if now().is_some() {
            return then();
        }
        let _ = tokio::time::timeout(ANSWER.saturating_mul(2), next).await;
        then()
    }

    /// Asks the witnesses until the companion is told to stop.
    pub(super) async fn run(self: Arc<Self>, companion: Companion) {
        let mut round = Round::default();
        while !*companion.stopping.borrow() {
            self.ask_all(&mut round).await;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = companion.stopped() => {}
            }
        }
    }

    /// Asks the witnesses once, for a caller without a running companion.
    pub(super) async fn ask_once(&self) {
        let mut round = Round::default();
        self.ask_all(&mut round).await;
        // Ask again, with the witnesses that the first ones named.
        self.ask_all(&mut round).await;
    }

    async fn ask_all(&self, round: &mut Round) {
        let at = Instant::now();
        let mut addresses: BTreeSet<_> = self.told.iter().cloned().collect();
        for other in &round.found {
            if addresses.len() < MAX_WITNESSES {
                addresses.insert(other.clone());
            }
        }
        let mut known = std::mem::take(&mut round.connections);
        let asking = addresses.into_iter().map(|address| {
            let connection = known.remove(&address);
            async {
                let said = tokio::time::timeout(ANSWER, self.ask(&address, connection)).await;
                (address, said.ok().and_then(Result::ok))
            }
        });
        let mut said = Vec::new();
        for (address, answer) in futures_util::future::join_all(asking).await {
            if let Some((connection, answer)) = answer {
                round.connections.insert(address, connection);
                said.push(answer);
            }
        }
        round.found = said.iter().flat_map(|said| said.others.clone()).collect();
        let views = Stream::ALL.map(|stream| {
            let view = agreed(&said, self.least_voices(), stream).map(|named| View { named, at });
            (stream, view)
        });
        let owners = match self.kind {
            Kind::Sentinels(_) => None,
            Kind::Masters => {
                Some(owners_of(&said).map(|(slots, exact)| Owners { slots, exact, at }))
            }
        };
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Agreed {
            views: views.into(),
            owners,
        };
        self.asked.notify_waiters();
    }

    /// The given Sentinels count even if the one that answers has forgotten the others:
    /// alone it is not a majority.
    fn least_voices(&self) -> usize {
        match self.kind {
            Kind::Sentinels(_) => self.told.len(),
            Kind::Masters => 0,
        }
    }

    async fn ask(
        &self,
        address: &(String, u16),
        known: Option<MultiplexedConnection>,
    ) -> RedisResult<(MultiplexedConnection, Said)> {
        let mut connection = match known {
            Some(connection) => connection,
            None => connect(&self.login.at(&address.0, address.1)?).await?,
        };
        let mut questions = redis::pipe();
        match &self.kind {
            Kind::Sentinels(master) => {
                questions.cmd("SENTINEL").arg("MYID");
                questions
                    .cmd("SENTINEL")
                    .arg(&["GET-MASTER-ADDR-BY-NAME", master]);
                questions.cmd("SENTINEL").arg(&["MASTER", master]);
                questions.cmd("SENTINEL").arg(&["SENTINELS", master]);
            }
            Kind::Masters => {
                questions.cmd("CLUSTER").arg("MYID");
                questions.cmd("CLUSTER").arg("SLOTS");
            }
        }
        let answers: Vec<Value> = questions.query_async(&mut connection).await?;
        let said = match &self.kind {
            Kind::Sentinels(_) => of_sentinel(answers),
            Kind::Masters => of_master(answers, &address.0),
        };
        let said = said.ok_or_else(|| nobody("a witness has no voice"))?;
        Ok((connection, said))
    }
}
