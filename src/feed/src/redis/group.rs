//! What must happen once among all companions: shared-store keys, dead letters,
//! acknowledgement. A message is acknowledged only after its effect is durable;
//! whoever dies before leaves it pending, and another claims it.

use std::time::{Duration, Instant};

use redis::streams::{StreamAutoClaimReply, StreamId, StreamPendingReply, StreamReadReply};
use redis::{RedisError, RedisResult};

use super::target::Connection;
use super::{Backoff, Consumer, EPOCH_INFIX, KEY_PREFIX, fields_of};
use crate::RETENTION;
use crate::event::{Event, Fields, Refused, Stream, dead_payload};

/// Messages of one reading.
const COUNT: usize = 100;
/// Longest time that Redis holds a reading back that has nothing.
const BLOCK_MS: usize = 1_000;
/// A message pending for so long has lost its consumer (contract).
const IDLE_MS: u64 = 30_000;
/// How often such messages are looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// About how many dead letters are kept (contract).
const MAX_DEAD_LETTERS: usize = 10_000;

/// Raises an epoch, never lowers it. The numbers have up to 19 digits, more than
/// Lua's can tell apart, so they are compared as text: the longer one is the
/// larger, and of two equally long ones the later in order.
const RAISE_EPOCH: &str = r"
local function digits(text)
  if not text or not text:match('^%d+$') then return '0' end
  local plain = text:gsub('^0+', '')
  if plain == '' then return '0' end
  return plain
end
local old, new = digits(redis.call('GET', KEYS[1])), digits(ARGV[1])
if #new < #old or (#new == #old and new <= old) then return 0 end
redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
return 1
";

pub(super) async fn run(consumer: Consumer, stream: Stream) {
    let mut backoff = Backoff::new(format!("group {}", stream.key()));
    while !*consumer.companion.stopping.borrow() {
        // Told to stop, it finishes what it holds: no message is half done.
        if let Err(error) = work(&consumer, stream, &mut backoff).await {
            backoff.failed(&consumer.companion, &error).await;
        }
    }
}

async fn work(consumer: &Consumer, stream: Stream, backoff: &mut Backoff) -> RedisResult<()> {
    let mut connection = tokio::select! {
        connection = consumer.target.connect() => connection?,
        () = consumer.companion.stopped() => return Ok(()),
    };
    ensure_group(&mut connection, consumer, stream).await?;
    // What this consumer was given before and did not finish.
    let mut after = "0".to_owned();
    loop {
        let messages = read(&mut connection, consumer, stream, &after).await?;
        let Some(last) = messages.last() else { break };
        after.clone_from(&last.id);
        process(&mut connection, consumer, stream, messages).await?;
    }
    let mut claimed: Option<Instant> = None;
    while !*consumer.companion.stopping.borrow() {
        if claimed.is_none_or(|at| at.elapsed() >= CLAIM_EVERY) {
            claimed = Some(Instant::now());
            claim(&mut connection, consumer, stream).await?;
        }
        let messages = tokio::select! {
            messages = read(&mut connection, consumer, stream, ">") => messages?,
            // What a reading that is given up would have brought stays pending.
            () = consumer.companion.stopped() => return Ok(()),
        };
        process(&mut connection, consumer, stream, messages).await?;
        backoff.forget();
    }
    Ok(())
}

async fn ensure_group(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
) -> RedisResult<()> {
    let made: RedisResult<()> = redis::cmd("XGROUP")
        .arg(&["CREATE", stream.key(), &consumer.group, "0", "MKSTREAM"])
        .query_async(connection)
        .await;
    match made {
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        made => made,
    }
}

async fn read(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
    after: &str,
) -> RedisResult<Vec<StreamId>> {
    let reply: Option<StreamReadReply> = redis::cmd("XREADGROUP")
        .arg(&["GROUP", &consumer.group, &consumer.consumer])
        .arg(&["COUNT", &COUNT.to_string(), "BLOCK", &BLOCK_MS.to_string()])
        .arg(&["STREAMS", stream.key(), after])
        .query_async(connection)
        .await?;
    let keys = reply.into_iter().flat_map(|reply| reply.keys);
    Ok(keys.flat_map(|key| key.ids).collect())
}

