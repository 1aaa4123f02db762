//! Reads a stream from its beginning and then follows it, for this companion's own view.
//! Nothing is acknowledged, and nothing depends on other companions.
//!
//! The step that reads also confirms: Redis accepted a write, said that it is a master,
//! and has as many messages as were counted here.

use std::time::{Duration, Instant, SystemTime};

use redis::{RedisResult, Value};

use super::account::{Account, Gap, Step};
use super::errors::not_a_master;
use super::health::Limited;
use super::node::Node;
use super::reply::{Body, Covered, Message, Reading, reading, write_id};
use super::script::{BUDGET, COUNT, LARGEST, READ, covered_key, name_key};
use super::tasks::{Backoff, Read, Tasks};
use crate::event::{Event, HmacKey, Stream};
use crate::state::position::{Place, mark};

/// Longest time that Redis holds back a question for new messages. The age of the state
/// counts from the time of the question, so this is part of it.
const BLOCK_MS: usize = 250;
/// Shortest and longest pause between two questions while the first or the last message
/// is large. Redis examines these two messages with every question. In between, the pause
/// is chosen so that Redis keeps nine tenths of its time.
const POLL: Duration = Duration::from_millis(50);
const MAX_POLL: Duration = Duration::from_secs(1);
/// One line for many refused messages.
static REFUSED: Limited = Limited::new();

/// Messages that were missed, and that may be in the shared store.
struct Open {
    gap: Gap,
    since: Instant,
    /// When the store had them, and the reigns of its masters at that time. A later
    /// reading of the store finds them.
    stored: Option<(Instant, String)>,
}

struct Tail {
    account: Account,
    open: Option<Open>,
    /// The stream's first or last message is large.
    heavy: bool,
    /// Number of entries for which the state had no room, at the last check.
    dropped: u64,
    /// A message count to reach, and when it was taken. On reaching it, the state is
    /// confirmed as of that time. Writers who are faster than the reader must not keep it
    /// from confirming.
    promised: Option<(u64, Instant)>,
    /// The stream's name when its ids went backwards. It gets another one.
    spoilt: String,
    /// The settings that decide what a message means here.
    settings: String,
}

pub(super) async fn run(tasks: Tasks, stream: Stream) {
    let mut backoff = Backoff::new(format!("tail {}", stream.key()));
    let mut tail = Tail {
        account: Account::new(),
        open: None,
        heavy: false,
        dropped: 0,
        promised: None,
        spoilt: String::new(),
        settings: settings(&tasks),
    };
    while !*tasks.companion.stopping.borrow() {
        tokio::select! {
            ended = tail.follow(&tasks, stream, &mut backoff) => {
                if let Err(error) = ended {
                    backoff.failed(&tasks, &error).await;
                }
            }
            () = tasks.companion.stopped() => return,
        }
    }
}

