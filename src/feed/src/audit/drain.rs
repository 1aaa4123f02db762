//! Delivers what is on disk to Redis, in order, and goes on where it stopped.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult};

use super::count::Counts;
use super::queue::{Batch, Head};
use super::reader::STREAM;
use crate::Companion;
use crate::redis::command::Command;
use crate::redis::health::{Limited, describe};
use crate::redis::script::ADD_AUDIT;
use crate::redis::store::Store;
use crate::redis::target::Target;

/// How often a connection without work is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Waits between attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// From one line about failures to the next.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Delivers until the companion is told to stop. What is left stays on disk.
pub(super) async fn run(target: Target, mut head: Head, companion: Companion, counts: Arc<Counts>) {
    let lost = Limited::every(TELL_EVERY);
    let mut wait = BACKOFF.0;
    while !*companion.stopping.borrow() {
        let made = tokio::select! {
            made = target.store() => made,
            () = companion.stopped() => break,
        };
        let ended = match made {
            Ok(mut store) => deliver(&mut store, &mut head, &companion, &mut wait).await,
            Err(error) => Err(error),
        };
        let Err(error) = ended else { continue };
        counts.not_delivered();
        if let Some(count) = lost.tell() {
            let (redis, error) = (target.name(), describe(&error));
            tracing::warn!(
                redis,
                error,
                count,
                "audit events are not delivered, and stay on disk"
            );
        }
        let pause = wait.mul_f64(rand::random_range(0.5..=1.0));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = companion.stopped() => {}
        }
        wait = wait.saturating_mul(2).min(BACKOFF.1);
    }
    head.note();
}

/// Returns when the companion stops, or to connect again because a slot has moved.
async fn deliver(
    store: &mut Store,
    head: &mut Head,
    companion: &Companion,
    wait: &mut Duration,
) -> RedisResult<()> {
    while !*companion.stopping.borrow() {
        let batch = head.next().map_err(RedisError::from)?;
        if batch.events.is_empty() {
            head.note();
            tokio::select! {
                () = head.news() => {}
                () = tokio::time::sleep(LOOK_EVERY) => store.assure().await?,
                () = companion.stopped() => {}
            }
            continue;
        }
        let answers = store.many(&[command(&batch)]).await?;
        for answer in answers {
            answer?;
        }
        // A master that is none any more takes events that nobody will read.
        store.assure().await?;
        head.delivered(&batch);
        *wait = BACKOFF.0;
        if store.went_elsewhere() {
            return Ok(());
        }
    }
    Ok(())
}

/// All of a batch in one step: so none of it is missing before another one of it.
fn command(batch: &Batch) -> Command {
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(ADD_AUDIT).arg(1).arg(STREAM);
    for (data, sig) in &batch.events {
        cmd.arg(data.as_slice()).arg(sig.as_slice());
    }
    Command {
        key: STREAM.to_owned(),
        cmd,
    }
}
