//! Audit events: takes them from filters, keeps them on disk, and delivers them to Redis.
//!
//! `http` is the API. `posted` reads what a filter sends, `product` makes the product's event
//! of it. `writer` has it on disk before the answer, `queue` is the disk and `record` the form
//! there, `drain` delivers. `known` remembers ids, `recent` the last events, `count` counts. `reader` reads what is in the stream.
//!
//! Events are made once. From then on nothing changes a byte of them.

mod clock;
pub(crate) mod count;
mod drain;
pub(crate) mod http;
mod known;
mod posted;
mod product;
mod queue;
pub mod reader;
mod recent;
mod record;
mod replay;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::Companion;
use crate::event::HmacKey;
use crate::redis::health::Limited;
use crate::redis::target::Target;
use clock::now_us;
use count::{Counts, Refused};
use recent::Recent;
pub(crate) use replay::Replay;
use writer::{Job, Place, Writer};

/// Most batches that are read and written at once. One has up to 2 MiB when it is read.
const AT_ONCE: usize = 32;
/// Longest wait for a place among them.
const WAIT: Duration = Duration::from_secs(5);
/// Most replays that wait to be written. They have places of their own, because any agent can
/// replay: that must not take the places of batches.
const MAX_REPLAYS: usize = 256;
/// Most batches and replays that wait to be written.
const MAX_JOBS: usize = AT_ONCE + MAX_REPLAYS;
/// From one line about wrong or lost events to the next.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How audit events are kept.
pub struct Settings {
    /// Where they are kept until they are delivered. Without a folder, for development, they
    /// are kept nowhere but among the last ones.
    pub folder: Option<PathBuf>,
    /// Most bytes in the folder.
    pub max_bytes: u64,
    /// The key that they are signed with.
    pub key: Option<HmacKey>,
    /// Where they are delivered.
    pub redis: Option<Target>,
}

/// See the module.
pub struct Audit {
    /// Taken away at the end.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    places: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    key: Option<HmacKey>,
    recent: Arc<Recent>,
    counts: Arc<Counts>,
    wrong: Limited,
    lost: Limited,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a batch was not taken.
pub(crate) enum NotTaken {
    /// It is no batch.
    Wrong(&'static str),
    Refused(Refused),
}

impl Audit {
    /// Opens the folder and begins to deliver what is in it. Called within a runtime.
    ///
    /// # Errors
    /// Another process has the folder, or it cannot be used.
    pub fn start(companion: &Companion, settings: Settings) -> Result<Arc<Self>> {
        let counts = Arc::clone(&companion.metrics.audit);
        let recent = Arc::new(Recent::beginning(now_us()));
        let mut threads = Vec::new();
        let (mut place, mut ids) = (Place::Memory, Vec::new());
        if let Some(folder) = &settings.folder {
            let opened = queue::open(folder, settings.max_bytes, known::MOST, Arc::clone(&counts));
            let opened = opened.context("--audit-dir")?;
            (place, ids) = (Place::Disk(opened.tail), opened.ids);
            if let Some(target) = settings.redis {
                // It reads the disk, for which a task must not wait.
                let handle = tokio::runtime::Handle::current();
                let draining =
                    drain::run(target, opened.head, companion.clone(), Arc::clone(&counts));
                threads.push(thread("audit-drain", move || handle.block_on(draining))?);
            }
        }
        let (jobs, asked) = mpsc::channel(MAX_JOBS);
        let writer = Writer::new(place, ids, Arc::clone(&recent), Arc::clone(&counts));
        threads.push(thread("audit-writer", move || {
            let _guard = Guard(end_the_companion);
            writer.run(asked);
        })?);
        let audit = Audit::new(jobs, settings.key, recent, counts);
        *audit.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        Ok(Arc::new(audit))
    }

