//! Which mandates were used. The product's Gateway notes it in the same place of the
//! same Redis, so a mandate is good once, wherever it is used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};

use crate::redis::command::Command;
use crate::redis::health::{Limited, describe};
use crate::redis::store::Store;
use crate::redis::target::Target;

/// Before the mandate's id.
const PREFIX: &str = "seen:jti:";
/// Longest wait for Redis.
const WAIT: Duration = Duration::from_secs(2);
/// Marks that are sent to Redis together.
const TOGETHER: usize = 128;
/// How often a connection without work is looked at: what is lost is best noticed
/// while no mandate depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Waits between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Most marks in memory.
const MAX_MARKS: usize = 100_000;

/// Nobody has asked Redis yet.
const WAITING: u8 = 0;
/// Redis is asked: the mark may be there from now on.
const SENT: u8 = 1;
/// Nobody waits any longer, and Redis will not be asked.
const LEFT: u8 = 2;

/// Why it is not known whether a mandate was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmarked {
    /// Nothing was written.
    Away,
    /// Redis was asked and has not answered: it may have been written.
    Unknown,
}

/// True for the first use.
type Marked = Result<bool, Unmarked>;

pub(super) struct Ask {
    key: String,
    value: String,
    life_s: u64,
    state: Arc<AtomicU8>,
    done: oneshot::Sender<Marked>,
}

impl Ask {
    fn command(&self) -> Command {
        let mut cmd = redis::cmd("SET");
        cmd.arg(&self.key).arg(&self.value);
        cmd.arg("NX").arg("EX").arg(self.life_s);
        Command {
            key: self.key.clone(),
            cmd,
        }
    }

    fn begins(&self) -> bool {
        let state = &self.state;
        let (from, to) = (Ordering::SeqCst, Ordering::SeqCst);
        state.compare_exchange(WAITING, SENT, from, to).is_ok()
    }
}

/// Where marks are kept.
pub(super) enum Marks {
    Redis(mpsc::Sender<Ask>),
    /// For development, in this process alone: when each one ends, in Unix seconds.
    Memory(Mutex<HashMap<String, u64>>),
}

impl Marks {
    /// In Redis; at most so many are waited for.
    pub(super) fn in_redis(target: Target, most: usize) -> Self {
        let (asks, asked) = mpsc::channel(most.max(1));
        tokio::spawn(run(target, asked));
        Marks::Redis(asks)
    }

    pub(super) fn in_memory() -> Self {
        Marks::Memory(Mutex::default())
    }

    /// Marks a mandate as used by a request. True when it was not used before.
    ///
    /// # Errors
    /// It is not known.
    pub(super) async fn first(&self, jti: &str, request_id: &str, exp: u64, now: u64) -> Marked {
        let asks = match self {
            Marks::Redis(asks) => asks,
            Marks::Memory(marks) => return in_memory(marks, jti, exp, now),
        };
        let (done, answer) = oneshot::channel();
        let state = Arc::new(AtomicU8::new(WAITING));
        let ask = Ask {
            key: format!("{PREFIX}{jti}"),
            value: request_id.to_owned(),
            life_s: exp.saturating_sub(now).max(1),
            state: Arc::clone(&state),
            done,
        };
        asks.try_send(ask).map_err(|_| Unmarked::Away)?;
        if let Ok(Ok(marked)) = tokio::time::timeout(WAIT, answer).await {
            return marked;
        }
        let (from, to) = (Ordering::SeqCst, Ordering::SeqCst);
        let left = state.compare_exchange(WAITING, LEFT, from, to).is_ok();
        Err(if left {
            Unmarked::Away
        } else {
            Unmarked::Unknown
        })
    }
}

fn in_memory(marks: &Mutex<HashMap<String, u64>>, jti: &str, exp: u64, now: u64) -> Marked {
    let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
    if marks.contains_key(jti) {
        return Ok(false);
    }
    if marks.len() >= MAX_MARKS {
        marks.retain(|_, exp| *exp > now);
    }
    if marks.len() >= MAX_MARKS {
        return Err(Unmarked::Away);
    }
    marks.insert(jti.to_owned(), exp);
    Ok(true)
}

