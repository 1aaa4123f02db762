//! Reconciles this companion's view with the shared store. It reads what the streams no
//! longer have, what other connectors wrote only there, and what was missed. It writes
//! back what is held here and missing there.

use std::time::{Duration, Instant};

use redis::{Cmd, RedisResult, Value};

use super::command::{EPOCH_INFIX, KEY_PREFIX};
use super::errors::is_moving;
use super::health::Limited;
use super::reply::{bytes, items, misshapen, number, text};
use super::script::SCAN;
use super::store::{Store, keep_all};
use super::tasks::{Backoff, Scanned, Tasks};
use crate::RETENTION;
use crate::event::{MAX_ANCHOR_BYTES, MAX_ZONE_BYTES, Stream, parse_epoch};

/// From the start of one reading to the next. `MAX_SCAN_AGE` in state.rs is three of these.
const EVERY: Duration = Duration::from_secs(60);
/// From the end of one reading to the next extra one.
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// Number of keys that a step examines: the least, the first and the most. Steps grow
/// while they are fast, so that a large keyspace behind a slow network is finished in
/// time. They shrink if names are long.
const LEAST_COUNT: usize = 10;
const FIRST_COUNT: usize = 100;
const MAX_COUNT: usize = 100_000;
/// Bytes of names in one answer. With more, the next step shrinks; from a quarter of it
/// on, the next step does not grow.
const MANY_BYTES: usize = 4 * 1024 * 1024;
/// While slots are moved, a reading may miss some keys. It is repeated after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// One line for many such readings.
static MOVING: Limited = Limited::new();
/// Number of keys that Redis should examine in a millisecond. If a step took no more than
/// the round trip and this rate, the next one is larger.
const KEYS_PER_MS: usize = 200;
/// A reading that takes longer is logged.
const SLOW: Duration = Duration::from_secs(10);
/// Longest wait for the streams before the first reading. Messages that arrive meanwhile
/// need not be asked for.
const WAIT_FOR_TAILS: Duration = Duration::from_secs(30);
/// Longest key that has a meaning.
const LONGEST_KEY: usize = KEY_PREFIX.len() + MAX_ANCHOR_BYTES;
/// Number of entries that are examined together when missing ones are written back.
const BATCH: usize = 1_000;

pub(super) async fn run(tasks: Tasks) {
    let mut backoff = Backoff::new("scan".to_owned());
    let since = Instant::now();
    while tasks.progress.get().len() < Stream::ALL.len() && since.elapsed() < WAIT_FOR_TAILS {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            () = tasks.companion.stopped() => return,
        }
    }
    loop {
        let began = Instant::now();
        let whole = tokio::select! {
            done = read(&tasks) => match done {
                Ok(whole) => {
                    backoff.forget(&tasks);
                    whole
                }
                Err(error) => {
                    backoff.failed(&tasks, &error).await;
                    continue;
                }
            },
            () = tasks.companion.stopped() => return,
        };
        let took = began.elapsed();
        let least = if whole { LEAST_PAUSE } else { AGAIN };
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = async {
                tokio::time::sleep(least.max(took)).await;
                if whole {
                    tasks.rescan.notified().await;
                }
            } => {}
            () = tasks.companion.stopped() => return,
        }
    }
}

/// Reads the store. Returns whether all keys were seen.
async fn read(tasks: &Tasks) -> RedisResult<bool> {
    let mut store = tasks.target.store().await?;
    let (state, metrics) = (&tasks.companion.state, &tasks.companion.metrics);
    store.assure().await?;
    let steady = store.is_steady().await?;
    let (scan, began) = (state.scan_begins(), Instant::now());
    if scan == 1 {
        warn_of_eviction(&mut store).await;
    }
    let (mut found, mut steps, mut moving) = (0_usize, 0_usize, 0_usize);
    for shard in 0..store.servers() {
        let (mut cursor, mut count) = ("0".to_owned(), FIRST_COUNT);
        // The fastest step, which is the round trip.
        let mut quickest = Duration::MAX;
        loop {
            let mut command = redis::cmd("EVAL");
            command.arg(SCAN).arg(0).arg(&cursor);
            command.arg(format!("{KEY_PREFIX}*"));
            command.arg(count).arg(LONGEST_KEY);
            let asked = Instant::now();
            let mut answer = items(store.ask_one(shard, command).await?).into_iter();
            let took = asked.elapsed();
            quickest = quickest.min(took);
            let next = answer.next().and_then(text);
            let keys = answer.next().map(items).unwrap_or_default();
            cursor = next.ok_or_else(|| misshapen("SCAN gave no cursor"))?;
            (found, steps) = (found.saturating_add(keys.len()), steps.saturating_add(1));
            let size = keys.iter().map(size).fold(0, usize::saturating_add);
            for keys in keys.chunks(BATCH) {
                let moved = take(tasks, &mut store, shard, keys, scan).await?;
                moving = moving.saturating_add(moved);
            }
            if cursor == "0" {
                break;
            }
            let share = count.checked_div(KEYS_PER_MS).unwrap_or(0);
            let work = Duration::from_millis(u64::try_from(share).unwrap_or(u64::MAX));
            if size > MANY_BYTES {
                count = count.checked_div(2).unwrap_or(0).max(LEAST_COUNT);
            } else if size < MANY_BYTES / 4 && took <= quickest.saturating_add(work) {
                count = count.saturating_mul(2).min(MAX_COUNT);
            }
        }
    }
    let whole = store.was_steady(steady).await? && moving == 0;
    // Write back first: tasks that wait for this reading rely on the store having
    // everything that is held.
    let written = write_back(tasks, &mut store, scan, began).await?;
    metrics.written_back(written);
    let whole = whole && !store.went_elsewhere();
    store.assure().await?;
    if whole {
        let reigns = tasks.tag(&store);
        tasks.progress.scanned(Scanned { began, reigns });
    } else if let Some(count) = MOVING.tell() {
        // Keys that were being moved may have been missed. A companion that has read the
        // store before goes on; a companion that starts waits.
        tracing::warn!(
            count,
            "slots of the cluster are being moved: the shared store is read again. `redis-cli --cluster fix` ends a move that was interrupted"
        );
    }
    if !whole && state.scan_began().is_none() {
        return Ok(false);
    }
    let lost = state.scan_ended(scan, began);
    if lost > 0 && whole {
        tracing::error!(
            lost,
            "revocations disappeared from the shared store too early: Redis has lost data. They stay revoked here and are written back"
        );
    }
    let took = began.elapsed();
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if took > SLOW {
        tracing::warn!(found, steps, took_ms, "reading the shared store is slow");
    } else {
        tracing::debug!(found, steps, took_ms, written, "shared store read");
    }
    Ok(whole)
}

