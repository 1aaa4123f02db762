//! Who says that a server is the master: Sentinels, or the masters of a cluster. A
//! server that was cut off from the others goes on believing it, so what it says of
//! itself confirms nothing there. Asked twice a second, a majority has to name the
//! same server, and none may know of a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::sync::Notify;

use super::reply::{items, number, text};
use super::target::{Login, connect};
use crate::Companion;
use crate::event::Stream;

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(500);
/// Longest wait for one witness.
const ANSWER: Duration = Duration::from_secs(1);
/// Most witnesses that are asked.
const MAX_WITNESSES: usize = 32;
/// A view that is older names nobody.
const MAX_AGE: Duration = Duration::from_secs(10);

/// A server as the witnesses name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Host, or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What the witnesses agree on.
#[derive(Debug, Clone)]
pub struct View {
    /// The server.
    pub named: Named,
    /// When they were asked.
    pub at: Instant,
}

/// What one witness said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// Who it is: each has one voice, whatever addresses it has.
    voice: String,
    /// Whom it names for a stream, and by how new an election.
    named: BTreeMap<Stream, (Named, u64)>,
    /// How many voices there are, by what it knows.
    voices: usize,
    /// A failover is under way.
    changing: bool,
    /// Other witnesses that it knows.
    others: Vec<(String, u16)>,
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

/// The witnesses, and what they last agreed on.
pub struct Witness {
    kind: Kind,
    told: Vec<(String, u16)>,
    login: Login,
    views: Mutex<BTreeMap<Stream, Result<View, &'static str>>>,
    asked: Notify,
}

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
            views: Mutex::default(),
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

    /// Whom they named when they were last asked.
    ///
    /// # Errors
    /// Why they name nobody.
    pub fn view(&self, stream: Stream) -> RedisResult<View> {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        match views.get(&stream) {
            Some(Ok(view)) if view.at.elapsed() <= MAX_AGE => Ok(view.clone()),
            Some(Ok(_)) | None => Err(nobody("the witnesses of who is master have not answered")),
            Some(Err(why)) => Err(nobody(why)),
        }
    }

    /// The same, after the next answers if there is none now.
    pub(super) async fn fresh_view(&self, stream: Stream) -> RedisResult<View> {
        let next = self.asked.notified();
        if let Ok(view) = self.view(stream) {
            return Ok(view);
        }
        let _ = tokio::time::timeout(ANSWER.saturating_mul(2), next).await;
        self.view(stream)
    }

    /// Asks them until the companion is told to stop.
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

    /// Asks them once, for who has no companion running.
    pub(super) async fn ask_once(&self) {
        let mut round = Round::default();
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
        *self.views.lock().unwrap_or_else(PoisonError::into_inner) = views.into();
        self.asked.notify_waiters();
    }

    /// Sentinels that were given count even when the one that answers has forgotten the
    /// others: alone, it is no majority.
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
                for stream in Stream::ALL {
                    questions.cmd("CLUSTER").arg(&["KEYSLOT", stream.key()]);
                }
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

/// Whom a majority names, if none knows of a newer election.
fn agreed(said: &[Said], least: usize, stream: Stream) -> Result<Named, &'static str> {
    let mut heard: BTreeMap<&str, &Said> = BTreeMap::new();
    for said in said {
        heard.insert(&said.voice, said);
    }
    let voices = said.iter().map(|said| said.voices).max();
    let voices = voices.unwrap_or(0).max(least);
    let majority = voices.checked_div(2).unwrap_or(0).saturating_add(1);
    if heard.len() < majority {
        return Err("too few witnesses of who is master answer: a majority is needed");
    }
    if heard.values().any(|said| said.changing) {
        return Err("a failover is under way");
    }
    let named = |said: &&Said| said.named.get(&stream).cloned();
    let all: Vec<(Named, u64)> = heard.values().filter_map(named).collect();
    let Some((newest, epoch)) = all.iter().max_by_key(|(_, epoch)| *epoch) else {
        return Err("the witnesses name no master");
    };
    let votes = all.iter().filter(|(named, _)| named == newest).count();
    let rivals = all
        .iter()
        .any(|(named, other)| named != newest && other == epoch && *epoch > 0);
    if votes < majority || rivals {
        return Err("the witnesses do not agree on who is master");
    }
    Ok(newest.clone())
}

fn pairs(value: Value) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    let mut list = match value {
        Value::Map(pairs) => pairs.into_iter().flat_map(|(n, v)| [n, v]).collect(),
        other => items(other),
    }
    .into_iter();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        if let (Some(name), Some(value)) = (text(name), text(value)) {
            map.insert(name, value);
        }
    }
    map
}

