//! Writes into the shared store what this companion has read, if it is absent there.
//! The group does so too; but a burst can be trimmed before the group has read it,
//! and whoever starts later has nothing but the store. When all is written it is
//! noted how much of each stream the store covers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::RedisResult;

use super::script::{COVER, covered_key};
use super::store::{Store, keep_all};
use super::{Backoff, Tasks};
use crate::RETENTION;
use crate::event::Stream;

/// Entries that are written together.
const BATCH: usize = 1_000;
/// From one look to the next when nothing new is told.
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
    // Another server may lack what the last one was given: all is written again, and
    // nothing noted before a reading of the store has written back the rest.
    *cursor = 0;
    let connected = Instant::now();
    tasks.rescan.notify_one();
    let mut head = state.head();
    let mut noted: BTreeMap<Stream, u64> = BTreeMap::new();
    loop {
        store.assure().await?;
        // Looked at first: what was read by then is in the log by then.
        let read = tasks.progress.get();
        loop {
            let (entries, next) = state.news(*cursor, BATCH);
            if next == *cursor {
                break;
            }
            let answers = store.many(keep_all(&entries, state.shortened())).await?;
            tasks.companion.metrics.data_errors("writer", &answers);
            *cursor = next;
        }
        let reconciled = state.scan_began().is_some_and(|began| began >= connected);
        for (stream, read) in read {
            let known = noted
                .get(&stream)
                .is_some_and(|noted| *noted == read.counted);
            if reconciled && read.complete && read.seq <= *cursor && !known {
                note(&mut store, stream, read.counted, &read.reign).await?;
                noted.insert(stream, read.counted);
            }
        }
        backoff.forget(tasks);
        let _ = tokio::time::timeout(EVERY, head.changed()).await;
    }
}

async fn note(store: &mut Store, stream: Stream, counted: u64, reign: &str) -> RedisResult<()> {
    let mut command = redis::cmd("EVAL");
    command
        .arg(COVER)
        .arg(2)
        .arg(stream.key())
        .arg(covered_key(stream))
        .arg(counted)
        .arg(u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX))
        .arg(reign);
    store.many(vec![command]).await?;
    Ok(())
}