impl Tail {
    async fn follow(
        &mut self,
        tasks: &Tasks,
        stream: Stream,
        backoff: &mut Backoff,
    ) -> RedisResult<()> {
        let mut node = tasks.target.node(stream).await?;
        let state = &tasks.companion.state;
        self.promised = None;
        loop {
            let asked = Instant::now();
            let named = node.named_at()?;
            let mut reading = self.read(tasks, &mut node, stream).await?;
            // For a clock that is ahead everything looks old, and old messages may be
            // missing.
            reading.time_ms = reading.time_ms.min(wall_clock_ms());
            let took = asked.elapsed();
            if !reading.master {
                return Err(not_a_master());
            }
            self.heavy = reading.heavy;
            let mark = mark(stream, &reading.reign, &reading.name, &self.settings);
            match self.account.judge(&reading, millis(tasks.lifetime)) {
                Step::Take { gap } => {
                    state.seen(stream, mark, reading.last, reading.time_ms);
                    // If the stream was read before, ids may come again.
                    let known = self.account.before();
                    self.take(tasks, stream, &reading.messages, known, mark);
                    if let Some(gap) = gap {
                        self.missed(tasks, stream, gap);
                    }
                }
                Step::Restart => {
                    tracing::info!(
                        stream = stream.key(),
                        redis = node.address,
                        "another server is master, it has restarted, or the stream was replaced: reading the stream from its beginning"
                    );
                    state.reads_again(stream);
                    self.promised = None;
                    tasks.rescan.notify_one();
                    continue;
                }
                Step::Backwards => {
                    tracing::error!(
                        stream = stream.key(),
                        "the stream went backwards: Redis has lost data. Reading it again; known revocations stay in force here"
                    );
                    state.unconfirm(stream);
                    state.reads_again(stream);
                    state.rename();
                    self.spoilt = reading.name;
                    self.promised = None;
                    // Messages that were added and not read before may be in the store.
                    state.missed();
                    self.opens(0, 0);
                    tasks.rescan.notify_one();
                    continue;
                }
            }
            let (added, moment) = *self
                .promised
                .get_or_insert((reading.added, asked.min(named)));
            if reading.more && self.account.counted() < added {
                continue;
            }
            self.promised = None;
            // A note of more messages than were ever added is about another stream.
            let covered = Some(&reading.covered).filter(|note| note.count <= reading.added);
            let complete = self.is_whole(tasks, stream, covered);
            let more = reading.more;
            let read = Read {
                counted: self.account.counted(),
                seq: state.seq(),
                complete,
                reign: reading.reign,
            };
            tasks.progress.set(stream, read);
            if complete {
                if !more {
                    let id = reading.last.max(self.account.id());
                    state.reached(stream, mark.map(|mark| Place { mark, id }), moment);
                }
                state.confirm(stream, moment);
            } else {
                state.unconfirm(stream);
            }
            backoff.forget(tasks);
            if !more {
                self.wait(&mut node, stream, took).await?;
            }
        }
    }

    async fn read(&self, tasks: &Tasks, node: &mut Node, stream: Stream) -> RedisResult<Reading> {
        let answer: Value = redis::cmd("EVAL")
            .arg(READ)
            .arg(3)
            .arg(stream.key())
            .arg(covered_key(stream))
            .arg(name_key(stream))
            .arg(&tasks.group)
            .arg(&tasks.consumer)
            .arg(write_id(self.account.id()))
            .arg(BUDGET)
            .arg(COUNT)
            .arg(LARGEST)
            .arg(format!("{:016x}", rand::random::<u64>()))
            .arg(&self.spoilt)
            .query_async(&mut node.connection)
            .await?;
        reading(answer)
    }

    fn take(
        &mut self,
        tasks: &Tasks,
        stream: Stream,
        messages: &[Message],
        known: super::reply::Id,
        mark: Option<u64>,
    ) {
        let (state, metrics) = (&tasks.companion.state, &tasks.companion.metrics);
        for message in messages {
            let event = match &message.body {
                Body::Fields(fields) => Event::read(stream, fields, tasks.key.as_ref()),
                Body::Large(_, fields) => Event::read_part(stream, fields, tasks.key.as_ref()),
                Body::Gone => continue,
            };
            let id = message.id;
            let source = mark.map(|mark| Place { mark, id });
            match event {
                // A message that was read before does not live for another 24 hours.
                Ok(event) if message.id <= known => state.apply_again(&event, source),
                Ok(event) => {
                    state.apply(&event, source);
                    metrics.applied(stream);
                }
                Err(why) => {
                    metrics.refused(stream, why);
                    if let Some(count) = REFUSED.tell() {
                        tracing::warn!(
                            stream = stream.key(),
                            reason = why.as_str(),
                            count,
                            "messages on the stream are refused"
                        );
                    }
                }
            }
        }
        if !messages.is_empty()
            && let Some(news) = tasks.news.get(&stream)
        {
            news.notify_one();
        }
    }

