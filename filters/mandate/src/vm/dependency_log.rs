//! Log lines that more than one part writes, or that are long.

use caracal_mandate::fetch_failure::Turn;
use caracal_mandate::jwks::key_set::KeySet;
use caracal_mandate::jwks::refresh::{Control, FetchTiming};

use crate::abi::hostcalls::{self, LogLevel};
use crate::vm::callouts::StsClient;

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

/// Requests begin or stop to be refused for lack of a key set.
#[cold]
pub(crate) fn key_set_turn(
    turn: Turn,
    name: &str,
    upstream: &str,
    record: &Control,
    timing: FetchTiming,
    now_ms: u64,
) {
    let limit_ms = timing.ttl_ms.saturating_add(timing.max_stale_ms);
    refusal_turn(
        turn,
        name,
        upstream,
        record.cause().words(),
        record.age_ms(now_ms),
        &format!("{} s (jwks.ttl_s and jwks.max_stale_s)", limit_ms / 1_000),
    );
}

/// A key set could not be fetched.
#[cold]
pub(crate) fn key_set_not_fetched(name: &str, sts: &StsClient, why: &str) {
    let (upstream, path) = (&sts.upstream, &sts.target.path);
    hostcalls::log(
        LogLevel::Error,
        &format!("caracal: {name} not fetched from {upstream}{path}: {why}"),
    );
}

/// Other VMs wrote the shared record each time that this one tried to.
#[cold]
pub(crate) fn key_set_not_shared(name: &str) {
    hostcalls::log(
        LogLevel::Error,
        &format!("caracal: the {name} that was fetched could not be shared"),
    );
}

/// Most unusable keys that a line names.
const MAX_NAMED_KEYS: usize = 4;

/// A key set was fetched. A second line names the keys that cannot be used.
#[cold]
pub(crate) fn key_set_fetched(name: &str, keys: &KeySet) {
    let (kept, skipped) = (keys.keys().len(), keys.skipped());
    hostcalls::log(
        LogLevel::Info,
        &format!("caracal: {name} fetched: {kept} keys usable, {skipped} skipped"),
    );
    if skipped > 0 {
        let why = keys.skipped_keys().iter().take(MAX_NAMED_KEYS);
        let why = why.map(ToString::to_string);
        hostcalls::log(
            LogLevel::Warn,
            &format!(
                "caracal: {skipped} keys of the {name} are not used: {}",
                why.collect::<Vec<_>>().join("; ")
            ),
        );
    }
}