    fn new(
        jobs: mpsc::Sender<Job>,
        key: Option<HmacKey>,
        recent: Arc<Recent>,
        counts: Arc<Counts>,
    ) -> Self {
        Audit {
            jobs: Mutex::new(Some(jobs)),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            replays: Arc::new(Semaphore::new(MAX_REPLAYS)),
            key,
            recent,
            counts,
            wrong: Limited::every(TELL_EVERY),
            lost: Limited::every(TELL_EVERY),
            threads: Mutex::default(),
        }
    }

    /// The newest events of refused requests that are still in memory, the newest first, each
    /// in the product's form (JSON).
    pub fn refusals(&self, max: usize) -> Vec<Arc<str>> {
        self.recent.refusals(max)
    }

    /// Takes a batch; returns how many events were good and how many were wrong, when the
    /// good ones are on disk.
    ///
    /// # Errors
    /// None of it was taken.
    pub(crate) async fn take(&self, body: &[u8]) -> Result<(u64, u64), NotTaken> {
        let busy = NotTaken::Refused(Refused::Busy);
        let place = Arc::clone(&self.places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(WAIT, place).await else {
            return Err(busy);
        };
        let now = i64::try_from(now_us()).unwrap_or(i64::MAX);
        let read = posted::read(body, self.key.as_ref(), now).map_err(NotTaken::Wrong)?;
        let mut accepted = u64::try_from(read.made.len()).unwrap_or(u64::MAX);
        let mut rejected = read.rejected;
        if accepted > 0 {
            let (done, answer) = oneshot::channel();
            let job = Job {
                made: read.made,
                done: Some(done),
                place,
            };
            if !self.send(job) {
                self.counts.refused(Refused::Busy, accepted);
                return Err(busy);
            }
            let written = answer.await.unwrap_or(Err(Refused::Disk));
            let conflicts = written.map_err(NotTaken::Refused)?;
            accepted = accepted.saturating_sub(conflicts);
            rejected = rejected.saturating_add(conflicts);
        }
        self.counts.rejected(read.rejected);
        if read.rejected > 0
            && let Some(batches) = self.wrong.tell()
        {
            let (rejected, why) = (read.rejected, read.why);
            tracing::warn!(
                batches,
                rejected,
                why,
                "audit events were wrong, and are not kept"
            );
        }
        Ok((accepted, rejected))
    }

    /// Whether there was room for it.
    fn send(&self, job: Job) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = jobs.as_ref().map(|jobs| jobs.try_send(job));
        sent.is_some_and(|sent| sent.is_ok())
    }

    /// Notes that a mandate was sent a second time. Nobody waits for the disk: an event that
    /// has no room is counted and lost.
    pub(crate) fn replayed(&self, replay: &Replay<'_>) {
        let now = i64::try_from(now_us()).unwrap_or(i64::MAX);
        let place = Arc::clone(&self.replays).try_acquire_owned().ok();
        let job = place.and_then(|place| {
            Some(Job {
                made: vec![replay.made(self.key.as_ref(), now)?],
                done: None,
                place,
            })
        });
        let sent = job.is_some_and(|job| self.send(job));
        if !sent {
            self.counts.refused(Refused::Busy, 1);
            if let Some(count) = self.lost.tell() {
                tracing::error!(
                    count,
                    "events of replays are lost: too many wait to be written"
                );
            }
        }
    }

    /// Writes what was sent, and stops. Nothing that was taken is lost, and what is not
    /// delivered waits on disk for the next start.
    pub async fn end(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder
        .spawn(work)
        .with_context(|| format!("cannot start {name}"))
}

/// Without the thread that writes, no event would be taken any more, and nobody would know why.
fn end_the_companion() {
    tracing::error!(
        "what writes audit events has failed: the companion ends, so that it is started again"
    );
    std::process::abort();
}

/// Does this if its thread panics.
struct Guard<F: Fn()>(F);

impl<F: Fn()> Drop for Guard<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

#[cfg(test)]
mod tests;
