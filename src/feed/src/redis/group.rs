//! Does what must happen once among all companions: keys of the shared store, dead
//! letters, acknowledgements. A message is acknowledged only after its effect is durable.
//! If a companion dies before that, the message stays pending, and another companion
//! claims it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::{RedisError, RedisResult, Value};

use super::command::EPOCH_INFIX;
use super::health::Limited;
use super::node::Node;
use super::reply::{Body, Id, Message, group_reading, items, misshapen, number, text, write_id};
use super::script::{
    BUDGET, COUNT, CREATE_GROUP, DROP_CONSUMERS, GROUP_READ, LARGEST, covered_key, name_key,
};
use super::store::{Command, Store, raise_epoch, set_anchor};
use super::tasks::{Backoff, Tasks};
use crate::RETENTION;
use crate::event::{Event, Fields, Refused, Stream, dead_payload};

/// Longest pause between two readings if nothing new is reported.
const EVERY: Duration = Duration::from_secs(1);
/// A message that is pending for this long has lost its consumer (contract, "Revocation
/// streams").
const IDLE_MS: u64 = 30_000;
/// How often such messages are looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(5);
/// A consumer that was idle for this long and holds nothing is deleted.
const GONE_MS: u64 = 3_600_000;
/// How often such consumers are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// About how many dead letters are kept (contract, "Revocation streams").
const MAX_DEAD_LETTERS: usize = 10_000;
/// One line for many dead letters.
static DEAD: Limited = Limited::new();
/// One line for many letters that could not be copied.
static UNCOPIED: Limited = Limited::new();

struct Group<'a> {
    tasks: &'a Tasks,
    stream: Stream,
    node: Node,
    store: Store,
}

pub(super) async fn run(tasks: Tasks, stream: Stream) {
    let mut backoff = Backoff::new(format!("group {}", stream.key()));
    while !*tasks.companion.stopping.borrow() {
        // When it is told to stop, it finishes what it holds, so that no message is half
        // done.
        if let Err(error) = work(&tasks, stream, &mut backoff).await {
            backoff.failed(&tasks, &error).await;
        }
    }
}

async fn work(tasks: &Tasks, stream: Stream, backoff: &mut Backoff) -> RedisResult<()> {
    let made = async {
        let (node, store) = (
            tasks.target.node(stream).await?,
            tasks.target.store().await?,
        );
        RedisResult::Ok(Group {
            tasks,
            stream,
            node,
            store,
        })
    };
    let mut group = tokio::select! {
        group = made => group?,
        () = tasks.companion.stopped() => return Ok(()),
    };
    group.ensure().await?;
    // What this consumer was given earlier and did not finish.
    group.finish().await?;
    let (mut claimed, mut tidied): (Option<Instant>, Option<Instant>) = (None, None);
    while !*tasks.companion.stopping.borrow() {
        group.node.named_at()?;
        if claimed.is_none_or(|at| at.elapsed() >= CLAIM_EVERY) {
            claimed = Some(Instant::now());
            group.store.assure().await?;
            group.claim().await?;
        }
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            tidied = Some(Instant::now());
            drop_consumers(tasks, &mut group.node, stream, "").await?;
        }
        let read = group.step(">").await?;
        backoff.forget(tasks);
        if read > 0 {
            continue;
        }
        let Some(news) = tasks.news.get(&stream) else {
            return Ok(());
        };
        tokio::select! {
            () = news.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
            () = tasks.companion.stopped() => {}
        }
    }
    Ok(())
}

