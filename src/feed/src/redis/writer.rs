//! Writes what this companion has read into the shared store, if it is missing there. The
//! group does this too. But a burst can be trimmed before the group has read it, and a
//! companion that starts later has only the store. When everything is written, it notes
//! how much of each stream the store covers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::RedisResult;

use super::script::{COVER, covered_key};
use super::store::{Command, Store, keep_all};
use super::tasks::{Backoff, Read, Tasks};
use crate::RETENTION;
use crate::event::Stream;

/// Entries that are written together.
const BATCH: usize = 1_000;
/// A note is written again after this time, because another writer may know less.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// The pause between two looks if nothing new is reported.
const EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(tasks: Tasks) {
    let mut backoff = Backoff::new("writer".to_owned());
    let mut cursor = 0;
    while !*tasks.companion.stopping.borrow() {
        tokio::select! {
            ended = write(&tasks, &mut cursor, &mut backoff) => {
                if let Err(error) = ended {
                    backoff.failed(&tasks, &error).await;
                }
            }
            () = tasks.companion.stopped() => return,
        }
    }
}

async fn write(tasks: &Tasks, cursor: &mut u64, backoff: &mut Backoff) -> RedisResult<()> {
    let state = &tasks.companion.state;
    let mut store = tasks.target.store().await?;
    // Another server may lack what was written to the last one. So everything is written
    // again, and nothing is noted before a reading of the store has written back the
    // rest.
    *cursor = 0;
    let mut connected = Instant::now();
    tasks.rescan.notify_one();
    let mut head = state.head();
    let mut noted: BTreeMap<Stream, (u64, Instant)> = BTreeMap::new();
    let reigns = tasks.tag(&store);
    loop {
        store.assure().await?;
        // Look at this first: what was read by now is also in the log by now.
        let (read, upto) = (tasks.progress.get(), state.seq());
        loop {
            let (entries, next) = state.news(*cursor, BATCH);
            if next == *cursor {
                break;
            }
            let answers = store.many(&keep_all(&entries, state.shortened())).await?;
            tasks.companion.metrics.data_errors("writer", &answers);
            *cursor = next;
        }
        // The newest entries may have left the log by now.
        *cursor = (*cursor).max(upto);
        if store.went_elsewhere() {
            // What was written to a server that a slot is moved to counts only after the
            // move.
            connected = Instant::now();
            tasks.rescan.notify_one();
        }
        let scanned = tasks.progress.last_scan();
        let reconciled =
            scanned.is_some_and(|scan| scan.began >= connected && scan.reigns == reigns);
        for (stream, read) in read {
            let known = noted
                .get(&stream)
                .is_some_and(|(counted, at)| *counted == read.counted && at.elapsed() < NOTE_EVERY);
            // A companion limited to some zones must not note that all epochs are stored.
            let all_of_it = stream == Stream::Revocations || state.only_zone().is_none();
            if all_of_it && reconciled && read.complete && read.seq <= *cursor && !known {
                // A server that has lost what was written since then is no longer the
                // same master.
                store.assure().await?;
                note(&mut store, stream, &read, &reigns).await?;
                noted.insert(stream, (read.counted, Instant::now()));
            }
        }
        backoff.forget(tasks);
        let _ = tokio::time::timeout(EVERY, head.changed()).await;
    }
}

async fn note(store: &mut Store, stream: Stream, read: &Read, reigns: &str) -> RedisResult<()> {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(COVER)
        .arg(2)
        .arg(stream.key())
        .arg(covered_key(stream))
        .arg(read.counted)
        .arg(u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX))
        .arg(&read.reign)
        .arg(reigns);
    let key = stream.key().to_owned();
    store.many(&[Command { key, cmd }]).await?;
    Ok(())
}
