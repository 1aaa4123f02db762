//! The health of the tasks. When Redis is reached, lost and back, there is one line in
//! the log, and not one for each task. `/readyz` shows what keeps the companion from
//! being ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError};

use crate::Companion;

/// The same problem is logged again after this time.
const AGAIN: Duration = Duration::from_secs(30);
/// Longest text of an error that is shown, in bytes.
const MAX_TEXT: usize = 200;
/// How often readiness is checked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Inner {
    failing: BTreeMap<String, String>,
    reached: bool,
    lost: Option<Instant>,
    told: Option<Instant>,
    said: String,
}

/// The health of all tasks; see the module.
pub struct Health {
    companion: Companion,
    name: String,
    inner: Mutex<Inner>,
}

/// Describes an error without anything from a message, a key or a URL, and without
/// characters that could control a terminal.
pub fn describe(error: &RedisError) -> String {
    let text = match error.kind() {
        // The library's text contains the answer that it could not read.
        ErrorKind::Parse => error.category().to_owned(),
        _ => error.to_string(),
    };
    let mut shown = String::new();
    for character in text.chars().flat_map(char::escape_debug) {
        if shown.len() >= MAX_TEXT {
            shown.push('…');
            break;
        }
        shown.push(character);
    }
    shown
}

impl Health {
    pub(super) fn new(companion: Companion, name: String) -> Self {
        Health {
            companion,
            name,
            inner: Mutex::default(),
        }
    }

    pub(super) fn failed(&self, task: &str, error: &RedisError) {
        let why = describe(error);
        let metrics = &self.companion.metrics;
        metrics.reconnect(task);
        let code = error.code().unwrap_or("");
        if matches!(code, "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY") {
            metrics.refusing_writes(true);
        }
        self.companion.state.problem(task, Some(why.clone()));
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failing.insert(task.to_owned(), why.clone());
        inner.lost.get_or_insert_with(Instant::now);
        let news = inner.said != why || inner.told.is_none_or(|at| at.elapsed() > AGAIN);
        if news {
            inner.told = Some(Instant::now());
            inner.said.clone_from(&why);
            tracing::warn!(
                redis = self.name,
                task,
                error = why,
                "lost Redis, trying again"
            );
        }
    }

    pub(super) fn well(&self, task: &str) {
        self.companion.state.problem(task, None);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.failing.remove(task);
        if !inner.failing.is_empty() {
            return;
        }
        self.companion.metrics.refusing_writes(false);
        if !std::mem::replace(&mut inner.reached, true) {
            tracing::info!(redis = self.name, "connected to Redis");
        } else if let Some(since) = inner.lost {
            let lost_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(redis = self.name, lost_ms, "Redis is back");
        }
        inner.lost = None;
        inner.said.clear();
    }

    /// Logs when the companion becomes ready, and when it is no longer ready.
    pub(super) async fn run(self: Arc<Self>) {
        let mut was: Option<&'static str> = Some("");
        let state = &self.companion.state;
        while !*self.companion.stopping.borrow() {
            let is = state.not_ready();
            if is != was {
                match is {
                    None => {
                        tracing::info!(anchors = state.len(), "ready: everything in Redis is known")
                    }
                    Some(why) if was.is_none() => {
                        tracing::error!(why, problems = ?state.problems(), "no longer ready");
                    }
                    Some(why) => tracing::info!(why, "not ready yet"),
                }
                was = is;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.companion.stopped() => {}
            }
        }
    }
}

/// Limits a log line to one in a period, with a count.
pub struct Limited {
    every: Duration,
    told: Mutex<(Option<Instant>, u64)>,
}

impl Limited {
    /// Nothing was counted yet.
    pub const fn new() -> Self {
        Limited::every(AGAIN)
    }

    /// The same, with another period.
    pub const fn every(every: Duration) -> Self {
        Limited {
            every,
            told: Mutex::new((None, 0)),
        }
    }

    /// Whether to log now, and how many events there were since the last line.
    pub fn tell(&self) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.1 = told.1.saturating_add(1);
        if told.0.is_some_and(|at| at.elapsed() < self.every) {
            return None;
        }
        let count = std::mem::take(&mut told.1);
        told.0 = Some(Instant::now());
        Some(count)
    }
}

impl Default for Limited {
    fn default() -> Self {
        Limited::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_nothing_of_an_answer() {
        let error: RedisError = (ErrorKind::Parse, "x", "_sig: secret".to_owned()).into();
        assert!(!describe(&error).contains("secret"));
        let long: RedisError = (ErrorKind::Client, "x", "\u{1b}[2J".repeat(1_000)).into();
        let shown = describe(&long);
        assert!(shown.len() < 220 && !shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn lines_are_limited_and_counted() {
        let limited = Limited::new();
        assert_eq!(limited.tell(), Some(1));
        assert_eq!(limited.tell(), None);
    }
}