impl Group<'_> {
    async fn ensure(&mut self) -> RedisResult<()> {
        let made: RedisResult<Value> = redis::cmd("EVAL")
            .arg(CREATE_GROUP)
            .arg(3)
            .arg(self.stream.key())
            .arg(covered_key(self.stream))
            .arg(name_key(self.stream))
            .arg(&self.tasks.group)
            .query_async(&mut self.node.connection)
            .await;
        match made {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            made => made.map(|_| ()),
        }
    }

    /// Finishes what is pending for this consumer.
    async fn finish(&mut self) -> RedisResult<()> {
        let mut after = "0-0".to_owned();
        loop {
            let messages = self.read(&after).await?;
            let Some(last) = messages.last() else {
                return Ok(());
            };
            after = write_id(last.id);
            self.process(messages).await?;
        }
    }

    async fn step(&mut self, after: &str) -> RedisResult<usize> {
        let messages = self.read(after).await?;
        let read = messages.len();
        self.process(messages).await?;
        Ok(read)
    }

    async fn read(&mut self, after: &str) -> RedisResult<Vec<Message>> {
        let answer: Value = redis::cmd("EVAL")
            .arg(GROUP_READ)
            .arg(1)
            .arg(self.stream.key())
            .arg(&self.tasks.group)
            .arg(&self.tasks.consumer)
            .arg(after)
            .arg(BUDGET)
            .arg(COUNT)
            .arg(LARGEST)
            .query_async(&mut self.node.connection)
            .await?;
        let (view, added, length, first, messages) = group_reading(answer);
        let metrics = &self.tasks.companion.metrics;
        metrics.group(self.stream, view.pending, view.lag, length);
        // All messages in the stream are undelivered. So messages that were added, are
        // not there, and were not read by the group are lost.
        if let (Some(read), true) = (view.read, first.is_none_or(|first| first > view.delivered)) {
            let skipped = added.saturating_sub(length).saturating_sub(read);
            if skipped > 0 && !messages.is_empty() {
                metrics.skipped(self.stream, skipped);
                tracing::error!(
                    stream = self.stream.key(),
                    skipped,
                    "messages were trimmed before the consumer group read them: the shared store gets them from the companions that have read them"
                );
                self.tasks.rescan.notify_one();
            }
        }
        Ok(messages)
    }

    /// Takes over the messages of a dead consumer.
    async fn claim(&mut self) -> RedisResult<()> {
        let (mut start, mut claimed) = ("0-0".to_owned(), 0_usize);
        loop {
            let answer: Value = redis::cmd("XAUTOCLAIM")
                .arg(&[self.stream.key(), &self.tasks.group, &self.tasks.consumer])
                .arg(IDLE_MS)
                .arg(&start)
                .arg(&["COUNT", &COUNT.to_string(), "JUSTID"])
                .query_async(&mut self.node.connection)
                .await?;
            let mut parts = items(answer).into_iter();
            let next = parts.next().and_then(text);
            claimed = claimed.saturating_add(parts.next().map_or(0, |ids| items(ids).len()));
            let gone = parts.next().map_or(0, |ids| items(ids).len());
            self.lost(gone);
            start = next.ok_or_else(|| misshapen("XAUTOCLAIM gave no cursor"))?;
            if start == "0-0" {
                break;
            }
        }
        if claimed > 0 {
            tracing::info!(
                stream = self.stream.key(),
                claimed,
                "took over messages of a dead consumer"
            );
            self.finish().await?;
        }
        Ok(())
    }

    /// Messages that were trimmed while they were pending.
    fn lost(&self, count: usize) {
        if count == 0 {
            return;
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.tasks.companion.metrics.skipped(self.stream, count);
        tracing::error!(
            stream = self.stream.key(),
            lost = count,
            "messages were trimmed while they were pending: the shared store gets them from the companions that have read them"
        );
        self.tasks.rescan.notify_one();
    }

    async fn process(&mut self, messages: Vec<Message>) -> RedisResult<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let (mut anchors, mut commands, mut lost) = (BTreeSet::new(), Vec::new(), 0_usize);
        let mut dead: Vec<(Id, Refused, Command)> = Vec::new();
        for message in &messages {
            let read = match &message.body {
                Body::Gone => {
                    lost = lost.saturating_add(1);
                    continue;
                }
                Body::Large(size, fields) => {
                    let whole = Fields::from([(
                        b"(too large)".to_vec(),
                        format!("{size} bytes").into_bytes(),
                    )]);
                    Event::read_part(self.stream, fields, self.tasks.key.as_ref())
                        .map_err(|why| (message.id, why, self.dead_letter(message, &whole, why)))
                }
                Body::Fields(fields) => Event::read(self.stream, fields, self.tasks.key.as_ref())
                    .map_err(|why| (message.id, why, self.dead_letter(message, fields, why))),
            };
            match read {
                Ok(Event::Revoked(all)) => anchors.extend(all),
                Ok(Event::Epoch { zone, epoch }) => {
                    commands.push(raise_epoch(&zone, epoch, RETENTION));
                }
                Err(refused) => dead.push(refused),
            }
        }
        self.lost(lost);
        for anchor in &anchors {
            if anchor.starts_with(EPOCH_INFIX) {
                // Its key would be that of a zone's epoch, and writing it would lower the
                // epoch. The anchor is revoked in every companion's own view.
                tracing::warn!("an anchor that looks like an epoch's key is not shared");
            } else {
                commands.push(set_anchor(anchor, RETENTION));
            }
        }
        let metrics = &self.tasks.companion.metrics;
        let answers = self.store.many(&commands).await?;
        metrics.data_errors("group", &answers);
        let uncopied = self.copy(dead).await?;
        // What was written to a server that is no longer the master is not durable.
        self.store.assure().await?;
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(&[self.stream.key(), &self.tasks.group]);
        let done: Vec<String> = messages
            .iter()
            .filter(|message| !uncopied.contains(&message.id))
            .map(|message| write_id(message.id))
            .collect();
        if done.is_empty() {
            return Ok(());
        }
        acknowledge.arg(done);
        let acknowledged: Value = acknowledge.query_async(&mut self.node.connection).await?;
        metrics.acknowledged(self.stream, number(&acknowledged).unwrap_or(0));
        Ok(())
    }

    /// Copies refused messages to the dead letters. Returns those that could not be
    /// copied. They stay pending (contract, "Revocation streams") and do not keep other
    /// messages from being finished.
    async fn copy(&mut self, dead: Vec<(Id, Refused, Command)>) -> RedisResult<BTreeSet<Id>> {
        let metrics = &self.tasks.companion.metrics;
        let (mut told, mut commands) = (Vec::new(), Vec::new());
        for (id, why, command) in dead {
            told.push((id, why));
            commands.push(command);
        }
        // If the ids of a dead-letter stream are used up, Redis answers ERR.
        let own = |error: &RedisError| matches!(error.code(), Some("WRONGTYPE" | "ERR"));
        let answers = self.store.tolerating(&commands, own).await?;
        metrics.data_errors("dead letters", &answers);
        let mut uncopied = BTreeSet::new();
        for ((id, why), answer) in told.into_iter().zip(answers) {
            if answer.is_err() {
                uncopied.insert(id);
                if let Some(count) = UNCOPIED.tell() {
                    tracing::error!(
                        stream = self.stream.dead_letters(),
                        count,
                        "refused messages cannot be copied to the dead letters and stay pending: is that key a stream that takes new ids?"
                    );
                }
                continue;
            }
            metrics.dead_letter(self.stream, why);
            if let Some(count) = DEAD.tell() {
                tracing::warn!(
                    stream = self.stream.key(),
                    reason = why.as_str(),
                    count,
                    "messages refused, copied to the dead letters"
                );
            }
        }
        Ok(uncopied)
    }

    fn dead_letter(&self, message: &Message, fields: &Fields, why: Refused) -> Command {
        let mut cmd = redis::cmd("XADD");
        cmd.arg(self.stream.dead_letters())
            .arg(&["MAXLEN", "~", &MAX_DEAD_LETTERS.to_string(), "*"])
            .arg("source_id")
            .arg(write_id(message.id))
            .arg(&["reason", why.as_str()])
            .arg("payload")
            .arg(dead_payload(fields));
        let key = self.stream.dead_letters().to_owned();
        Command { key, cmd }
    }
}

async fn drop_consumers(
    tasks: &Tasks,
    node: &mut Node,
    stream: Stream,
    own: &str,
) -> RedisResult<()> {
    let _: Value = redis::cmd("EVAL")
        .arg(DROP_CONSUMERS)
        .arg(1)
        .arg(stream.key())
        .arg(&tasks.group)
        .arg(own)
        .arg(GONE_MS)
        .query_async(&mut node.connection)
        .await?;
    Ok(())
}

/// Deletes this companion's consumer if it holds nothing. It tries only once.
pub(super) async fn leave(tasks: &Tasks, stream: Stream) {
    let left = async {
        let mut node = tasks.target.node(stream).await?;
        drop_consumers(tasks, &mut node, stream, &tasks.consumer).await
    };
    match tokio::time::timeout(Duration::from_secs(2), left).await {
        Ok(Ok(())) => {}
        _ => tracing::debug!(
            stream = stream.key(),
            "the consumer could not leave the group"
        ),
    }
}