/// Takes over what a dead consumer left.
async fn claim(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
) -> RedisResult<()> {
    let mut start = "0-0".to_owned();
    loop {
        let reply: StreamAutoClaimReply = redis::cmd("XAUTOCLAIM")
            .arg(&[stream.key(), &consumer.group, &consumer.consumer])
            .arg(IDLE_MS)
            .arg(&start)
            .arg(&["COUNT", &COUNT.to_string()])
            .query_async(connection)
            .await?;
        if !reply.claimed.is_empty() {
            let claimed = reply.claimed.len();
            tracing::info!(
                stream = stream.key(),
                claimed,
                "took over what a consumer left"
            );
        }
        process(connection, consumer, stream, reply.claimed).await?;
        start = reply.next_stream_id;
        if start == "0-0" {
            break;
        }
    }
    let pending: StreamPendingReply = redis::cmd("XPENDING")
        .arg(&[stream.key(), &consumer.group])
        .query_async(connection)
        .await?;
    let pending = match pending {
        StreamPendingReply::Data(data) => i64::try_from(data.count).unwrap_or(i64::MAX),
        _ => 0,
    };
    consumer.companion.metrics.pending(stream, pending);
    Ok(())
}

async fn process(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
    messages: Vec<StreamId>,
) -> RedisResult<()> {
    // Each on a clone of one connection: they go out together.
    let effects = messages.into_iter().map(|message| {
        let mut connection = connection.clone();
        async move {
            let (id, fields) = fields_of(message);
            effect(&mut connection, consumer, stream, &id, &fields).await?;
            Ok::<_, RedisError>(id)
        }
    });
    let ids = futures_util::future::try_join_all(effects).await?;
    if ids.is_empty() {
        return Ok(());
    }
    let acknowledged: u64 = redis::cmd("XACK")
        .arg(&[stream.key(), &consumer.group])
        .arg(&ids)
        .query_async(connection)
        .await?;
    consumer
        .companion
        .metrics
        .acknowledged(stream, acknowledged);
    Ok(())
}

async fn effect(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
    id: &str,
    fields: &Fields,
) -> RedisResult<()> {
    let ttl_ms = u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX);
    match Event::read(stream, fields, consumer.key.as_ref()) {
        Ok(Event::Revoked(anchors)) => {
            for anchor in anchors {
                if anchor.starts_with(EPOCH_INFIX) {
                    // Its key would be a zone's epoch, and writing it would lower
                    // that. It is revoked in every companion's own view.
                    tracing::warn!("an anchor that looks like an epoch's key is not shared");
                    continue;
                }
                let () = redis::cmd("SET")
                    .arg(format!("{KEY_PREFIX}{anchor}"))
                    .arg("1")
                    .arg("PX")
                    .arg(ttl_ms)
                    .query_async(connection)
                    .await?;
            }
        }
        Ok(Event::Epoch { zone, epoch }) => {
            let () = redis::cmd("EVAL")
                .arg(RAISE_EPOCH)
                .arg(1)
                .arg(format!("{KEY_PREFIX}{EPOCH_INFIX}{zone}"))
                .arg(epoch)
                .arg(ttl_ms)
                .query_async(connection)
                .await?;
        }
        Err(why) => dead_letter(connection, consumer, stream, id, fields, why).await?,
    }
    Ok(())
}

async fn dead_letter(
    connection: &mut Connection,
    consumer: &Consumer,
    stream: Stream,
    id: &str,
    fields: &Fields,
    why: Refused,
) -> RedisResult<()> {
    tracing::warn!(
        stream = stream.key(),
        id,
        reason = why.as_str(),
        "message refused"
    );
    let _: String = redis::cmd("XADD")
        .arg(stream.dead_letters())
        .arg(&["MAXLEN", "~", &MAX_DEAD_LETTERS.to_string(), "*"])
        .arg(&["source_id", id, "reason", why.as_str()])
        .arg("payload")
        .arg(dead_payload(fields))
        .query_async(connection)
        .await?;
    consumer.companion.metrics.dead_letter(stream, why);
    Ok(())
}
