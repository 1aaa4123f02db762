//! The key set: what this VM decides by, and the part that it plays in fetching it.

use caracal_mandate::failure::Kind;
use caracal_mandate::keys::KeySet;
use caracal_mandate::refresh::{Control, Fetch, Lease};

use crate::abi::hostcalls::{self, Failed, Level};
use crate::abi::wasi;
use crate::vm::callouts::{self, Answer, Failure, document};
use crate::vm::plugin::{EVERY_MS, Engine};
use crate::vm::stores::StoredKeySet;

/// Attempts to write the control record when another VM writes it too.
const WRITE_ATTEMPTS: usize = 4;

/// A fetch that this VM has under way.
pub(crate) struct Fetching {
    /// None for one that a request makes because it can't wait for another's.
    lease: Option<Lease>,
    started_ms: u64,
    token: Option<u32>,
}

impl Fetching {
    /// One beside another's.
    pub(crate) fn without_lease(now_ms: u64) -> Self {
        Fetching {
            lease: None,
            started_ms: now_ms,
            token: None,
        }
    }
}

/// The key set that this VM decides by, and the record that it came with.
pub(crate) struct Adopted {
    pub(crate) control: Control,
    pub(crate) keys: KeySet,
}

impl Engine {
    /// Reads the shared record, and the key set when it is another one. Also at
    /// the start of a VM, which is warm that way where others have fetched.
    pub(crate) fn sync(&mut self) {
        // A monotonic clock that stood still must not make the other one do so.
        self.wall = None;
        match self.read_shared() {
            Ok(()) => self.store_failed = false,
            Err(Failed(status)) => {
                // Once, not at every tick: the next success arms it again.
                if !std::mem::replace(&mut self.store_failed, true) {
                    hostcalls::log(
                        Level::Error,
                        &format!("caracal: shared data cannot be read (status {status})"),
                    );
                }
            }
        }
    }

