//! Reads the shared store: what streams no longer hold, what other connectors
//! wrote there only, and whatever was missed.

use std::time::{Duration, Instant};

use redis::RedisResult;

use super::target::Connection;
use super::{Backoff, Consumer, EPOCH_INFIX, KEY_PREFIX};
use crate::RETENTION;
use crate::event::parse_epoch;

/// From one reading to the next.
const EVERY: Duration = Duration::from_secs(60);
/// Keys that one step looks at.
const COUNT: usize = 1_000;

pub(super) async fn run(consumer: Consumer) {
    let mut backoff = Backoff::new("scan".to_owned());
    loop {
        tokio::select! {
            done = read(&consumer) => match done {
                Ok(()) => backoff.forget(),
                Err(error) => {
                    backoff.failed(&consumer.companion, &error).await;
                    continue;
                }
            },
            () = consumer.companion.stopped() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = consumer.rescan.notified() => {}
            () = consumer.companion.stopped() => return,
        }
    }
}

async fn read(consumer: &Consumer) -> RedisResult<()> {
    let mut connection = consumer.target.connect().await?;
    let state = &consumer.companion.state;
    let (scan, began) = (state.scan_begins(), Instant::now());
    if scan == 1 {
        warn_of_eviction(&mut connection).await;
    }
    let mut found = 0_usize;
    for master in connection.masters().await? {
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{KEY_PREFIX}*"));
            command.arg("COUNT").arg(COUNT);
            let (next, keys): (u64, Vec<Vec<u8>>) = connection.ask(master, command).await?;
            found = found.saturating_add(keys.len());
            take(consumer, &connection, keys, scan).await?;
            if next == 0 {
                break;
            }
            cursor = next;
        }
    }
    let lost = state.scan_ended(scan, began);
    if lost > 0 {
        tracing::error!(
            lost,
            "revocations have left the shared store before their time: Redis has lost data. They stay revoked here"
        );
    }
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(found, took_ms, "shared store read");
    Ok(())
}

async fn take(
    consumer: &Consumer,
    connection: &Connection,
    keys: Vec<Vec<u8>>,
    scan: u64,
) -> RedisResult<()> {
    let state = &consumer.companion.state;
    // No claim can carry what is no UTF-8.
    let names = keys.into_iter().filter_map(|key| {
        let key = String::from_utf8(key).ok()?;
        key.strip_prefix(KEY_PREFIX).map(str::to_owned)
    });
    let wanted = names.filter(|name| {
        name.starts_with(EPOCH_INFIX) || (!name.is_empty() && state.is_expiry_wanted(name, scan))
    });
    // Each on a clone of one connection: they go out together.
    let asked = wanted.map(|name| {
        let mut connection = connection.clone();
        async move {
            let key = format!("{KEY_PREFIX}{name}");
            let left: i64 = redis::cmd("PTTL")
                .arg(&key)
                .query_async(&mut connection)
                .await?;
            let ttl = match u64::try_from(left) {
                Ok(left) => Duration::from_millis(left),
                // Without an expiry: somebody else's way of writing it.
                Err(_) if left == -1 => RETENTION,
                Err(_) => return Ok(()),
            };
            match name.strip_prefix(EPOCH_INFIX) {
                None => state.found(&name, ttl, scan),
                Some(zone) => {
                    let value: Option<Vec<u8>> = redis::cmd("GET")
                        .arg(&key)
                        .query_async(&mut connection)
                        .await?;
                    let epoch = value
                        .and_then(|value| String::from_utf8(value).ok())
                        .and_then(|text| parse_epoch(&text));
                    if let (Some(epoch), false) = (epoch, zone.is_empty()) {
                        state.raise(zone, epoch, ttl);
                    }
                }
            }
            RedisResult::Ok(())
        }
    });
    futures_util::future::try_join_all(asked).await?;
    Ok(())
}

async fn warn_of_eviction(connection: &mut Connection) {
    let masters = connection.masters().await.unwrap_or_default();
    for master in masters {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info: RedisResult<String> = connection.ask(master, command).await;
        let policy = info.ok().and_then(|info| {
            info.lines()
                .find_map(|line| line.strip_prefix("maxmemory_policy:"))
                .map(|policy| policy.trim().to_owned())
        });
        match policy.as_deref() {
            Some("noeviction") => {}
            Some(policy) => tracing::warn!(
                policy,
                "maxmemory-policy is not noeviction: under memory pressure Redis would drop revocations"
            ),
            None => tracing::warn!("maxmemory-policy cannot be read; it should be noeviction"),
        }
    }
}