    fn missed(&mut self, tasks: &Tasks, stream: Stream, gap: Gap) {
        tasks.companion.metrics.missed(stream, gap.missing);
        tracing::error!(
            stream = stream.key(),
            missed = gap.missing,
            unconfirmed_s = tasks.lifetime.as_secs(),
            "messages were trimmed or deleted before they were read here: nothing is confirmed until the shared store is known to have them, or no mandate of that time is valid any more"
        );
        tasks.companion.state.missed();
        self.opens(gap.missing, gap.until);
        tasks.rescan.notify_one();
    }

    /// More messages are missing, among this many first ones. Those that were missing
    /// before still are.
    fn opens(&mut self, missing: u64, until: u64) {
        let before = self.open.as_ref();
        self.open = Some(Open {
            gap: Gap {
                missing: before
                    .map_or(0, |open| open.gap.missing)
                    .saturating_add(missing),
                until: before.map_or(0, |open| open.gap.until).max(until),
            },
            since: Instant::now(),
            stored: None,
        });
    }

    /// Whether nothing is missing, or the missing messages were found.
    fn is_whole(&mut self, tasks: &Tasks, stream: Stream, covered: Option<&Covered>) -> bool {
        let state = &tasks.companion.state;
        let problem = format!("missed {}", stream.key());
        // An entry for which there was no room counts as missed until there is room
        // again.
        let dropped = state.dropped();
        if dropped != self.dropped || state.is_over_capacity() {
            self.opens(dropped.saturating_sub(self.dropped), self.account.counted());
            self.dropped = dropped;
        }
        let Some(open) = &mut self.open else {
            return true;
        };
        if open.since.elapsed() >= tasks.lifetime {
            tracing::warn!(
                stream = stream.key(),
                missed = open.gap.missing,
                "missed messages concern no mandate that is still valid"
            );
        } else {
            let scan = tasks.progress.last_scan();
            // No message of this stream is missing. The store was just read before the
            // stream began.
            let anew =
                open.gap.until == 0 && scan.as_ref().is_some_and(|scan| scan.began >= open.since);
            match covered.filter(|note| note.count >= open.gap.until) {
                None => open.stored = None,
                Some(note) => {
                    let known = open.stored.as_ref();
                    if known.is_none_or(|(_, reigns)| *reigns != note.reigns) {
                        open.stored = Some((Instant::now(), note.reigns.clone()));
                        tasks.rescan.notify_one();
                    }
                }
            }
            let made_good = anew
                || open.stored.as_ref().is_some_and(|(at, reigns)| {
                    scan.is_some_and(|scan| scan.began >= *at && scan.reigns == *reigns)
                });
            if !made_good {
                let text = format!(
                    "{} messages were missed, and the shared store is not known to have them",
                    open.gap.missing
                );
                state.problem(&problem, Some(text));
                return false;
            }
            tracing::info!(
                stream = stream.key(),
                missed = open.gap.missing,
                "missed messages were found in the shared store"
            );
        }
        self.open = None;
        state.problem(&problem, None);
        true
    }

    /// Waits until there is something new, but not for long.
    async fn wait(&self, node: &mut Node, stream: Stream, took: Duration) -> RedisResult<()> {
        if self.heavy {
            let pause = took.saturating_mul(9).clamp(POLL, MAX_POLL);
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        // The next step reads what arrives, with everything that is needed to judge it.
        let _: Value = redis::cmd("XREAD")
            .arg(&["COUNT", "1", "BLOCK", &BLOCK_MS.to_string()])
            .arg(&["STREAMS", stream.key()])
            .arg(write_id(self.account.id()))
            .query_async(&mut node.connection)
            .await?;
        Ok(())
    }
}

/// The settings that decide what a message means here. A companion with others does not
/// take this one's word for what a reader has.
fn settings(tasks: &Tasks) -> String {
    let key = tasks.key.as_ref().map(HmacKey::name);
    [tasks.companion.state.settings(), key.unwrap_or_default()].join(" ")
}

fn wall_clock_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, millis)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