fn of_sentinel(answers: Vec<Value>) -> Option<Said> {
    let mut answers = answers.into_iter();
    let voice = text(answers.next()?)?;
    let mut address = items(answers.next()?).into_iter();
    let (host, port) = (text(address.next()?)?, text(address.next()?)?);
    let named = Named {
        host,
        port: port.parse().ok()?,
    };
    let master = pairs(answers.next()?);
    let count = |name: &str| master.get(name).and_then(|n| n.parse::<u64>().ok());
    let epoch = count("config-epoch").unwrap_or(0);
    let others = usize::try_from(count("num-other-sentinels").unwrap_or(0)).ok()?;
    let flags = master.get("flags").map_or("", String::as_str);
    let known = items(answers.next()?).into_iter().filter_map(|other| {
        let other = pairs(other);
        Some((other.get("ip")?.clone(), other.get("port")?.parse().ok()?))
    });
    Some(Said {
        voice,
        named: Stream::ALL
            .map(|stream| (stream, (named.clone(), epoch)))
            .into(),
        voices: others.saturating_add(1),
        changing: flags.contains("failover_in_progress"),
        others: known.take(MAX_WITNESSES).collect(),
    })
}

/// A node of the cluster has a voice if it is a master by its own account.
fn of_master(answers: Vec<Value>, asked: &str) -> Option<Said> {
    let mut answers = answers.into_iter();
    let voice = text(answers.next()?)?;
    let ranges = items(answers.next()?);
    let slots: Vec<u64> = answers.filter_map(|slot| number(&slot)).collect();
    let mut masters: BTreeMap<String, (String, u16)> = BTreeMap::new();
    let mut named = BTreeMap::new();
    for range in ranges {
        let mut range = range_of(range, asked)?;
        masters.insert(
            std::mem::take(&mut range.id),
            (range.host.clone(), range.port),
        );
        for (stream, slot) in Stream::ALL.into_iter().zip(&slots) {
            if (range.first..=range.last).contains(slot) {
                let owner = Named {
                    host: range.host.clone(),
                    port: range.port,
                };
                named.insert(stream, (owner, 0));
            }
        }
    }
    let voices = masters.len();
    let has_voice = masters.contains_key(&voice);
    Some(Said {
        // All who have none are one voice that names nobody.
        voice: if has_voice { voice } else { String::new() },
        named: if has_voice { named } else { BTreeMap::new() },
        voices,
        changing: false,
        others: masters.into_values().take(MAX_WITNESSES).collect(),
    })
}

struct Range {
    first: u64,
    last: u64,
    host: String,
    port: u16,
    id: String,
}

/// First slot, last slot, master, replicas. A node that does not know its own
/// address leaves it empty: it is the one that was asked.
fn range_of(value: Value, asked: &str) -> Option<Range> {
    let mut parts = items(value).into_iter();
    let (first, last) = (number(&parts.next()?)?, number(&parts.next()?)?);
    let mut master = items(parts.next()?).into_iter();
    let host = text(master.next()?).filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(number(&master.next()?)?).ok()?;
    let id = text(master.next()?)?;
    Some(Range {
        first,
        last,
        host: host.unwrap_or_else(|| asked.to_owned()),
        port,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(voice: &str, port: u16, epoch: u64, voices: usize) -> Said {
        let named = Named {
            host: "h".to_owned(),
            port,
        };
        Said {
            voice: voice.to_owned(),
            named: [(Stream::Revocations, (named, epoch))].into(),
            voices,
            changing: false,
            others: Vec::new(),
        }
    }

    fn port(said: &[Said]) -> Option<u16> {
        agreed(said, 0, Stream::Revocations)
            .ok()
            .map(|named| named.port)
    }

    #[test]
    fn a_majority_of_all_voices_names_the_master() {
        assert_eq!(port(&[said("a", 1, 1, 3), said("b", 1, 1, 3)]), Some(1));
        assert_eq!(port(&[said("a", 1, 1, 3)]), None, "a minority");
        let twice = [said("a", 1, 1, 3), said("a", 1, 1, 3)];
        assert_eq!(port(&twice), None, "one voice at two addresses");
        assert_eq!(port(&[said("a", 1, 1, 1)]), Some(1));
        assert_eq!(port(&[]), None);
        let forgetful = agreed(&[said("a", 1, 1, 1)], 3, Stream::Revocations);
        assert!(forgetful.is_err(), "one that has forgotten the others");
        let mut changing = [said("a", 1, 1, 3), said("b", 1, 1, 3)];
        changing[1].changing = true;
        assert_eq!(port(&changing), None);
    }

    #[test]
    fn one_that_knows_of_a_newer_election_is_enough_to_doubt() {
        let (a, b) = (said("a", 1, 1, 3), said("b", 1, 1, 3));
        assert_eq!(port(&[a.clone(), b.clone(), said("c", 2, 2, 3)]), None);
        // And one that has not heard of it yet does not hold the others up.
        let (c, d) = (said("c", 2, 2, 3), said("d", 2, 2, 3));
        assert_eq!(port(&[a, c, d]), Some(2));
    }
}
