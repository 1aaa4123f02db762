//! What is written to the shared store: revoked anchors and epochs as keys that expire.

use std::time::Duration;

use redis::Cmd;

use super::script::RAISE_EPOCH;
use crate::state::page::Entry;

/// The keys of the shared store begin with this.
pub const KEY_PREFIX: &str = "caracal:revoked:sessions:";
/// Comes after the prefix in the key of a zone's epoch. Such a key is not an anchor.
pub const EPOCH_INFIX: &str = "delegation-epoch:";
/// A command, and the key that it concerns.
pub struct Command {
    /// The key.
    pub key: String,
    /// The command.
    pub cmd: Cmd,
}

/// Sets an anchor's key.
pub fn set_anchor(anchor: &str, ttl: Duration) -> Command {
    let key = format!("{KEY_PREFIX}{anchor}");
    let mut cmd = redis::cmd("SET");
    cmd.arg(&key).arg("1").arg("PX").arg(millis(ttl));
    Command { key, cmd }
}

/// Raises a zone's epoch.
pub fn raise_epoch(zone: &str, epoch: u64, ttl: Duration) -> Command {
    let key = format!("{KEY_PREFIX}{EPOCH_INFIX}{zone}");
    let mut cmd = redis::cmd("EVAL");
    cmd.arg(RAISE_EPOCH)
        .arg(1)
        .arg(&key)
        .arg(epoch)
        .arg(millis(ttl));
    Command { key, cmd }
}

/// Writes everything that is held: an absent key is created, and a key that expires
/// sooner is extended. The store keeps its keys for `shortened` longer than they are held
/// here. An anchor whose key would be that of a zone's epoch is left out, because writing
/// it would lower the epoch.
pub fn keep_all(entries: &[Entry], shortened: Duration) -> Vec<Command> {
    let mut commands = Vec::new();
    for entry in entries {
        match entry {
            Entry::Anchor { anchor, .. } if anchor.starts_with(EPOCH_INFIX) => {}
            Entry::Anchor { anchor, ttl_s, .. } => {
                let ttl = Duration::from_secs(*ttl_s).saturating_add(shortened);
                let mut made = set_anchor(anchor, ttl);
                made.cmd.arg("NX");
                let mut longer = redis::cmd("PEXPIRE");
                longer.arg(&made.key).arg(millis(ttl)).arg("GT");
                let longer = Command {
                    key: made.key.clone(),
                    cmd: longer,
                };
                commands.extend([made, longer]);
            }
            Entry::Epoch {
                zone, epoch, ttl_s, ..
            } => commands.push(raise_epoch(zone, *epoch, Duration::from_secs(*ttl_s))),
        }
    }
    commands
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
