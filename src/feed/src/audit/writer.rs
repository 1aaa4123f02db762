//! Writes events on a thread of its own. What waits is written together, with one fsync.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::clock::now_us;
use super::count::{Counts, Refused};
use super::known::Known;
use super::product::Made;
use super::queue::Tail;
use super::recent::Recent;
use super::record;
use crate::redis::health::Limited;

/// About how many bytes are written together.
const TOGETHER: usize = 4 * 1024 * 1024;
/// From one line about a full queue or a failing disk to the next.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Events that are taken together or not at all.
pub(super) struct Job {
    pub(super) made: Vec<Made>,
    /// Who waits for the answer.
    pub(super) done: Option<oneshot::Sender<Result<(), Refused>>>,
    /// A place among the batches under way. Whoever waits may leave; this stays taken.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

/// Where events go.
pub(super) enum Place {
    Disk(Tail),
    /// For development: to the last events alone.
    Memory,
}

/// See the module.
pub(super) struct Writer {
    place: Place,
    known: Known,
    recent: Arc<Recent>,
    counts: Arc<Counts>,
    full: Limited,
    failing: Limited,
}

/// What is written together.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// The events that are new.
    fresh: Vec<Made>,
    ids: HashSet<u128>,
    /// The jobs that have room.
    jobs: Vec<Admitted>,
}

struct Admitted {
    done: Option<oneshot::Sender<Result<(), Refused>>>,
    _place: Option<OwnedSemaphorePermit>,
    /// Events, with those that were there already.
    total: u64,
    duplicates: u64,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        ids: Vec<u128>,
        recent: Arc<Recent>,
        counts: Arc<Counts>,
    ) -> Self {
        let mut known = Known::default();
        ids.into_iter().for_each(|id| known.add(id));
        Writer {
            place,
            known,
            recent,
            counts,
            full: Limited::every(TELL_EVERY),
            failing: Limited::every(TELL_EVERY),
        }
    }

    /// Writes until nobody is left to send anything.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let now_us = now_us();
            let mut group = Group::default();
            self.admit(first, now_us, &mut group);
            while group.bytes.len() < TOGETHER
                && let Ok(next) = jobs.try_recv()
            {
                self.admit(next, now_us, &mut group);
            }
            self.commit(group, now_us);
        }
    }

    /// Adds a job to the group, if there is room for all of it.
    fn admit(&mut self, job: Job, now_us: u64, group: &mut Group) {
        let total = u64::try_from(job.made.len()).unwrap_or(u64::MAX);
        let mut own = HashSet::new();
        let mut is_new = |made: &Made| {
            !self.known.has(made.id) && !group.ids.contains(&made.id) && own.insert(made.id)
        };
        let fresh: Vec<Made> = job.made.into_iter().filter(|made| is_new(made)).collect();
        let size = fresh.iter().map(record::size).fold(0, u64::saturating_add);
        let ahead = u64::try_from(group.bytes.len()).unwrap_or(u64::MAX);
        if let Place::Disk(tail) = &mut self.place
            && size > 0
            && !tail.has_room(ahead.saturating_add(size))
        {
            self.counts.refused(Refused::Full, total);
            if let Some(count) = self.full.tell() {
                tracing::error!(
                    count,
                    "the queue of audit events is full: filters keep theirs and try again, and drop them when they have no more room (--audit-max-bytes, or Redis)"
                );
            }
            answer(job.done, Err(Refused::Full));
            return;
        }
        if let Place::Disk(_) = &self.place {
            fresh
                .iter()
                .for_each(|made| record::write(made, now_us, &mut group.bytes));
        }
        let new = u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        group.jobs.push(Admitted {
            done: job.done,
            _place: job.place,
            total,
            duplicates: total.saturating_sub(new),
        });
        group.fresh.extend(fresh);
        group.ids.extend(own);
    }

    fn commit(&mut self, group: Group, now_us: u64) {
        let written = match &mut self.place {
            Place::Disk(tail) if !group.bytes.is_empty() => {
                let count = u64::try_from(group.fresh.len()).unwrap_or(u64::MAX);
                tail.append(&group.bytes, count, now_us)
            }
            _ => Ok(()),
        };
        if let Err(error) = written {
            if let Some(count) = self.failing.tell() {
                tracing::error!(%error, count, "audit events cannot be written to disk: filters keep theirs and try again");
            }
            for job in group.jobs {
                self.counts.refused(Refused::Disk, job.total);
                answer(job.done, Err(Refused::Disk));
            }
            return;
        }
        for made in &group.fresh {
            self.known.add(made.id);
            self.recent.add(made);
        }
        for job in group.jobs {
            self.counts.accepted(job.total);
            self.counts.duplicates(job.duplicates);
            answer(job.done, Ok(()));
        }
    }
}

fn answer(to: Option<oneshot::Sender<Result<(), Refused>>>, result: Result<(), Refused>) {
    // Who waited may be gone.
    let _ = to.map(|to| to.send(result));
}
