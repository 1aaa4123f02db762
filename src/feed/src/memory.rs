//! Without Redis, for development: revocations come through the API, and an optional file
//! keeps them over a restart. They are not shared with anybody.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::RETENTION;
use crate::revocation_request::RevocationBody;
use crate::state::State;
use crate::state::page::Entry;

/// Largest state file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// The state file, if any.
#[derive(Debug, Default)]
pub struct Memory {
    file: Option<PathBuf>,
    /// Only one writer at a time.
    writing: Mutex<()>,
}

/// A line of the file. Its time is from the wall clock, because only that clock survives
/// a restart.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Unix time in seconds.
    expires: u64,
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Memory {
    /// Reads the file into the state, if there is a file.
    ///
    /// # Errors A file that cannot be read, or that the companion did not write. To start
    /// without its revocations would undo them.
    pub fn open(file: Option<PathBuf>, state: &State) -> Result<Self> {
        if let Some(path) = &file
            && path.exists()
        {
            let name = path.display();
            let size = std::fs::metadata(path)?.len();
            anyhow::ensure!(size <= MAX_FILE, "{name} is over {MAX_FILE} bytes");
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
            let now = unix_s();
            for (number, line) in text.lines().enumerate() {
                let line: Line = serde_json::from_str(line)
                    .with_context(|| format!("{name}, line {}", number.saturating_add(1)))?;
                // If the clock was set back, the entry must not live for ever.
                let left = Duration::from_secs(line.expires.saturating_sub(now)).min(RETENTION);
                match (line.anchor, line.zone, line.epoch) {
                    (Some(anchor), None, None) => state.revoke(&anchor, left),
                    (None, Some(zone), Some(epoch)) => state.raise(&zone, epoch, left),
                    _ => anyhow::bail!(
                        "{name}, line {}: not a revocation",
                        number.saturating_add(1)
                    ),
                }
            }
        }
        if let Some(path) = &file {
            // Find out now whether the file can be written, and not when somebody
            // revokes.
            let partial = path.with_extension("partial");
            std::fs::write(&partial, b"")
                .and_then(|()| std::fs::remove_file(&partial))
                .with_context(|| format!("cannot write beside {}", path.display()))?;
        }
        Ok(Memory {
            file,
            writing: Mutex::default(),
        })
    }

    /// Puts a revocation into force, and answers when it is in the file.
    pub(crate) async fn add(&self, state: &State, body: &RevocationBody) -> Result<()> {
        for anchor in &body.anchors {
            state.revoke(anchor, RETENTION);
        }
        if let (Some(zone), Some(epoch)) = (&body.zone, body.epoch) {
            state.raise(zone, epoch, RETENTION);
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let _one = self.writing.lock().await;
        let now = unix_s();
        let mut text = String::new();
        for entry in state.everything() {
            let line = match entry {
                Entry::Anchor { anchor, ttl_s, .. } => Line {
                    anchor: Some(anchor.to_string()),
                    zone: None,
                    epoch: None,
                    expires: now.saturating_add(ttl_s),
                },
                Entry::Epoch {
                    zone, epoch, ttl_s, ..
                } => Line {
                    anchor: None,
                    zone: Some(zone.to_string()),
                    epoch: Some(epoch),
                    expires: now.saturating_add(ttl_s),
                },
            };
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        }
        // Write another file and rename it, so that the file is never half written.
        let partial = file.with_extension("partial");
        tokio::fs::write(&partial, text).await?;
        tokio::fs::File::open(&partial).await?.sync_all().await?;
        tokio::fs::rename(&partial, file).await?;
        Ok(())
    }
}
