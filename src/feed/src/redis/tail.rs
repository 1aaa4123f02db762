//! Reads a stream from its beginning and then its tail, for this companion's own
//! view: nothing is acknowledged, and nothing depends on other companions.

use std::time::{Duration, Instant};

use redis::streams::StreamReadReply;
use redis::{RedisResult, Value};

use super::target::Connection;
use super::{Backoff, Consumer, fields_of};
use crate::event::{Event, Stream};

/// Messages of one reading.
const COUNT: usize = 500;
/// Longest time that Redis holds a reading back that has nothing. Freshness is
/// counted from when it was asked, so this is part of the state's age.
const BLOCK_MS: usize = 250;
/// How often it is looked whether the stream is still the same one.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How far a stream has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Position {
    id: (u64, u64),
    /// Messages ever added to the stream when it was last read to its end, as far
    /// as Redis counts them.
    added: u64,
    /// Messages read since then.
    read: u64,
}

/// How a stream stands in Redis.
#[derive(Debug, Default)]
struct Found {
    id: (u64, u64),
    added: u64,
    length: u64,
}

pub(super) async fn run(consumer: Consumer, stream: Stream) {
    let mut backoff = Backoff::new(format!("tail {}", stream.key()));
    let mut position = Position::default();
    loop {
        tokio::select! {
            ended = follow(&consumer, stream, &mut position, &mut backoff) => {
                if let Err(error) = ended {
                    backoff.failed(&consumer.companion, &error).await;
                }
            }
            () = consumer.companion.stopped() => return,
        }
        if *consumer.companion.stopping.borrow() {
            return;
        }
    }
}

async fn follow(
    consumer: &Consumer,
    stream: Stream,
    position: &mut Position,
    backoff: &mut Backoff,
) -> RedisResult<()> {
    let mut connection = consumer.target.connect().await?;
    let state = &consumer.companion.state;
    // What was trimmed while nobody was connected is in the shared store only.
    state.rescan_needed();
    consumer.rescan.notify_one();
    let mut looked = Instant::now();
    look(&mut connection, consumer, stream, position).await?;
    loop {
        let asked = Instant::now();
        let reply: Option<StreamReadReply> = redis::cmd("XREAD")
            .arg(&["COUNT", &COUNT.to_string(), "BLOCK", &BLOCK_MS.to_string()])
            .arg(&["STREAMS", stream.key()])
            .arg(format!("{}-{}", position.id.0, position.id.1))
            .query_async(&mut connection)
            .await?;
        let messages: Vec<_> = reply
            .into_iter()
            .flat_map(|reply| reply.keys)
            .flat_map(|key| key.ids)
            .collect();
        let all = messages.len() < COUNT;
        for message in messages {
            let (id, fields) = fields_of(message);
            match Event::read(stream, &fields, consumer.key.as_ref()) {
                Ok(event) => {
                    state.apply(&event);
                    consumer.companion.metrics.applied(stream);
                }
                Err(why) => consumer.companion.metrics.refused(stream, why),
            }
            position.id = parse_id(&id).unwrap_or(position.id);
            position.read = position.read.saturating_add(1);
        }
        if !all {
            continue;
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if !look(&mut connection, consumer, stream, position).await? {
                continue;
            }
        }
        state.confirm(stream, asked);
        backoff.forget();
    }
}

/// Whether the stream is one that continues what was read. One that went
/// backwards (emptied, restored, or a replica that took over) is read again from
/// its beginning.
async fn look(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
    position: &mut Position,
) -> RedisResult<bool> {
    let info: RedisResult<Vec<(String, Value)>> = redis::cmd("XINFO")
        .arg(&["STREAM", stream.key()])
        .query_async(connection)
        .await;
    let info = match info {
        Ok(info) => info,
        // No such key: the stream is empty, or gone.
        Err(error) if error.code() == Some("ERR") => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut found = Found::default();
    for (name, value) in info {
        match (name.as_str(), value) {
            ("last-generated-id", Value::BulkString(id)) => {
                found.id = std::str::from_utf8(&id)
                    .ok()
                    .and_then(parse_id)
                    .unwrap_or_default();
            }
            ("entries-added", Value::Int(added)) => {
                found.added = u64::try_from(added).unwrap_or(0);
            }
            ("length", Value::Int(length)) => {
                found.length = u64::try_from(length).unwrap_or(0);
            }
            _ => {}
        }
    }
    let state = &consumer.companion.state;
    if found.id < position.id || found.added < position.added {
        tracing::error!(
            stream = stream.key(),
            "the stream went backwards: Redis has lost data; reading it again. What was known stays revoked here"
        );
        state.unconfirm(stream);
        state.rescan_needed();
        consumer.rescan.notify_one();
        *position = Position::default();
        return Ok(false);
    }
    if position.id == (0, 0) && position.read == 0 {
        // What is left of a trimmed stream is what will be read.
        position.added = found.added.saturating_sub(found.length);
    }
    // Only at its end can the messages be counted against those read.
    if found.id == position.id {
        let missed = found
            .added
            .saturating_sub(position.added)
            .saturating_sub(position.read);
        if missed > 0 {
            tracing::warn!(
                stream = stream.key(),
                missed,
                "messages were trimmed before they were read: reading the shared store"
            );
            state.rescan_needed();
            consumer.rescan.notify_one();
        }
        position.added = found.added;
        position.read = 0;
    }
    Ok(true)
}

fn parse_id(text: &str) -> Option<(u64, u64)> {
    let (ms, seq) = text.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}
