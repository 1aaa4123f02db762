//! Writes events on a thread of its own. What waits is written together, with one fsync.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::clock::now_us;
use super::count::{Counts, Refused};
use super::known::Known;
use super::product::{Made, digest};
use super::queue::Tail;
use super::recent::Recent;
use super::record;
use crate::redis::health::Limited;

/// About how many bytes are written together.
const TOGETHER: usize = 4 * 1024 * 1024;
/// From one line about a full queue or a failing disk to the next.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How many events were rejected because another one has their id; or why none was taken.
pub(super) type Done = Result<u64, Refused>;

/// Events that are taken together or not at all.
pub(super) struct Job {
    pub(super) made: Vec<Made>,
    /// Who waits for the answer.
    pub(super) done: Option<oneshot::Sender<Done>>,
    /// A place among the batches, or the replays, under way. Whoever waits may leave; this
    /// stays taken.
    pub(super) place: OwnedSemaphorePermit,
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
    conflicting: Limited,
}

/// What is written together.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    /// The events that are new, and their digests.
    fresh: Vec<(Made, u64)>,
    ids: HashMap<u128, u64>,
    /// The jobs that have room.
    jobs: Vec<Admitted>,
}

struct Admitted {
    done: Option<oneshot::Sender<Done>>,
    _place: OwnedSemaphorePermit,
    /// Events, with those that were there already.
    total: u64,
    duplicates: u64,
    conflicts: u64,
}

impl Writer {
    pub(super) fn new(
        place: Place,
        ids: Vec<(u128, u64)>,
        recent: Arc<Recent>,
        counts: Arc<Counts>,
    ) -> Self {
        let mut known = Known::default();
        ids.into_iter()
            .for_each(|(id, digest)| known.add(id, digest));
        Writer {
            place,
            known,
            recent,
            counts,
            full: Limited::every(TELL_EVERY),
            failing: Limited::every(TELL_EVERY),
            conflicting: Limited::every(TELL_EVERY),
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
        let mut own: HashMap<u128, u64> = HashMap::new();
        let (mut fresh, mut duplicates, mut conflicts) = (Vec::new(), 0_u64, 0_u64);
        for made in job.made {
            let digest = digest(made.data.as_bytes());
            let known = self.known.digest(made.id);
            let known = known.or_else(|| {
                group
                    .ids
                    .get(&made.id)
                    .or_else(|| own.get(&made.id))
                    .copied()
            });
            match known {
                None => {
                    own.insert(made.id, digest);
                    fresh.push((made, digest));
                }
                Some(same) if same == digest => duplicates = duplicates.saturating_add(1),
                Some(_) => conflicts = conflicts.saturating_add(1),
            }
        }
        let sizes = fresh.iter().map(|(made, _)| record::size(made));
        let size = sizes.fold(0, u64::saturating_add);
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
                .for_each(|(made, _)| record::write(made, now_us, &mut group.bytes));
        }
        group.jobs.push(Admitted {
            done: job.done,
            _place: job.place,
            total,
            duplicates,
            conflicts,
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
        for (made, digest) in &group.fresh {
            self.known.add(made.id, *digest);
            self.recent.add(made);
        }
        for job in group.jobs {
            self.counts
                .accepted(job.total.saturating_sub(job.conflicts));
            self.counts.duplicates(job.duplicates);
            self.counts.conflicts(job.conflicts);
            if job.conflicts > 0
                && let Some(batches) = self.conflicting.tell()
            {
                let conflicts = job.conflicts;
                tracing::error!(
                    batches,
                    conflicts,
                    "audit events had the ids of other ones, and are not kept"
                );
            }
            answer(job.done, Ok(job.conflicts));
        }
    }
}

fn answer(to: Option<oneshot::Sender<Done>>, result: Done) {
    // Who waited may be gone.
    let _ = to.map(|to| to.send(result));
}