/// Bytes of a name.
fn size(name: &Value) -> usize {
    match name {
        Value::BulkString(name) => name.len(),
        _ => 0,
    }
}

/// Writes back what is missing, and returns how many entries that were.
async fn write_back(
    tasks: &Tasks,
    store: &mut Store,
    scan: u64,
    began: Instant,
) -> RedisResult<u64> {
    let (mut cursor, mut written) = (0, 0_u64);
    loop {
        let (entries, next) = tasks.companion.state.absent(scan, began, cursor, BATCH);
        if next == cursor {
            return Ok(written);
        }
        cursor = next;
        let answers = store
            .many(&keep_all(&entries, tasks.companion.state.shortened()))
            .await?;
        tasks.companion.metrics.data_errors("scan", &answers);
        let set = answers.iter().filter(|answer| {
            matches!(answer, Ok(Value::Okay)) || matches!(answer, Ok(Value::Int(1)))
        });
        written = written.saturating_add(u64::try_from(set.count()).unwrap_or(u64::MAX));
    }
}

/// What is asked about a key.
enum Asked {
    Anchor(String),
    Epoch(String),
}

/// Adds what keys say. Returns how many keys gave no answer because their slot is being
/// moved.
async fn take(
    tasks: &Tasks,
    store: &mut Store,
    shard: usize,
    keys: &[Value],
    scan: u64,
) -> RedisResult<usize> {
    let state = &tasks.companion.state;
    let (mut asked, mut commands): (Vec<Asked>, Vec<Cmd>) = (Vec::new(), Vec::new());
    for key in keys {
        // No claim is longer than a token or not UTF-8.
        let Some(key) = bytes(key.clone()).and_then(|key| String::from_utf8(key).ok()) else {
            continue;
        };
        let Some(name) = key.strip_prefix(KEY_PREFIX) else {
            continue;
        };
        let mut expiry = redis::cmd("PTTL");
        expiry.arg(&key);
        if let Some(zone) = name.strip_prefix(EPOCH_INFIX) {
            if zone.is_empty() || zone.len() > MAX_ZONE_BYTES {
                continue;
            }
            let mut value = redis::cmd("GET");
            value.arg(&key);
            commands.push(value);
            asked.push(Asked::Epoch(zone.to_owned()));
        } else {
            let fits = !name.is_empty() && name.len() <= MAX_ANCHOR_BYTES;
            if !fits || !state.is_expiry_wanted(name, scan) {
                continue;
            }
            asked.push(Asked::Anchor(name.to_owned()));
        }
        commands.push(expiry);
    }
    let answers = store.ask(shard, commands).await?;
    let is_moved = |answer: &&RedisResult<Value>| answer.as_ref().is_err_and(is_moving);
    let moved = answers.iter().filter(is_moved).count();
    if moved == 0 {
        tasks.companion.metrics.data_errors("scan", &answers);
    }
    let mut answers = answers.into_iter();
    for name in asked {
        match name {
            Asked::Anchor(name) => {
                if let Some(ttl) = ttl(answers.next()) {
                    state.found(&name, ttl, scan);
                }
            }
            Asked::Epoch(zone) => {
                let value = answers.next().and_then(Result::ok).and_then(text);
                let epoch = value.and_then(|text| parse_epoch(&text));
                if let (Some(ttl), Some(epoch)) = (ttl(answers.next()), epoch) {
                    state.found_epoch(&zone, epoch, ttl, scan);
                }
            }
        }
    }
    Ok(moved)
}

fn ttl(answer: Option<RedisResult<Value>>) -> Option<Duration> {
    match answer?.ok()? {
        // The key has no expiry, because somebody else wrote it like that.
        Value::Int(-1) => Some(RETENTION),
        left => number(&left).map(Duration::from_millis),
    }
}

async fn warn_of_eviction(store: &mut Store) {
    for shard in 0..store.servers() {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info = store.ask_one(shard, command).await.ok().and_then(text);
        let policy = info.and_then(|info| {
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
