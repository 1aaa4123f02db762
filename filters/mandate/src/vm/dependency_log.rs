//! Log lines that more than one part writes, or that are long.

use caracal_mandate::fetch_failure::Turn;
use caracal_mandate::jwks::key_set::KeySet;

use crate::abi::hostcalls::{self, LogLevel};

/// Requests begin or stop to be refused because `what`, which comes from `upstream`, is
/// missing or too old. The line has the reason, the age and the limit.
#[cold]
pub(crate) fn refusal_turn(
    turn: Turn,
    what: &str,
    upstream: &str,
    why: Option<&str>,
    age_ms: Option<u64>,
    limit: &str,
) {
    match turn {
        Turn::Refused => {
            let why = why.unwrap_or("it answers, but its data is too old");
            let age = match age_ms {
                Some(age_ms) => format!("is {} s old", age_ms / 1_000),
                None => "was never read".to_owned(),
            };
            hostcalls::log(
                LogLevel::Error,
                &format!(
                    "caracal: REFUSING every request that needs the {what} (503): it {age}, the limit is {limit}; {upstream}: {why}"
                ),
            );
        }
        Turn::Judged(lasted_ms) => hostcalls::log(
            LogLevel::Info,
            &format!(
                "caracal: requests are no longer refused for lack of the {what}: that lasted {lasted_ms} ms"
            ),
        ),
    }
}

/// Most unusable keys that a line names.
const MAX_NAMED_KEYS: usize = 4;

/// A key set was fetched. A second line names the keys that cannot be used.
#[cold]
pub(crate) fn key_set_fetched(keys: &KeySet) {
    let (kept, skipped) = (keys.keys().len(), keys.skipped());
    hostcalls::log(
        LogLevel::Info,
        &format!("caracal: key set fetched: {kept} keys usable, {skipped} skipped"),
    );
    if skipped > 0 {
        let why = keys.skipped_keys().iter().take(MAX_NAMED_KEYS);
        let why = why.map(ToString::to_string);
        hostcalls::log(
            LogLevel::Warn,
            &format!(
                "caracal: {skipped} keys of the key set are not used: {}",
                why.collect::<Vec<_>>().join("; ")
            ),
        );
    }
}