/// Writes marks until nobody is left to ask. While there is no connection it answers at
/// once that there is none.
async fn run(target: Target, mut asks: mpsc::Receiver<Ask>) {
    let lost = Limited::new();
    let mut wait = BACKOFF.0;
    loop {
        let Some(made) = meanwhile_away(&mut asks, target.store()).await else {
            return;
        };
        let ended = match made {
            Ok(mut store) => {
                wait = BACKOFF.0;
                write(&mut store, &mut asks).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(Ended::NobodyAsks) => return,
            Ok(Ended::Moved) => {}
            Err(error) => {
                if let Some(count) = lost.tell() {
                    let (redis, error) = (target.name(), describe(&error));
                    tracing::warn!(redis, error, count, "marks of used mandates: lost Redis");
                }
                let pause = wait.mul_f64(rand::random_range(0.5..=1.0));
                let paused = meanwhile_away(&mut asks, tokio::time::sleep(pause)).await;
                if paused.is_none() {
                    return;
                }
                wait = wait.saturating_mul(2).min(BACKOFF.1);
            }
        }
    }
}

/// `None` when nobody is left to ask.
async fn meanwhile_away<T>(
    asks: &mut mpsc::Receiver<Ask>,
    other: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(other);
    loop {
        tokio::select! {
            done = &mut other => return Some(done),
            ask = asks.recv() => drop(ask?.done.send(Err(Unmarked::Away))),
        }
    }
}

/// One line for many marks that Redis refuses.
static REFUSED: Limited = Limited::new();

enum Ended {
    NobodyAsks,
    /// A slot of the cluster has moved: its master has to be found again.
    Moved,
}

async fn write(store: &mut Store, asks: &mut mpsc::Receiver<Ask>) -> RedisResult<Ended> {
    let mut batch: Vec<Ask> = Vec::new();
    loop {
        tokio::select! {
            many = asks.recv_many(&mut batch, TOGETHER) => {
                if many == 0 {
                    return Ok(Ended::NobodyAsks);
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                store.assure().await?;
                continue;
            }
        }
        batch.retain(Ask::begins);
        if batch.is_empty() {
            continue;
        }
        let commands: Vec<Command> = batch.iter().map(Ask::command).collect();
        let answers = store.tolerating(&commands, is_final).await;
        let whole = answers.as_ref().err().cloned();
        let mut answers = answers.unwrap_or_default().into_iter();
        for ask in batch.drain(..) {
            let marked = match answers.next() {
                Some(Ok(Value::Okay)) => Ok(true),
                Some(Ok(Value::Nil)) => Ok(false),
                Some(Err(error)) => {
                    if let Some(count) = REFUSED.tell() {
                        let error = describe(&error);
                        tracing::error!(
                            error,
                            count,
                            "Redis refuses the marks of used mandates: exchanges get 503"
                        );
                    }
                    Err(Unmarked::Away)
                }
                _ => Err(Unmarked::Unknown),
            };
            let _ = ask.done.send(marked);
        }
        if let Some(error) = whole {
            return Err(error);
        }
        if store.went_elsewhere() {
            return Ok(Ended::Moved);
        }
    }
}

/// The server has answered that it does not write, and it is not that another would.
fn is_final(error: &RedisError) -> bool {
    !matches!(error.code(), Some("MOVED" | "ASK" | "TRYAGAIN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_memory_a_mandate_is_first_once() {
        let marks = Marks::in_memory();
        assert_eq!(marks.first("a", "r", 100, 10).await, Ok(true));
        assert_eq!(marks.first("a", "r", 100, 10).await, Ok(false));
        assert_eq!(marks.first("b", "r", 100, 10).await, Ok(true));
    }

    #[tokio::test]
    async fn in_memory_there_is_a_bound_and_what_ended_makes_room() {
        let marks = Marks::in_memory();
        for n in 0..MAX_MARKS {
            assert_eq!(marks.first(&n.to_string(), "r", 100, 10).await, Ok(true));
        }
        assert_eq!(
            marks.first("one more", "r", 100, 10).await,
            Err(Unmarked::Away)
        );
        assert_eq!(marks.first("7", "r", 100, 10).await, Ok(false));
        assert_eq!(marks.first("one more", "r", 200, 100).await, Ok(true));
    }
}