    fn read_shared(&mut self) -> Result<(), Failed> {
        let attempts = self.control.attempts;
        (self.control, _) = self.store.control()?;
        // Whoever fetched, it was fetched for this one too.
        self.key_wanted &= self.control.attempts == attempts;
        let own = self.key_set_id();
        // Without an id the record was lost: what this VM holds ages by itself.
        if self.control.key_set_id().is_none_or(|id| Some(id) == own) {
            return Ok(());
        }
        match self.store.key_set(self.control.generation)? {
            StoredKeySet::Document(document) => match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => self.adopt(keys),
                Err(_) => self.damaged = true,
            },
            // A write is under way, or whoever made it is gone.
            StoredKeySet::OtherGeneration => {
                self.damaged |=
                    wasi::monotonic_ms().is_none_or(|now_ms| !self.control.is_leased(now_ms));
            }
            StoredKeySet::Damaged => self.damaged = true,
        }
        Ok(())
    }

    fn adopt(&mut self, keys: KeySet) {
        self.damaged = false;
        self.adopted = Some(Adopted {
            control: self.control,
            keys,
        });
    }

    /// The key set that this VM decides by.
    pub(crate) fn key_set_id(&self) -> Option<(u64, u64)> {
        self.adopted
            .as_ref()
            .and_then(|adopted| adopted.control.key_set_id())
    }

    /// Whether the key set there is has outlived its life, or will soon be of no use.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        let adopted = self.adopted.as_ref();
        let age = adopted.and_then(|adopted| adopted.control.age_ms(now_ms));
        let longest = self.timing.ttl_ms.saturating_add(self.timing.max_stale_ms);
        let soon = longest.saturating_mul(4) / 5;
        age.is_some_and(|age| age > self.timing.ttl_ms.min(soon))
    }

    /// Takes the lease for a fetch if one is due. The caller makes the call, and
    /// says with [`Engine::fetch_ended`] what came of it.
    pub(crate) fn begin_fetch(&mut self, key_wanted: bool, now_ms: u64) -> Option<Fetching> {
        let heal = self.damaged
            && self
                .control
                .age_ms(now_ms)
                .is_some_and(|age| age > EVERY_MS);
        self.begin_fetch_or(heal, key_wanted, now_ms)
    }

    /// The same; `anyway`: also when none is due, unless one is under way.
    pub(crate) fn begin_fetch_or(
        &mut self,
        anyway: bool,
        key_wanted: bool,
        now_ms: u64,
    ) -> Option<Fetching> {
        if self.control.due(now_ms, key_wanted).is_none() && !anyway {
            return None;
        }
        // Once more, with the version to write against.
        let Ok((control, cas)) = self.store.control() else {
            return None;
        };
        let fetch = match control.due(now_ms, key_wanted) {
            Some(fetch) => fetch,
            None if anyway && !control.is_leased(now_ms) => Fetch::Scheduled,
            None => return None,
        };
        let (leased, lease) = control.leased(fetch, now_ms, self.timing);
        match self.store.write_control(&leased, cas) {
            Ok(true) => {
                self.control = leased;
                self.key_wanted = false;
                Some(Fetching {
                    lease: Some(lease),
                    started_ms: now_ms,
                    token: None,
                })
            }
            // Another VM was faster; its fetch serves this one too.
            Ok(false) | Err(_) => None,
        }
    }

    /// The part of a tick that is about the key set: fetches it when that is due.
    pub(crate) fn fetch(&mut self, now_ms: u64) {
        let Some(mut fetching) = self.begin_fetch(self.is_key_wanted(), now_ms) else {
            return;
        };
        match self.sts.key_set(None) {
            Ok(token) => {
                fetching.token = Some(token);
                self.fetching = Some(fetching);
            }
            Err(_) if self.fetch_again(&fetching, now_ms) => {}
            Err(_) => self.fetch_ended(&fetching, Err(Failure::not_taken()), now_ms),
        }
    }

    /// Lets the next tick but some make a call that the proxy did not take. False when
    /// that has been tried enough.
    #[cold]
    fn fetch_again(&mut self, fetching: &Fetching, now_ms: u64) -> bool {
        for _ in 0..WRITE_ATTEMPTS {
            let Ok((control, cas)) = self.store.control() else {
                return false;
            };
            if !fetching.lease.is_some_and(|lease| control.holds(lease)) {
                // Another took over; it is that one's now.
                return true;
            }
            let Some(next) = control.again(now_ms) else {
                return false;
            };
            if self.store.write_control(&next, cas) == Ok(true) {
                self.control = next;
                return true;
            }
        }
        false
    }

    /// Says when requests begin or cease to be refused for want of a key set: once for
    /// all VMs, by the one that writes it down.
    pub(crate) fn note_key_set(&mut self, now_ms: u64) {
        if self.control.turned(now_ms, self.timing).is_some() {
            self.key_set_turned(now_ms);
        }
    }

    #[cold]
    fn key_set_turned(&mut self, now_ms: u64) {
        let Ok((control, cas)) = self.store.control() else {
            return;
        };
        let Some((next, turn)) = control.turned(now_ms, self.timing) else {
            return;
        };
        if self.store.write_control(&next, cas) != Ok(true) {
            return;
        }
        self.control = next;
        let limit_ms = self.timing.ttl_ms.saturating_add(self.timing.max_stale_ms);
        callouts::log_turn(
            turn,
            "key set",
            &self.sts.upstream,
            next.cause().words(),
            next.age_ms(now_ms),
            &format!("{} s (jwks.ttl_s and jwks.max_stale_s)", limit_ms / 1_000),
        );
    }

    /// The fetch under way, if an answer is to it. A late one, to a lease that
    /// this VM has lost and taken again, is not.
    pub(crate) fn take_fetch(&mut self, token: u32) -> Option<Fetching> {
        self.fetching
            .take_if(|fetching| fetching.token == Some(token))
    }

    /// The fetch brought a document, or failed for a reason in words.
    pub(crate) fn fetch_ended(&mut self, fetching: &Fetching, answer: Answer, now_ms: u64) {
        let parsed = document(answer).and_then(|document| {
            match KeySet::parse(&document, &self.algorithms) {
                Ok(keys) => Ok((document, keys)),
                Err(why) => Err(Failure::new(Kind::Unreadable, why.to_string())),
            }
        });
        // What was wanted while this went on is there, or is asked for again.
        self.key_wanted = false;
        self.metrics
            .jwks_fetch(if parsed.is_ok() { "ok" } else { "error" });
        for _ in 0..WRITE_ATTEMPTS {
            let (Ok(version), Ok((control, cas))) =
                (self.store.key_set_version(), self.store.control())
            else {
                return;
            };
            let counts = match fetching.lease {
                Some(lease) => control.holds(lease),
                // It helps out where there is nothing yet, or what there is is older.
                None => {
                    parsed.is_ok()
                        && (!control.is_usable(now_ms, self.timing)
                            || control.is_older_than(fetching.started_ms))
                }
            };
            if !counts {
                // Another took over; what it writes counts.
                return;
            }
            let (next, log) = match &parsed {
                Ok((document, _)) => {
                    let next = control.succeeded(fetching.started_ms, now_ms, self.timing, now_ms);
                    if self.store.write_key_set(next.generation, document, version) != Ok(true) {
                        continue;
                    }
                    (next, false)
                }
                Err(why) => control.failed(now_ms, self.timing, now_ms, why.cause()),
            };
            if self.store.write_control(&next, cas) != Ok(true) {
                continue;
            }
            self.control = next;
            match parsed {
                Ok((_, keys)) => {
                    log_key_set(&keys);
                    self.adopt(keys);
                }
                Err(why) if log => {
                    let (upstream, path) = (&self.sts.upstream, &self.sts.target.path);
                    hostcalls::log(
                        Level::Error,
                        &format!(
                            "caracal: key set not fetched from {upstream}{path}: {}",
                            why.words
                        ),
                    );
                }
                Err(_) => {}
            }
            return;
        }
        hostcalls::log(
            Level::Error,
            "caracal: the key set that was fetched could not be shared",
        );
    }
}

/// Unusable keys that a line names.
const MAX_TOLD: usize = 4;

/// One line for each key set that was fetched, and one for what of it is not used.
#[cold]
fn log_key_set(keys: &KeySet) {
    let (kept, skipped) = (keys.keys().len(), keys.skipped());
    hostcalls::log(
        Level::Info,
        &format!("caracal: key set fetched: {kept} keys usable, {skipped} skipped"),
    );
    if skipped > 0 {
        let why = keys.skipped_keys().iter().take(MAX_TOLD);
        let why = why.map(ToString::to_string);
        hostcalls::log(
            Level::Warn,
            &format!(
                "caracal: {skipped} keys of the key set are not used: {}",
                why.collect::<Vec<_>>().join("; ")
            ),
        );
    }
}
